"""Which labels are classes, which are slips for another one, and which are none at all."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import MEASURE, by_code, drawing, png

from components.ingest.step import ingest
from components.measure.step import measure
from components.shared.data import dataset
from components.shared.data import manifest as manifests
from components.shared.data.dataset import Sample
from components.shared.errors import Refused
from components.validate import label_checks
from components.validate.config import ValidateConfig
from components.validate.context import Context
from components.validate.step import validate


@pytest.fixture
def meant(knobs):
    """`meant({label: samples})`: which labels are taken for a slip, and what for."""

    def unknown(counts: dict[str, int], **changes) -> dict[str, str]:
        labels = pd.Series(np.repeat(list(counts), list(counts.values())), dtype="category")
        context = Context(pd.DataFrame({"label": labels}), knobs(ValidateConfig, "validate", **changes), Path())
        found = label_checks.unknown(context)
        return dict(zip(labels[found.index], found["suggested"], strict=True))

    return unknown


@pytest.mark.parametrize(
    "counts",
    [
        {"goat": 2000, "boat": 90}, {"goat": 2000, "boat": 10}, {"cat": 5000, "bat": 40, "rat": 249}, {"horse": 3000, "house": 12},
        {"a": 500, "A": 400, "b": 5, "B": 300}, {"é": 50, "e": 900}, {"lot 12": 900, "lot 21": 4}, {"A1": 800, "A2": 3},
        {"mouse": 60, "moose": 4}, {"none": 500, "nine": 20}, {"2024": 900, "2025": 2},
    ],
    ids=lambda counts: " ".join(counts),
)  # fmt: skip
def test_classes_that_only_look_like_a_slip_pass(meant, counts):
    assert meant(counts) == {}


def test_a_misspelling_is_rare_absolutely_and_beside_what_it_is_for(meant):
    counts = {"goat": 2000, "gaot": 9, "goatt": 1, "elephant": 400, "elefant": 9, "elephent": 10, "tiger": 180, "tigr": 9, "lion": 179,
              "lionn": 9}  # fmt: skip
    assert meant(counts) == {"gaot": "goat", "goatt": "goat", "elefant": "elephant", "tigr": "tiger"}
    assert "gaot" not in meant(counts, min_class_size=9)
    assert meant({"dog": 900, "dgo": 2, "DGO": 1}) == {"dgo": "dog", "DGO": "dog"}


def test_twins_by_case_space_or_accents_are_certain_however_many_they_are(meant):
    counts = {"dog": 900, "Dog": 880, " dog": 1, "dog ": 500, "hot  dog": 40, "hot dog": 60, "caf\u00e9": 30, "cafe\u0301": 20,
              "e\u0301": 20, "\u00e9": 30, "STRASSE": 10, "straße": 20}  # fmt: skip
    assert meant(counts) == {
        "Dog": "dog", " dog": "dog", "dog ": "dog", "hot  dog": "hot dog", "cafe\u0301": "caf\u00e9", "e\u0301": "\u00e9",
        "STRASSE": "straße",
    }  # fmt: skip


def test_of_several_classes_the_nearest_is_meant_then_the_most_frequent(meant):
    assert meant({"panther": 400, "panthers": 900, "pantherz": 2}) == {"pantherz": "panthers"}
    assert meant({"puma one": 900, "puma ones": 200, "puma onez": 2}) == {"puma onez": "puma one"}


@pytest.mark.parametrize(
    ("counts", "classes"),
    [
        ({"none": 10, "cat": 20}, {"none", "cat"}), ({"none": 9, "cat": 20}, {"cat"}), ({"NA": 10, "na": 2, "cat": 5}, {"NA", "na", "cat"}),
        ({"N/A": 4, "n/a": 5, "cat": 5}, {"cat"}), ({"?": 30, "cat": 5}, {"?", "cat"}), ({"None": 7, "none": 3}, {"None", "none"}),
        ({"nan": 500, "cat": 5}, {"cat"}), ({"NULL": 500, "cat": 5}, {"cat"}), ({"": 500, " ": 500, "cat": 5}, {"cat"}),
        ({"-": 3, "0": 3, "false": 3}, {"-", "0", "false"}), ({"$": 3, "$$": 3}, {"$", "$$"}),
    ],
    ids=lambda named: str(sorted(named)),  # of a set as well: every process names the tests alike
)  # fmt: skip
def test_a_word_for_nothing_is_a_class_when_ten_samples_have_it_and_what_programs_write_never_is(counts, classes):
    rows = pd.DataFrame({"label": pd.Series([*np.repeat(list(counts), list(counts.values())), None], dtype="str")})
    assert set(manifests.labels(rows).dropna()) == classes


@pytest.mark.parametrize("form", ["folders", "table"])
@pytest.mark.parametrize("count", [9, 10])
def test_folders_and_cells_named_none_are_told_in_the_same_way(tmp_path, knobs, form, count):
    rng = np.random.default_rng(0)
    lines = ["path,label"]
    for label, number in (("cat", 12), ("none", count), ("NA", count)):
        (tmp_path / "s" / label).mkdir(parents=True)
        for each in range(number):
            (tmp_path / "s" / label / f"{each}.png").write_bytes(png(drawing("box", rng)))
            lines.append(f"{label}/{each}.png,{label}")
    (tmp_path / "s" / "t.csv").write_text("\n".join(lines)) if form == "table" else None
    ingest(str(tmp_path / "s" / ("t.csv" if form == "table" else "")), tmp_path / "data")
    measure(data=tmp_path / "data", config=knobs(type(MEASURE), "measure"), manifest=tmp_path / "m")
    judge = {"manifest": tmp_path / "m", "config": knobs(ValidateConfig, "validate"), "validation": tmp_path / "v"}
    if count == 10:
        validate(**judge)
        return
    with pytest.raises(Refused):
        validate(**judge)
    finding = by_code(tmp_path / "v/findings.json")["E_LABEL_EMPTY"]
    assert finding["count"] == 18
    assert "NA/0.png: label 'NA'" in finding["items"]
    assert "one called none, NA, n/a or ? needs 10 samples" in finding["fix"]


def test_a_shard_without_labels_at_all_is_told_so(tmp_path, knobs):
    rng = np.random.default_rng(0)
    (tmp_path / "data").mkdir()
    samples = [Sample(None, f"{n}.png", ((png(drawing("box", rng)), f"{n}.png"),)) for n in range(12)]
    dataset.write_shard(samples, tmp_path / "data" / "0.parquet")
    measure(data=tmp_path / "data", config=knobs(type(MEASURE), "measure"), manifest=tmp_path / "m")
    with pytest.raises(Refused):
        validate(manifest=tmp_path / "m", config=knobs(ValidateConfig, "validate"), validation=tmp_path / "v")
    found = by_code(tmp_path / "v/findings.json")
    assert {"E_LABEL_EMPTY", "E_ONE_CLASS"} == {code for code in found if code.startswith("E_")}
