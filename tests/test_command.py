import os
import subprocess
import sys

import pytest
from conftest import ROOT, draw_stills

from components import STEPS, TOOLS
from components.__main__ import main


def run(*arguments: str, cwd) -> subprocess.CompletedProcess:
    return subprocess.run(["darkroom", *arguments], cwd=cwd, capture_output=True, text=True)


def test_help_lists_every_step_and_loads_nothing_heavy():
    script = (
        "import sys; from components.__main__ import main\n"
        "assert main(['--help']) == 0\n"
        "heavy = {'tensorflow', 'keras', 'numpy', 'pandas', 'mlflow', 'great_expectations', 'pyarrow', 'PIL', 'ruamel', 'pydantic'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert all(f"  {name} " in shown.stdout for name in STEPS | TOOLS)


@pytest.mark.parametrize("name", STEPS | TOOLS)
def test_every_command_explains_itself_without_tensorflow(name):
    script = (
        "import sys; from components.__main__ import main\n"
        f"assert main([{name!r}, '--help']) == 0\n"
        "assert not {'tensorflow', 'keras', 'mlflow', 'great_expectations'} & set(sys.modules)\n"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert f"darkroom {name}" in shown.stdout


def test_no_command_shows_the_help(capsys):
    assert main([]) == 0
    assert "darkroom STEP [options]" in capsys.readouterr().out


def test_wrong_words_exit_two_and_name_the_right_ones(tmp_path):
    done = run("trian", cwd=tmp_path)
    assert done.returncode == 2
    assert "no command 'trian'; did you mean 'train'? there are: ingest, measure" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert run("measure", "--data", "data", cwd=tmp_path).returncode == 2


@pytest.mark.parametrize(("arguments", "code", "told"), [
    (["ingest", "nowhere", "data"], 2, "nowhere: no such file or folder"),
    (["ingest", "empty", "data"], 1, "E_NO_DATA empty"),
    (["measure", "--data", "data", "--config", "measure", "--params", "good.yaml", "--manifest", "m"], 2,
     "data: no such folder; `darkroom ingest SOURCE data` makes it"),
    (["validate", "--manifest", "m", "--config", "validate", "--validation", "v"], 2, "params.yaml: no such file"),
    (["augment", "--prepared", "p", "--config", "augment", "--augmented", "a", "--params", "bad.yaml"], 2,
     "augment.copies: expected an integer of at least 0, got -1"),
    (["summary", "registration.json"], 2, "registration.json: no such file; `dvc repro` makes it"),
])  # fmt: skip
def test_a_users_mistake_is_one_line_and_the_right_exit_code(tmp_path, arguments, code, told):
    (tmp_path / "empty").mkdir()
    knobs = "flip: true, shift: 0, rotate: 0, scale: 0, brightness: 0, contrast: 0, noise: 0, erase: 0"
    (tmp_path / "bad.yaml").write_text(f"augment: {{copies: -1, balance: 0, max_copies: 0, {knobs}}}\n")
    (tmp_path / "good.yaml").write_text("measure: {faces: false, max_megapixels: 100}\n")
    done = run(*arguments, cwd=tmp_path)
    assert done.returncode == code
    assert done.stderr.startswith(told)
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr


def test_bad_data_exits_one_and_says_what_to_do(tmp_path):
    draw_stills(tmp_path / "s", shapes=("bar",))
    (tmp_path / "s" / "bar" / "note.png").write_text("not a picture")
    assert run("ingest", "s", "data", cwd=tmp_path).returncode == 0
    params = ["--params", str(ROOT / "params.yaml")]
    assert run("measure", "--data", "data", "--config", "measure", "--manifest", "m", *params, cwd=tmp_path).returncode == 0
    done = run("validate", "--manifest", "m", "--config", "validate", "--validation", "v", *params, cwd=tmp_path)
    assert done.returncode == 1
    assert "E_ONE_CLASS error: too few classes: 1 class, need at least 2" in done.stdout
    assert "bar/note.png: plain text" in done.stdout
    assert "validate: 2 errors" in done.stderr
    assert (tmp_path / "v" / "findings.json").exists()


def test_an_output_folder_that_may_not_be_written_is_said(tmp_path):
    (tmp_path / "file").write_text("")
    done = run("ingest", "digits", "file/data", cwd=tmp_path)
    assert done.returncode == 2
    assert "file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_reader_that_has_seen_enough_is_no_error():
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(
        [sys.executable, "-m", "components", "checks"], cwd=ROOT, stdout=write, stderr=subprocess.PIPE, text=True
    )
    os.close(write)
    assert (ended.returncode, ended.stderr) == (141, "")
