import hashlib
import itertools
import shutil
import types
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import MEASURE, ROOT, SHAPES, draw_clips, draw_stills, drawing, measured, png
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from components.ingest.step import ingest
from components.measure.step import measure
from components.prepare import plan
from components.prepare.config import PrepareConfig
from components.prepare.split import assign, units
from components.prepare.step import prepare
from components.shared import files
from components.shared.data import arrays, manifest, seen, twins
from components.shared.data.dataset import SPLITS
from components.shared.errors import CannotRun, Refused
from components.validate.context import Context
from components.validate.items import write_pairs

LIMITS = yaml.safe_load((ROOT / "params.yaml").read_text())["validate"]


def judge(folder: Path, pairs: np.ndarray | None = None, **summary) -> dict[str, Path]:
    """What validate would have written of `folder/manifest`: the inputs of prepare. Pairs as it finds them, unless given."""
    manifest_folder = folder / "manifest"
    if pairs is None:
        limits = types.SimpleNamespace(**LIMITS)
        context = Context.read(manifest_folder, limits)
        write_pairs(context, folder / "pairs.parquet")
    else:
        table = {"one": pairs[:, 0], "other": pairs[:, 1], "kind": ["near"] * len(pairs)}
        table = pa.table(table).replace_schema_metadata({"data_digest": manifest.data_digest(manifest_folder)})
        pq.write_table(table, folder / "pairs.parquet")
    content = {"passed": True, "data_digest": manifest.data_digest(manifest_folder), "knobs": {"validate": LIMITS}}
    files.write_json(folder / "summary.json", content | summary)
    inputs = {"data": "data", "manifest": "manifest", "verdict": "summary.json", "pairs": "pairs.parquet"}
    return {name: folder / path for name, path in inputs.items()}


@pytest.fixture
def config(knobs):
    """`config(split_seed=2)`: small colour pictures; some knobs changed."""
    return lambda **changes: knobs(
        PrepareConfig, "prepare", **{"height": 16, "width": 16, "channels": 3, "split_seed": 1, **changes}
    )


@pytest.fixture
def prepared(tmp_path, config):
    """`prepared(source, **knobs)`: ingest, measure, prepare; returns the folder."""

    def make(source: Path, *, shard_samples: int = 40, out: str = "prepared", **changes) -> Path:
        ingest(str(source), tmp_path / "data", replace=True, shard_samples=shard_samples)
        measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "manifest")
        prepare(**judge(tmp_path), config=config(**changes), prepared=tmp_path / out)
        return tmp_path / out

    return make


@pytest.fixture
def split(config):
    """`split(rows, pairs, **knobs)`: the side of each row."""

    def draw(table: pd.DataFrame, pairs=(), **changes) -> np.ndarray:
        together = np.array(pairs, int).reshape(-1, 2)
        sides = assign(table, units(table["key"].to_numpy(), table["group"], together), config(**changes))
        return np.array(SPLITS, object)[sides]

    return draw


