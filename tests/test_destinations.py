"""What a person's files are worth: no command replaces what Darkroom did not write."""

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from conftest import MEASURE, cannot_run_here

from components.augment.config import AugmentConfig
from components.augment.step import augment
from components.evaluate.config import EvaluateConfig
from components.evaluate.step import evaluate
from components.fix.step import fix
from components.ingest.export import export
from components.ingest.step import ingest
from components.measure.step import measure
from components.package.config import PackageConfig
from components.package.step import package
from components.prepare.config import PrepareConfig
from components.prepare.step import prepare
from components.register.config import RegisterConfig
from components.register.step import register
from components.shared import destination, files
from components.shared.errors import CannotRun
from components.train.config import TrainConfig
from components.train.step import train
from components.validate.config import ValidateConfig
from components.validate.step import validate

NAMES = {"measure": "manifest", "validate": "validation", "prepare": "prepared", "augment": "augmented", "train": "model",
         "package": "package",
         "evaluate": "evaluation"}  # fmt: skip


@pytest.fixture
def project(stills, here, knobs):
    """A project after measure and validate, and a function that calls any step with one destination changed."""
    ingest(str(stills), Path("data"))
    Path("params.yaml").write_text("seed: 7\n")
    Path("precious").mkdir()
    Path("precious/notes.txt").write_text("years of work")

    def run(step: str, destination: Path) -> None:
        inputs = {
            "measure": lambda: measure(data=Path("data"), config=MEASURE, manifest=destination),
            "validate": lambda: validate(
                manifest=Path("manifest"), config=knobs(ValidateConfig, "validate"), validation=destination
            ),
            "prepare": lambda: prepare(
                **prepare_inputs(prepare), config=knobs(PrepareConfig, "prepare"), prepared=destination
            ),
            "augment": lambda: augment(
                prepared=Path("prepared"), config=knobs(AugmentConfig, "augment"), seed=1, augmented=destination
            ),
            "train": lambda: train(
                augmented=Path("augmented"), prepared=Path("prepared"), config=knobs(TrainConfig, "train.cnn"), seed=1,
                model=destination,
            ),
            "package": lambda: package(
                model=Path("model"), prepared=Path("prepared"), config=knobs(PackageConfig, "package"), package=destination
            ),
            "evaluate": lambda: evaluate(
                model=Path("model"), package=Path("package"), prepared=Path("prepared"),
                config=knobs(EvaluateConfig, "evaluate"), evaluation=destination,
            ),
        }  # fmt: skip
        inputs[step]()

    run("measure", Path("manifest"))
    run("validate", Path("validation"))
    return run


def prepare_inputs(step) -> dict:
    """The inputs of `prepare`, whichever of them it has."""
    import inspect

    known = {"data": Path("data"), "manifest": Path("manifest"), "verdict": Path("validation/summary.json"), "seed": 1,
             "pairs": Path("validation/pairs.parquet")}  # fmt: skip
    return {name: value for name, value in known.items() if name in inspect.signature(step).parameters}


def tree() -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in Path().rglob("*") if path.is_file() and ".lock" not in path.name}


def test_no_step_replaces_a_persons_folder_or_file_or_another_steps_output(project):
    before = tree()
    for step, name in NAMES.items():
        places = {
            "precious",
            "params.yaml",
            "data",
            "manifest",
            "validation",
            ".",
            "..",
            "data/new",
            "manifest/new",
            "params.yaml/new",
        }
        for place in sorted(places - {name}):
            with pytest.raises(CannotRun) as caught:
                project(step, Path(place))
            assert "name " in str(caught.value), (step, place)
            assert tree() == before, (step, place)


def test_a_message_says_what_is_in_the_way_and_what_to_do(project):
    with pytest.raises(CannotRun, match=r"^precious: holds 'notes\.txt', which darkroom did not write; name a new folder"):
        project("measure", Path("precious"))
    with pytest.raises(CannotRun, match=r"^params\.yaml: is a file, expected a folder; name a new folder"):
        project("measure", Path("params.yaml"))
    with pytest.raises(CannotRun, match=r"kind 'manifest', expected 'prepared'"):
        project("prepare", Path("manifest"))


