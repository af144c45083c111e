from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import MEASURE, draw_clips, draw_stills

from components.ingest.step import ingest
from components.measure.step import measure
from components.prepare.config import PrepareConfig
from components.prepare.split import assign, units
from components.prepare.step import prepare
from components.shared import files
from components.shared.data import arrays, manifest
from components.shared.errors import CannotRun, Refused


@pytest.fixture
def prepared(tmp_path, knobs):
    """`prepared(source, **knobs)`: ingest, measure, prepare; returns the folder."""

    def make(source: Path, *, seed: int = 1, shard_samples: int = 40, out: str = "prepared", **changes) -> Path:
        ingest(str(source), tmp_path / "data", replace=True, shard_samples=shard_samples)
        measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "manifest")
        digest = manifest.data_digest(tmp_path / "manifest")
        files.write_json(tmp_path / "summary.json", {"passed": True, "data_digest": digest})
        config = knobs(PrepareConfig, "prepare", **{"height": 16, "width": 16, "channels": 3, **changes})
        prepare(data=tmp_path / "data", manifest=tmp_path / "manifest", verdict=tmp_path / "summary.json",
                config=config, seed=seed, prepared=tmp_path / out)  # fmt: skip
        return tmp_path / out

    return make


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(labels, *, groups=None, splits=None, pictures=None) -> pd.DataFrame:
    count = len(labels)
    return pd.DataFrame({
        "id": [str(n) for n in range(count)], "label": labels, "group": groups or [None] * count,
        "split": splits or [None] * count, "pixels_digest": pictures or [f"p{n}" for n in range(count)],
    })  # fmt: skip


def test_pictures_arrive_as_they_are_under_the_right_label(stills, prepared):
    folder = prepared(stills)
    layout = arrays.Layout.read(folder)
    assert (layout.classes, layout.shape) == (["bar", "box", "cross"], (16, 16, 3))
    from PIL import Image

    total = 0
    for name in ("train", "validation", "test"):
        split = arrays.load(folder / name)
        for image, label, sample in zip(split.images, split.labels, split.samples(), strict=True):
            assert sample["source"].startswith(layout.classes[label])
            assert np.array_equal(image, np.asarray(Image.open(stills / sample["source"])))
            total += 1
    assert total == 90


def test_classes_keep_their_proportions(stills, prepared):
    folder = prepared(stills)
    counts = {name: np.bincount(arrays.load(folder / name).labels) for name in ("train", "validation", "test")}
    assert all(np.ptp(count) <= 1 for count in counts.values())
    assert counts["validation"].sum() == 9
    assert counts["test"].sum() in (12, 15)


def test_the_same_seed_is_the_same_bytes_and_another_seed_another_split(stills, prepared):
    one = everything(prepared(stills, out="one"))
    assert everything(prepared(stills, out="two")) == one
    assert everything(prepared(stills, out="three", seed=2)) != one


def test_how_the_data_is_cut_into_shards_changes_no_byte_but_the_digest(stills, prepared):
    one = everything(prepared(stills, out="one", shard_samples=17))
    two = everything(prepared(stills, out="two", shard_samples=90))
    assert {n: b for n, b in one.items() if n != "layout.json"} == {n: b for n, b in two.items() if n != "layout.json"}


def test_official_splits_are_respected():
    table = rows(["a", "b"] * 50, splits=(["test"] * 20 + ["train"] * 80))
    split = assign(table, validation_fraction=0.1, test_fraction=0.2, seed=0)
    assert (split[:20] == "test").all()
    assert (split[20:] == "validation").sum() == 8
    both = rows(["a", "b"] * 50, splits=(["test"] * 20 + ["validation"] * 10 + ["train"] * 70))
    assert (assign(both, validation_fraction=0.1, test_fraction=0.2, seed=0) == both["split"]).all()


