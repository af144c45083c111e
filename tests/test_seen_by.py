"""The checks by a pretrained network's features: what they find then, what they call it, and which features they refuse."""

import drawn
import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import MEASURE, by_code, png
from PIL import Image, ImageFilter

from components.ingest.step import ingest
from components.measure.step import measure
from components.shared.data import embeddings
from components.shared.data.manifest import parts
from components.shared.errors import CannotRun
from components.validate import crops, features
from components.validate.accepted import Accepted
from components.validate.config import ValidateConfig
from components.validate.context import Context
from components.validate.step import validate

BY = "by pretrained features (efficientnet-lite0)"


def scene(seed: int) -> Image.Image:
    """128 x 160 pixels of something: coloured patches, large and small."""
    rng = np.random.default_rng(seed)
    coarse, fine = (
        Image.fromarray(rng.integers(0, 256, (*size, 3), dtype=np.uint8)).resize((128, 160)) for size in ((5, 4), (16, 12))
    )
    return Image.blend(coarse, fine, 0.5)


def vectors(rows: int) -> np.ndarray:
    """Of which none is near another."""
    return np.random.default_rng(0).normal(size=(rows, 64))


def pixels(picture: Image.Image) -> np.ndarray:
    return np.asarray(picture, np.float32)


@pytest.fixture
def levels() -> np.ndarray:
    """Of 400 samples, two classes by turns, which they tell apart."""
    rng = np.random.default_rng(0)
    return np.clip(rng.normal(120 + 20 * (np.arange(400)[:, None] % 2), 20, (400, embeddings.WIDTH)), 0, 255).astype(np.uint8)


@pytest.fixture
def manifest(tmp_path):
    """400 samples of the classes a and b, by turns."""
    drawn.draw(tmp_path / "m", 400, ["a", "b"])
    return tmp_path / "m"


def test_wrong_labels_are_told_by_pretrained_features_where_there_are_some(tmp_path, manifest, levels, knobs):
    limits = knobs(ValidateConfig, "validate")
    labels = ["a" if (row % 2 == 0) != (row % 50 == 0) else "b" for row in range(400)]  # eight are wrong
    drawn.change(
        manifest, {"label": labels, "features": np.zeros((400, 160), np.uint8), "thumbnail": np.zeros((400, 256), np.uint8)}
    )
    assert "W_LABEL_SUSPECT" not in drawn.told(manifest, limits), "gradients and colours are all the same"
    found = drawn.told(manifest, limits, seen=drawn.embedded(manifest, tmp_path / "e", vectors(400), levels))["W_LABEL_SUSPECT"]
    assert len(found["records"]) >= 3
    assert {item["source"] for item in found["records"]} <= {f"{'ab'[row % 2]}/{row:09d}.png" for row in range(0, 400, 50)}
    assert BY in found["message"]


def test_drift_is_told_by_features_of_one_network_and_never_between_two(tmp_path, manifest, levels, knobs):
    limits = knobs(ValidateConfig, "validate")
    moved = levels.copy()
    moved[:, ::2] += 10
    seen = {
        name: drawn.embedded(manifest, tmp_path / name, vectors(400), each, sha256=network)
        for name, each, network in (("old", levels, "a1"), ("new", moved, "a1"), ("other", moved, "b2"))
    }
    figures = {"class_shares": {"a": 0.5, "b": 0.5}, "deciles": {}}
    before = Accepted(figures, Context.read(manifest, limits, None, seen["old"]).sample)
    message = drawn.told(manifest, limits, before, seen["new"])["W_DRIFT"]["message"]
    assert f"a simple model that has seen neither, {BY}, picks the new one" in message
    assert "W_DRIFT" not in drawn.told(manifest, limits, before, seen["old"])
    assert "W_DRIFT" not in drawn.told(manifest, limits, before, seen["other"])
    assert "W_DRIFT" not in drawn.told(manifest, limits, before), "nor with gradients and colours"


def test_vectors_of_other_data_are_refused_and_those_of_a_network_that_knows_the_labels_are_not_used(
    tmp_path, manifest, levels, knobs, capsys
):
    def made(name: str, rows: int = 400, **facts: object):
        drawn.embedded(manifest, tmp_path / name, vectors(rows), levels[:rows], **facts)
        return features.pretrained(tmp_path / name, manifest)

    assert made("right").network == "efficientnet-lite0"
    for name, rows, facts in (("stale", 400, {"data_digest": "0.dir"}), ("fewer", 399, {})):
        with pytest.raises(CannotRun, match=f"{name}: about other data .* `dvc repro embed` makes it anew"):
            made(name, rows, **facts)
    assert made("trained", model="outputs/models/cnn") is None
    assert "trained on these labels (outputs/models/cnn), and would agree with them: not used" in capsys.readouterr().out
    assert features.pretrained(None, manifest) is None
    config = knobs(ValidateConfig, "validate")
    with pytest.raises(CannotRun, match="about other data"):
        validate(manifest=manifest, embeddings=tmp_path / "stale", config=config, validation=tmp_path / "v")
    assert not (tmp_path / "v/findings.json").exists()


