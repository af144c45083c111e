"""Parquet with pictures in it, as Hugging Face's `datasets` writes it; a table of paths is another form."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import draw_stills, drawing, png

from components.ingest.source import LeftOut
from components.ingest.step import ingest
from components.shared.data import dataset
from forms.conftest import read, read_all, refused, told

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CLASSES = {"label": {"names": ["cat", "dog"], "_type": "ClassLabel"}}


def picture(seed: int) -> bytes:
    return png(drawing("box", np.random.default_rng(seed)))


def written(file: Path, count: int = 4, *, features: dict | None = None, start: int = 0, named: bool = True, **columns) -> Path:
    """A file as `datasets` writes it: the features in the schema's metadata, labels as whole numbers."""
    file.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": picture(start + row), "path": f"{start + row}.png" if named else None} for row in range(count)]
    table = pa.table({"image": pa.array(images, STRUCT), "label": [row % 2 for row in range(count)]} | columns)
    features = {"image": {"_type": "Image"}} | (CLASSES if features is None else features)
    metadata = {"huggingface": json.dumps({"info": {"features": features}})}
    pq.write_table(table.replace_schema_metadata(metadata), file, row_group_size=3)
    return file


@pytest.fixture
def hub(tmp_path: Path) -> Path:
    """A repository of the hub: several files a split, and a card."""
    written(tmp_path / "hub/data/train-00000-of-00002.parquet", 5)
    written(tmp_path / "hub/data/train-00001-of-00002.parquet", 4, start=5)
    written(tmp_path / "hub/data/test-00000-of-00001.parquet", 3, start=9)
    (tmp_path / "hub/README.md").write_text("a card")
    return tmp_path / "hub"


def test_classes_are_in_the_schema_and_splits_in_the_names(hub, capsys):
    samples = read_all(hub)
    assert [sample.split for sample in samples] == ["test"] * 3 + ["train"] * 9
    assert [sample.label for sample in samples] == [["cat", "dog"][row % 2] for count in (3, 5, 4) for row in range(count)]
    order = [9, 10, 11, *range(9)]
    assert [sample.frames[0][0] for sample in samples] == [picture(number) for number in order]
    assert samples[3].source == "train/cat/data-train-00000-of-00002-000000-0.png" == samples[3].frames[0][1]
    out = told(hub, capsys)
    assert "form      parquet: 12 rows of 3 Parquet files, labels in label" in out
    assert "files beside the records, such as 'README.md'" in out


def test_it_becomes_shards_and_they_are_no_source(hub, tmp_path):
    ingest(str(hub), tmp_path / "data")
    shards = dataset.shards(tmp_path / "data")
    assert sum(map(dataset.count, shards)) == 12
    for source in (tmp_path / "data", shards[0]):
        assert "is a shard that Darkroom wrote; use its folder as data/" in refused(source)


def test_splits_that_are_folders_as_the_hub_converts_them(tmp_path):
    for split in ("train", "test"):
        written(tmp_path / f"default/{split}/0000.parquet", 2)
    assert [sample.split for sample in read_all(tmp_path)] == ["test", "test", "train", "train"]


def test_a_lone_split_is_no_split(tmp_path):
    file = written(tmp_path / "train-00000-of-00001.parquet", named=False)
    for source in (tmp_path, file):
        samples = read_all(source)
        assert {sample.split for sample in samples} == {None}
        assert samples[1].source == "dog/train-00000-of-00001-000001.png"  # by its bytes


def test_names_lead_nowhere(tmp_path):
    images = pa.array([{"bytes": picture(0), "path": "../../etc/x.png"}, {"bytes": picture(1), "path": "a\\..\\y.png"}], STRUCT)
    written(tmp_path / "a.parquet", 2, image=images, label=["../up", "."], features={})
    assert [sample.source for sample in read_all(tmp_path)] == ["..-up/a-000000-x.png", "-/a-000001-y.png"]


