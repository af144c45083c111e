"""YOLO's text files: normalised boxes and outlines, names as they are written, splits of folders, data.yaml and lists."""

import pytest

from forms.boxed import NOT_LABELS, colours, draw
from forms.conftest import read_all, refused, told

CAT_BOX, DOG_BOX = "0 0.25 0.3 0.25 0.4", "1 0.625 0.6 0.25 0.4"
OUTLINE = "1 0.5 0.4 0.75 0.4 0.75 0.8 0.6 0.8"
YAML = "names: [cat, dog]\nnc: 2\n"
TRAIN = "train: ../train/images\n"


def write(file, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


LAYOUTS = {
    "Ultralytics": (
        "images/{}/1.png",
        "labels/{}/1.txt",
        {"data.yaml": "path: .\ntrain: images/train\nnames:\n  0: cat\n  1: dog\n"},
    ),
    "Roboflow": ("{}/images/1.png", "{}/labels/1.txt", {"data.yaml": YAML + TRAIN + "val: ../valid/images\n"}),
    "CVAT": ("obj_{}_data/1.png", "obj_{}_data/1.txt", {"obj.names": "cat\ndog\n", "train.txt": "data/obj_train_data/1.png\n"}),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_box_is_a_still_of_its_class(tmp_path, layout):
    picture, text, more = LAYOUTS[layout]
    for split in ("train", "valid"):
        draw(tmp_path / picture.format(split))
        write(tmp_path / text.format(split), f"{CAT_BOX}\n{DOG_BOX}\n")
    for name, content in more.items():
        write(tmp_path / name, content)
    assert f"a YOLO export: {NOT_LABELS}" in refused(tmp_path)
    assert colours(read_all(tmp_path, crop_boxes=True)) == [
        (label, label, True, (20, 20), split, picture.format(folder))
        for folder, split in (("train", "train"), ("valid", "validation")) for label in ("cat", "dog")
    ]  # fmt: skip


def test_label_studios_names_outlines_backgrounds_and_lists(tmp_path, capsys):
    for number in (1, 2, 3):
        draw(tmp_path / f"images/{number}.png")
    write(tmp_path / "classes.txt", "cat\ndog")
    write(tmp_path / "notes.json", '{"categories": [{"id": 0, "name": "cat"}], "info": {}}')
    write(tmp_path / "labels/1.txt", OUTLINE + "\n")
    write(tmp_path / "labels/2.txt", CAT_BOX)
    write(tmp_path / "labels/3.txt", "")
    write(tmp_path / "train.txt", "./images/1.png\n")
    write(tmp_path / "test.txt", "/home/me/images/2.png\n")
    assert [row[:5] for row in colours(read_all(tmp_path, crop_boxes=True))] == [
        ("dog", "dog", True, (20, 20), "train"), ("cat", "cat", True, (20, 20), "test")
    ]  # fmt: skip
    assert "2 stills in 2 classes" in told(tmp_path, capsys, crop_boxes=True)
    write(tmp_path / "test.txt", "./images/1.png\n")
    assert "'images/1.png' is in the list of test too" in refused(tmp_path, crop_boxes=True)


def test_key_points_are_no_outline_and_names_stay_text(tmp_path):
    draw(tmp_path / "1.png")
    write(tmp_path / "data.yaml", "names: [no, off]\nkpt_shape: [1, 2]\n")
    write(tmp_path / "1.txt", f"{CAT_BOX} 0.9 2.0\n{DOG_BOX} 0.1 0\n")
    assert [row[:3] for row in colours(read_all(tmp_path, crop_boxes=True))] == [("no", "cat", True), ("off", "dog", True)]


REFUSED = {
    "pixels alone": ("0 20 15 20 20\n", "E_BOX 1.txt line 1: expected fractions of the picture"),
    "pixels": (f"{CAT_BOX}\n0 20 15 20 20\n", "E_BOX 1.txt line 2: expected fractions of the picture"),
    "a class too many": (f"{CAT_BOX}\n2 0.5 0.5 0.1 0.1\n", "E_LABEL 1.txt line 2: class 2 is not among the 2 names"),
    "a confidence": (f"{CAT_BOX}\n{DOG_BOX} 0.9\n", "E_BOX 1.txt line 2: expected a class and 4 numbers"),
    "no number": (f"{CAT_BOX}\n0 nan 0.5 0.1 0.1\n0 a b\n", "E_BOX 1.txt line 3"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_lines_that_are_no_boxes_are_told(tmp_path, case):
    draw(tmp_path / "1.png")
    write(tmp_path / "data.yaml", YAML + TRAIN)
    write(tmp_path / "1.txt", REFUSED[case][0])
    assert REFUSED[case][1] in refused(tmp_path, crop_boxes=True)


def test_classes_without_names_and_boxes_without_a_picture_are_refused(tmp_path):
    draw(tmp_path / "images/1.png")
    write(tmp_path / "labels/1.txt", CAT_BOX)
    assert "add a data.yaml with `names`, obj.names or classes.txt" in refused(tmp_path, crop_boxes=True)
    write(tmp_path / "labels/classes.txt", "cat\ndog\n")
    write(tmp_path / "labels/1.txt", CAT_BOX + "\n" + DOG_BOX)
    write(tmp_path / "labels/classes.txt", "\ndog\n")
    assert [row[0] for row in colours(read_all(tmp_path, crop_boxes=True))] == ["dog"]
    write(tmp_path / "labels/2.txt", DOG_BOX)
    assert "E_MISSING_FILE labels/2.txt: no picture of that name" in refused(tmp_path, crop_boxes=True)


def test_a_hostile_data_yaml_is_refused_and_crops_are_asked_for_of_boxes_alone(tmp_path):
    draw(tmp_path / "a/1.png")
    draw(tmp_path / "b/2.png")
    assert "--crop-boxes: " in refused(tmp_path, crop_boxes=True)
    write(tmp_path / "a/1.txt", CAT_BOX)
    aliases = "".join(
        f"{after}: &{after} [{', '.join([f'*{before}'] * 9)}]\n" for before, after in zip("abcdefg", "bcdefgh", strict=True)
    )
    write(tmp_path / "data.yaml", f"a: &a [cat]\n{aliases}names: *h\n")
    assert "once its aliases are written out" in refused(tmp_path, crop_boxes=True)