def test_levels_of_a_picture_are_the_same_whatever_other_pictures_there_are():
    seen = np.abs(np.random.default_rng(0).normal(size=(50, 1280)))
    assert (embeddings.levels(seen)[:5] == embeddings.levels(seen[:5])).all()
    assert 20 < embeddings.levels(seen).std() < 60


@pytest.mark.parametrize("edit", [
    lambda picture: picture.crop((10, 20, 112, 148)),
    lambda picture: picture.crop((0, 0, 100, 130)).resize((300, 390)),
    lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT).point(lambda level: 0.7 * level + 40),
    lambda picture: picture.filter(ImageFilter.GaussianBlur(1)),
])  # fmt: skip
def test_a_crop_or_an_edit_is_like_its_photo_and_another_photo_is_not(edit):
    assert crops.likeness(pixels(edit(scene(1))), pixels(scene(1))) > 0.9
    assert crops.likeness(pixels(scene(1)), pixels(edit(scene(1)))) > 0.9
    assert crops.likeness(pixels(edit(scene(2))), pixels(scene(1))) < 0.5


def test_what_shows_too_little_is_like_nothing():
    grey = np.full((60, 60, 3), 90, np.float32)
    assert crops.likeness(grey, grey) == crops.likeness(pixels(scene(1)), grey) == 0
    tiny = pixels(scene(1).resize((28, 28)))
    assert crops.likeness(tiny, tiny) == 0


@pytest.fixture
def checked(tmp_path, knobs):
    """`checked(pictures, vectors)`: findings by code of these photos of one class, and the pairs that a split keeps together."""

    def check(pictures: list[Image.Image], vectors: np.ndarray) -> tuple[dict, list[dict]]:
        for label, some in (("photo", pictures), ("other", [scene(1000 + number) for number in range(12)])):
            (tmp_path / "s" / label).mkdir(parents=True)
            for number, picture in enumerate(some):
                (tmp_path / "s" / label / f"{number:02d}.png").write_bytes(png(np.asarray(picture)))
        ingest(str(tmp_path / "s"), tmp_path / "data")
        measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "m")
        sources = [source for _, table in parts(tmp_path / "m", ["source"]) for source in table["source"].to_pylist()]
        rows = np.argsort(np.argsort([source.replace("photo", "") for source in sources]))  # photos first
        vectors = np.concatenate([vectors, np.random.default_rng(1).normal(size=(12, 64))])[rows]
        drawn.embedded(tmp_path / "m", tmp_path / "e", vectors, np.zeros((len(rows), embeddings.WIDTH), np.uint8))
        validate(
            manifest=tmp_path / "m",
            embeddings=tmp_path / "e",
            config=knobs(ValidateConfig, "validate"),
            validation=tmp_path / "v",
        )
        pairs = pq.read_table(tmp_path / "v/pairs.parquet").to_pylist()
        return by_code(tmp_path / "v/findings.json"), [{sources[pair["one"]], sources[pair["other"]]} for pair in pairs]

    return check


def test_crops_are_near_duplicates_that_a_split_keeps_together(checked):
    vectors = np.random.default_rng(0).normal(size=(21, 64))
    vectors[20] = vectors[4] + 0.1
    vectors[19] = vectors[5] + 0.1  # near, and yet another picture
    found, pairs = checked([*(scene(number) for number in range(20)), scene(4).crop((10, 10, 118, 150))], vectors)
    assert found["W_NEAR_DUPLICATE"]["items"] == ["photo/20.png ~ photo/04.png"]
    assert BY in found["W_NEAR_DUPLICATE"]["message"]
    assert pairs == [{"photo/04.png", "photo/20.png"}]


def test_forms_that_are_alike_but_for_what_is_written_into_them_are_no_twins(tmp_path, manifest, levels):
    forms = [scene(0) for _ in range(20)]
    for number, form in enumerate(forms):
        form.paste(scene(100 + number).resize((14, 10)), (30 + number, 60))
    assert crops.likeness(pixels(forms[0]), pixels(forms[1])) > crops.LIMIT
    seen = drawn.embedded(manifest, tmp_path / "e", np.random.default_rng(0).normal(10, 1, (400, 64)), levels)
    encoded = pd.Series([png(np.asarray(form)) for form in [*forms[:-1], forms[0]]])
    found = crops.near(seen, lambda rows: encoded.iloc[rows], np.arange(20), np.zeros(20, int))
    assert set(map(tuple, found.tolist())) <= {(0, 19)}, "the same picture at most"
