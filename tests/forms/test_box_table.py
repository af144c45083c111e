"""CSV tables of boxes are not tables of labels."""

from forms.boxed import NOT_LABELS, colours, draw
from forms.conftest import read_all, refused

HEADER = "filename,width,height,class,xmin,ymin,xmax,ymax"
ROWS = ["1.png,80,50,cat,10,5,30,25", "2.png,80,50,dog,40,20,60,40", "1.png,80,50,dog,40,20,60,40"]


def test_tensorflows_table_and_roboflows_per_split(tmp_path):
    for split in ("train", "valid"):
        draw(tmp_path / split / "1.png")
        draw(tmp_path / split / "2.png")
        (tmp_path / split / "_annotations.csv").write_text("\n".join([HEADER, *ROWS]))
    assert f"a table of boxes: {NOT_LABELS}" in refused(tmp_path)
    found = colours(read_all(tmp_path, crop_boxes=True))
    assert [row[0] for row in found] == ["cat", "dog", "dog"] * 2
    assert all(label == colour and whole for label, colour, whole, *_ in found)
    assert {row[4] for row in found} == {"train", "validation"}
    # One table beside its pictures: without a word it would be a picture in two classes.
    assert NOT_LABELS in refused(tmp_path / "train")


def test_open_images_fractions_and_rows_that_are_no_boxes(tmp_path):
    draw(tmp_path / "images/1.png")
    table = tmp_path / "train-annotations-bbox.csv"
    table.write_text(
        "ImageID,LabelName,Confidence,XMin,XMax,YMin,YMax\n1,cat,1,0.125,0.375,0.1,0.5\n1,dog,1,0.5,0.75,0.4,0.8\n"
    )
    assert [row[:5] for row in colours(read_all(tmp_path, crop_boxes=True))] == [
        ("cat", "cat", True, (20, 20), "train"), ("dog", "dog", True, (20, 20), "train")
    ]  # fmt: skip
    table.write_text(HEADER + "\n1.png,80,50,cat,a,5,30,25\n2.png,80,50,cat,1,5,30,25\n1.png,80,50,,,,,\n")
    lines = refused(tmp_path, crop_boxes=True)
    assert "line 2: without a picture, a class or four numbers" in lines
    assert "names '2.png', which is not there" in lines
    assert "line 4" not in lines