def everything(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def rows(labels, *, groups=None, splits=None, pictures=None) -> pd.DataFrame:
    count = len(labels)
    keys = np.arange(count) if pictures is None else np.array(pictures)
    columns = {"label": labels, "group": groups or [None] * count, "split": splits or [None] * count}
    return pd.DataFrame(columns, dtype=object).assign(key=keys.astype(np.uint64) * np.uint64(0x9E3779B97F4A7C15))


def test_pictures_arrive_as_they_are_under_the_right_label(stills, prepared):
    folder = prepared(stills)
    layout = arrays.Layout.read(folder)
    assert (layout.classes, layout.shape) == (["bar", "box", "cross"], (16, 16, 3))
    total = 0
    for name in ("train", "validation", "test"):
        split = arrays.load(folder / name)
        for image, label, sample in zip(split.images, split.labels, split.samples(), strict=True):
            assert sample["source"].startswith(layout.classes[label])
            assert np.array_equal(image, np.asarray(Image.open(stills / sample["source"])))
            total += 1
    assert total == 90
    rows = pq.read_table(folder / "test" / arrays.MEASURED).to_pylist()
    levels = [image.mean() for image in arrays.load(folder / "test").images]
    assert [row["brightness"] for row in rows] == pytest.approx(levels, abs=3)
    assert {(row["width"], row["height"], row["format"]) for row in rows} == {(16, 16, "PNG")}


def test_classes_keep_their_proportions(stills, prepared):
    folder = prepared(stills)
    counts = {name: np.bincount(arrays.load(folder / name).labels) for name in ("train", "validation", "test")}
    assert all(np.ptp(count) <= 1 for count in counts.values())
    assert counts["validation"].sum() == 9
    assert counts["test"].sum() in (12, 15)


def test_the_same_seed_is_the_same_bytes_and_another_seed_another_split(stills, prepared):
    one = everything(prepared(stills, out="one"))
    assert everything(prepared(stills, out="two")) == one
    assert everything(prepared(stills, out="three", split_seed=2)) != one


def test_how_the_data_is_cut_into_shards_changes_no_byte_but_the_digest(stills, prepared):
    one = everything(prepared(stills, out="one", shard_samples=17))
    two = everything(prepared(stills, out="two", shard_samples=90))
    assert {n: b for n, b in one.items() if n != "layout.json"} == {n: b for n, b in two.items() if n != "layout.json"}


def test_official_splits_are_respected(split):
    table = rows(["a", "b"] * 50, splits=(["test"] * 20 + ["train"] * 80))
    sides = split(table, validation_fraction=0.1, test_fraction=0.2)
    assert (sides[:20] == "test").all()
    assert (sides[20:] == "validation").sum() == 8
    both = rows(["a", "b"] * 50, splits=(["test"] * 20 + ["validation"] * 10 + ["train"] * 70))
    assert (split(both) == both["split"]).all()


def test_a_group_stays_together_and_so_do_twins(split):
    groups = [f"g{n // 5}" for n in range(200)]
    pictures = list(range(200))
    pictures[7] = pictures[190]  # ties two groups together
    table = rows(["a" if n % 2 else "b" for n in range(200)], groups=groups, pictures=pictures)
    sides = pd.Series(split(table, validation_fraction=0.15, test_fraction=0.15))
    assert (sides.groupby(table["group"]).nunique() == 1).all()
    assert sides[7] == sides[190]
    assert sides.value_counts()["test"] == pytest.approx(30, abs=10)
    assert len(np.unique(units(table["key"].to_numpy(), table["group"], np.empty((0, 2), int)))) == 39


def test_what_looks_the_same_stays_on_one_side_whatever_the_seed(split):
    table = rows(["a", "b", "c"] * 80)
    pairs = [(n, n + 3) for n in range(240) if n // 3 % 4 != 3 and n + 3 < 240]  # chains of four
    sets = units(table["key"].to_numpy(), table["group"], np.array(pairs))
    for seed in range(20):
        sides = pd.Series(split(table, pairs, split_seed=seed))
        assert (sides.groupby(sets).nunique() == 1).all()
        assert sides.value_counts()["test"] == pytest.approx(36, abs=8)


def test_a_pair_through_a_sample_that_is_left_out_still_ties(stills, tmp_path, config):
    ingest(str(stills), tmp_path / "data")
    measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "manifest")
    table = measured(tmp_path / "manifest")
    (left_out,), bars = np.flatnonzero(table["source"] == "box/3.png"), np.flatnonzero(table["label"] == "bar")
    parts = list((tmp_path / "manifest").glob("*.parquet"))
    for part in parts:
        content = pq.read_table(part)
        faults = ["E_X" if source == "box/3.png" else None for source in content["source"].to_pylist()]
        column = content.column_names.index("fault_code")
        changed = content.set_column(column, "fault_code", pa.array(faults, pa.string()))
        pq.write_table(changed, part)
    ties = np.array([[min(bar, left_out), max(bar, left_out)] for bar in bars[:3]])
    inputs = judge(tmp_path, pairs=ties)
    del inputs["data"]
    for seed in range(12):
        (tmp_path / f"p{seed}").mkdir()
        plan.make(**inputs, config=config(split_seed=seed), folder=tmp_path / f"p{seed}")
        sides = [name for name in SPLITS for source in pq.read_table(tmp_path / f"p{seed}/{name}/samples.parquet")["source"]
                 if source.as_py() in set(table["source"][bars[:3]])]  # fmt: skip
        assert len(sides) == 3
        assert len(set(sides)) == 1


def test_no_choice_of_seeds_makes_one_draw_follow_from_another(split):
    table = rows(["a" if n % 3 else "b" for n in range(4000)])
    drawn = {}
    for seed in (6, 7, 8, 9):
        sides = split(table, validation_fraction=0.15, test_fraction=0.15, split_seed=seed)
        drawn |= {(seed, name): set(np.flatnonzero(sides == name)) for name in ("validation", "test")}
    for (one, first), (other, second) in itertools.combinations(drawn.items(), 2):
        if one[0] != other[0]:
            # By chance 600 * 0.15 = 90, with a standard deviation of 8.
            assert len(first & second) == pytest.approx(90, abs=36), (one, other)


def test_a_large_group_does_not_eat_the_quota_of_its_class(split):
    table = rows(["a"] * 100 + ["b"] * 100, groups=["g"] * 60 + [None] * 140)
    for seed in range(200):
        sides = split(table, split_seed=seed)
        assert [(sides[half] == "test").sum() for half in (slice(0, 100), slice(100, 200))] == [15, 15]
        assert (sides[:60] == "train").all()


def test_few_samples_that_can_move_are_shared_by_both_draws(split):
    table = rows(["a"] * 100 + ["b"] * 100, groups=["g"] * 90 + [None] * 110)
    for seed in range(50):
        sides = split(table, split_seed=seed)[:100]
        assert (sides[:90] == "train").all()
        assert [(sides == name).sum() for name in ("test", "validation")] == [6, 4]


def test_pairs_of_other_data_are_refused(stills, prepared, tmp_path):
    from components.prepare.leakage import read_pairs

    prepared(stills)
    (file,) = tmp_path.rglob("pairs.parquet")
    digest = manifest.data_digest(file.parent / "manifest")
    assert read_pairs(file, 90, digest).shape == (0, 2)
    with pytest.raises(CannotRun, match=f"is about other data \\({digest}, expected 0.dir\\)"):
        read_pairs(file, 90, "0.dir")


def test_a_chain_that_joins_most_of_a_class_stays_in_training_and_is_told(split, capsys):
    table = rows(["a"] * 100 + ["b"] * 100)
    sides = split(table, [(n, n + 1) for n in range(79)])
    assert (sides[:80] == "train").all()
    assert [(sides[:100] == name).sum() for name in ("test", "validation")] == [12, 8]  # of 20 that can move
    told = capsys.readouterr().out
    assert "test: 1 set of samples that belong together, larger than the class's share, kept in training" in told
    assert "(the largest: 80 samples, most of them 'a')" in told


def test_a_class_of_few_large_groups_can_still_be_split(split):
    table = rows(["a"] * 90 + ["b"] * 90, groups=[f"{n // 30}" for n in range(90)] + [None] * 90)
    sides = split(table)
    assert sorted(pd.Series(sides[:90]).value_counts()) == [30, 30, 30]


def test_a_class_that_twins_alone_make_too_small_names_the_knob(split):
    table, chain = rows(["a"] * 40 + ["b"] * 40), [(n, n + 1) for n in range(39)]
    with pytest.raises(Refused, match=r"class 'a' has no sample in validation \(40 in all\); they are 1 set of samples that look "
                                      r"the same .* or set prepare\.keep_alike_together to false"):  # fmt: skip
        split(table, chain)
    split(table)


def test_what_has_a_twin_in_an_official_split_stays_in_training(split, capsys):
    table = rows(["a", "b"] * 100, splits=["test"] * 40 + ["train"] * 160)
    pairs = [(n, n + 40) for n in range(40)]
    for seed in range(10):
        sides = split(table, pairs, split_seed=seed)
        assert (sides[40:80] == "train").all()
        assert (sides == "validation").sum() == 16
    assert "40 training samples together with some of an official split: kept in training" in capsys.readouterr().out


def test_a_group_on_two_sides_of_the_official_split_is_refused(split):
    table = rows(["a", "b"] * 20, groups=["g"] * 40, splits=["test"] * 10 + ["train"] * 30)
    with pytest.raises(Refused, match="group 'g' is on two sides"):
        split(table)


def test_too_few_samples_to_split_are_refused(split):
    with pytest.raises(Refused, match=r"class 'b' has no sample in test.*add pictures or groups of it"):
        split(rows(["a", "a", "b"]))


def bursts(folder: Path) -> Path:
    """80 bursts of 3 near-identical pictures in 2 classes: the scene stays, the noise does not."""
    rng = np.random.default_rng(0)
    for number in range(80):
        shape = SHAPES[number % 2]
        (folder / shape).mkdir(parents=True, exist_ok=True)
        coarse = Image.fromarray(rng.integers(0, 255, (8, 8, 3), dtype=np.uint8))
        scene = np.asarray(coarse.resize((48, 48), Image.Resampling.BICUBIC)).astype(float)
        for take in range(3):
            pixels = np.clip(scene + rng.normal(0, 1, scene.shape), 0, 255).astype(np.uint8)
            (folder / shape / f"{number:02}-{take}.png").write_bytes(png(pixels))
    return folder


def test_no_test_picture_has_a_twin_of_its_burst_in_training(tmp_path, prepared, capsys):
    sides = {}
    for together in (False, True):
        folder = prepared(bursts(tmp_path / "bursts"), keep_alike_together=together)
        burst_of = {}
        for name in SPLITS:
            for sample in arrays.load(folder / name).samples():
                burst_of.setdefault(sample["source"].split("-")[0], set()).add(name)
        sides[together] = sum(len(names) > 1 for names in burst_of.values())
        counted = files.read_json(folder / "split.json")["splits"]["test"]["with_a_twin_in"]["train"]
        assert (counted == 0) == together
        assert f"prepare: {counted} samples of test and" in capsys.readouterr().out
    assert sides[False] > 20
    assert sides[True] == 0


@pytest.mark.parametrize("together", [True, False])
def test_twins_that_came_later_are_known_to_whoever_learnt_their_burst(tmp_path, prepared, together):
    folder = prepared(bursts(tmp_path / "bursts"), keep_alike_together=together)
    test = arrays.load(folder / "test").table()
    bursts_here = [source.split("-")[0] for source in test["source"].to_pylist()]
    # A model that learnt from one picture of each burst, before the others were taken.
    firsts = [place for place, burst in enumerate(bursts_here) if burst not in bursts_here[:place]]
    seen.write(tmp_path / "seen.npy", [test.take(firsts)])
    assert len(firsts) < len(test)
    assert not seen.unseen(test, seen.read(tmp_path / "seen.npy")).any()
    seen.write(tmp_path / "seen.npy", [test.take(firsts[:1])])
    unseen = seen.unseen(test, seen.read(tmp_path / "seen.npy"))
    assert (~unseen).sum() == bursts_here.count(bursts_here[firsts[0]])


def test_clips_that_share_frames_stay_on_one_side(tmp_path, prepared):
    rng = np.random.default_rng(0)
    for number in range(40):  # recordings of 9 frames, cut into three windows that overlap
        frames = [png(drawing("box", rng)) for _ in range(9)]
        for window in range(3):
            clip = tmp_path / f"clips/{'ab'[number % 2]}/{number:02}-{window}"
            clip.mkdir(parents=True)
            for time, frame in enumerate(frames[3 * window - (window > 0) : 3 * window + 3]):
                (clip / f"{time}.png").write_bytes(frame)
    folder = prepared(tmp_path / "clips")
    sides: dict[str, set] = {}
    for name in SPLITS:
        for sample in arrays.load(folder / name).samples():
            sides.setdefault(sample["source"].split("-")[0], set()).add(name)
    assert all(len(names) == 1 for names in sides.values())
    record = files.read_json(folder / "split.json")
    assert record["splits"]["test"]["with_a_twin_in"] == {"train": 0, "validation": 0}
    assert record["splits"]["test"]["origin"] == "drawn"


def test_leakage_is_counted_whatever_the_draw_went_by(tmp_path, prepared, config):
    prepared(bursts(tmp_path / "bursts"))
    inputs = judge(tmp_path, pairs=np.empty((0, 2), int))  # a validate that saw nothing
    prepare(**inputs, config=config(), prepared=tmp_path / "p")
    record = files.read_json(tmp_path / "p/split.json")["splits"]
    assert record["test"]["with_a_twin_in"]["train"] > 20
    assert sum(side["samples"] for side in record.values()) == 240
    assert record["test"]["classes"] == {"bar": 18, "box": 18}


def test_short_clips_are_padded_with_zeros_and_long_ones_thinned(tmp_path, prepared):
    draw_clips(tmp_path / "clips")
    folder = prepared(tmp_path / "clips", max_frames=5)
    train = arrays.load(folder / "train")
    assert train.images.shape[1:] == (5, 16, 16, 3)
    there = train.images.any(axis=(2, 3, 4))
    assert {int(n) for n in there.sum(1)} <= {4, 5}
    assert there[:, 0].all()
    assert not there.all()


def test_data_that_did_not_pass_or_changed_since_is_not_prepared(stills, prepared, tmp_path, config):
    folder = prepared(stills)
    before = everything(folder)

    def refused(error, match, **summary):
        with pytest.raises(error, match=match):
            prepare(**judge(tmp_path, **summary), config=config(), prepared=folder)

    refused(Refused, "did not pass", passed=False)
    refused(CannotRun, "is about other data", data_digest="other.dir")
    refused(CannotRun, "was written by an older version", knobs={})
    refused(CannotRun, r"pairs\.parquet: expected rows 0 to 89, got 90", pairs=np.array([[0, 90]]))
    inputs = judge(tmp_path)
    inputs["pairs"].write_text("text")
    with pytest.raises(CannotRun, match=r"pairs\.parquet: no readable pairs"):
        prepare(**inputs, config=config(), prepared=folder)
    inputs["pairs"].unlink()
    with pytest.raises(CannotRun, match=r"pairs\.parquet: no such file; `dvc repro validate`"):
        prepare(**inputs, config=config(), prepared=folder)
    assert everything(folder) == before


def rewritten(shard: Path, change) -> None:
    table = pq.read_table(shard)
    pq.write_table(pa.Table.from_pylist(change(table.to_pylist()), schema=table.schema), shard)


def test_a_shard_that_is_not_the_one_measured_is_refused(stills, prepared, tmp_path, config):
    folder = prepared(stills)
    before, inputs = everything(folder), judge(tmp_path)
    shard = tmp_path / "data/00001.parquet"
    whole = shard.read_bytes()
    for change in (  # renamed, missing, extra, in another order, a source twice
        lambda rows: [{**rows[0], "source": "renamed.png"}, *rows[1:]], lambda rows: rows[1:], lambda rows: [*rows, rows[0]],
        lambda rows: rows[::-1], lambda rows: [{**rows[0], "source": rows[1]["source"]}, *rows[1:]],
    ):  # fmt: skip
        shard.write_bytes(whole)
        rewritten(shard, change)
        with pytest.raises(CannotRun, match=r"00001\.parquet: changed since it was measured; `dvc repro measure`"):
            prepare(**inputs, config=config(), prepared=folder)
    assert everything(folder) == before


def test_shards_that_came_or_went_since_are_refused(stills, prepared, tmp_path, config):
    prepared(stills)
    shutil.copy(tmp_path / "data/00000.parquet", tmp_path / "data/00009.parquet")
    with pytest.raises(CannotRun, match=r"00009\.parquet: was not measured; `dvc repro measure`"):
        prepare(**judge(tmp_path), config=config(), prepared=tmp_path / "p")
    (tmp_path / "data/00009.parquet").unlink()
    (tmp_path / "data/00001.parquet").unlink()
    with pytest.raises(CannotRun, match=r"00001\.parquet: was measured, and is not there any more; `dvc repro measure`"):
        prepare(**judge(tmp_path), config=config(), prepared=tmp_path / "p")


@pytest.mark.parametrize("change", [lambda part: part.slice(1), lambda part: pa.concat_tables([part, part.slice(0, 1)])])
def test_a_manifest_that_does_not_fit_its_shard_is_refused(stills, prepared, tmp_path, config, change):
    prepared(stills)
    for part in (tmp_path / "manifest").glob("*.parquet"):
        pq.write_table(change(pq.read_table(part)), part)
    with pytest.raises(CannotRun, match="changed since it was measured"):
        prepare(**judge(tmp_path), config=config(), prepared=tmp_path / "p")


def test_the_same_source_in_two_shards_gives_each_its_own_picture(tmp_path, prepared, config):
    prepared(draw_stills(tmp_path / "one", seed=1), shard_samples=1000)
    one = tmp_path / "data/00000.parquet"
    (tmp_path / "kept").mkdir()
    shutil.move(one, tmp_path / "kept/one.parquet")
    prepared(draw_stills(tmp_path / "two", seed=2), shard_samples=1000)
    shutil.move(tmp_path / "kept/one.parquet", tmp_path / "data/00001.parquet")
    measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "manifest")
    prepare(**judge(tmp_path), config=config(), prepared=tmp_path / "p")
    count = 0
    for name in SPLITS:
        part = arrays.load(tmp_path / "p" / name)
        for image, sample in zip(part.images, part.samples(), strict=True):
            sources = [tmp_path / where / sample["source"] for where in ("one", "two")]
            same = [np.array_equal(image, np.asarray(Image.open(source))) for source in sources]
            digests = [hashlib.sha256(source.read_bytes()).hexdigest() for source in sources]
            assert same == [digest == sample["id"] for digest in digests]
            assert any(same)
            count += 1
    assert count == 180


