"""COCO's JSON: whose box it is, which class, and what is left out."""

import json
from pathlib import Path

import pytest

from components.ingest.step import ingest
from components.shared.data import dataset
from components.shared.errors import Refused
from forms.boxed import NOT_LABELS, colours, draw
from forms.conftest import read_all, refused, told

BOXES = ((90, [10, 5, 20, 20], 0), (3, [40, 20, 20, 20], 0))


def annotations(*names: str, boxes=BOXES, size=(80, 50), **more) -> str:
    """What COCO writes: ids with gaps, no place in any list."""
    return json.dumps({
        "info": {}, "licenses": [],
        "images": [{"id": 7 + 10 * n, "file_name": name, "width": size[0], "height": size[1]} for n, name in enumerate(names)],
        "annotations": [{"id": n, "image_id": 7 + 10 * image, "category_id": category, "bbox": box, "iscrowd": crowd,
                         "segmentation": [[1, 2, 3, 4]]}
                        for image in range(len(names)) for n, (category, box, crowd) in enumerate(boxes)],
        "categories": [{"id": 3, "name": "dog"}, {"id": 90, "name": "cat"}],
    } | more)  # fmt: skip


LAYOUTS = {
    "COCO": (("annotations/instances_train2017.json", "train2017"), ("annotations/instances_val2017.json", "val2017")),
    "CVAT": (("annotations/instances_train.json", "images/train"), ("annotations/instances_val.json", "images/val")),
    "Roboflow": (("train/_annotations.coco.json", "train"), ("valid/_annotations.coco.json", "valid")),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_each_box_is_a_still_of_its_class_and_its_picture_its_group(tmp_path, layout):
    for file, pictures in LAYOUTS[layout]:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        (tmp_path / file).write_text(annotations("1.png"))
        draw(tmp_path / pictures / "1.png")  # the same name on both sides: each has its own
    (tmp_path / "annotations").mkdir(exist_ok=True)
    (tmp_path / "annotations/captions_train2017.json").write_text(json.dumps({"info": {}, "images": [], "annotations": []}))
    assert f"a COCO export: {NOT_LABELS}" in refused(tmp_path)
    assert colours(read_all(tmp_path, crop_boxes=True)) == [
        (label, label, True, (20, 20), split, f"{pictures}/1.png")
        for split, (_, pictures) in zip(("train", "validation"), LAYOUTS[layout], strict=True) for label in ("cat", "dog")
    ]  # fmt: skip


def test_label_studios_paths_and_windows_are_found(tmp_path):
    draw(tmp_path / "images/a b.png")
    (tmp_path / "result.json").write_text(annotations("..\\..\\label-studio\\data\\media\\images\\a b.png"))
    assert [row[:2] for row in colours(read_all(tmp_path, crop_boxes=True))] == [("cat", "cat"), ("dog", "dog")]


def test_what_is_left_out_is_told_by_reason_and_class(tmp_path, capsys):
    boxes = (
        *BOXES,
        (3, [0, 0, 30, 30], 1),
        (3, [90, 10, 20, 20], 0),
        (90, [5, 5, 0, 9], 0),
        (90, [5, 5, 7, 30], 0),
        (90, [1, 1, -9, 9], 0),
    )
    (tmp_path / "_annotations.coco.json").write_text(annotations("1.png", boxes=(*boxes, (3, [40, 20, 99, 99], 0))))
    draw(tmp_path / "1.png")
    draw(tmp_path / "2.png")
    (*_, clipped) = colours(read_all(tmp_path, crop_boxes=True))
    assert clipped[3] == (30, 40)
    lines = told(tmp_path, capsys, crop_boxes=True)
    assert "W_BOX 1: boxes of crowds (dog 1), such as '1.png box 3'" in lines
    assert "W_BOX 1: boxes outside their picture (dog 1)" in lines
    assert "W_BOX 2: boxes without a height or a width (cat 2)" in lines
    assert "W_BOX 1: boxes of less than 8 px (cat 1)" in lines
    assert "W_UNLABELED 1: pictures that have no annotation, such as '2.png'" in lines


@pytest.mark.parametrize("name", ["1.bmp", "1.webp", "1.tif", "1.jpg", "as it was uploaded"])
def test_pictures_of_every_kind_are_cropped(tmp_path, name):
    (tmp_path / "_annotations.coco.json").write_text(annotations(name))
    draw(tmp_path / f"1{Path(name).suffix or '.jpg'}", orientation=1 if name == "1.bmp" else 6).rename(tmp_path / name)
    assert [row[:3] for row in colours(read_all(tmp_path, crop_boxes=True))] == [("cat", "cat", True), ("dog", "dog", True)]


def test_a_turned_picture_is_cropped_upright_where_its_size_says_so_and_left_out_where_not(tmp_path, capsys):
    (tmp_path / "_annotations.coco.json").write_text(annotations("1.jpg"))
    draw(tmp_path / "1.jpg", orientation=6)
    assert [row[:3] for row in colours(read_all(tmp_path, crop_boxes=True))] == [("cat", "cat", True), ("dog", "dog", True)]
    (tmp_path / "_annotations.coco.json").write_text(annotations("1.jpg", "2.jpg", size=(50, 80)))
    draw(tmp_path / "2.jpg")
    line = "W_BOX_SIZE 2: pictures of another size upright than their boxes are of, such as '1.jpg (80x50, boxes of 50x80)'"
    assert line in told(tmp_path, capsys, crop_boxes=True)
    with pytest.raises(Refused, match=r"(?s)E_NO_DATA .* no samples in it; .*W_BOX_SIZE 2: pictures"):
        ingest(str(tmp_path), tmp_path / "data", crop_boxes=True, dry_run=True)


def test_all_faults_of_the_annotations_are_told_together(tmp_path):
    draw(tmp_path / "1.png")
    (tmp_path / "_annotations.coco.json").write_text(annotations("1.png", "gone.png", boxes=(*BOXES, (4, [1, 1, 9, 9], 0))))
    (tmp_path / "_annotations.coco.json").parent.joinpath("instances_all.json").write_text(annotations("1.png"))
    lines = refused(tmp_path, crop_boxes=True)
    assert "_annotations.coco.json: names 'gone.png', which is not there" in lines
    assert "annotation 2 has the category 4, which has no name in its list" in lines
    assert "E_DUPLICATE_ROW 1.png: has boxes in two places of the annotations" in lines
    (tmp_path / "instances_all.json").unlink()
    surrogate = annotations("1.png", categories=[{"id": 3, "name": "\ud800"}, {"id": 90, "name": "cat"}])
    for text in (
        '{"images": [], "annotations": [{"caption": "a cat"}]}',
        surrogate,
        annotations("1.png")[:-20],
        "[" * 100_000,
        "",
    ):
        (tmp_path / "_annotations.coco.json").write_text(text)
        assert "not annotations as COCO writes them" in refused(tmp_path, crop_boxes=True)
        assert "not annotations as COCO writes them" in refused(tmp_path) or "bbox" in text


def test_pictures_that_cannot_be_read_and_annotations_without_their_folder_are_told(tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "s/_annotations.coco.json").write_text(annotations("1.png", "2.png", "3.png"))
    draw(tmp_path / "s/1.png")
    (tmp_path / "s/2.png").write_bytes(b"no picture")
    (tmp_path / "s/3.png").write_bytes((tmp_path / "s/1.png").read_bytes()[:-40])
    with pytest.raises(Refused, match=r"(?s) 2\.png: .* 3\.png: .*4 cannot be read"):
        ingest(str(tmp_path / "s"), tmp_path / "data", crop_boxes=True)
    ingest(str(tmp_path / "s"), tmp_path / "data", crop_boxes=True, quarantine=str(tmp_path / "q"))
    assert sum(dataset.count(shard) for shard in dataset.shards(tmp_path / "data")) == 2
    assert "name the folder that holds it and its pictures" in refused(tmp_path / "s/_annotations.coco.json", crop_boxes=True)


def test_inaturalists_annotations_without_boxes_are_labels_of_whole_pictures(tmp_path, capsys):
    for name in ("train/1.png", "train/2.png", "val/1.png"):
        draw(tmp_path / name)
    for split, names in (("train", ("1.png", "2.png")), ("val", ("1.png",))):
        content = json.loads(annotations(*names, boxes=BOXES[:1]))
        content["annotations"] = [
            {key: each[key] for key in ("id", "image_id", "category_id")} for each in content["annotations"]
        ]
        (tmp_path / f"iwildcam_{split}_annotations.json").write_text(json.dumps(content))
    found = [(sample.label, sample.source, sample.split) for sample in read_all(tmp_path)]
    assert found == [("cat", "train/1.png", "train"), ("cat", "train/2.png", "train"), ("cat", "val/1.png", "validation")]
    content["annotations"] += [{"id": 9, "image_id": 7, "category_id": 3}]
    (tmp_path / "iwildcam_val_annotations.json").write_text(json.dumps(content))
    assert "E_LABEL_CONFLICT val/1.png: has 2 labels (cat, dog)" in refused(tmp_path)
