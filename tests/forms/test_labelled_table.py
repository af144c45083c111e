"""A person's own table, as spreadsheets and scripts write it; for each the reading that is most likely wrong."""

import json
import unicodedata

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from components.ingest.step import ingest
from components.shared.data import dataset
from forms.conftest import labels, read_all, refused, told

PATHS = {  # what the table says -> the file that is meant
    "case": ("A/Photo.PNG", "a/photo.png"),
    "ending in capitals": ("1.jpg", "1.JPG"),
    "jpeg and jpg": ("1.jpeg", "1.jpg"),
    "an id alone": ("0042", "0042.png"),
    "an id with dots": ("v1.2", "v1.2.png"),
    "backslashes": ("a\\1.png", "a/1.png"),
    "a folder of Windows": ("C:\\Users\\me\\set\\a\\1.png", "a/1.png"),
    "an absolute path": ("/home/me/set/a/1.png", "a/1.png"),
    "a folder more": ("set/a/1.png", "a/1.png"),
    "a folder less": ("1.png", "images/1.png"),
    "spaces around it": (" A/1.jpg ", "a/1.JPG"),
    "an accent in two signs": (unicodedata.normalize("NFD", "é/ü.png"), "é/ü.png"),
}


@pytest.mark.parametrize("case", PATHS)
def test_a_path_in_another_way_finds_the_file_that_is_meant(place, capsys, case):
    path, file = PATHS[case]
    folder = place(file, "b/other.png")
    (folder / "labels.csv").write_text(f'path,label\n"{path}",cat\nb/other.png,dog\n')
    assert labels(folder) == {file: "cat", "b/other.png": "dog"}
    assert "W_PATH 1: paths or ids are written otherwise" in told(folder, capsys)


def test_a_path_that_can_mean_two_files_is_refused_with_both(place):
    folder = place("train/1.png", "test/1.png")
    (folder / "labels.csv").write_text("path,label\n1,cat\n")
    assert "line 2: '1' can mean 'test/1.png' or 'train/1.png'" in refused(folder)
    # The nearest counts: one with the same folders above it.
    (folder / "labels.csv").write_text("path,label\n/x/train/1.png,cat\nTest/1.png,dog\n")
    assert labels(folder) == {"train/1.png": "cat", "test/1.png": "dog"}


def test_a_table_in_a_folder_of_its_own_finds_what_lies_beside_that_folder(place):
    folder = place("images/a/1.png", "images/a/2.png")
    (folder / "annotations").mkdir()
    (folder / "annotations/labels.csv").write_text("path,label\n1.png,cat\na/2.png,dog\n")
    assert labels(folder) == {"images/a/1.png": "cat", "images/a/2.png": "dog"}
    # Where pictures lie beside the table, those are meant.
    place("annotations/x/3.png")
    assert [line.split()[0] for line in refused(folder, "table").splitlines()] == ["E_MISSING_FILE"] * 2


def test_two_paths_never_become_one_file_and_another_file_is_never_taken(place):
    folder = place("1.png", "01.png", "b/2.jpg")
    (folder / "labels.csv").write_text("path,label\nx/1.png,cat\ny/1.png,dog\nz/1.png,cat\n")
    lines = refused(folder).splitlines()
    assert [line.partition(": ")[2] for line in lines] == [
        "'y/1.png' stands in line 2 too, but as 'cat' and not 'dog'", "'z/1.png' stands in line 2 too",
    ]  # fmt: skip
    (folder / "labels.csv").write_text("path,label\na/2.jpg,cat\n001,dog\nb/2.png,dog\n../s/1.png,dog\n")
    assert [line.split()[0] for line in refused(folder).splitlines()] == [*["E_MISSING_FILE"] * 3, "E_PATH_OUTSIDE"]


def test_columns_by_any_usual_name_with_spaces_around_them_and_their_labels(place):
    folder = place("a/1.png", "a/2.png")
    (folder / "t.csv").write_text(" Image , Class ,Remark\na/1.png, 007 ,x\na/2.png,7,\n")
    assert labels(folder) == {"a/1.png": "007", "a/2.png": "7"}  # labels that are numbers stay as they are written


def test_two_columns_for_one_thing_must_agree(place):
    folder = place("a/1.png", "a/2.png")
    (folder / "t.csv").write_text("path,label,class,label\na/1.png,cat,cat,cat\na/2.png,dog,dog,dog\n")
    assert labels(folder) == {"a/1.png": "cat", "a/2.png": "dog"}
    (folder / "t.csv").write_text("path,label,class\na/1.png,cat,cat\na/2.png,dog,cat\n")
    assert "line 3: the columns 'label' and 'class' differ ('dog' and 'cat')" in refused(folder)


