"""IDX pairs as torchvision and Kaggle leave them."""

import gzip

import numpy as np
from test_ingest import idx

from forms.conftest import read_all, refused

PICTURES = np.random.default_rng(0).integers(0, 256, (5, 9, 8), dtype=np.uint8)


def test_a_packed_file_beside_its_content_is_not_a_second_set(tmp_path):
    for name, array in (("train-images-idx3-ubyte", PICTURES), ("train-labels-idx1-ubyte", np.uint8([3, 1, 4, 1, 5]))):
        (tmp_path / name).write_bytes(idx(array))
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(idx(array)))
    assert [sample.label for sample in read_all(tmp_path)] == ["3", "1", "4", "1", "5"]


def test_kaggles_names_and_its_folders_of_the_same_name(tmp_path):
    for name, array in (("t10k-images{}idx3-ubyte", PICTURES), ("t10k-labels{}idx1-ubyte", np.uint8([3, 1, 4, 1, 255]))):
        (tmp_path / name.format("-")).mkdir()
        (tmp_path / name.format("-") / name.format("-")).write_bytes(idx(array))
        (tmp_path / name.format(".")).write_bytes(idx(array))
    found = read_all(tmp_path)
    assert [sample.label for sample in found] == ["3", "1", "4", "1", "255"]
    assert {sample.split for sample in found} == {"test"}


def test_of_two_sets_none_is_taken_in_silence(tmp_path):
    for folder in ("MNIST/raw", "FashionMNIST/raw"):
        (tmp_path / folder).mkdir(parents=True)
        for name, array in (("train-images-idx3-ubyte", PICTURES), ("train-labels-idx1-ubyte", np.uint8([3, 1, 4, 1, 5]))):
            (tmp_path / folder / name).write_bytes(idx(array))
    assert "IDX pairs in 2 folders (FashionMNIST/raw, MNIST/raw); name one of them" in refused(tmp_path)
    assert len(read_all(tmp_path / "MNIST")) == 5
    for file in list((tmp_path / "MNIST/raw").iterdir()):
        (file.parent / f"emnist-letters-{file.name}").write_bytes(file.read_bytes())
    assert "more than one set of IDX pairs (emnist-letters-train-images-idx3-ubyte, train-images-idx3-ubyte)" in refused(
        tmp_path / "MNIST"
    )
