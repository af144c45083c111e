"""`darkroom predict --sort-into`: every answered picture is in the folder of its label, and nothing of a person's is touched."""

import csv
import errno
import itertools
import os
import shutil
import zipfile
from pathlib import Path

import fsspec
import numpy as np
import pytest
from conftest import draw_stills, png
from test_predict import odd_pictures, rows, toy  # noqa: F401, toy is a fixture
from toy_package import make_package

from components.predict import sorting
from components.predict.lots import Encoded
from components.predict.step import predict
from components.shared import destination
from components.shared.data import dataset
from components.shared.data.dataset import Sample
from components.shared.errors import CannotRun


def test_pictures_are_sorted_and_nothing_leaves_the_folder_or_is_overwritten(tmp_path):
    labels = ["../../out", "/etc", "..", "_abstained", "a/b", "A-b", "", "x" * 300, "tab\there"]
    make_package(tmp_path / "hostile", classes=labels)
    folders = sorting.folders(labels)
    assert len({name.casefold() for name in folders.values()} | {sorting.ABSTAINED}) == len(labels) + 1
    assert all("/" not in name and name.strip(".") and len(name) < 120 for name in folders.values())
    Path("data").mkdir()
    rng = np.random.default_rng(0)
    pictures = [png(rng.integers(0, 256, (12, 12), np.uint8)) for _ in range(60)]
    sources = itertools.cycle(["../../../up.png", "/abs.png", "a/./b.png", "..", "../..", "C:\\x.png", "n\nl.png"])
    dataset.write_shard(
        [Sample(None, str(number), ((picture, next(sources)),)) for number, picture in enumerate(pictures)],
        Path("data/00000.parquet"),
    )
    before = set(tmp_path.rglob("*"))
    predict("hostile", ["data"], output=Path("a.parquet"), sort_into=Path("sorted"))
    new = (
        {path for path in tmp_path.rglob("*") if path.is_file()}
        - before
        - {tmp_path / "a.parquet", tmp_path / ".a.parquet.lock"}
    )
    assert all(path.is_relative_to(tmp_path / "sorted") for path in new)
    assert sorted(path.read_bytes() for path in new if path.name != destination.MARKER) == sorted(pictures)
    assert not list(Path("sorted").rglob("*.tmp"))
    mine = next(path for path in new if path.name == "up.png")
    mine.write_bytes(b"mine")
    predict("hostile", ["data"], output=Path("a.parquet"), sort_into=Path("sorted"))
    assert mine.read_bytes() == b"mine"
    assert len([path for path in Path("sorted").rglob("*") if path.is_file()]) == len(pictures) + 2


def test_sorted_pictures_of_this_disk_take_no_room_and_a_folder_with_other_things_is_refused():
    draw_stills(Path("in"), each=4)
    predict("toy", ["in"], output=Path("a.csv"), sort_into=Path("sorted"))
    predict("toy", ["in"], output=Path("a.csv"), sort_into=Path("sorted"))
    linked = list(Path("sorted").rglob("*.png"))
    assert len(linked) == 12
    assert all(path.stat().st_nlink == 2 for path in linked)
    for row in csv.DictReader(Path("a.csv").read_text().splitlines()):
        folder = "_abstained" if row["abstained"] == "True" else row["label"]
        assert Path("sorted", folder, row["source"].removeprefix("in/")).exists()
    Path("mine").mkdir()
    Path("mine/letter.txt").write_text("dear")
    for place in ("mine", "in", "in/bar/new"):
        with pytest.raises(CannotRun, match=place):
            predict("toy", ["in"], output=Path("a.csv"), sort_into=Path(place))


def test_where_the_sorted_folder_is_gone_what_was_answered_is_sorted_again(capsys):
    draw_stills(Path("in"), each=2)
    shard = Path("last.parquet")
    dataset.write_shard([Sample(None, "last", ((odd_pictures()["a.png"], "last.png"),))], shard)
    whole = shard.read_bytes()
    Path("sorted").mkdir()  # an empty folder of a person's is as good as a new one
    Path("sorted/.DS_Store").touch()
    store, last = fsspec.filesystem("memory"), "memory://kept/last.parquet"
    given = {"model": "toy", "paths": ["in", last], "output": Path("a.csv"), "sort_into": Path("sorted")}
    store.pipe("/kept/last.parquet", whole[:4] + bytes(200) + whole[204:])  # here it would be a fault among the others
    for _ in range(2):  # ended when the folder was answered
        with pytest.raises(CannotRun, match=r"last\.parquet"):
            predict(**given)
        assert len(list(Path("sorted").rglob("*.png"))) == 6
    shutil.rmtree("sorted")
    store.pipe("/kept/last.parquet", whole)
    predict(**given)
    assert len(list(Path("sorted").rglob("*.png"))) == 7
    assert "answered before" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "name", [f"{'ü' * 130}.png", f"{'x' * 300}/a.png", f"x.{'y' * 300}", "/".join(["d" * 250] * 20) + "/a.png"]
)
def test_a_name_that_is_too_long_for_the_disk_becomes_a_digest(name):
    with zipfile.ZipFile("in.zip", "w") as archive:
        archive.writestr(name, odd_pictures()["a.png"])
        archive.writestr(f"{'ü' * 120}.png", odd_pictures()["g.png"])
    predict("toy", ["in.zip"], output=Path("a.parquet"), sort_into=Path("sorted"))
    assert [row["fault"] for row in rows()] == [None, None]
    found = [path for path in Path("sorted").rglob("*") if path.is_file() and path.name != destination.MARKER]
    assert {path.read_bytes() for path in found} == {odd_pictures()["a.png"], odd_pictures()["g.png"]}
    assert f"{'ü' * 120}.png" in {path.name for path in found}
    assert all(len(path.relative_to("sorted").parts) == 2 for path in found)


def test_a_disk_that_knows_no_links_gets_copies(tmp_path, monkeypatch):
    def no_links(*_):
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    picture = Path("one.png")
    picture.write_bytes(b"its bytes")
    monkeypatch.setattr(os, "link", no_links)
    sorting.put(Encoded("one.png", [(b"its bytes", "one.png")], [str(picture)]), tmp_path / "sorted/a")
    assert [file.name for file in (tmp_path / "sorted/a").iterdir()] == ["one.png"]
    assert (tmp_path / "sorted/a/one.png").read_bytes() == b"its bytes"
