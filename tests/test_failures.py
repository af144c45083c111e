"""How commands end that do not end well: one line, the exit code that README gives, and no traceback."""

import inspect
import os
import re
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from conftest import ROOT

from components import STEPS, TOOLS
from components.__main__ import main
from components.shared import failures
from components.shared.masking import masked
from pipelines.__main__ import main as pipelines_main

# A command of the dispatcher's own kind whose function raises what stands in the environment.
BROKEN = """
import errno, os, sys
from concurrent.futures import ProcessPoolExecutor

def deep(): return deep()
def die(): os._exit(1)
def fail(number): return {}[number]

def broken():
    exec(os.environ["DO"])
"""
STARTS = {
    "darkroom": "import components; components.TOOLS['broken'] = components.Command('broken', 'b'); "
    "from components.__main__ import main; sys.argv = ['darkroom', 'broken']; sys.exit(main())",
    "supervised": "import components; components.TOOLS['broken'] = components.Command('broken', 'b', supervised='lower it'); "
    "from components.__main__ import main; sys.argv = ['darkroom', 'broken']; sys.exit(main())",
    "pipelines": "import broken, pipelines.status; pipelines.status.show = lambda options: broken.broken(); "
    "from pipelines.__main__ import main; sys.argv = ['pipelines', 'list']; sys.exit(main())",
}


@pytest.fixture
def broken(tmp_path):
    """`broken("darkroom", "raise KeyError('x')")`: the ended process and the file with the details, where there is one."""
    (tmp_path / "broken.py").write_text(BROKEN)
    (tmp_path / "tmp").mkdir()

    def run(start: str, do: str, **environment: str) -> tuple[subprocess.CompletedProcess, Path | None]:
        environment = os.environ | {
            "DO": do,
            "PYTHONPATH": f"{ROOT}:{tmp_path}",
            "TMPDIR": str(tmp_path / "tmp"),
            **environment,
        }
        command = [sys.executable, "-c", f"import sys; {STARTS[start]}"]
        done = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True)
        return done, next((tmp_path / "tmp").glob("darkroom-fault-*"), None)

    return run


@pytest.mark.parametrize(("do", "code", "reason"), [
    ("raise KeyError('mean')", 3, "a fault of Darkroom's own, not of your data (a key is missing: 'mean')"),
    ("{}[1]", 3, "a key is missing: 1"),
    ("deep()", 3, "something is nested too deeply"),
    ("'\\ud800'.encode()", 3, "a text in an unexpected encoding"),
    ("1 / 0", 3, "ZeroDivisionError: division by zero"),
    ("assert False", 3, "(AssertionError)"),
    ("raise OSError('Unable to open file')", 3, "OSError: Unable to open file"),
    ("raise ExceptionGroup('two', [ValueError('a'), KeyError('b')])", 3, "ExceptionGroup: two"),
    ("bytearray(2**62)", 2, "memory ran out; free some memory, or give it more"),
    ("import numpy; numpy.ones(2**50)", 2, "memory ran out (Unable to allocate"),
    ("raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), 'x')", 2, "x: No space left on device; free some space"),
    ("raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT), 'x')", 2, "x: Disk quota exceeded; free some space"),
    ("open('.', 'rb')", 2, ".: Is a directory; expected a file"),
    ("open('broken.py/x')", 2, "broken.py/x: Not a directory; expected a folder"),
    ("open('x' * 300)", 2, "File name too long; choose a shorter name"),
    ("raise PermissionError(errno.EACCES, 'Permission denied', 'a', None, 'b')", 2, "a, b: Permission denied; check the permission"),
    ("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (9, 9)); x = [open(os.devnull) for _ in range(9)]", 2,
     "Too many open files; raise the limit of open files (`ulimit -n`)"),
    ("open('/dev/full', 'w').write('x' * 100000)", 2, "No space left on device; free some space, and run it again"),
    ("ProcessPoolExecutor(1).submit(die).result()", 2, "a worker process was killed"),
    ("import pyarrow.parquet; pyarrow.parquet.read_table('broken.py')", 2, "the file is damaged: delete it and run `dvc repro`"),
    ("raise KeyboardInterrupt", 130, "interrupted"),
    ("sys.exit(5)", 5, ""),
])  # fmt: skip
def test_whatever_is_raised_is_one_line_and_an_exit_code(broken, do, code, reason):
    done, kept = broken("darkroom", do)
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr
    assert len(done.stderr.splitlines()) == bool(reason)
    assert reason in done.stderr
    assert (kept is not None) == (code == 3)
    assert not kept or str(kept) in done.stderr