def test_a_remark_of_any_length_and_with_line_breaks_is_passed_over(place):
    folder = place("a/1.png")
    (folder / "t.csv").write_text(f'path,remark,label\na/1.png,"{"long " * 100_000}\nand longer",cat\n')
    assert labels(folder) == {"a/1.png": "cat"}


def test_json_lines_and_their_numbers(place):
    folder = place("a/1.png", "a/2.png")
    lines = [{"path": "a/1.png", "label": 3}, {"split": "test", "path": "a/2.png", "label": ["cat"]}]
    (folder / "t.jsonl").write_text("\n".join(map(json.dumps, lines)) + "\n\n")
    assert [(sample.label, sample.split) for sample in read_all(folder)] == [("3", None), ("cat", "test")]
    (folder / "t.jsonl").write_text('{"path": "a/1.png", "label": ["cat", "dog"]}\n{"path": "a/2.png", "label": [1, 2]}')
    assert 'line 1: \'a/1.png\' has several labels (["cat", "dog"])' in refused(folder)
    assert "line 2: 'a/2.png' has several labels ([1, 2])" in refused(folder)
    (folder / "t.jsonl").write_text('{"path": "a/1.png", "label": "cat"}\n{"path":\n')
    assert "E_JSON" in refused(folder / "t.jsonl")


def test_another_encoding_is_told_where_it_is_plain_and_refused_where_it_is_not(place, capsys):
    folder = place(*(f"a/{number}.png" for number in range(20)))
    cats = {"домашняя кошка", "большая собака"}
    text = "path,label\n" + "".join(f"a/{number}.png,{sorted(cats)[number % 2]}\n" for number in range(20))
    for encoding in ("cp1251", "utf-16"):
        (folder / "t.csv").write_bytes(text.encode(encoding))
        assert set(labels(folder).values()) == cats
        assert f"t.csv, read as {encoding}" in told(folder, capsys)
    (folder / "t.csv").write_bytes("path,label\na/1.png,café\n".encode("latin-1"))
    assert "line 2: not UTF-8, and too little text to tell its encoding" in refused(folder / "t.csv")


def test_a_table_with_paths_and_labels_counts_more_than_the_folders_beside_it(place):
    folder = place("a/1.png", "b/2.png")
    (folder / "labels.csv").write_text("path,label\na/1.png,cat\nb/2.png,dog\n")
    assert labels(folder) == {"a/1.png": "cat", "b/2.png": "dog"}
    (folder / "labels.csv").write_text("name,colour\na,red\nb,blue\n")
    assert labels(folder) == {"a/1.png": "a", "b/2.png": "b"}


def test_a_table_for_each_split_and_several_that_say_nothing_of_it(place):
    folder = place("a/1.png", "a/2.png")
    (folder / "train.csv").write_text("path,label\na/1.png,cat\n")
    (folder / "test_labels.csv").write_text("path,label\na/2.png,dog\n")
    assert [(sample.label, sample.split) for sample in read_all(folder)] == [("dog", "test"), ("cat", "train")]
    (folder / "train.csv").rename(folder / "mine.csv")
    (folder / "test_labels.csv").rename(folder / "yours.csv")
    assert "several tables have labels; name the one that counts" in refused(folder)
    assert labels(folder / "mine.csv") == {"a/1.png": "cat"}


def test_a_spreadsheet_beside_one_folder_is_no_class_of_that_name(place):
    folder = place("pictures/1.png", "pictures/2.png")
    (folder / "labels.xlsx").write_bytes(b"PK")
    assert "a spreadsheet, which is not read; save it as CSV in UTF-8" in refused(folder)


def test_guesses_beside_class_folders_are_no_labels(place):
    folder = place("cat/1.png", "dog/2.png")
    (folder / "predictions.csv").write_text("path,label\ncat/1.png,dog\ndog/2.png,dog\n")
    assert labels(folder) == {"cat/1.png": "cat", "dog/2.png": "dog"}
    assert labels(folder / "predictions.csv") == {"cat/1.png": "dog", "dog/2.png": "dog"}  # who names them means them


