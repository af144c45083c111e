"""TFRecord files as TensorFlow itself writes them, read without it."""

import gzip
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import drawing, png

from components.ingest import example_records
from forms.conftest import read_all, refused, told


def picture(seed: int) -> bytes:
    return png(drawing("box", np.random.default_rng(seed)))


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    low, rest = number & 127, number >> 7
    return bytes([low | 128]) + varint(rest) if rest else bytes([low])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def feature(value: object) -> bytes:
    values = value if isinstance(value, list) else [value]
    if isinstance(values[0], bytes):
        return field(1, b"".join(field(1, each) for each in values))
    if isinstance(values[0], float):
        return field(2, field(1, struct.pack(f"<{len(values)}f", *values)))
    return field(3, field(1, b"".join(map(varint, values))))


def example(features: dict[str, object]) -> bytes:
    pairs = (field(1, field(1, name.encode()) + field(2, feature(value))) for name, value in features.items())
    return field(1, b"".join(pairs))


def framed(records: list[bytes]) -> bytes:
    masked = example_records._masked
    return b"".join((size := struct.pack("<Q", len(record))) + masked(size) + record + masked(record) for record in records)


def slim(seed: int, label: int, text: bytes = b"", name: str = "") -> bytes:
    features = {"image/encoded": picture(seed), "image/class/label": label, "image/height": 16, "image/format": b"png"}
    return example(
        features | ({"image/class/text": text} if text else {}) | ({"image/filename": name.encode()} if name else {})
    )


def test_what_tensorflow_writes_is_read(tmp_path):
    """By TensorFlow itself, in a process of its own; this one must do without."""
    code = f"""
import tensorflow as tf
def feature(value):
    if isinstance(value, bytes): return tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
    if isinstance(value, int): return tf.train.Feature(int64_list=tf.train.Int64List(value=[value]))
    return tf.train.Feature(float_list=tf.train.FloatList(value=value))
for name, options in (("plain.tfrecord", None), ("packed.tfrecord", "GZIP")):
    with tf.io.TFRecordWriter(r"{tmp_path}/" + name, options) as writer:
        for row in range(3):
            values = {{"image/encoded": b"\\x89PNG%d" % row, "image/class/label": -row, "box": [0.5, 1.0]}}
            writer.write(tf.train.Example(features=tf.train.Features(
                feature={{key: feature(value) for key, value in values.items()}})).SerializeToString())
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    for name in ("plain.tfrecord", "packed.tfrecord"):
        made = list(example_records.examples(tmp_path / name))
        assert [each["image/encoded"] for each in made] == [[b"\x89PNG%d" % row] for row in range(3)]
        assert [each["image/class/label"] for each in made] == [[0], [-1], [-2]]
        assert made[0]["box"] == [0.5, 1.0]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """As slim's scripts write them: numbered, without an ending, labels from 1."""
    for name, rows in (("train-00000-of-00002", (0, 1)), ("train-00001-of-00002", (2,)), ("validation-00000-of-00001", (3,))):
        records = [slim(row, row % 2 + 1, (b"cat", b"dog")[row % 2], f"n{row}.png") for row in rows]
        (tmp_path / name).write_bytes(framed(records))
    return tmp_path


def test_splits_are_in_the_names_and_classes_in_the_text(shards, capsys):
    (shards / "notes.txt").write_text("no record")
    samples = read_all(shards)
    assert [(sample.label, sample.split) for sample in samples] == [
        ("cat", "train"), ("dog", "train"), ("cat", "train"), ("dog", "validation")]  # fmt: skip
    assert samples[3].source == "validation/dog/validation-00000-of-00001-000000-n3.png"
    assert samples[3].frames[0] == (picture(3), samples[3].source)
    out = told(shards, capsys)
    assert "form      tfrecord: tf.train.Examples of 3 TFRecord files" in out
    assert "files beside the records, such as 'notes.txt'" in out
    assert "W_MISSING" not in out
    (shards / "validation-00000-of-00001").write_bytes(b"")
    assert "W_MISSING 1: files without a record in them, such as 'validation-00000-of-00001'" in told(shards, capsys)
    (shards / "validation-00000-of-00001").write_bytes(b"no record at all")
    assert "validation-00000-of-00001 record 0: cannot be read" in refused(shards)
    (shards / "validation-00000-of-00001").unlink()
    (shards / "train-00001-of-00002").unlink()
    assert "W_MISSING 1: numbered files that are not there, such as 'train-00001-of-00002'" in told(shards, capsys)