@pytest.mark.parametrize(
    ("do", "code"), [("raise KeyError('mean')", 3), ("bytearray(2**62)", 2), ("raise KeyboardInterrupt", 130)]
)
def test_pipelines_ends_alike(broken, do, code):
    done, kept = broken("pipelines", do)
    assert (done.returncode, len(done.stderr.splitlines()), kept is not None) == (code, 1, code == 3)
    assert done.stderr.startswith("pipelines list: ")


@pytest.mark.parametrize(("do", "code", "reason"), [
    ("raise KeyError('mean')", 3, "a key is missing: 'mean'"), ("bytearray(2**62)", 2, "memory ran out; lower it"),
    ("import signal; os.kill(os.getpid(), signal.SIGSEGV)", 2, "ended by the system (SIGSEGV)"), ("raise KeyboardInterrupt", 130, ""),
])  # fmt: skip
def test_a_supervised_command_ends_as_its_child_did(broken, do, code, reason):
    done, kept = broken("supervised", do)
    assert (done.returncode, len(done.stderr.splitlines()), kept is not None) == (code, 1, code == 3)
    assert reason in done.stderr


def test_a_fault_in_a_worker_process_is_told_with_the_workers_traceback(broken):
    done, kept = broken("darkroom", "from components.shared import parallel\n"
                        "list(parallel.each(fail, [(1,), (2,)], weights=[1, 1], name='x'))")  # fmt: skip
    assert done.returncode == 3
    assert "(a key is missing: 2)" in done.stderr or "(a key is missing: 1)" in done.stderr
    assert "in fail" in kept.read_text()


@pytest.mark.parametrize("start", ["darkroom", "pipelines"])
def test_the_details_of_a_fault_are_for_its_owner_and_hold_no_secret(broken, start):
    do = "raise ValueError('GET https://me:s3cr3t@host/x?token=s3cr3t&a=1 with Bearer s3cr3ts3cr3t')"
    done, kept = broken(start, do, MLFLOW_TRACKING_TOKEN="canary")
    text = kept.read_text()
    assert kept.stat().st_mode & 0o777 == 0o600
    assert "Traceback" in text
    assert "in broken" in text
    assert f"command: {start}" in text
    assert "Python 3" in text
    assert "mlflow " in text
    assert "https://***@host/x?token=***&a=1 with Bearer ***" in text
    assert "s3cr3t" not in text + done.stderr
    assert "canary" not in text


def test_a_long_refusal_shows_twenty_lines_of_a_kind_and_a_private_file_has_all(broken, tmp_path):
    faults = "*[f'E_MISSING_FILE {n}.png' for n in range(5000)], *['E_LABEL x'] * 20"
    done, _ = broken("darkroom", f"from components.shared.errors import Refused; raise Refused({faults})")
    *lines, last = done.stderr.splitlines()
    assert (done.returncode, len(lines), lines[19]) == (1, 40, "E_MISSING_FILE 19.png")
    (kept,) = (tmp_path / "tmp").glob("darkroom-refused-*")
    assert last == f"and 4,980 E_MISSING_FILE more; all of them: {kept}"
    assert len(kept.read_text().splitlines()) == 5020
    assert kept.stat().st_mode & 0o077 == 0


def test_a_fault_is_said_also_where_no_file_can_be_written(broken, tmp_path):
    shutil.rmtree(tmp_path / "tmp")
    done, _ = broken("darkroom", "import tempfile; tempfile.tempdir = '/proc'; 1 / 0")
    assert done.returncode == 3
    assert "line 1 (no file could be written: " in done.stderr


