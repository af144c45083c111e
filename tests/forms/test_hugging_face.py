"""Image folders of Hugging Face with metadata."""

import json

import pandas as pd

from forms.conftest import labels, read_all, refused


def test_metadata_in_the_folder_of_each_split(place):
    folder = place("train/1.png", "train/a/2.png", "validation/1.png", "README.png")
    lines = [{"file_name": "1.png", "label": 0, "text": "a cat"}, {"file_name": "a/2.png", "label": 1}]
    (folder / "train/metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
    (folder / "validation/metadata.csv").write_text("file_name,label\n1.png,1\n")
    assert {(sample.source, sample.label, sample.split) for sample in read_all(folder)} == {
        ("train/1.png", "0", "train"), ("train/a/2.png", "1", "train"), ("validation/1.png", "1", "validation")
    }  # fmt: skip


def test_one_table_whose_paths_begin_with_the_split(place):
    folder = place("train/1.png", "test/1.png")
    pd.DataFrame({"file_name": ["train/1.png", "test/1.png"], "label": ["cat", "dog"]}).to_parquet(folder / "metadata.parquet")
    assert {(sample.label, sample.split) for sample in read_all(folder)} == {("cat", "train"), ("dog", "test")}


def test_captions_are_no_labels(place):
    folder = place("cat/1.png", "dog/2.png")
    (folder / "metadata.csv").write_text("file_name,text\ncat/1.png,one of a kind\ndog/2.png,another\n")
    assert labels(folder) == {"cat/1.png": "cat", "dog/2.png": "dog"}
    assert "no column label; it has: file_name, text" in refused(folder, "hugging-face")