def test_numbers_are_named_by_the_list_beside_them(tmp_path):
    (tmp_path / "a.tfrecord.gz").write_bytes(gzip.compress(framed([slim(0, 0), slim(1, 2)])))
    assert [sample.label for sample in read_all(tmp_path)] == ["0", "2"]
    (tmp_path / "labels.txt").write_text("0:daisy\n1:rose\n2:tulip\n")
    assert [sample.label for sample in read_all(tmp_path)] == ["daisy", "tulip"]
    assert read_all(tmp_path)[1].source == "tulip/a-000001.png"
    (tmp_path / "labels.txt").write_text("daisy\nrose\n")
    assert "a.tfrecord.gz record 1: label 2 is not among the 2 classes" in refused(tmp_path)


def test_names_of_tensorflow_datasets(tmp_path):
    records = [example({"image": picture(row), "label": row, "id": b"x%d" % row}) for row in range(2)]
    for split in ("train", "test"):
        (tmp_path / f"flowers-{split}.tfrecord-00000-of-00001").write_bytes(framed(records))
    (tmp_path / "label.labels.txt").write_text("daisy\nrose\n")
    samples = read_all(tmp_path)
    assert [(sample.split, sample.label) for sample in samples] == [
        ("test", "daisy"), ("test", "rose"), ("train", "daisy"), ("train", "rose")]  # fmt: skip


def test_a_cut_or_damaged_file_is_refused_at_its_record(tmp_path):
    records = [framed([slim(row, row)]) for row in range(3)]
    whole, file, size = b"".join(records), tmp_path / "a.tfrecord", len(records[0])
    for cut, record in ((5, 0), (13, 0), (size - 1, 0), (size + 3, 1), (len(whole) - 1, 2)):
        file.write_bytes(whole[:cut])
        assert f"{file} record {record}: cannot be read" in refused(tmp_path)
    for at, record in ((3, 0), (9, 0), (40, 0), (size + 40, 1)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert f"{file} record {record}: cannot be read" in refused(tmp_path)
    packed = gzip.compress(whole)
    file.write_bytes(packed[: len(packed) // 2])
    assert "cannot be read" in refused(tmp_path)
    file.write_bytes(framed([b"\xff\xff"]))
    assert "record 0: is no tf.train.Example" in refused(tmp_path)


def test_other_records_are_refused_in_words(tmp_path):
    file = tmp_path / "a.tfrecord"
    file.write_bytes(framed([slim(0, 1) + field(2, b"")]))
    assert read_all(tmp_path)  # an empty list is none
    file.write_bytes(framed([field(2, field(1, b"x"))]))
    assert "is a tf.train.SequenceExample" in refused(tmp_path)
    file.write_bytes(framed([example({"image/encoded": picture(0), "image/object/class/label": [1, 2]})]))
    assert "has boxes of objects, and no class of the picture as a whole" in refused(tmp_path)
    file.write_bytes(framed([example({"image/encoded": picture(0), "species": b"cat"})]))
    assert "no image/class/label; it has: image/encoded, species; --label-field NAME" in refused(tmp_path)
    assert [sample.label for sample in read_all(tmp_path, label_field="species")] == ["cat"]
    file.write_bytes(framed([example({"x": [0.5, 1.5], "y": 1})]))
    assert "no picture in image/encoded; its features are: x, y" in refused(tmp_path)
    file.write_bytes(framed([slim(0, 1), example({"image/encoded": picture(1), "image/class/label": [1, 2]})]))
    assert "record 1: expected one label, got [1, 2]" in refused(tmp_path)


def test_two_classes_of_one_text_do_not_become_one(tmp_path):
    (tmp_path / "a.tfrecord").write_bytes(framed([slim(0, 134, b"crane"), slim(1, 517, b"crane")]))
    assert "'crane' is the text of two labels, 134 and 517; --label-field image/class/label" in refused(tmp_path)
    assert [sample.label for sample in read_all(tmp_path, label_field="image/class/label")] == ["134", "517"]


def test_records_without_a_label_are_left_out_and_told(tmp_path, capsys):
    (tmp_path / "a.tfrecord").write_bytes(framed([slim(0, 1), slim(1, -1)]))
    assert [sample.label for sample in read_all(tmp_path)] == ["1", "-1"]  # which may well be two classes
    (tmp_path / "labels.txt").write_text("daisy\nrose\n")
    assert [sample.label for sample in read_all(tmp_path)] == ["rose"]
    assert "W_UNLABELED 1: records without a label, such as 'a.tfrecord record 1'" in told(tmp_path, capsys)
