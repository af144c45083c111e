"""CVAT's ImageNet export: lists with the classes in a file; and CIFAR, which is refused."""

from pathlib import Path

import numpy as np
from conftest import drawing, png

from forms.conftest import read_all, refused


def draw(root: Path) -> Path:
    (root / "images").mkdir()
    for name in ("a.jpg", "b b.jpg", "c.jpg", "d.jpg"):
        (root / "images" / name).write_bytes(png(drawing("box", np.random.default_rng(0))))
    (root / "synsets.txt").write_text("cat\nguide dog\n")
    (root / "train.txt").write_text('a.jpg 0\n"b b".jpg 1\nd.jpg \n')
    (root / "default.txt").write_text("c.jpg 1\n")
    return root


def test_numbers_are_places_in_synsets(tmp_path):
    found = {(each.label, each.source, each.split) for each in read_all(draw(tmp_path))}
    assert found == {
        ("cat", "images/a.jpg", "train"), ("guide dog", "images/b b.jpg", "train"), ("guide dog", "images/c.jpg", None),
    }  # fmt: skip


def test_bad_lines_and_lists_without_pictures_are_refused(tmp_path):
    (draw(tmp_path) / "train.txt").write_text("a.jpg 0\nc.jpg 0 1\nd.jpg 7\n")
    first, second = refused(tmp_path).splitlines()
    assert "train.txt line 2: 2 classes for one picture" in first
    assert "train.txt line 3: class 7, but synsets.txt has 2 lines (0 to 1)" in second
    for file in (tmp_path / "images").iterdir():
        file.unlink()
    assert "lists of labels, and no picture; export once more with `Save images`" in refused(tmp_path)