def test_a_file_that_a_person_adds_to_an_output_is_not_lost(project):
    for added in ("manifest/notes.txt", "validation/data_docs/notes.txt"):
        Path(added).write_text("mine")
        step, place = ("measure", Path("manifest")) if "manifest" in added else ("validate", Path("validation"))
        with pytest.raises(CannotRun, match=r"holds '(data_docs/)?notes\.txt'"):
            project(step, place)
        assert Path(added).read_text() == "mine"
        Path(added).unlink()
        project(step, place)


def test_what_is_dropped_is_not_kept_where_it_would_be_replaced(project):
    project("measure", Path("manifest"))
    for place in ("manifest", "manifest/dropped", "validation/dropped", "data/dropped"):
        with pytest.raises(CannotRun, match="as a whole; name a folder outside it"):
            fix(Path("data"), Path("validation"), quarantine=Path(place))
    fix(Path("data"), Path("validation"), quarantine=Path("dropped"))


def test_strange_names_of_our_own_files_are_known_again(tmp_path):
    final = tmp_path / "out"
    for _ in range(2):
        with files.whole_folder(final, kind="test") as fresh:
            for name in ("a\nb", "a\rb", "a\u2028b", " a ", os.fsdecode(b"\xff"), "sub/c"):
                (fresh / name).parent.mkdir(exist_ok=True)
                (fresh / name).write_text("x")
    (final / ".darkroom").write_text("test")  # the kind alone, as a person may write it to say that a folder may go
    with files.whole_folder(final, kind="test"):
        pass
    with pytest.raises(CannotRun, match="kind 'test', expected 'other'"), files.whole_folder(final, kind="other"):
        pass


def test_a_persons_own_parquet_tables_are_no_shards(stills, here):
    Path("tables").mkdir()
    pd.DataFrame({"a": [1]}).to_parquet("tables/mine.parquet")
    before = tree()
    for flags in ({}, {"replace": True}, {"add": True}):
        with pytest.raises(CannotRun, match=r"holds 'mine\.parquet', which darkroom did not write"):
            ingest(str(stills), Path("tables"), **flags)
    Path("broken").mkdir()
    Path("broken/x.parquet").write_bytes(b"PAR1")
    with pytest.raises(CannotRun, match=r"holds 'x\.parquet'"):
        ingest(str(stills), Path("broken"))
    assert {name: content for name, content in tree().items() if "broken" not in name} == before


def test_a_shard_that_lies_about_forbids_nothing_beneath_it(stills, here):
    ingest(str(stills), Path("data"))
    Path("copy.parquet").write_bytes(next(Path("data").glob("*.parquet")).read_bytes())
    Path("notes.txt").write_text("years of work")
    measure(data=Path("data"), config=MEASURE, manifest=Path("manifest"))
    with pytest.raises(CannotRun, match="lies in data, which is read from"):
        measure(data=Path("data"), config=MEASURE, manifest=Path("data/manifest"))


def test_export_fills_only_an_empty_folder_and_leaves_no_marker_in_it(stills, here):
    ingest(str(stills), Path("data"))
    Path("full").mkdir()
    Path("full/notes.txt").write_text("mine")
    for place in ("full", "data", "data/out"):
        with pytest.raises(CannotRun):
            export(Path("data"), Path(place))
    Path("empty").mkdir()
    export(Path("data"), Path("empty"))
    assert not Path("empty/.darkroom").exists()
    with pytest.raises(CannotRun, match="darkroom did not write"):
        export(Path("data"), Path("empty"))