@pytest.mark.parametrize(("text", "expected"), [
    ("s3://user:pass@bucket/key", "s3://***@bucket/key"),
    ("postgresql+psycopg://u:p%40ss@db:5432/x", "postgresql+psycopg://***@db:5432/x"),
    ("https://h/x?X-Amz-Signature=abc&X-Amz-Credential=d", "https://h/x?X-Amz-Signature=***&X-Amz-Credential=***"),
    ("Authorization: Bearer abcdefghi.j-k", "Authorization: Bearer ***"),
    ("KFP_TOKEN=abc password=x", "KFP_TOKEN=*** password=***"),
    ("mail me@example.org about https://example.org/a", "mail me@example.org about https://example.org/a"),
])  # fmt: skip
def test_secrets_are_taken_out_of_texts(text, expected):
    assert masked(text) == expected


def shell(line: str, cwd: Path) -> subprocess.CompletedProcess:
    return subprocess.run(["bash", "-c", line], cwd=cwd, capture_output=True, text=True, errors="surrogateescape")


@pytest.mark.parametrize(("line", "code", "out", "error"), [
    ("darkroom checks >&-", 0, "", ""),
    ("darkroom digest data >&-", 0, "", ""),
    ("darkroom --help >&-", 0, "", ""),
    ("darkroom digest data <&- >&- 2>&-", 0, "", ""),
    ("darkroom trian 2>&-", 2, "", ""),
    ("darkroom trian >&- 2>&-", 2, "", ""),
    ("darkroom digest nowhere 2>/dev/full", 2, "", ""),
    ("darkroom checks >/dev/full", 2, "", "checks: standard output: No space left on device; free some space, and run it again"),
    ("darkroom digest data >/dev/full", 2, "", "digest: standard output: No space left"),
    ("darkroom --help >/dev/full", 2, "", "darkroom: standard output: No space left"),
    ("darkroom checks >/dev/full 2>&1", 2, "", ""),
    ("darkroom checks | true; exit ${PIPESTATUS[0]}", 141, "", ""),
    ("python -m pipelines --help >/dev/full", 2, "", "pipelines --help: standard output: No space left"),
    ("python -m pipelines compile --output x >&-", 0, "", ""),
    ("darkroom digest $'d\\xff'", 2, "", "d\\udcff: no such folder"),
    ("darkroom export data $'e\\xff' && ls", 0, "e\\udcff: 3 samples", ""),
])  # fmt: skip
def test_closed_and_full_streams(tmp_path, line, code, out, error):
    from conftest import draw_stills

    draw_stills(tmp_path / "s", each=1)
    assert main(["ingest", str(tmp_path / "s"), str(tmp_path / "data")]) == 0
    for name in ("params.yaml", "pipelines/settings.yaml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    shutil.rmtree(tmp_path / "pipelines") if "pipelines" not in line else None
    done = shell(line if "python" not in line else line.replace("compile", f"compile --settings {ROOT}/pipelines/settings.yaml"),
                 tmp_path)  # fmt: skip
    assert done.returncode == code, done.stderr
    assert out in done.stdout
    assert error in done.stderr
    assert len(done.stderr.splitlines()) <= 1


def paths(name: str) -> list[str]:
    function = getattr(__import__((STEPS | TOOLS)[name].module, fromlist=[name]), name)
    hints = typing.get_type_hints(function)
    return [p for p in inspect.signature(function).parameters if hints[p] in (Path, list[Path])]


def command_line(name: str, bad: str, value: str) -> list[str]:
    """Every parameter of a command filled in, one of them wrongly."""
    function = getattr(__import__((STEPS | TOOLS)[name].module, fromlist=[name]), name)
    arguments = [name]
    hints = typing.get_type_hints(function)
    for parameter in inspect.signature(function).parameters.values():
        given = (
            value
            if parameter.name == bad
            else str(ROOT / "params.yaml")
            if parameter.name == "params"
            else f"new-{parameter.name}"
        )
        if parameter.name == "config":
            arguments += ["--config", "train.cnn" if name == "train" else name]
            arguments += ["--params", value if bad == "--params" else str(ROOT / "params.yaml")]
        elif parameter.kind is parameter.POSITIONAL_OR_KEYWORD:
            arguments.append(given)
        elif hints[parameter.name] in (Path, list[Path]) or parameter.name == "data":  # a folder, or an address
            arguments += ["--" + parameter.name.replace("_", "-"), given]
    return arguments


CASES = [(name, path) for name in STEPS | TOOLS for path in paths(name) + ["--params"] * ("config" in inspect.signature(
    getattr(__import__((STEPS | TOOLS)[name].module, fromlist=[name]), name)).parameters)]  # fmt: skip


@pytest.mark.parametrize("value", ["folder", "file", "file/below", "", "a\0b", "/proc/self/mem", "x" * 5000, "loop"])
@pytest.mark.parametrize(("name", "bad"), CASES)
def test_a_wrong_path_for_any_option_of_any_command_is_plain_words(here, capsys, name, bad, value):
    (here / "folder").mkdir()
    (here / "file").write_text("neither YAML: nor: JSON")
    (here / "loop").symlink_to("loop")
    code = main(command_line(name, bad, value))
    captured = capsys.readouterr()
    assert code in ((0, 1, 2) if name in ("checks", "ingest") else (1, 2)), captured
    assert "Traceback" not in captured.err
    assert "fault of Darkroom" not in captured.err


@pytest.mark.parametrize("content", ["null", "[]", "{}", "[{}]", "3", "[" * 100_000, "\x00"])
@pytest.mark.parametrize(("name", "bad"), [("prepare", "verdict"), ("summary", "registration")])
def test_a_record_of_another_step_that_is_not_one_is_plain_words(here, capsys, name, bad, content):
    (here / "new-data").mkdir()
    (here / "new-data/00000.parquet").touch()
    (here / "file").write_text(content)
    assert main(command_line(name, bad, "file")) == 2
    error = capsys.readouterr().err
    assert error.startswith(("file: holds no ", "file: not valid JSON"))
    assert "`dvc repro`" in error


@pytest.mark.parametrize("arguments", [
    ["compile", "--params", "folder"], ["compile", "--settings", "folder"], ["compile", "--output", "folder"],
    ["compile", "--output", "file/below"], ["compile", "--set", "train={}"], ["compile", "--set", ""], ["compile", "--set", "seed=x"],
    ["compile", "--params", ""], ["compile", "--params", "a\0b"], ["run", "--params", "folder"], ["run", "--data", "folder"],
    ["run", "--data", "a\0b"], ["run", "--data", ""], ["run", "--set", "train="], ["run", "--root", "file"], ["list", "--count", "0"],
    ["list", "--count", "x"], ["stop", ""], ["submit", "--params", "file"], ["submit", "--settings", "file"], ["schedule", "--cron", ""],
    ["runn"], ["compile", "--sett", "x"], [],
])  # fmt: skip
def test_a_wrong_argument_of_pipelines_is_plain_words(here, capsys, monkeypatch, arguments):
    for name in [name for name in os.environ if name.startswith("KF")]:
        monkeypatch.delenv(name)
    shutil.copy(ROOT / "params.yaml", here)
    (here / "pipelines").mkdir()
    shutil.copy(ROOT / "pipelines/settings.yaml", here / "pipelines")
    (here / "folder").mkdir()
    (here / "file").write_text("neither YAML: nor: JSON")
    assert pipelines_main(arguments) == 2
    error = capsys.readouterr().err
    assert error
    assert "Traceback" not in error
    assert "fault of Darkroom" not in error


def test_help_names_the_exit_codes_and_the_dispatchers_agree(capsys):
    assert main(["--help"]) == 0
    assert re.search(
        r"1 the data or the model did not pass; 2 could not run; 3 a fault of Darkroom's own", capsys.readouterr().out
    )
    assert pipelines_main(["--help"]) == 0
    assert "3 a fault of Darkroom's own" in capsys.readouterr().out
    assert failures.FAULT == 3