def test_what_has_no_label_to_validation_is_no_class(stills, prepared, capsys):
    (stills / "cross").rename(stills / "NaN")
    assert arrays.Layout.read(prepared(stills)).classes == ["bar", "box"]
    assert "30 samples without pixels or label left out" in capsys.readouterr().out


def test_nothing_half_written_is_left_when_decoding_fails(tmp_path, prepared, monkeypatch):
    from components.prepare import step

    draw_stills(tmp_path / "s")
    monkeypatch.setattr(step.fit, "fit", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepared(tmp_path / "s", shard_samples=1000)
    assert not (tmp_path / "prepared").exists()
    assert not list(tmp_path.glob(".prepared*.tmp"))


def test_adding_pictures_hardly_moves_the_others(split):
    def test_part(count: int, seed: int = 1) -> set[int]:
        sides = split(rows(["a" if n % 3 else "b" for n in range(count)]), split_seed=seed)
        return set(np.flatnonzero(sides == "test"))

    before, after = test_part(1000), test_part(1300)
    trained_before = set(range(1000)) - before
    # What a model was trained on must not flatter it in the next version's test split.
    assert len(after & trained_before) < 0.1 * len(after)
    assert len(test_part(1000, seed=2) & before) < 0.4 * len(before)


def test_a_frame_that_is_black_all_over_is_not_taken_for_padding(tmp_path, prepared):
    draw_clips(tmp_path / "clips")
    black = png(np.zeros((16, 16, 3), np.uint8))
    for frame in (tmp_path / "clips/left/clip0").iterdir():
        frame.write_bytes(black)
    folder = prepared(tmp_path / "clips")
    for name in ("train", "validation", "test"):
        assert arrays.load(folder / name).images[:, 0].any(axis=(1, 2, 3)).all()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    samples=st.lists(st.tuples(st.sampled_from("aaab"), st.sampled_from([None, None, None, *range(6)])), min_size=60, max_size=200),
    pairs=st.lists(st.tuples(st.integers(0, 59), st.integers(0, 59)), max_size=25),
    seed=st.integers(0, 2**32 - 1), shuffle=st.randoms(use_true_random=False),
)  # fmt: skip
def test_whatever_the_data_units_stay_whole_and_the_order_of_rows_says_nothing(split, samples, pairs, seed, shuffle):
    table = rows([label for label, _ in samples], groups=[group and f"g{group}" for _, group in samples])
    try:
        sides = split(table, pairs, split_seed=seed)
    except Refused:  # too few sets to split
        return
    whole = units(table["key"].to_numpy(), table["group"], np.array(pairs, int).reshape(-1, 2))
    assert (pd.Series(sides).groupby(whole).nunique() == 1).all()
    assert {(label, side) for label, side in zip(table["label"], sides, strict=True)} >= {
        (label, side) for label in table["label"].unique() for side in SPLITS
    }
    assert (sides == "train").mean() >= 0.4
    order = list(range(len(table)))
    shuffle.shuffle(order)
    place = np.argsort(order)
    moved = split(
        table.iloc[order].reset_index(drop=True), [(place[one], place[other]) for one, other in pairs], split_seed=seed
    )
    assert (moved == sides[order]).all()


