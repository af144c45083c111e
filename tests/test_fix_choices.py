"""Which sample `darkroom fix` changes: one copy of each picture stays, chains lose no more than they must, and kills lose nothing."""

import contextlib
import csv
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import MEASURE, ROOT, by_code, drawing, png

from components.fix.decisions import decide
from components.fix.quarantine import keep
from components.fix.step import fix
from components.measure.step import measure
from components.shared.data import dataset
from components.shared.data.dataset import Sample
from components.shared.errors import CannotRun, Refused
from components.validate.config import ValidateConfig
from components.validate.split_checks import redundant
from components.validate.step import validate


def sample(pixels: np.ndarray, source: str, label: str, split: str | None = None) -> Sample:
    return Sample(label, source, ((png(pixels), source),), None, split)


@pytest.fixture
def judged(here, knobs):
    """`judged(samples)`: write and judge them (or judge again what lies in data/); returns the findings by code."""

    def judge(samples: list[Sample] = (), **changes) -> dict:
        if samples:
            (here / "data").mkdir()
            dataset.write_shard(list(samples), here / "data" / "000.parquet")
        measure(data=here / "data", config=knobs(type(MEASURE), "measure"), manifest=here / "manifest")
        with contextlib.suppress(Refused):
            config = knobs(ValidateConfig, "validate", **changes)
            validate(manifest=here / "manifest", config=config, validation=here / "validation")
        return by_code(here / "validation/findings.json")

    return judge


def grounds(each: int = 14, splits: tuple = (None,)) -> list[Sample]:
    """Good pictures in two classes."""
    rng = np.random.default_rng(1)
    return [
        sample(drawing(shape, rng, size=32), f"{split or 'all'}/{shape}/{number}.png", shape, split)
        for split in splits for shape in ("bar", "box") for number in range(each)
    ]  # fmt: skip


def sources() -> set[str]:
    return {each.source for shard in dataset.shards(Path("data")) for each in dataset.read_samples(shard)}


def record() -> list[dict]:
    with Path("fixes.csv").open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_of_a_label_conflict_the_label_that_most_copies_have_stays(judged):
    pixels = drawing("bar", np.random.default_rng(50), size=32)
    twins = [sample(pixels, "z/1.png", "bar"), sample(pixels, "a/2.png", "box"), sample(pixels, "z/3.png", "bar")]
    found = judged([*grounds(), *twins])
    assert "a/2.png: 'box' = z/1.png 'bar'; fix keeps 'bar' (most copies)" in found["E_LABEL_CONFLICT"]["items"]
    assert {item["source"]: item["action"] for item in found["E_LABEL_CONFLICT"]["records"]} == {
        "z/1.png": "keep", "a/2.png": "drop", "z/3.png": "keep",
    }  # fmt: skip
    before = sources()
    fix(Path("data"), Path("validation"), apply=("E_LABEL_CONFLICT",))
    assert before - sources() == {"a/2.png"}
    assert "E_LABEL_CONFLICT" not in judged()


def test_of_two_copies_the_label_stays_that_the_picture_looks_like(judged):
    pixels = drawing("bar", np.random.default_rng(50), size=32)
    twins = [sample(pixels, "a/box.png", "box"), sample(pixels, "z/bar.png", "bar")]
    found = judged([*grounds(60), *twins])
    assert found["E_LABEL_CONFLICT"]["items"][0].endswith("fix keeps 'bar' (more probable)")


def test_without_a_model_the_first_path_stays(judged):
    pixels = drawing("bar", np.random.default_rng(50), size=32)
    found = judged([*grounds(4), sample(pixels, "a/box.png", "box"), sample(pixels, "z/bar.png", "bar")])
    assert found["E_LABEL_CONFLICT"]["items"][0].endswith("fix keeps 'box' (first path)")


