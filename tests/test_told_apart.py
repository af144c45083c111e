"""Drift of the pictures themselves: told when all are drawn anew, and not when nothing has moved or more of the same came."""

import os
import shutil

import drawn
import numpy as np
import pyarrow as pa
import pytest
from conftest import MEASURE, by_code, png
from PIL import Image, ImageDraw

from components.ingest.step import ingest
from components.measure.step import measure
from components.shared.data import manifest as manifests
from components.validate.config import ValidateConfig
from components.validate.context import Context
from components.validate.step import validate
from components.validate.told_apart import told_apart

SHAPES = ("ring", "cross", "house", "arrow")


def thing(shape: str, rng: np.random.Generator, *, stroke: int, ground: int, noise: float) -> np.ndarray:
    """uint8 (32, 32): a line drawing of one thing in a place and size of its own, in one vendor's manner."""
    image = Image.new("L", (32, 32), ground)
    pen, ink = ImageDraw.Draw(image), 255 - ground
    x, y, size = (int(rng.integers(*limits)) for limits in ((2, 9), (2, 9), (13, 20)))
    right, low, middle = x + size, y + size, (x + size // 2, y + size // 2)
    if shape == "ring":
        pen.ellipse([x, y, right, low], outline=ink, width=stroke)
    for line in {"ring": [], "cross": [[(x, y), (right, low)], [(x, low), (right, y)]],
                 "house": [[(x, low), (x, middle[1]), (middle[0], y), (right, middle[1]), (right, low), (x, low)]],
                 "arrow": [[(x, middle[1]), (right, middle[1])], [middle, (right, middle[1]), (middle[0], low)]]}[shape]:  # fmt: skip
        pen.line(line, fill=ink, width=stroke)
    return np.clip(np.asarray(image) + rng.normal(0, noise, (32, 32)), 0, 255).astype(np.uint8)


USUAL, OTHER = {"stroke": 2, "ground": 230, "noise": 6}, {"stroke": 4, "ground": 215, "noise": 14}


@pytest.fixture
def judged(tmp_path, knobs):
    """`judged({shape: [(manner, seed), ...]})`: W_DRIFT's message for these drawings, or None."""

    def judge(drawings: dict[str, list[tuple[dict, int]]]) -> str | None:
        source = tmp_path / f"source{len(list(tmp_path.iterdir()))}"
        for shape, each in drawings.items():
            (source / shape).mkdir(parents=True)
            for number, (manner, seed) in enumerate(each):
                (source / shape / f"{number}.png").write_bytes(
                    png(thing(shape, np.random.default_rng([seed, len(shape)]), **manner))
                )
        if "DARKROOM_STORE" in os.environ:
            shutil.rmtree(tmp_path / "v", ignore_errors=True)  # as a pod begins
        ingest(str(source), tmp_path / "data", replace=True)
        measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "manifest")
        validate(manifest=tmp_path / "manifest", config=knobs(ValidateConfig, "validate"), validation=tmp_path / "v")
        return by_code(tmp_path / "v/findings.json").get("W_DRIFT", {}).get("message")

    return judge


@pytest.mark.parametrize("where", ["here", "another pod"])
def test_another_vendors_drawing_of_the_same_things_is_told_class_by_class(judged, tmp_path, monkeypatch, where):
    if where == "another pod":
        monkeypatch.setenv("DARKROOM_STORE", (tmp_path / "store").as_uri())
    usual = {shape: [(USUAL, n) for n in range(60)] for shape in SHAPES}
    assert judged(usual) is None
    more = {shape: [(USUAL, n) for n in range(90)] for shape in SHAPES}
    assert judged(more) is None, "samples were merely added"
    ring = more | {"ring": [(OTHER, n) for n in range(200, 290)]}
    for _ in range(2):  # judged again, it is held against the same data
        message = judged(ring)
        assert "the pictures look different: of a new and an accepted one of the same class" in message
        assert message.endswith("by class (moved: 1 of 4): 'ring' 100%")
    assert judged({shape: [(OTHER, n) for n in range(200, 290)] for shape in SHAPES}).endswith(
        "by class (moved: 3 of 4): 'arrow' 100%, 'cross' 100%, 'house' 100%"
    )


@pytest.mark.parametrize("seed", range(20))
def test_two_halves_of_one_set_are_not_told_apart(seed):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 6, 1200)
    features = np.clip(rng.integers(60, 190, (6, 224))[labels] + rng.normal(0, 40, (1200, 224)), 0, 255).astype(np.uint8)
    new, units = rng.random(1200) < 0.5, rng.integers(0, 2**64, 1200, dtype=np.uint64)
    apart = told_apart(features, labels, new, units)
    assert 0.4 < apart.share < apart.chance < 0.6
    assert (apart.classes["share"] < apart.classes["chance"]).all()


@pytest.mark.parametrize("seed", range(5))
def test_people_who_differ_as_people_do_are_no_new_look(seed):
    """600 pictures, but of 24 people: each is on one side, and looks like no other."""
    rng = np.random.default_rng(seed)
    person = np.arange(600) % 24
    features = np.clip(rng.normal(128, 30, (24, 224))[person] + rng.normal(0, 5, (600, 224)), 0, 255).astype(np.uint8)
    apart = told_apart(features, np.zeros(600, int), person % 2 == 0, person.astype(np.uint64))
    assert apart.share < apart.chance
    assert apart.classes["chance"].item() == apart.chance > 0.7, "twelve people a side do not show much"


def test_of_few_pictures_of_a_class_nothing_is_said():
    features = np.random.default_rng(0).integers(0, 256, (19, 224), dtype=np.uint8)
    assert told_apart(features, np.zeros(19, int), np.arange(19) < 10, np.arange(19, dtype=np.uint64)) is None
    features, new = features.repeat(2, axis=0)[:20], np.arange(20) < 10
    apart_by_fold = (5 * np.arange(20) + new).astype(np.uint64)
    assert told_apart(features, np.zeros(20, int), new, apart_by_fold) is None, "no fold has both"


def test_what_is_kept_of_a_large_set_is_a_draw_by_content(tmp_path, knobs, monkeypatch):
    monkeypatch.setattr("components.validate.context._SAMPLED", 300)
    limits = knobs(ValidateConfig, "validate")
    for name, rows in (("few", 1000), ("more", 1500)):
        drawn.draw(tmp_path / name, rows, ["a", "b"])
    few, more = (Context.read(tmp_path / name, limits).sample for name in ("few", "more"))
    assert (len(few), len(more)) == (300, 300)
    assert few.schema.field("features").type == pa.binary(224)
    again = np.isin(few["unit"], more["unit"]).sum()
    assert 150 < again < 250, "about two thirds, as of the pictures"


def test_features_of_another_make_are_not_compared(tmp_path, knobs):
    limits = knobs(ValidateConfig, "validate")
    drawn.draw(tmp_path / "m", 400, ["a", "b"])
    seen = Context.read(tmp_path / "m", limits).sample
    other = seen.set_column(2, "features", pa.array([bytes(224)] * 400, pa.binary(224)))
    figures = {"class_shares": {"a": 0.5, "b": 0.5}, "deciles": {}}
    accepted = drawn.Accepted(figures, other)
    assert "look different" in drawn.told(tmp_path / "m", limits, accepted)["W_DRIFT"]["message"]
    about = other.schema.metadata | {b"measured_by": b"an older version"}
    assert "W_DRIFT" not in drawn.told(tmp_path / "m", limits, drawn.Accepted(figures, other.replace_schema_metadata(about)))
    assert manifests.measured_by(tmp_path / "m") == ("drawn", "{}")