def test_paths_without_bytes_are_refused(tmp_path):
    outside = [{"bytes": None, "path": "cat/1.png"}] * 2
    written(tmp_path / "a/a.parquet", 2, image=pa.array(outside, STRUCT))
    assert "2 rows have no bytes in image, at most the path of a picture that lies elsewhere" in refused(tmp_path / "a")
    written(tmp_path / "b/a.parquet", 1, image=pa.array([{"path": "cat/1.png"}], pa.struct([("path", pa.string())])))
    assert "1 row has no bytes" in refused(tmp_path / "b")


def test_a_row_without_a_label_is_left_out_and_a_number_beyond_the_classes_refused(tmp_path, capsys):
    written(tmp_path / "a/a.parquet", 4, label=[0, -1, 1, None])
    assert [sample.label for sample in read_all(tmp_path / "a")] == ["cat", "dog"]
    assert "W_UNLABELED 2: rows without a label, such as 'a.parquet row 1'" in told(tmp_path / "a", capsys)
    written(tmp_path / "b/a.parquet", 4, label=[0, 1, 2, 0])
    assert "a.parquet row 2: label 2 is not among the 2 classes" in refused(tmp_path / "b")
    written(tmp_path / "c/a.parquet", 2, label=[[0], [0, 1]], features={})
    assert "expected one label, got [0, 1]" in refused(tmp_path / "c")


def test_which_of_two_labels_is_for_a_person_to_say(tmp_path):
    two = {"fine": {"names": ["tabby", "collie"], "_type": "ClassLabel"}, "coarse": {"names": ["pet"], "_type": "ClassLabel"}}
    table = pq.read_table(written(tmp_path / "all.parquet", 2, fine=[0, 1], coarse=[0, 0], features=two)).drop(["label"])
    pq.write_table(table, tmp_path / "all.parquet")
    assert "several columns of labels (fine, coarse)" in refused(tmp_path)
    assert [sample.label for sample in read_all(tmp_path, label_field="fine")] == ["tabby", "collie"]
    assert "no column nothing" in refused(tmp_path, label_field="nothing")


def test_text_labels_and_plain_bytes_are_read_too(tmp_path):
    table = pa.table({"jpg": [picture(0), picture(1)], "class_name": ["cat", "dog"]})
    pq.write_table(table, tmp_path / "x.parquet")
    assert [(sample.label, sample.frames[0][0]) for sample in read_all(tmp_path)] == [("cat", picture(0)), ("dog", picture(1))]


def test_a_table_of_paths_is_a_table(tmp_path):
    source = draw_stills(tmp_path / "pictures", each=2, shapes=("bar",))
    table = pa.table({"path": ["bar/0.png", "bar/1.png"], "label": ["a", "b"]})
    pq.write_table(table, source / "labels.parquet")
    assert read(source / "labels.parquet").form == "table"
    assert "has no fields to choose from" in refused(tmp_path / "pictures", "class-folders", label_field="path")


def test_a_damaged_file_is_told(hub):
    file = hub / "data/train-00000-of-00002.parquet"
    raw = file.read_bytes()
    file.write_bytes(raw[: len(raw) // 2])
    assert refused(hub) == f"{file}: not a Parquet file that can be read; get it again"
    file.write_bytes(raw[:600] + bytes(200) + raw[800:])
    assert str(file) in refused(hub)
    written(file, 2, features={}, label=pa.array([0, 1]), other=[1, 2])
    pq.write_table(pq.read_table(file).drop(["image"]), file)
    assert "no column of pictures, as other files beside it have" in refused(hub)


def test_memory_does_not_grow_with_a_row_group(tmp_path):
    """One group of 64 MiB, of which a few pictures are held at once: pages are what Parquet can be read by."""
    big = [{"bytes": np.random.default_rng(row).bytes(2**20), "path": None} for row in range(64)]
    table = pa.table({"image": pa.array(big, STRUCT), "label": ["a"] * 64})
    pq.write_table(table, tmp_path / "a.parquet", row_group_size=64, write_batch_size=4)
    del big, table
    before = pa.total_allocated_bytes()
    source, most = read(tmp_path).source, 0
    for entry in source.entries(LeftOut()):
        assert len(next(iter(entry.frames()))[0]) == 2**20
        most = max(most, pa.total_allocated_bytes() - before)
    assert most < 40 * 2**20