def test_a_group_stays_together_and_so_do_twins():
    groups = [f"g{n // 5}" for n in range(200)]
    pictures = [f"p{n}" for n in range(200)]
    pictures[7] = pictures[190]  # ties two groups together
    table = rows(["a" if n % 2 else "b" for n in range(200)], groups=groups, pictures=pictures)
    split = pd.Series(assign(table, validation_fraction=0.15, test_fraction=0.15, seed=3))
    assert (split.groupby(table["group"]).nunique() == 1).all()
    assert split[7] == split[190]
    assert split.value_counts()["test"] == pytest.approx(30, abs=10)
    assert len(np.unique(units(table))) == 39


def test_a_group_on_two_sides_of_the_official_split_is_refused():
    table = rows(["a", "b"] * 20, groups=["g"] * 40, splits=["test"] * 10 + ["train"] * 30)
    with pytest.raises(Refused, match="group 'g' is on two sides"):
        assign(table, validation_fraction=0.2, test_fraction=0.2, seed=0)


def test_too_few_samples_to_split_are_refused():
    with pytest.raises(Refused, match="class 'b' has no sample in test"):
        assign(rows(["a", "a", "b"]), validation_fraction=0.1, test_fraction=0.1, seed=0)


def test_short_clips_are_padded_with_zeros_and_long_ones_thinned(tmp_path, prepared):
    draw_clips(tmp_path / "clips")
    folder = prepared(tmp_path / "clips", max_frames=5)
    train = arrays.load(folder / "train")
    assert train.images.shape[1:] == (5, 16, 16, 3)
    there = train.images.any(axis=(2, 3, 4))
    assert {int(n) for n in there.sum(1)} <= {4, 5}
    assert there[:, 0].all()
    assert not there.all()


def test_data_that_did_not_pass_or_changed_since_is_not_prepared(stills, prepared, tmp_path, knobs):
    folder = prepared(stills)
    arguments = {"data": tmp_path / "data", "manifest": tmp_path / "manifest", "verdict": tmp_path / "summary.json",
                 "config": knobs(PrepareConfig, "prepare"), "seed": 1, "prepared": folder}  # fmt: skip
    before = everything(folder)
    files.write_json(tmp_path / "summary.json", {"passed": False})
    with pytest.raises(Refused, match="did not pass"):
        prepare(**arguments)
    files.write_json(tmp_path / "summary.json", {"passed": True, "data_digest": "other.dir"})
    with pytest.raises(CannotRun, match="is about other data"):
        prepare(**arguments)
    assert everything(folder) == before


def test_what_has_no_label_to_validation_is_no_class(stills, prepared, capsys):
    (stills / "cross").rename(stills / "NaN")
    assert arrays.Layout.read(prepared(stills)).classes == ["bar", "box"]
    assert "30 samples without pixels or label are left out" in capsys.readouterr().out


def test_nothing_half_written_is_left_when_decoding_fails(tmp_path, prepared, monkeypatch):
    from components.prepare import step

    draw_stills(tmp_path / "s")
    monkeypatch.setattr(step, "fit", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepared(tmp_path / "s", shard_samples=1000)
    assert not (tmp_path / "prepared").exists()
    assert not list(tmp_path.glob(".prepared*.tmp"))


def test_adding_pictures_hardly_moves_the_others():
    def test_part(count: int, seed: int = 1) -> set[int]:
        split = assign(
            rows(["a" if n % 3 else "b" for n in range(count)]), validation_fraction=0.1, test_fraction=0.15, seed=seed
        )
        return set(np.flatnonzero(split == "test"))

    before, after = test_part(1000), test_part(1300)
    trained_before = set(range(1000)) - before
    # What a model was trained on must not flatter it in the next version's test split.
    assert len(after & trained_before) < 0.1 * len(after)
    assert len(test_part(1000, seed=2) & before) < 0.4 * len(before)


def test_a_frame_that_is_black_all_over_is_not_taken_for_padding(tmp_path, prepared):
    from conftest import png

    draw_clips(tmp_path / "clips")
    black = png(np.zeros((16, 16, 3), np.uint8))
    for frame in (tmp_path / "clips/left/clip0").iterdir():
        frame.write_bytes(black)
    folder = prepared(tmp_path / "clips")
    for name in ("train", "validation", "test"):
        assert arrays.load(folder / name).images[:, 0].any(axis=(1, 2, 3)).all()
