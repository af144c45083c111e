import importlib
import inspect
import os
import shlex
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT, draw_stills

from components import STEPS, TOOLS
from components.__main__ import _arguments, main
from components.shared import config


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
def test_every_command_explains_itself_without_what_is_slow_to_load(name):
    slow = {
        "tensorflow",
        "keras",
        "mlflow",
        "great_expectations",
        "matplotlib",
        "sklearn",
        "sqlalchemy",
        "cv2",
        "usearch",
        "openTSNE",
    }
    script = (
        "import sys; from components.__main__ import main\n"
        f"assert main([{name!r}, '--help']) == 0\n"
        f"assert not {slow} & set(sys.modules), {slow} & set(sys.modules)\n"
    )
    shown = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert f"example:\n  darkroom {name}" in shown.stdout
    assert "Raises" not in shown.stdout


@pytest.mark.parametrize(("name", "command"), (STEPS | TOOLS).items())
def test_every_example_is_what_the_command_takes_and_what_dvc_runs(name, command, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv(config.PIPELINE_RUN, "")
    step = getattr(importlib.import_module(command.module), name)
    assert _arguments(step, name, shlex.split(command.example)).keys() <= inspect.signature(step).parameters.keys()
    if stage := yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].get(name):
        runs = stage.get("do", stage)["cmd"].replace("${item}", "cnn")
        assert f"darkroom {name} {command.example}" == runs


def test_no_command_shows_the_help(capsys):
    assert main([]) == 0
    assert "darkroom STEP [options]" in capsys.readouterr().out


def test_wrong_words_exit_two_and_name_the_right_ones(tmp_path):
    done = run("trian", cwd=tmp_path)
    assert done.returncode == 2
    assert "no command 'trian'; did you mean train? there are: ingest, measure" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert run("measure", "--data", "data", cwd=tmp_path).returncode == 2
    assert "unrecognized arguments: --modle; did you mean --model?" in run("train", "--modle", "m", cwd=tmp_path).stderr


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


BARS = """
import os, sys
from components.shared import progress_bar
progress_bar.EVERY = float(sys.argv[1])
for _ in progress_bar.progress_bar(range(4), total=4, name="ingest"): pass
with progress_bar.progress_bar(total=30, initial=10, name="epoch 2/3", unit="batches", leave=False) as bar:
    bar.set_postfix(loss="0.5", refresh=False)
    bar.update(5)
"""


@pytest.mark.parametrize(
    ("every", "told"), [("0", ["ingest: 25%, 1 of 4 samples", "epoch 2/3: 50%, 15 of 30 batches"]), ("60", [])]
)
def test_long_work_is_told_in_a_log_line_by_line_and_no_oftener_than_every_minute(every, told):
    log = subprocess.run([sys.executable, "-c", BARS, every], cwd=ROOT, capture_output=True, text=True, check=True).stderr
    lines = log.splitlines()
    assert len(lines) == (5 if told else 0)
    assert all(any(line.startswith(start) for line in lines) for start in told)
    assert "loss=0.5" in log or not told
    assert "\r" not in log


def test_on_a_terminal_it_is_a_bar():
    import pty
    import termios

    parent, terminal = pty.openpty()
    termios.tcsetwinsize(terminal, (24, 80))  # a bar is as wide as its terminal
    subprocess.run([sys.executable, "-c", BARS, "0"], cwd=ROOT, stderr=terminal, check=True)
    os.close(terminal)
    shown = os.read(parent, 1 << 16).decode()
    os.close(parent)
    assert "ingest: 100%|" in shown
