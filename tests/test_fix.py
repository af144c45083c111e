"""`darkroom fix`: only what was chosen is changed, nothing is lost, what was done is written down."""

import contextlib
import csv
import json
import re

import numpy as np
import pytest
from conftest import MEASURE, by_code, draw_stills, drawing, png

from components.fix.step import fix
from components.ingest.step import ingest
from components.measure.step import measure
from components.shared import files
from components.shared.data import dataset
from components.shared.errors import CannotRun, Refused
from components.validate.config import ValidateConfig
from components.validate.step import validate


@pytest.fixture
def project(here, knobs):
    """A data set with planted faults, judged; returns a function that judges it again and gives the codes found."""
    source = here / "source"
    for split in ("train", "test"):
        draw_stills(source / split, each=15, seed=len(split))
    twin = png(drawing("bar", np.random.default_rng(1000)))
    (source / "train/bar/leak.png").write_bytes(twin)
    (source / "test/bar/kept.png").write_bytes(twin)
    (source / "train/box/copy.png").write_bytes((source / "train/box/0.png").read_bytes())
    (source / "train/box/bad.png").write_text("not a picture")
    (source / "train/Box").mkdir()
    (source / "train/Box/=cmd.png").write_bytes(png(drawing("box", np.random.default_rng(1001))))
    rows = ["path,label,group,split"]
    for path in sorted(source.rglob("*.png")):
        split, label = path.relative_to(source).parts[:2]
        group = "anna" if path.stem in ("3", "4") and label == "cross" else ""
        rows.append(f"{path.relative_to(source)},{label},{group},{split}")
    (source / "table.csv").write_text("\n".join(rows))
    ingest(str(source / "table.csv"), here / "data", shard_samples=40)

    def judge() -> set[str]:
        measure(data=here / "data", config=MEASURE, manifest=here / "manifest")
        with contextlib.suppress(Refused):
            validate(manifest=here / "manifest", config=knobs(ValidateConfig, "validate"), validation=here / "validation")
        return {finding["code"] for finding in json.loads((here / "validation/findings.json").read_text())}

    return judge


def samples(data) -> dict[str, dataset.Sample]:
    return {sample.source: sample for shard in dataset.shards(data) for sample in dataset.read_samples(shard)}


def test_it_lists_what_can_be_done_and_changes_nothing(project, here, capsys):
    project()
    before = {shard.name: shard.read_bytes() for shard in dataset.shards(here / "data")}
    capsys.readouterr()
    fix(here / "data", here / "validation")
    told = capsys.readouterr().out
    assert "E_LEAKAGE" in told
    assert re.search(r"E_LEAKAGE +drop 1 +2 of \d+: the same picture", told)
    assert "nothing was changed" in told
    assert {shard.name: shard.read_bytes() for shard in dataset.shards(here / "data")} == before
    assert not (here / "fixes.csv").exists()


def test_chosen_fixes_are_a_new_data_version_that_passes(project, here):
    assert project() >= {"E_LEAKAGE", "W_DUPLICATE", "E_NOT_IMAGE", "E_LABEL_UNKNOWN", "E_GROUP_LEAKAGE"}
    old = samples(here / "data")
    codes = ("E_LEAKAGE", "W_DUPLICATE", "E_NOT_IMAGE", "E_LABEL_UNKNOWN", "E_GROUP_LEAKAGE")
    fix(here / "data", here / "validation", apply=codes)
    new = samples(here / "data")
    gone = set(old) - set(new)
    assert gone == {"train/bar/leak.png", "train/box/copy.png", "train/box/bad.png"}
    assert new["train/Box/=cmd.png"].label == "box"
    assert {new[f"{split}/cross/{n}.png"].split for split in ("train", "test") for n in (3, 4)} == {"train"}
    for source in gone:  # what is dropped is kept, byte for byte
        kept = next((here / "quarantine").glob(f"*/{source}"))
        assert kept.read_bytes() == old[source].frames[0][0]
    changed = {source for source, sample in new.items() if sample != old[source]}
    assert changed == {"train/Box/=cmd.png", "test/cross/3.png", "test/cross/4.png"}
    with (here / "fixes.csv").open(newline="") as stream:
        log = list(csv.DictReader(stream))
    assert {row["code"] for row in log} == set(codes)
    assert {row["data_after"] for row in log} == {
        dataset.data_digest({shard.name: files.digest(shard, "md5") for shard in dataset.shards(here / "data")})
    }
    assert next(row for row in log if row["source"].endswith("=cmd.png"))["after"] == "box"
    assert not {code for code in project() if code.startswith("E_")}


def test_only_the_samples_that_are_named_are_touched(project, here):
    project()
    fix(here / "data", here / "validation", apply=("E_LEAKAGE", "W_DUPLICATE"), only=("train/box/copy.png",))
    assert "train/bar/leak.png" in samples(here / "data")
    assert "train/box/copy.png" not in samples(here / "data")


def test_what_cannot_be_fixed_so_is_refused(project, here, monkeypatch):
    project()
    with pytest.raises(CannotRun, match=r"--apply W_TYPO: no finding that can be fixed so; the data has: E_GROUP_LEAKAGE"):
        fix(here / "data", here / "validation", apply=("W_TYPO",))
    with pytest.raises(CannotRun, match="nothing to change"):
        fix(here / "data", here / "validation", apply=("W_DUPLICATE",), only=("nowhere.png",))
    fix(here / "data", here / "validation", apply=("W_DUPLICATE",))
    with pytest.raises(CannotRun, match="is about other data than"):
        fix(here / "data", here / "validation", apply=("E_LEAKAGE",))


def test_a_guess_of_a_model_needs_a_person(here, knobs):
    source = draw_stills(here / "source", each=60)
    for number in range(3):
        (source / "bar" / f"{number}.png").rename(source / "box" / f"wrong{number}.png")
    ingest(str(source), here / "data")
    measure(data=here / "data", config=MEASURE, manifest=here / "manifest")
    config = knobs(ValidateConfig, "validate", max_label_trust=0.9)
    validate(manifest=here / "manifest", config=config, validation=here / "validation")
    findings = by_code(here / "validation/findings.json")
    assert "W_LABEL_SUSPECT" in findings
    with pytest.raises(CannotRun, match="a model's guess is no label"):
        fix(here / "data", here / "validation", apply=("W_LABEL_SUSPECT",))
    path = findings["W_LABEL_SUSPECT"]["items"][0].partition(":")[0]
    fix(here / "data", here / "validation", apply=("W_LABEL_SUSPECT",), only=(path,))
    with (here / "fixes.csv").open(newline="") as stream:
        (row,) = csv.DictReader(stream)
    assert samples(here / "data")[path].label == row["after"] != row["before"]