def test_files_that_a_person_names_are_overwritten_only_when_they_are_ours(project, knobs):
    Path("params.yaml").write_text("seed: 7\n")
    with pytest.raises(CannotRun, match=r"params\.yaml: holds something that darkroom did not write"):
        register(models=[], packages=[], evaluations=[], prepared=Path("prepared"), config=knobs(RegisterConfig, "register"),
                 registration=Path("params.yaml"))  # fmt: skip
    with pytest.raises(CannotRun, match=r"precious: is a folder, expected a file"):
        fix(Path("data"), Path("validation"), apply=("W_DUPLICATE",), log=Path("precious"))
    with pytest.raises(CannotRun, match=r"params\.yaml: holds something"):
        fix(Path("data"), Path("validation"), apply=("W_DUPLICATE",), log=Path("params.yaml"))
    Path("README.md").write_text("# Mine\n")
    done = subprocess.run([sys.executable, "-m", "pipelines", "compile", "--output", "README.md", *settings()],
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 2
    assert "README.md: holds something that darkroom did not write" in done.stderr
    assert Path("README.md").read_text() == "# Mine\n"
    with pytest.raises(CannotRun, match="no regular file"), files.whole_file(Path("/dev/null"), ours=lambda _: True):
        pass


def settings() -> list[str]:
    root = Path(__file__).parents[1]
    return ["--params", str(root / "params.yaml"), "--settings", str(root / "pipelines/settings.yaml")]


def test_a_link_is_followed_and_stays(project, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    Path("manifest").rename(disk / "there")
    Path("manifest").symlink_to(disk / "there")
    Path("elsewhere").symlink_to(disk / "made")
    for place in ("manifest", "elsewhere"):
        for _ in range(2):
            project("measure", Path(place))
        assert Path(place).is_symlink()
    assert (disk / "there/.darkroom").exists()
    assert (disk / "made/.darkroom").exists()
    Path("log.json").symlink_to(disk / "log.json")
    files.write_json(Path("log.json"), {"a": 1})
    assert Path("log.json").is_symlink()
    assert files.read_json(disk / "log.json") == {"a": 1}
    Path("loop").symlink_to("loop")
    with pytest.raises(CannotRun, match="leads back to itself"):
        project("measure", Path("loop"))


def test_data_that_is_a_link_to_another_disk_stays_one(stills, here, tmp_path):
    (tmp_path / "disk/data").mkdir(parents=True)
    Path("data").symlink_to(tmp_path / "disk/data")
    ingest(str(stills), Path("data"))
    next((stills / "bar").iterdir()).unlink()
    ingest(str(stills), Path("data"), replace=True)
    assert Path("data").is_symlink()
    assert list((tmp_path / "disk/data").glob("*.parquet"))
    (tmp_path / "disk").rename(tmp_path / "away")
    Path("results").symlink_to(tmp_path / "disk/results")
    for place in ("data", "results/manifest"):
        with pytest.raises(CannotRun, match=r"is a link to .*disk is not there; mount its disk"):
            destination.check_folder(Path(place), kind="manifest")
    with pytest.raises(CannotRun, match="mount its disk"):
        ingest(str(stills), Path("data"))
    assert not (tmp_path / "disk").exists()
    (tmp_path / "away").rename(tmp_path / "disk")
    with files.whole_folder(Path("results/manifest"), kind="manifest"):
        pass
    assert (tmp_path / "disk/results/manifest/.darkroom").is_file()
    assert not list(Path().glob(".*.tmp"))


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="mounting needs root")
def test_a_read_only_disk_and_a_mount_point_are_told_before_any_work(stills, here):
    ingest(str(stills), Path("data"))
    Path("disk").mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", "disk"], capture_output=True)
    if mounted.returncode:
        cannot_run_here("mounting is not allowed, even for root: a container without CAP_SYS_ADMIN")
    try:
        with pytest.raises(CannotRun, match=r"disk: is a mount point.*name a folder inside it"):
            measure(data=Path("data"), config=MEASURE, manifest=Path("disk"))
        subprocess.run(["mount", "-o", "remount,ro", "disk"], check=True)
        with pytest.raises(CannotRun, match=r"disk/out: .*/disk is on a read-only disk; name another place"):
            measure(data=Path("data"), config=MEASURE, manifest=Path("disk/out"))
        with pytest.raises(CannotRun, match="read-only"):
            files.write_json(Path("disk/out.json"), {}, ours=lambda _: True)
    finally:
        subprocess.run(["umount", "disk"], check=True)
