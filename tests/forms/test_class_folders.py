"""Folders of classes, as people have them; for each the reading that is most likely wrong."""

import random
from pathlib import Path

import numpy as np
import pytest
from conftest import drawing, png

from components.ingest.source import LeftOut
from components.shared.errors import Stop
from forms.conftest import read, read_all, refused, told

PICTURE = png(drawing("box", np.random.default_rng(0)))


def draw(root: Path, *paths: str) -> Path:
    """A picture at each path; a file of text where the path has another ending."""
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(PICTURE if path.endswith(("png", "jpg")) else b"text")
    return root


def labels(root: Path, *paths: str, **options) -> list[tuple[str, str, str | None]]:
    """(label, source, split) of each sample."""
    return [(each.label, each.source, each.split) for each in read_all(draw(root, *paths), **options)]


# A tree, and (label, source, split) of what it is.
TREES = {
    "an only child folder": (
        ["PetImages/Cat/felix.jpg", "PetImages/Dog/rex.jpg"],
        [("Cat", "PetImages/Cat/felix.jpg", None), ("Dog", "PetImages/Dog/rex.jpg", None)],
    ),
    "an only child folder whose classes are numbered pictures are no clips": (
        ["PetImages/Cat/0.jpg", "PetImages/Cat/1.jpg", "PetImages/Dog/0.jpg", "PetImages/Dog/1.jpg"],
        [(c, f"PetImages/{c}/{n}.jpg", None) for c in ("Cat", "Dog") for n in (0, 1)],
    ),
    "train alone is no split and no class": (
        ["train/cat/a.jpg", "train/dog/b.jpg"],
        [("cat", "train/cat/a.jpg", None), ("dog", "train/dog/b.jpg", None)],
    ),
    "folders packed twice, and pictures to be predicted": (
        ["seg_train/seg_train/sea/1.jpg", "seg_train/seg_train/wood/2.jpg", "seg_test/seg_test/sea/3.jpg",
         "seg_test/seg_test/wood/4.jpg", "seg_pred/seg_pred/5.jpg"],
        [("sea", "seg_test/seg_test/sea/3.jpg", "test"), ("wood", "seg_test/seg_test/wood/4.jpg", "test"),
         ("sea", "seg_train/seg_train/sea/1.jpg", "train"), ("wood", "seg_train/seg_train/wood/2.jpg", "train")],
    ),
    "splits below a folder": (
        ["images/train/cat/1.jpg", "images/train/dog/1.jpg", "images/val/cat/2.jpg", "images/val/dog/2.jpg"],
        [("cat", "images/train/cat/1.jpg", "train"), ("dog", "images/train/dog/1.jpg", "train"),
         ("cat", "images/val/cat/2.jpg", "validation"), ("dog", "images/val/dog/2.jpg", "validation")],
    ),
    "splits inside the classes": (
        ["cat/train/1.jpg", "cat/test/2.jpg", "dog/train/1.jpg"],
        [("cat", "cat/test/2.jpg", "test"), ("cat", "cat/train/1.jpg", "train"), ("dog", "dog/train/1.jpg", "train")],
    ),
    "a flat test folder is no class": (
        ["train/cat/1.jpg", "train/dog/1.jpg", "test/1.jpg", "test/2.jpg"],
        [("cat", "train/cat/1.jpg", None), ("dog", "train/dog/1.jpg", None)],
    ),
    "train and test among other classes are classes": (
        ["bus/1.jpg", "test/2.jpg", "train/3.jpg"],
        [("bus", "bus/1.jpg", None), ("test", "test/2.jpg", None), ("train", "train/3.jpg", None)],
    ),
    "a class named test inside of splits": (
        ["train/test/1.jpg", "train/exam/2.jpg", "val/test/3.jpg", "val/exam/4.jpg"],
        [("exam", "train/exam/2.jpg", "train"), ("test", "train/test/1.jpg", "train"),
         ("exam", "val/exam/4.jpg", "validation"), ("test", "val/test/3.jpg", "validation")],
    ),
    "classes whose names have the word of a split in them": (
        ["bullet_train/1.jpg", "crash_test/2.jpg"],
        [("bullet_train", "bullet_train/1.jpg", None), ("crash_test", "crash_test/2.jpg", None)],
    ),
    "one folder of the same name in each class": (
        ["cat/images/1.jpg", "cat/images/2.jpg", "dog/images/1.jpg"],
        [("cat", "cat/images/1.jpg", None), ("cat", "cat/images/2.jpg", None), ("dog", "dog/images/1.jpg", None)],
    ),
    "frames of clips": (
        ["walk/clip1/f1.jpg", "walk/clip1/f2.jpg", "run/clip1/f1.jpg", "run/clip1/f2.jpg"],
        [("run", "run/clip1", None), ("walk", "walk/clip1", None)],
    ),
    "CVAT's pictures without a label": (
        ["cat/cat_1.jpg", "dog/dog_2.jpg", "no_label/3.jpg"],
        [("cat", "cat/cat_1.jpg", None), ("dog", "dog/dog_2.jpg", None)],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TREES)
def test_the_tree_tells_which_level_is_the_class(tmp_path, name):
    paths, expected = TREES[name]
    assert labels(tmp_path, *paths) == expected


@pytest.mark.parametrize(("train", "validation", "test"), [
    ("train", "val", "test"), ("Training", "Validation", "Testing"), ("train_data", "valid_data", "test_data"),
    ("trainset", "devset", "testset"), ("training_set", "dev", "test_set"), ("TRAIN", "VALID", "TEST"),
    ("asl_train", "asl_val", "asl_test"), ("train2017", "val2017", "test2017"), ("images_train", "images_val", "images_test"),
])  # fmt: skip
def test_splits_under_every_usual_name(tmp_path, train, validation, test):
    found = labels(tmp_path, *(f"{split}/{label}/1.png" for split in (train, validation, test) for label in "ab"))
    assert {(source.split("/")[0], split) for _, source, split in found} == {
        (train, "train"), (validation, "validation"), (test, "test"),
    }  # fmt: skip
    assert {label for label, _, _ in found} == {"a", "b"}


def test_what_is_left_out_is_told(tmp_path, capsys):
    draw(tmp_path, "train/cat/1.jpg", "train/cat/notes.txt", "train/dog/1.jpg", "train/emu/.keep", "test/7.jpg", "about.md",
         "train/cat/@eaDir/1.jpg", "lost+found/x", "__MACOSX/cat/1.jpg", "#recycle/old/1.jpg", "cover.jpg")  # fmt: skip
    said = told(tmp_path, capsys)
    assert "2 stills in 2 classes" in said
    assert "W_UNLABELED 1: pictures without labels, beside splits that have class folders, such as 'test/7.jpg'" in said
    assert "W_UNLABELED 1: pictures beside the class folders, such as 'cover.jpg'" in said
    assert "W_IGNORED 1: files that are no pictures (.txt) (cat 1), such as 'train/cat/notes.txt'" in said
    assert "W_IGNORED 5: hidden files, or files of a system" in said
    assert "W_EMPTY 1: empty folders (emu 1), such as 'train/emu'" in said


def test_a_class_of_which_nothing_is_left_is_an_error(tmp_path):
    draw(tmp_path, "cat/1.jpg", "dog/1.jpg", "emu/1.xcf", "emu/2.xcf", "notes/a.txt")
    assert refused(tmp_path) == (
        "E_CLASS_LOST emu: 2 files, none of them a picture that is read (2 .xcf), such as emu/1.xcf; "
        "save them as PNG or JPEG, or move the folder out"
    )


def test_one_folder_of_pictures_beside_files_that_could_have_the_labels_is_no_class(tmp_path):
    draw(tmp_path, "cat/1.jpg", "cat/2.jpg", "README.txt")
    assert {label for label, *_ in labels(tmp_path)} == {"cat"}
    draw(tmp_path, "export.json")
    assert "all pictures lie in one folder, cat, and none of the files beside them" in refused(tmp_path)
    assert {label for label, *_ in labels(tmp_path, label_level=1)} == {"cat"}


def test_pictures_in_split_folders_alone_have_no_labels(tmp_path):
    draw(tmp_path, "train/1.jpg", "test/2.jpg")
    assert "pictures without labels in test/, train/" in refused(tmp_path)
    assert [label for label, *_ in labels(tmp_path, label_level=1)] == ["test", "train"]


def test_classes_in_classes_are_asked_for(tmp_path):
    paths = ["animals/cat/1.jpg", "animals/cat/2.jpg", "animals/dog/1.jpg", "vehicles/car/1.jpg", "vehicles/bus/1.jpg"]
    said = refused(draw(tmp_path, *paths))
    assert "say --kind clips or --kind stills" in said
    assert "--label-level 1 (animals) or --label-level 2 (cat)" in said
    assert {label for label, *_ in labels(tmp_path, label_level=2)} == {"cat", "dog", "car", "bus"}
    assert {label for label, *_ in labels(tmp_path, label_level=-1)} == {"cat", "dog", "car", "bus"}
    assert {label for label, *_ in labels(tmp_path, label_level=1, kind="stills")} == {"animals", "vehicles"}


def test_a_label_level_keeps_the_splits(tmp_path):
    found = labels(tmp_path, "train/animals/cat/1.jpg", "train/animals/dog/1.jpg", "val/animals/cat/2.jpg", label_level=3)
    assert {(label, split) for label, _, split in found} == {("cat", "train"), ("dog", "train"), ("cat", "validation")}


def test_names_in_two_forms_of_unicode_are_one_class_and_case_is_kept(tmp_path, capsys):
    draw(tmp_path, "caf\u00e9/1.jpg", "cafe\u0301/2.jpg", "A/1.jpg", "a/1.jpg")
    assert {sample.label for sample in read_all(tmp_path)} == {"caf\u00e9", "A", "a"}
    said = told(tmp_path, capsys)
    assert "W_SAME_NAME 1: names of class folders in two forms of Unicode, taken as one class" in said
    assert (
        "W_CASE 1: names of classes that differ in case alone, kept apart; rename one if they are one, such as 'A and a'"
        in said
    )


def test_classes_of_videos_in_folders_are_asked_for_where_both_could_be(tmp_path):
    draw(tmp_path, "sport/archery/a.avi", "music/violin/b.avi")
    assert "which folder is the class? say --label-level 1 (music) or --label-level 2 (violin)" in refused(tmp_path)


def test_domains_of_numbered_pictures_and_pictures_beside_folders_are_no_clips(tmp_path):
    assert "or where the class stands" in refused(
        draw(
            tmp_path / "a",
            *(
                f"{domain}/{label}/{number}.jpg"
                for domain in ("art", "photo")
                for label in ("dog", "horse")
                for number in (1, 2)
            ),
        )
    )
    said = refused(draw(tmp_path / "b", "cat/9.jpg", "cat/more1/1.jpg", "cat/more1/2.jpg", "dog/1.jpg"))
    assert said.startswith("E_AMBIGUOUS cat/more1: a clip, or more stills?")
    assert "--label-level 5: no picture lies so deep" in refused(tmp_path / "b", label_level=5)


def test_splits_without_a_class_in_common_are_no_classes_unless_one_says_so(tmp_path):
    said = refused(draw(tmp_path, "train/one/1.jpg", "train/two/1.jpg", "test/three/1.jpg", "test/four/1.jpg"))
    assert "test/ has no class of those to train on, but four, three where train has one, two" in said
    assert {split for _, _, split in labels(tmp_path, label_level=2)} == {"train", "test"}


def test_of_any_tree_each_picture_is_taken_once_or_told_as_left_out(tmp_path):
    names = [
        "train",
        "test",
        "val",
        "cat",
        "dog",
        "images",
        "no_label",
        "clip1",
        "clip2",
        "seg_train",
        "seg_test",
        "2012",
        "Cat",
    ]
    rng = random.Random(0)
    understood = 0
    for number in range(200):
        root = tmp_path / str(number)
        for _ in range(rng.randint(1, 8)):
            folder = root.joinpath(*rng.choices(names, k=rng.randint(0, 4)))
            folder.mkdir(parents=True, exist_ok=True)
            for _ in range(rng.randint(0, 3)):
                (folder / f"{rng.choice('12ab')}.{rng.choice(['jpg', 'jpg', 'avi', 'txt', 'xcf'])}").write_text("x")
        try:
            source = read(root, kind=rng.choice(["auto", "stills", "clips"]), label_level=rng.choice([0, 0, 1, 2, -1])).source
            left_out = LeftOut()
            taken = [file for entry in source.entries(left_out) for file in entry.files]
        except Stop:
            continue
        understood += 1
        left = sum(labels.total() for (code, _), labels in left_out.counts.items() if code == "W_UNLABELED")
        assert len(set(taken)) == len(taken)
        assert len(taken) + left == sum(file.suffix in (".jpg", ".avi") for file in root.rglob("*.*"))
    assert understood > 40