def test_who_names_copies_has_chosen_but_never_all_of_them(judged):
    pixels = drawing("bar", np.random.default_rng(50), size=32)
    judged([*grounds(), *(sample(pixels, f"{n}.png", label) for n, label in enumerate(("bar", "box", "bar", "cross")))])
    with pytest.raises(CannotRun, match=r"names every copy of one picture \(0.png, 1.png, 2.png, 3.png\)"):
        fix(Path("data"), Path("validation"), apply=("E_LABEL_CONFLICT",), only=("0.png", "1.png", "2.png", "3.png"))
    with pytest.raises(CannotRun, match=r"--only no.png: nothing to change"):
        fix(Path("data"), Path("validation"), apply=("E_LABEL_CONFLICT",), only=("0.png", "no.png"))
    before = sources()
    fix(Path("data"), Path("validation"), apply=("E_LABEL_CONFLICT",), only=("0.png", "2.png", "3.png"))
    assert before - sources() == {"0.png", "2.png", "3.png"}


def chain(steps: int) -> list[np.ndarray]:
    """Pictures each of which looks like the next, and not like the one after that."""
    rng = np.random.default_rng(0)
    picture = rng.integers(40, 200, (8, 8)).repeat(4, axis=0).repeat(4, axis=1).astype(float)
    change = rng.normal(0, 1, (8, 8)).repeat(4, axis=0).repeat(4, axis=1)
    return [np.dstack([np.clip(picture + 4 * step * change, 0, 255).astype(np.uint8)] * 3) for step in range(steps)]


def test_of_a_chain_of_near_twins_only_every_other_goes(judged):
    pictures = chain(3)
    alike = [sample(pixels, f"bar/twin{n}.png", "bar") for n, pixels in enumerate(pictures)]
    found = judged([*grounds(), *alike])
    pairs = pd.read_parquet("validation/pairs.parquet")
    first = len(grounds())
    assert pairs[["one", "other"]].to_numpy().tolist() == [[first, first + 1], [first + 1, first + 2]]
    assert found["W_NEAR_DUPLICATE"]["items"] == ["bar/twin1.png ~ bar/twin0.png"]


def test_a_training_picture_stays_when_its_validation_twin_goes_for_the_test_twin(judged):
    pictures = chain(3)
    splits = ("train", "validation", "test")
    alike = [sample(pixels, f"{split}/bar/twin.png", "bar", split)
             for split, pixels in zip(splits, pictures, strict=True)]  # fmt: skip
    found = judged([*grounds(14, splits), *alike], max_near_leakage=0.5)
    assert len(found["W_NEAR_LEAKAGE"]["items"]) == 3
    before = sources()
    fix(Path("data"), Path("validation"), apply=("W_NEAR_LEAKAGE",))
    assert before - sources() == {"validation/bar/twin.png"}
    assert "W_NEAR_LEAKAGE" not in judged(max_near_leakage=0.5)


