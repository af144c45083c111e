"""Two `dvc repro` in one project, and one whose process was killed while its step lives on (faults F12 and F13)."""

import os
import signal
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, draw_stills

from components.__main__ import main

pytestmark = pytest.mark.slow


@pytest.fixture
def project(tmp_path) -> Path:
    """The stages of dvc.yaml up to the verdict, on 1,800 pictures, without their dependence on the code."""
    assert main(["ingest", str(draw_stills(tmp_path / "source", each=600)), str(tmp_path / "data")]) == 0
    (tmp_path / "params.yaml").write_bytes((ROOT / "params.yaml").read_bytes())
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    kept = {name: stages[name] for name in ("measure", "embed", "validate")}
    for stage in kept.values():
        stage["deps"] = [path for path in stage["deps"] if path in ("data", "outputs/manifest", "outputs/embeddings")]
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": kept}))
    for command in ("git init -q", "dvc init -q"):
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


def repro(project: Path) -> subprocess.Popen:
    return subprocess.Popen(
        ["dvc", "repro"], cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def wait_for_the_step(process: subprocess.Popen) -> None:
    for line in process.stdout:
        if line.startswith("> darkroom measure"):
            return
    raise AssertionError("the step never started")


def whole(project: Path) -> None:
    """All stages are done, their outputs are those that DVC recorded, and nothing half-written is left."""
    status = subprocess.run(["dvc", "status"], cwd=project, capture_output=True, text=True)
    assert "up to date" in status.stdout
    assert not list((project / "outputs").rglob("*.tmp"))
    assert (project / "outputs/validation/summary.json").exists()


def test_a_second_run_fails_at_once_and_leaves_the_first_unharmed(project):
    first = repro(project)
    wait_for_the_step(first)
    second = repro(project)
    told, _ = second.communicate()
    assert first.poll() is None, "the first had ended before the second said so"
    assert second.returncode
    assert "darkroom" not in told.partition("ERROR")[0]
    assert "lock" in told or "is busy" in told
    _, _ = first.communicate()
    assert first.returncode == 0
    whole(project)


def test_a_run_beside_the_step_of_a_killed_one_ends_well_or_says_why_and_the_next_is_whole(project):
    first = repro(project)
    wait_for_the_step(first)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()  # or its process would still be there, for DVC to see
    second = repro(project)
    told, _ = second.communicate()
    assert second.returncode == 0 or "another process is writing" in told, told
    first.stdout.read()  # until the step that lives on has let go of the pipe
    third = repro(project)
    told, _ = third.communicate()
    assert third.returncode == 0, told
    whole(project)
