"""WebDataset's tars: a folder of them, one alone, unpacked; and what only looks like them."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
from conftest import draw_stills, drawing, png

from components.ingest.step import ingest
from components.shared.data import dataset
from components.shared.data.dataset import Sample
from forms.conftest import read, read_all, refused, told


def picture(seed: int) -> bytes:
    return png(drawing("box", np.random.default_rng(seed)))


def tarred(file: Path, files: dict[str, bytes]) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(file, "w") as content:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            content.addfile(member, io.BytesIO(data))
    return file


def laid(folder: Path, files: dict[str, bytes]) -> Path:
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


def taken(source: Path, data: Path, **options) -> list[Sample]:
    ingest(str(source), data, **options)
    return [sample for shard in dataset.shards(data) for sample in dataset.read_samples(shard)]


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    """Two tars of one split, one of the other, with a list of the classes: as clip-benchmark has them."""
    for number, tar in enumerate(("train/0.tar", "train/1.tar", "test/0.tar")):
        files = {}
        for row in range(4):
            key = f"s{number}{row:04}"
            files |= {f"{key}.png": picture(10 * number + row), f"{key}.cls": b"%d\n" % (row % 2)}
        tarred(tmp_path / "wds" / tar, files)
    (tmp_path / "wds/classnames.txt").write_text("cat\ndog\n")
    (tmp_path / "wds/train/nshards.txt").write_text("2")
    return tmp_path / "wds"


def test_a_folder_of_tars_with_splits_and_names_of_classes(shards, tmp_path, capsys):
    samples = taken(shards, tmp_path / "data")
    assert [sample.source for sample in samples][:2] == ["test/0/s20000.png", "test/0/s20001.png"]
    assert [sample.split for sample in samples] == ["test"] * 4 + ["train"] * 8
    assert [sample.label for sample in samples] == ["cat", "dog"] * 6
    assert samples[4].frames[0][0] == picture(0)
    assert "form      webdataset" in capsys.readouterr().out


def test_splits_in_the_names_of_tars(tmp_path):
    for name, label in (("imagenet-train-000000", b"cat"), ("imagenet-train-000001", b"dog"), ("imagenet-val-000000", b"cat")):
        tarred(tmp_path / f"wds/{name}.tar", {"a.png": picture(len(name)) + name.encode(), "a.cls": label})
    samples = taken(tmp_path / "wds", tmp_path / "data")
    assert [(sample.label, sample.split) for sample in samples] == [("cat", "train"), ("dog", "train"), ("cat", "validation")]


def test_a_single_tar(tmp_path):
    tar = tarred(tmp_path / "train.tar", {"a.png": picture(0), "a.cls": b"1", "b.png": picture(1), "b.cls": b"0"})
    samples = taken(tar, tmp_path / "data")
    assert [(sample.source, sample.label, sample.split) for sample in samples] == [("a.png", "1", None), ("b.png", "0", None)]


def test_a_lone_split_is_no_split_and_numbers_are_not_written_anew(tmp_path):
    tarred(tmp_path / "wds/train-000000.tar", {"a.png": picture(0), "a.cls": b"007", "b.png": picture(1), "b.cls": b"7"})
    samples = taken(tmp_path / "wds", tmp_path / "data")
    assert [(sample.label, sample.split) for sample in samples] == [("007", None), ("7", None)]


def test_keys_with_dots_and_folders(tmp_path):
    files = {
        "a/b.c.png": picture(0), "a/b.c.cls": b"x", "a/b.d.png": picture(1), "a/b.d.cls": b"y",  # keys with dots
        "e.input.png": picture(2), "e.cls": b"z",  # a field with a dot
        "v1.0/f.png": picture(3), "v1.0/f.cls": b"w",  # a folder with one
    }  # fmt: skip
    samples = read_all(laid(tmp_path / "s", files))
    labels = {sample.source: sample.label for sample in samples}
    assert labels == {"a/b.c.png": "x", "a/b.d.png": "y", "e.input.png": "z", "v1.0/f.png": "w"}


def test_labels_in_json(tmp_path):
    files = {"a.png": picture(0), "a.json": json.dumps({"label": 0, "species": "cat"}).encode(),
             "b.png": picture(1), "b.json": json.dumps({"label": 1, "species": "dog"}).encode()}  # fmt: skip
    source = laid(tmp_path / "s", files)
    assert [sample.label for sample in read_all(source)] == ["0", "1"]
    assert [sample.label for sample in read_all(source, label_field="species")] == ["cat", "dog"]


def test_a_missing_label_or_picture_is_told(tmp_path, capsys):
    files = {
        "x/A.png": picture(3),
        "x/a.png": picture(0),
        "x/a.cls": b"1",
        "x/b.png": picture(1),
        "x/c.cls": b"1",
        "x/d.png": picture(2),
        "x/d.cls": b"",
    }
    source = laid(tmp_path / "s", files)
    assert [sample.source for sample in read_all(source)] == ["x/a.png"]
    out = told(source, capsys)
    assert "W_UNLABELED 3: pictures without a .cls file, or a .json file with a label, such as 'x/A.png'" in out
    assert "W_IGNORED 1: labels without a picture, such as 'x/c.cls'" in out


def test_a_mask_is_no_sample_and_two_pictures_of_one_label_are_refused(tmp_path, capsys):
    source = laid(tmp_path / "s", {"a.png": picture(0), "a.mask.png": picture(1), "a.cls": b"1"})
    assert [sample.source for sample in read_all(source)] == ["a.png"]
    assert "further pictures of a sample, such as masks (1 1), such as 'a.mask.png'" in told(source, capsys)
    two = laid(tmp_path / "two", {"a.left.png": picture(0), "a.right.png": picture(1), "a.cls": b"1"})
    assert "several pictures have the label of a.cls (a.left.png, a.right.png)" in refused(two)


def test_captions_are_no_classes(tmp_path):
    files = {f"{row}.{ending}": picture(row) if ending == "png" else f"a picture of thing {row}".encode()
             for row in range(30) for ending in ("png", "txt")}  # fmt: skip
    assert "its .txt files are captions, not classes: 30 different ones of 30 pictures" in refused(laid(tmp_path / "s", files))
    long = laid(tmp_path / "long", {"1.png": picture(0), "1.txt": b"A long story.\nOf many lines."})
    assert "reads like a caption" in refused(long)
    few = laid(tmp_path / "few", {f"{row}.{ending}": picture(row) if ending == "png" else b"%d" % (row % 2)
                                  for row in range(30) for ending in ("png", "txt")})  # fmt: skip
    assert {sample.label for sample in read_all(few)} == {"0", "1"}


def test_class_folders_with_text_beside_the_pictures_are_class_folders(tmp_path):
    source = draw_stills(tmp_path / "s", each=2)
    for file in source.rglob("*.png"):
        file.with_suffix(".txt").write_text("a caption")
        file.with_suffix(".json").write_text('{"camera": "x"}')
    assert read(source).form == "class-folders"


def test_a_number_that_no_class_has_is_refused(shards):
    laid(shards, {"a.png": picture(0), "a.cls": b"7"})
    assert "a.cls: label 7 is not among the 2 classes" in refused(shards)
