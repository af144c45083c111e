import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.evaluate.slices import FEW, describe, slices, worse
from components.shared.data import arrays

SEEDS = range(20)


def cuts(rng: np.random.Generator, count: int = 2000) -> pd.DataFrame:
    """Ten classes, eight folders, four kinds of light, three formats: nothing of them has to do with another."""
    sides = {"label": 10, "folder": 8, "brightness": 4, "format": 3}
    return pd.DataFrame({name: rng.integers(values, size=count).astype(str) for name, values in sides.items()})


def test_a_planted_weakness_is_named_first_and_nothing_is_where_nothing_is_planted():
    called = 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        ways = cuts(rng)
        found, _ = slices(ways, rng.random(len(ways)) < 0.9, None)
        assert len(found) == 25
        called += sum(map(worse, found))
        poor = (ways["folder"] == "5") & (ways["format"] == "1")  # one of 25 cuts holds it all, another a part of it
        ways["camera"] = np.where(poor, "phone", "other")
        found, _ = slices(ways, rng.random(len(ways)) < np.where(poor, 0.6, 0.9), None)
        assert (found[0]["column"], found[0]["value"]) == ("camera", "phone")
        assert found[0]["low"] < 0.6 + 0.1 and found[0]["high"] < 0.9 and worse(found[0])  # noqa: PT018
    assert called == 0


def test_persons_who_differ_make_no_slice_of_them_worse():
    alone, together = 0, 0
    for seed in SEEDS:
        rng = np.random.default_rng(seed)
        person = np.repeat(np.arange(100), 20)
        ways = pd.DataFrame({"camera": rng.integers(6, size=100).astype(str)[person]})
        hit = rng.random(2000) < rng.beta(4, 1, size=100)[person]
        alone += any(map(worse, slices(ways, hit, None)[0]))
        together += any(map(worse, slices(ways, hit, person)[0]))
    assert alone >= 10
    assert together <= 2


def test_slices_by_hand():
    ways = pd.DataFrame({"label": ["a"] * 50 + ["b"] * 50, "again": ["x"] * 50 + ["y"] * 50,
                         "size": ["s"] * (FEW - 1) + ["m"] * 40 + [None] * 41, "one": ["-"] * 100})  # fmt: skip
    hit = np.array([True] * 48 + [False] * 2 + [True] * 30 + [False] * 20)
    found, few = slices(ways, hit, None)
    assert [(row["column"], row["value"], row["samples"]) for row in found] == [
        ("label", "b", 50), ("size", "m", 40), ("label", "a", 50)
    ]  # fmt: skip
    assert few == 1  # `again` cuts as `label` does, `one` not at all
    assert found[0]["accuracy"] == 0.6
    assert found[0]["difference"] == pytest.approx(-0.36)
    assert (found[0]["low"], found[0]["high"]) == pytest.approx((0.4618, 0.7239), abs=1e-4)  # Wilson's
    assert found[0]["p"] == pytest.approx(3 * 2 * 8.72e-6, rel=0.3)
    assert slices(ways, np.ones(100, bool), np.arange(100) // 2)[0][0]["p"] == 1


def test_samples_are_cut_by_all_that_is_known_of_them(tmp_path):
    arrays.create(tmp_path, 80, (4, 4, 1))
    samples = [
        {"id": str(n), "source": f"phone/{'ab'[n % 2]}/x/{n}.png", "label": "ab"[n // 40], "group": f"{n % 3}"}
        for n in range(80)
    ]
    arrays.describe(tmp_path, np.arange(80) // 40, samples)
    assert set(describe(arrays.load(tmp_path))) == {"label", "group", "folder"}
    measured = {"width": [28, 56] * 40, "height": [28] * 80, "brightness": np.arange(80.0), "faces": pa.nulls(80, pa.int32())}
    pq.write_table(pa.table(measured), tmp_path / arrays.MEASURED)
    ways = describe(arrays.load(tmp_path))
    assert set(ways["folder"]) == {"phone/a", "phone/b"}
    assert set(ways["size"]) == {"28 x 28", "56 x 28"}
    assert ways["brightness"].value_counts().tolist() == [20] * 4
    assert "59.25 to 79" in set(ways["brightness"])
    columns = {row["column"] for row in slices(ways, np.arange(80) % 5 > 0, None)[0]}
    assert columns == {"label", "group", "folder", "brightness"}  # size cuts as the folder does, nobody counted faces