@pytest.mark.parametrize("header", ["path,label", "id,label"])
def test_a_table_of_the_smaller_part_is_not_taken_for_all_that_lies_in_class_folders(place, header):
    train = [f"train/{label}/{number}.png" for label in ("cat", "dog") for number in range(3)]
    folder = place(*train, "test/x.png", "test/y.png")
    (folder / "test_labels.csv").write_text(f"{header}\nx,cat\ny,dog\n")
    form = {"path,label": "table", "id,label": "kaggle"}[header]
    lines = refused(folder).splitlines()
    assert lines[0] == f"{folder}: can be read in 2 ways; choose one, or write a table of all:"
    assert lines[1].startswith(f"  --form {form}: ")
    assert "names 2 samples; 6 other pictures lie in 2 class folders" in lines[1]
    assert lines[2].startswith("  --form class-folders: ")
    assert set(labels(folder, form)) == {"test/x.png", "test/y.png"}
    assert set(labels(folder, "class-folders")) == {*train}
    # What is to be guessed lies in no class folder; and where the table names most, the rest is left out.
    (folder / "test_labels.csv").rename(folder / "train.csv").write_text(f"{header}\ntrain/cat/0,cat\ntrain/dog/0,dog\n")
    for name in train:
        if name[-5] != "0":
            (folder / name).unlink()
    place(*(f"test/{number}.png" for number in range(9)))
    assert set(labels(folder)) == {"train/cat/0.png", "train/dog/0.png"}


def test_a_column_of_names_counts_more_than_one_of_numbers(place):
    folder = place("a/1.png", "a/2.png")
    (folder / "t.csv").write_text("path,label,class_name\na/1.png,0,cat\na/2.png,1,dog\n")
    assert labels(folder) == {"a/1.png": "cat", "a/2.png": "dog"}


def test_a_table_in_a_folder_of_pictures_may_name_those_beside_that_folder(place):
    folder = place("train/1.png", "val/2.png")
    (folder / "train/labels.csv").write_text("path,label\n1.png,cat\ntrain/1.png,cat\n")
    assert "'train/1.png' stands in line 2 too" in refused(folder)
    (folder / "train/labels.csv").write_text("path,label\ntrain/1.png,cat\nval/2.png,dog\n")
    assert labels(folder) == {"train/1.png": "cat", "val/2.png": "dog"}


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_answers_that_people_corrected_become_new_shards_beside_the_old(place, tmp_path, ending, capsys):
    """As `predict` writes them, with its own labels where they were right: paths as they were named there, ids that name no file."""
    folder = place("old/cat/1.png", "old/dog/2.png", "pictures/3.png", "pictures/4.png", "pictures/5.png")
    ingest(str(folder / "old"), tmp_path / "data")
    before = (tmp_path / "data/00000.parquet").read_bytes()
    rows = [
        {"id": "f" * 64, "source": f"s/pictures/{number}.png", "label": label, "probability": 0.4, "prediction_set": ["dog", "cat"],
         "abstained": False, "top": [{"label": "dog", "probability": 0.4}], "fault": None}
        for number, label in ((3, "cat"), (4, "dog"))
    ]  # fmt: skip
    rows += [{"source": "s/pictures/5.png", "fault": "E_TRUNCATED: no image data"}]
    table = folder / f"pictures/corrected.{ending}"
    if ending == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), table)
    elif ending == "jsonl":
        table.write_text("".join(json.dumps(row) + "\n" for row in rows))
    else:
        lines = [{name: json.dumps(value) if isinstance(value, list) else value for name, value in row.items()} for row in rows]
        pd.DataFrame(lines).to_csv(table, index=False)
    ingest(str(table), tmp_path / "data", add=True)
    assert (tmp_path / "data/00000.parquet").read_bytes() == before
    found = [(sample.source, sample.label) for sample in dataset.read_samples(tmp_path / "data/00001.parquet")]
    assert found == [("3.png", "cat"), ("4.png", "dog")]
    assert "W_UNLABELED 1: rows with a fault and no label" in capsys.readouterr().out


def test_corrected_answers_of_clips_are_clips_and_what_kept_a_spreadsheet_from_calculating_is_no_part_of_a_label(place):
    folder = place("clips/a/1.png", "clips/a/2.png", "clips/+b/1.png", "clips/+b/2.png")
    rows = "in/a,'-1,\"['-1']\",\n'+b,'tis,\"[]\",\n"
    (folder / "clips/answers.csv").write_text(f"source,label,prediction_set,fault\n{rows}")
    ingest(str(folder / "clips/answers.csv"), folder / "data")
    found = [
        (sample.source, sample.label, len(sample.frames)) for sample in dataset.read_samples(folder / "data/00000.parquet")
    ]
    assert sorted(found) == [("+b", "'tis", 2), ("a", "-1", 2)]


def test_a_column_source_is_a_path_only_where_nothing_else_is(place):
    folder = place("a/1.png", "a/2.png")
    (folder / "t.csv").write_text("source,label\na/1.png,cat\na/2.png,dog\n")
    assert labels(folder) == {"a/1.png": "cat", "a/2.png": "dog"}
    (folder / "t.csv").write_text("id,source,label\na/1.png,a camera,cat\na/2.png,a phone,dog\n")
    assert labels(folder) == {"a/1.png": "cat", "a/2.png": "dog"}
