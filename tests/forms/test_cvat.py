"""CVAT for images: tags are labels, boxes are not; without either of them its pictures would be one class called images."""

from forms.boxed import NOT_LABELS, colours, draw
from forms.conftest import read_all, refused, told

CAT = '<box label="cat" xtl="10.0" ytl="5.0" xbr="30.0" ybr="25.0" occluded="0" z_order="0"/>'
DOG = '<polygon label="dog" points="40.0,20.0;60.0,20.0;60.0,40.0;45.0,40.0"/>'
TURNED = '<box label="dog" rotation="30.0" xtl="1" ytl="1" xbr="20" ybr="20"/><points label="cat" points="1,1"/>'


def image(number: int, content: str, **more: str) -> str:
    names = {"name": f"{number}.png", "width": "80", "height": "50", **more}
    return f"<image id='{number}' {' '.join(f'{key}={value!r}' for key, value in names.items())}>{content}</image>"


def write(folder, *images: str) -> None:
    text = (
        "<?xml version='1.0' encoding='utf-8'?>\n<annotations><version>1.1</version><meta/>"
        + "".join(images)
        + "</annotations>"
    )
    (folder / "annotations.xml").write_text(text)


def test_boxes_and_polygons_are_cropped_and_other_shapes_told(tmp_path, capsys):
    draw(tmp_path / "images/train/1.png")
    draw(tmp_path / "images/2.png")
    write(tmp_path, image(1, CAT + TURNED, subset="Train"), image(2, DOG), image(3, ""))
    assert f"a CVAT export: {NOT_LABELS}" in refused(tmp_path)
    (tmp_path / "images/train").rename(tmp_path / "images/Train")
    assert [row[:5] for row in colours(read_all(tmp_path, crop_boxes=True))] == [
        ("cat", "cat", True, (20, 20), "train"), ("dog", "dog", True, (20, 20), None)
    ]  # fmt: skip
    assert "W_BOX 2: shapes that are neither upright boxes nor polygons (dog 1, cat 1)" in told(
        tmp_path, capsys, crop_boxes=True
    )


def test_tags_are_labels_and_two_of_them_a_conflict(tmp_path, capsys):
    for number in (1, 2, 3):
        draw(tmp_path / f"images/{number}.png")
    tag = "<tag label='{}' source='manual'></tag>".format
    write(tmp_path, image(1, tag("cat") + DOG), image(2, tag("dog")), image(3, ""))
    assert [(sample.label, sample.source) for sample in read_all(tmp_path)] == [
        ("cat", "images/1.png"),
        ("dog", "images/2.png"),
    ]
    assert "W_UNLABELED 1: pictures that have no label, such as 'images/3.png'" in told(tmp_path, capsys)
    write(tmp_path, image(1, tag("cat") + tag("dog")), image(4, tag("cat")))
    assert "E_LABEL_CONFLICT images/1.png: has 2 labels (cat, dog)" in refused(tmp_path)
    assert "names '4.png', which is not there" in refused(tmp_path)
    write(tmp_path, image(1, CAT.replace("10.0", "ten")))
    assert "the shapes of '1.png' cannot be read" in refused(tmp_path, crop_boxes=True)
    (tmp_path / "annotations.xml").write_text("<!DOCTYPE a [<!ENTITY b 'c'>]><annotations></annotations>")
    assert "declares a document type" in refused(tmp_path)
