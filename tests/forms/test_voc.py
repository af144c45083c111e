"""Pascal VOC's XML: the things and not their parts, splits from lists, and no entities."""

import pytest

from forms.boxed import NOT_LABELS, colours, draw
from forms.conftest import read_all, refused, told

OBJECT = "<object><name>{}</name>{}<bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
PART = "<part><name>head</name><bndbox><xmin>1</xmin><ymin>1</ymin><xmax>50</xmax><ymax>50</ymax></bndbox></part>"
# VOC counts from 1, and the last pixel is inside.
THINGS = OBJECT.format("cat", PART, 11, 6, 30, 25) + OBJECT.format("dog", "", "41.0", "21.0", "60.0", "40.0")
SIZE = "<size><width>80</width><height>50</height><depth>3</depth></size>"


def annotation(filename: str, things: str = THINGS, size: str = SIZE) -> str:
    return f"<annotation verified='yes'><folder>x</folder><filename>{filename}</filename>{size}{things}</annotation>"


def test_the_devkit_with_its_lists_and_stale_file_names(tmp_path, capsys):
    for number, folder in enumerate(("Annotations", "ImageSets/Main", "SegmentationClass"), 1):
        (tmp_path / folder).mkdir(parents=True)
        draw(tmp_path / f"JPEGImages/{number}.jpg")
        (tmp_path / f"Annotations/{number}.xml").write_text(annotation("1.jpg"))  # as it was called once
    draw(tmp_path / "SegmentationClass/1.png")
    for name, content in (
        ("train", "1\n"),
        ("val", "2 \n"),
        ("test", "3.jpg\n"),
        ("trainval", "1\n2\n"),
        ("cat_train", "1 -1\n"),
    ):
        (tmp_path / f"ImageSets/Main/{name}.txt").write_text(content)
    assert f"a Pascal VOC export: {NOT_LABELS}" in refused(tmp_path)
    assert colours(read_all(tmp_path, crop_boxes=True)) == [
        (label, label, True, (20, 20), split, f"JPEGImages/{number}.jpg")
        for number, split in enumerate(("train", "validation", "test"), 1) for label in ("cat", "dog")
    ]  # fmt: skip
    assert "W_UNLABELED 1: pictures that have no annotation, such as 'SegmentationClass/1.png'" in told(
        tmp_path, capsys, crop_boxes=True
    )
    (tmp_path / "ImageSets/Main/val.txt").write_text("1\n2\n")
    assert "E_LABEL_CONFLICT ImageSets/Main/val.txt: '1' is in train too" in refused(tmp_path, crop_boxes=True)


def test_roboflows_folders_and_labelimgs_files_side_by_side(tmp_path):
    for split in ("train", "valid"):
        draw(tmp_path / split / "1.jpg")
        (tmp_path / split / "1.xml").write_text(annotation("1", size="<size><width>0</width><height>0</height></size>"))
    assert [row[0::4] for row in colours(read_all(tmp_path, crop_boxes=True))] == [
        (label, split) for split in ("train", "validation") for label in ("cat", "dog")
    ]


LAUGHS = "<!DOCTYPE l [<!ENTITY a '" + "ha" * 999 + "'>" + "".join(
    f"<!ENTITY {after} '{f'&{before};' * 99}'>" for before, after in zip("abcde", "bcdef", strict=True)) + "]>"  # fmt: skip
HOSTILE = {
    "a billion laughs": (LAUGHS + annotation("&f;"), "declares a document type"),
    "a file of the machine": (
        "<!DOCTYPE a [<!ENTITY b SYSTEM 'file:///etc/passwd'>]>" + annotation("&b;"),
        "declares a document type",
    ),
    "cut short": (annotation("1.png")[:200], "not annotations as Pascal VOC writes them"),
    "no box": (annotation("1.png", "<object><name>cat</name></object>"), "an object without a name or a bndbox"),
    "no number": (annotation("1.png", OBJECT.format("cat", "", "a", 1, 2, 3)), "could not convert"),
    "no picture": (annotation("../../1.png").replace("1.png", "2.png"), "its picture '../../2.png' is not there"),
}


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_hostile_and_broken_xml_is_refused_by_its_name(tmp_path, case, encoding):
    draw(tmp_path / "1.png")
    (tmp_path / "1.xml").write_text(annotation("1.png"))
    text, words = HOSTILE[case]
    (tmp_path / "3.xml").write_text(text, encoding=encoding)
    line = refused(tmp_path, crop_boxes=True)
    assert "3.xml" in line
    assert words in line
    assert "\n" not in line