def test_many_windows_of_one_recording_share_their_frames_and_clips_with_one_title_do_not():
    windows = pd.Series([list(range(1 + start, 65 + start)) for start in range(100)], range(100), dtype=object)
    shared = twins.shared_frames(windows, share=0.2, sides=np.zeros(100, int))
    assert (
        len(np.unique(units(np.arange(100, dtype=np.uint64), pd.Series([None] * 100), shared[["one", "other"]].to_numpy())))
        == 1
    )
    assert shared.loc[(shared["one"] == 3) & (shared["other"] == 5), "share"].tolist() == [62 / 64]
    titled = pd.Series([[1, *range(100 * clip + 2, 100 * clip + 12)] for clip in range(200)], dtype=object)
    assert twins.shared_frames(titled, share=0.2, sides=np.arange(200) % 3).empty
    assert twins.shared_frames(pd.Series([], dtype=object), share=0.2, sides=np.empty(0, int)).empty


def test_what_two_clips_share_is_counted_whole_however_many_others_have_it():
    """Two hundred clips of one scene: 31 frames are in all of them, 32 in each third one, and one is its own."""
    clips = pd.Series([[*range(1, 32), *range(100 * (clip % 3) + 1000, 100 * (clip % 3) + 1032), 10_000 + clip] for clip in range(200)],
                      np.arange(200) * 7, dtype=object)  # fmt: skip
    sides = np.repeat([0, 1], [120, 80])
    shared = twins.shared_frames(clips, share=0.6, sides=sides)
    assert set(shared["share"]) == {63 / 64}
    assert ((shared["other"] - shared["one"]) % 21 == 0).all()
    assert set(shared["other"]) == set(clips.index[3:]), "each has a twin before it"
    first_of_test = shared[shared["one"] < 3 * 7]["other"]
    assert set(first_of_test) == set(clips.index[3:]), "namely the first, far though it is: each of the other split as well"
    lower = twins.shared_frames(clips, share=0.2, sides=sides)
    assert set(lower["share"]) == {63 / 64, 31 / 64}
    assert not lower.duplicated(["one", "other"]).any()
