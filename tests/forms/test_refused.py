"""What is refused in plain words: masks of segmentation are no classes called images and masks, pickles are not opened."""

import pytest
from conftest import draw_stills

from forms.boxed import draw
from forms.conftest import read, refused


@pytest.mark.parametrize(
    ("pictures", "masks"),
    [
        ("images", "masks"),
        ("train/images", "train/masks"),
        ("JPEGImages", "SegmentationClass"),
        ("images/training", "annotations/training"),
    ],
)
def test_masks_are_refused_in_true_words(tmp_path, pictures, masks):
    draw(tmp_path / pictures / "1.jpg")
    draw(tmp_path / masks / "1.png")
    assert "masks of segmentation, a class of each pixel and not of the picture" in refused(tmp_path)
    assert read(tmp_path, "class-folders").form == "class-folders"


def test_classes_of_other_names_are_no_masks(tmp_path):
    draw_stills(tmp_path / "images", each=2, shapes=("mask", "no mask"))
    assert read(tmp_path).form == "class-folders"


def test_the_pickles_of_cifar_are_refused_with_what_to_type(tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    for name in ("batches.meta", "data_batch_1", "test_batch"):
        (folder / name).write_bytes(b"\x80\x02")
    said = refused(tmp_path)
    assert "E_PICKLE" in said
    assert "a pickle runs whatever code was put into it" in said
    assert "keras.datasets.cifar10.load_data()" in said
