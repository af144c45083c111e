"""What a model has learnt from is known by a digest of each sample's picture and group."""

import numpy as np
import pyarrow as pa
import pytest

from components.shared.data import arrays, seen
from components.shared.errors import CannotRun


def samples(*rows: tuple[str, str | None, str | None]) -> pa.Table:
    """Rows of (id, group, picture)."""
    named = [{"id": id, "source": f"{id}.png", "label": "a", "group": group, "picture": picture} for id, group, picture in rows]
    return pa.Table.from_pylist(named, schema=arrays.SAMPLES)


def test_a_sample_was_seen_when_its_picture_or_its_group_was(tmp_path):
    learnt = samples(("1", None, "p1"), ("2", "anna", "p2"), ("3", None, None))
    seen.write(tmp_path / "seen.npy", [learnt, samples(("4", "ben", "p4"))])
    kept = seen.read(tmp_path / "seen.npy")
    assert (np.diff(kept.astype(object)) > 0).all()
    later = samples(
        ("8", None, "p1"),  # the same pixels, saved anew
        ("9", "anna", "p9"),  # another picture of a group that was learnt from
        ("3", None, None),  # known by its id alone
        ("5", None, "p5"),
        ("6", "anna2", "p6"),
        ("7", "p1", "p7"),  # a group that happens to be called like a picture
    )
    assert seen.unseen(later, kept).tolist() == [False, False, False, True, True, True]
    assert not seen.unseen(learnt, kept).any()
    assert seen.unseen(later, np.empty(0, np.uint64)).all()
    assert seen.unseen(samples(), kept).tolist() == []


def test_samples_without_a_group_do_not_share_one(tmp_path):
    seen.write(tmp_path / "seen.npy", [samples(("1", None, "p1"))])
    assert seen.unseen(samples(("2", None, "p2"), ("3", None, "p3")), seen.read(tmp_path / "seen.npy")).all()


def test_a_near_twin_of_a_sample_that_was_seen_was_seen_as_well(tmp_path):
    seen.write(tmp_path / "seen.npy", [samples(("1", None, "p1"))])
    later = samples(("1", None, "p1"), ("2", None, "p2"), ("3", None, "p3"), ("4", None, "p4"))
    kept = seen.read(tmp_path / "seen.npy")
    for unit, expected in (([7, 7, 3, 3], [False, False, True, True]), ([None] * 4, [False, True, True, True])):
        numbered = later.set_column(later.column_names.index("unit"), "unit", pa.array(unit, pa.int64()))
        assert seen.unseen(numbered, kept).tolist() == expected


@pytest.mark.parametrize("content", [b"", b"text", None])
def test_a_damaged_or_missing_list_is_one_line(tmp_path, content):
    file = tmp_path / "seen.npy"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(CannotRun, match=r"seen\.npy: no readable list of samples"):
        seen.read(file)
    np.save(file, np.zeros((2, 2)))
    with pytest.raises(CannotRun, match="expected uint64"):
        seen.read(file)
