"""Arrays: what their labels mean, whatever shape they have, and what is refused with what to type."""

import zipfile

import numpy as np
import pytest

from components.shared.pictures.decode import decode
from forms.conftest import read, read_all, refused, told

RNG = np.random.default_rng(0)
SIX = RNG.integers(0, 256, (6, 9, 8, 3), dtype=np.uint8)
MEANT = ["b", "a", "c", "b", "b", "a"]
PLACES = np.array([1, 0, 2, 1, 1, 0])

SHAPES = {
    "in a column": PLACES[:, None],
    "as one-hot rows": np.eye(3, dtype=np.float32)[PLACES],
    "as one-hot rows of truths": np.eye(3, dtype=bool)[PLACES],
    "as bytes": PLACES.astype(np.uint8),
    "as floats": PLACES.astype(float),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("names", ["class_names", "label_names", "classes"])
def test_labels_of_every_usual_shape_are_places_in_the_names(tmp_path, save, shape, names):
    save(tmp_path / "a.npz", X_train=SIX, y_train=SHAPES[shape], **{names: ["a", "b", "c"]})
    found = read_all(tmp_path / "a.npz")
    assert [sample.label for sample in found] == MEANT
    assert {sample.split for sample in found} == {"train"}
    assert all((decode(sample.frames[0][0]).pixels == SIX[place]).all() for place, sample in enumerate(found))


def test_1200_one_hot_columns_are_1200_classes(tmp_path):
    np.savez(tmp_path / "a.npz", images=np.zeros((1200, 2, 2), np.uint8), labels=np.eye(1200, dtype=np.uint8))
    assert {sample.label for sample in read_all(tmp_path / "a.npz")} == {str(number) for number in range(1200)}


@pytest.mark.parametrize("saved", ["npz", "npy"])
def test_medmnist_and_npy_files_keep_their_splits(tmp_path, capsys, saved):
    arrays = {f"{split}_{what}": value for split in ("train", "val", "test")
              for what, value in (("images", SIX), ("labels", PLACES[:, None].astype(np.uint8)))}  # fmt: skip
    arrays["notes"] = np.zeros(2)
    if saved == "npz":
        np.savez(tmp_path / "pathmnist.npz", **arrays)
    for name, array in arrays.items() if saved == "npy" else ():
        np.save(tmp_path / f"{name}.npy", np.asfortranarray(array))
    found = read_all(tmp_path)
    assert [sample.split for sample in found] == ["train"] * 6 + ["validation"] * 6 + ["test"] * 6
    assert (decode(found[9].frames[0][0]).pixels == SIX[3]).all()
    assert "W_IGNORED 1: arrays that are not read, such as 'notes'" in told(tmp_path, capsys)


def test_arrays_that_are_not_compressed_are_mapped_and_their_checksum_is_compared(tmp_path, monkeypatch):
    monkeypatch.setattr("psutil.virtual_memory", lambda: type("Memory", (), {"available": 100}))
    np.savez(tmp_path / "a.npz", images=SIX, labels=MEANT)
    assert [sample.label for sample in read_all(tmp_path / "a.npz")] == MEANT
    np.savez_compressed(tmp_path / "b.npz", images=SIX, labels=MEANT)
    assert "takes 1,424 bytes of memory, 100 bytes are free" in refused(tmp_path / "b.npz")
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        place = archive.getinfo("images.npy").header_offset + 500
    content = bytearray((tmp_path / "a.npz").read_bytes())
    content[place] ^= 1
    (tmp_path / "a.npz").write_bytes(content)
    assert "Bad CRC-32" in refused(tmp_path / "a.npz")


MANY = np.array([[1, 0, 1], [0, 1, 0], [0, 0, 0], [1, 0, 0], [1, 0, 0], [1, 0, 0]])
REFUSED = {
    "-1": ({"labels": PLACES - 1}, "E_LABEL", "2 of its labels are negative, which often stands for no label; the first is -1"),
    "-1 beside names": ({"labels": PLACES - 1, "classes": list("abc")}, "E_LABEL", "the first is -1, of picture 1"),
    "-1 as a byte": ({"labels": (PLACES - 1).astype(np.uint8), "classes": list("abc")}, "E_LABEL", "the first is 255, of picture 1"),
    "several labels": ({"labels": MANY}, "E_LABEL", "of 2 pictures the 3 numbers are others, the first is picture 0"),
    "parts of labels": ({"labels": MANY * 0.5 + 0.25}, "E_LABEL", "expected one label per picture"),
    "masks": ({"labels": SIX[..., 0]}, "E_LABEL", "masks for segmentation are no labels"),
    "Python's text": ({"labels": np.array(MEANT, object)}, "E_PICKLE", "y.astype(str)"),
    "0 to 1": ({"images": np.float32(SIX) / 255}, "E_RANGE", "float32 of 0 to 1; save (x * 255).round().astype('uint8')"),
    "-1 to 1": ({"images": SIX / 127.5 - 1}, "E_RANGE", "save ((x + 1) * 127.5).round().astype('uint8')"),
    "0.0 to 255.0": ({"images": SIX.astype(float)}, "E_RANGE", "float64 of 0 to 255; save x.round().astype('uint8')"),
    "truths": ({"images": SIX > 9}, "E_RANGE", "save x.astype('uint8') * 255"),
    "16 bits": ({"images": SIX.astype(np.uint16) * 257}, "E_RANGE", "(x / 257).round().astype('uint8') where 65535 is white"),
    "channels first": ({"images": np.moveaxis(SIX, -1, 1)}, "E_DIMENSIONS", "save np.moveaxis(x, -3, -1)"),
    "a fourth channel": ({"images": np.zeros((6, 9, 9, 4), np.uint8)}, "E_DIMENSIONS", "save x[..., :3]"),
    "grey clips": ({"images": np.zeros((6, 5, 9, 9), np.uint8)}, "E_DIMENSIONS", "save x[..., None]"),
    "flat rows": ({"images": SIX.reshape(6, -1)}, "E_DIMENSIONS", "x.reshape(-1, height, width)"),
    "two pairs": ({"x": SIX, "y": MEANT}, "", "holds images+labels and x+y; leave one of them in it"),
    "one split twice": ({"x_val": SIX, "y_val": MEANT, "x_valid": SIX, "y_valid": MEANT}, "", "leave one of them in it"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_what_could_be_misread_is_refused_with_what_to_type(tmp_path, case):
    changes, code, words = REFUSED[case]
    np.savez(tmp_path / "a.npz", **{"images": SIX, "labels": MEANT, **changes})
    line = refused(tmp_path / "a.npz")
    assert line.startswith(code)
    assert words in line


def test_npy_files_beside_pictures_or_without_labels_are_not_taken_for_a_set(tmp_path):
    np.save(tmp_path / "x_train.npy", SIX)
    assert "has no form that is known" in refused(tmp_path)
    np.save(tmp_path / "y_train.npy", np.array(MEANT))
    assert read(tmp_path).form == "npz"
    np.save(tmp_path / "x_test.npy", SIX)
    assert "it holds x_test but no y_test" in refused(tmp_path)
