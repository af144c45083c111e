"""A full disk (F6 of our faults): one line with path and bytes, nothing half-written, and the same command works once there is room."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, cannot_run_here, draw_stills

from components.ingest.step import ingest
from components.shared import files, scratch
from components.shared.data import arrays
from components.shared.errors import CannotRun

STEPS = {
    "ingest": "stills {place}/data",
    "measure": "--data data --config measure --manifest {place}/manifest",
    "validate": "--manifest outputs/manifest --config validate --validation {place}/validation",
    "prepare": "--data data --manifest outputs/manifest --verdict outputs/validation/summary.json {pairs}"
               "--config prepare --prepared {place}/prepared",
    "augment": "--prepared outputs/prepared --config augment --augmented {place}/augmented",
    "train": "--augmented outputs/augmented --prepared outputs/prepared --config train.cnn --model {place}/model",
    "package": "--model outputs/model --prepared outputs/prepared --config package --package {place}/package",
    "evaluate": "--model outputs/model --package outputs/package --prepared outputs/prepared --config evaluate "
                "--evaluation {place}/evaluation",
}  # fmt: skip
SLOW = STEPS.keys() - {"prepare"}


@pytest.fixture
def disk(tmp_path):
    """A small disk of its own: `disk(size)` makes or resizes it, in bytes."""
    place = tmp_path / "disk"
    place.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True).returncode:
        cannot_run_here("a small disk needs a mount, which needs root")

    def sized(size: int) -> Path:
        subprocess.run(["mount", "-o", f"remount,size={size}", place], check=True)
        return place

    yield sized
    subprocess.run(["umount", "-l", place], check=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A folder where all steps have run, on a disk with room."""
    folder = tmp_path_factory.mktemp("project")
    draw_stills(folder / "stills", size=48, each=60)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["measure"]["faces"] = False
    params["prepare"] |= {"height": 64, "width": 64}
    params["train"]["cnn"] |= {"epochs": 1}
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    made: set[str] = set()

    def until(step: str) -> Path:
        for name in STEPS:
            if name == step:
                return folder
            if name not in made:
                done = run(folder, name, Path("." if name == "ingest" else "outputs"))
                assert done.returncode == 0, done.stderr
                made.add(name)
        return folder

    return until


def run(folder: Path, step: str, place: Path, **environment) -> subprocess.CompletedProcess:
    import importlib
    import inspect
    import os

    from components import STEPS as TABLE

    known = inspect.signature(getattr(importlib.import_module(TABLE[step].module), step)).parameters
    given = {"pairs": "--pairs outputs/validation/pairs.parquet " if "pairs" in known else ""}
    words = STEPS[step].format(place=place, **given).split()
    return subprocess.run([sys.executable, "-m", "components", step, *words], cwd=folder, capture_output=True, text=True,
                          env={**os.environ, "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/runs.db", **environment})  # fmt: skip


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


@pytest.mark.parametrize("step", [pytest.param(step, marks=pytest.mark.slow if step in SLOW else ()) for step in STEPS])
def test_each_step_says_where_the_disk_is_full_and_works_once_there_is_room(step, project, disk, tmp_path):
    folder = project(step)
    done = run(folder, step, tmp_path / "room")
    assert done.returncode == 0, done.stderr
    needed = size_of(tmp_path / "room")
    place = disk(max(needed // 2, 8192))
    full = run(folder, step, place)
    assert full.returncode == 2, full.stdout + full.stderr
    assert re.search(rf"{re.escape(str(place))}\S*: the disk is full \(.*bytes free\); .*make room", full.stderr), full.stderr
    assert "Traceback" not in full.stderr
    assert not [path for path in place.iterdir() if not path.name.startswith(".") or path.name.endswith(".tmp")]
    disk(8 * needed + 2**20)
    done = run(folder, step, place)
    assert done.returncode == 0, done.stderr
    assert not list(place.glob(".*.tmp"))


def test_a_full_disk_of_temporary_files_is_named(project, disk):
    folder = project("measure")
    place = disk(8192)
    full = run(folder, "measure", folder / "other", TMPDIR=str(place))
    assert full.returncode == 2
    assert re.search(rf"{re.escape(str(place))}\S*: the disk is full", full.stderr), full.stderr


def test_arrays_take_their_room_at_once_and_say_what_they_need(disk):
    place = disk(2**20)
    with pytest.raises(CannotRun, match=r"images\.npy: the disk is full \(3,072,000 bytes needed, 1,0\d\d,\d\d\d bytes free\)"):
        arrays.create(place / "a", 1000, (32, 32, 3))
    made = arrays.create(place / "b", 100, (32, 32, 3))
    assert (place / "b/images.npy").stat().st_blocks * 512 >= made.nbytes


def test_a_limit_on_the_size_of_files_is_no_traceback(tmp_path):
    draw_stills(tmp_path / "stills", size=48)
    script = (
        "import resource, sys; from components.__main__ import main\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000)); sys.exit(main(sys.argv[1:]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, "ingest", "stills", "data"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "no file there may grow so large" in done.stderr
    assert not (tmp_path / "data").exists()


def test_a_full_disk_keeps_the_old_file_and_folder(disk, tmp_path):
    place = disk(64 * 1024)
    with files.whole_folder(place / "out", kind="test") as fresh:
        (fresh / "a").write_text("old")
    files.write_json(place / "a.json", "old")
    with pytest.raises(CannotRun, match=r"out: the disk is full"), files.whole_folder(place / "out", kind="test") as fresh:
        (fresh / "b").write_bytes(bytes(2**20))
    with pytest.raises(CannotRun, match=r"the disk is full"):
        files.write_json(place / "a.json", "x" * 2**20)
    assert (place / "out/a").read_text() == "old"
    assert files.read_json(place / "a.json") == "old"


def test_a_second_ingest_on_a_full_disk_keeps_what_was_there(disk, tmp_path):
    place = disk(2**20)
    draw_stills(tmp_path / "few", each=2)
    ingest(str(tmp_path / "few"), place / "data")
    before = {shard.name: shard.read_bytes() for shard in (place / "data").iterdir()}
    draw_stills(tmp_path / "many", each=100, size=96, seed=1)
    with pytest.raises(CannotRun, match="the disk is full"):
        ingest(str(tmp_path / "many"), place / "data", add=True)
    assert {shard.name: shard.read_bytes() for shard in (place / "data").iterdir()} == before


def test_scratch_on_a_full_disk_is_one_line(disk, monkeypatch):
    import tempfile

    place = disk(8192)
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    with pytest.raises(CannotRun, match=r"the disk is full"), scratch.folder() as folder:
        (folder / "big").write_bytes(bytes(2**20))
    assert not list(place.iterdir())