@pytest.mark.parametrize("seed", range(5))
def test_what_goes_of_any_pairs_leaves_no_pair_and_only_goes_for_what_stays(seed):
    rng = np.random.default_rng(seed)
    pairs = rng.integers(0, 60, (90, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    rank = rng.permutation(60)
    goes, stays = redundant(pairs, rank)
    gone = np.isin(np.arange(60), goes)
    assert not (~gone[pairs[:, 0]] & ~gone[pairs[:, 1]]).any()
    assert not gone[stays].any()
    assert (rank[stays] < rank[goes]).all()


def test_one_copy_of_a_picture_stays_whatever_findings_are_fixed_together(judged):
    rng = np.random.default_rng(8)
    samples = grounds(14, ("train", "test"))
    pictures = [drawing("bar", rng, size=32) for _ in range(12)]
    for number, pixels in enumerate(pictures):
        for copy in range(int(rng.integers(2, 5))):
            split, label = rng.choice(["train", "test", "validation"]), rng.choice(["bar", "box"])
            samples.append(sample(pixels, f"{split}/{label}/p{number}c{copy}.png", label, split))
    judged(samples)
    codes = ("E_LABEL_CONFLICT", "E_LEAKAGE", "W_DUPLICATE")
    for _ in range(3):
        found = pd.read_parquet("validation/findings.parquet")
        codes = tuple(code for code in codes if code in set(found["code"]))
        if not codes:
            break
        fix(Path("data"), Path("validation"), apply=codes)
        judged()
    left = [source.split("/")[-1].split("c")[0] for source in sources() if "/p" in source]
    assert sorted(left) == sorted(f"p{number}" for number in range(12))


def test_a_copy_of_something_that_goes_anyway_stays():
    rows = pd.DataFrame({
        "code": ["W_BLANK", "W_DUPLICATE"], "source": ["a", "b"], "other": [None, "a"], "action": ["drop", "drop"],
        "shard": "s", "row": [0, 1], "text": "", "suggested": None, "picture": "p",
    })  # fmt: skip
    assert set(decide(rows, ["W_BLANK", "W_DUPLICATE"], [])) == {("s", 0)}


def test_quarantine_loses_no_file_and_overwrites_none(tmp_path):
    one, other = (png(drawing("bar", np.random.default_rng(n))) for n in (1, 2))
    first = keep(Sample("a", "x/1.png", ((one, "x/1.png"),)), tmp_path)
    assert keep(Sample("a", "x/1.png", ((one, "x/1.png"),)), tmp_path) == first
    second = keep(Sample("a", "x/1.png", ((other, "x/1.png"),)), tmp_path)
    third = keep(Sample("a", "c", ((one, "x/1.png/deeper.png"), (other, "y.png"))), tmp_path)
    assert (first.read_bytes(), second.read_bytes(), third.read_bytes()) == (one, other, one)
    assert (tmp_path / "y.png").read_bytes() == other
    assert keep(Sample("a", "x/1.png", ((other, "x/1.png"),)), tmp_path) == second
    for long in (
        "z" * 247 + ".png",
        f"{'z' * 300}/1.png",
        "z." + "z" * 300,
    ):  # for this disk, with or without a temporary ending
        assert keep(Sample("a", "x", ((one, long),)), tmp_path / str(len(long))).read_bytes() == one
    with pytest.raises(Refused, match="E_PATH_OUTSIDE"):
        keep(Sample("a", "x", ((one, "../x.png"),)), tmp_path / "inner")


def test_a_fix_that_is_repeated_after_its_data_was_brought_back_ends_well(judged, here):
    pixels = drawing("bar", np.random.default_rng(50), size=32)
    judged([*grounds(), sample(pixels, "bar/a.png", "bar"), sample(pixels, "bar/b.png", "bar")])
    old = (here / "data/000.parquet").read_bytes()
    fix(Path("data"), Path("validation"), apply=("W_DUPLICATE",))
    once = record()
    (here / "data/000.parquet").unlink()
    (here / "data/000.parquet").write_bytes(old)  # as `dvc checkout` does
    fix(Path("data"), Path("validation"), apply=("W_DUPLICATE",))
    assert record() == once
    assert len(once) == 1


KILLED = """
import os, signal, sys
from pathlib import Path
from components.fix import step, record, quarantine
from components.shared import files
count = 0
def deadly(function):
    def call(*arguments, **options):
        global count
        count += 1
        if count == int(sys.argv[1]):
            os.kill(os.getpid(), signal.SIGKILL)
        return function(*arguments, **options)
    return call
Path.replace, Path.unlink = deadly(Path.replace), deadly(Path.unlink)
step.fix(Path("data"), Path("validation"), apply=("W_DUPLICATE",))
"""


def test_a_fix_that_is_killed_at_any_step_can_be_run_again(judged, here):
    rng = np.random.default_rng(7)
    copies = [drawing("bar", rng, size=32) for _ in range(4)]
    twins = [sample(pixels, f"bar/{n}-{copy}.png", "bar") for n, pixels in enumerate(copies) for copy in "ab"]
    judged([*grounds(), *twins])
    original, judgement = (here / "data/000.parquet").read_bytes(), Path("validation")
    for rename in range(1, 60):
        for file in ("fixes.csv", ".fixes.csv.pending"):
            Path(file).unlink(missing_ok=True)
        shutil.rmtree("quarantine", ignore_errors=True)
        Path("data/000.parquet").unlink()
        Path("data/000.parquet").write_bytes(original)
        killed = subprocess.run([sys.executable, "-c", KILLED, str(rename)], env={**os.environ, "PYTHONPATH": str(ROOT)},
                                capture_output=True, text=True)  # fmt: skip
        if killed.returncode == 0:
            break
        assert killed.returncode == -signal.SIGKILL, killed.stderr
        with contextlib.suppress(CannotRun):  # the data is in place already: the findings are about what it was before
            fix(Path("data"), judgement, apply=("W_DUPLICATE",))
        assert sorted(row["source"] for row in record()) == [f"bar/{n}-b.png" for n in range(4)], rename
        assert len(sources()) == len(grounds()) + 4
        assert sorted(file.name for file in Path("quarantine").rglob("*.png")) == [f"{n}-b.png" for n in range(4)]
    assert rename > 8
    assert len(record()) == 4


def test_a_fix_that_is_killed_by_the_clock_loses_and_doubles_nothing(judged, here):
    rng = np.random.default_rng(7)
    twins = [sample(drawing("bar", rng, size=32), f"bar/{n}.png", "bar") for n in range(150)]
    twins += [Sample("bar", f"bar/again{each.source[4:]}", each.frames) for each in twins]
    judged([*grounds(), *twins])
    command = [sys.executable, "-m", "components", "fix", "data", "validation", "--apply", "W_DUPLICATE"]
    for delay in (1.0, 1.3, 1.6):
        process = subprocess.Popen(command, env={**os.environ, "PYTHONPATH": str(ROOT)}, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.DEVNULL)  # fmt: skip
        time.sleep(delay)
        process.kill()
        process.wait()
    with contextlib.suppress(CannotRun):
        fix(Path("data"), Path("validation"), apply=("W_DUPLICATE",))
    assert sorted(row["source"] for row in record()) == sorted(f"bar/again{n}.png" for n in range(150))
    assert len(sources()) == len(grounds()) + 150
    assert len(list(Path("quarantine").rglob("*.png"))) == 150


def test_a_quarantine_inside_what_is_replaced_is_refused(judged):
    pixels = drawing("bar", np.random.default_rng(50), size=32)
    judged([*grounds(), sample(pixels, "bar/a.png", "bar"), sample(pixels, "bar/b.png", "bar")])
    for place in ("data", "data/dropped", "validation/dropped"):
        with pytest.raises(CannotRun, match=f"--quarantine {place}: lies in "):
            fix(Path("data"), Path("validation"), apply=("W_DUPLICATE",), quarantine=Path(place))
    assert "bar/b.png" in sources()


def test_of_overlapping_clips_only_those_count_that_overlap_with_one_that_does_not(judged):
    rng = np.random.default_rng(4)
    frames = [png(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)) for _ in range(24)]

    def clip(name: str, frames: list[bytes], label: str) -> Sample:
        return Sample(label, name, tuple((content, f"{name}/{n}.png") for n, content in enumerate(frames)))

    windows = [clip(f"run/{start}", frames[start : start + 8], "left") for start in (0, 5, 10, 15)]
    others = [clip(f"other/{n}", [png(rng.integers(0, 255, (16, 16, 3), dtype=np.uint8)) for _ in range(8)], ("left", "right")[n % 2])
              for n in range(24)]  # fmt: skip
    found = judged([*windows, *others])
    assert found["W_OVERLAP"]["items"] == [
        "run/5: 38% of its frames are in run/0", "run/15: 38% of its frames are in run/10",
    ]  # fmt: skip


def test_findings_of_an_older_version_are_refused_in_a_line(judged):
    judged(grounds())
    pd.DataFrame({"code": ["W_DUPLICATE"]}).to_parquet("validation/findings.parquet")
    with pytest.raises(CannotRun, match="no findings that can be read"):
        fix(Path("data"), Path("validation"))
