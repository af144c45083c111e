"""Damaged tables, arrays and archives: nothing but our own errors, or all of what is in them."""

import contextlib
import csv
import gzip
import io
import re
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from test_ingest import idx

from components.ingest import archive
from components.ingest.form import Options, understand
from components.ingest.forms import FORMS, npz
from components.ingest.forms import idx as idx_form
from components.ingest.listing import Listing
from components.ingest.sample_reader import Reader
from components.ingest.source import LeftOut, Source
from components.shared.data.dataset import Sample
from components.shared.errors import CannotRun, Refused

OURS = (Refused, CannotRun)
FUZZ = {"deadline": None, "suppress_health_check": list(HealthCheck)}
FEW = settings(max_examples=150, **FUZZ)
MUTATION = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 2**16), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.integers(0, 2**16), st.just(0)),
    st.tuples(st.just("drop"), st.integers(0, 2**16), st.sampled_from([1, 2, 64, 511, 700])),
    st.tuples(st.just("repeat"), st.integers(0, 2**16), st.sampled_from([1, 64, 511, 700])),
    st.tuples(st.just("number"), st.integers(0, 2**16), st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000001, 0xFFFFFFFF])),
    st.tuples(st.just("zeros"), st.integers(0, 2**16), st.sampled_from([1, 64, 511, 700])),
)
MUTATIONS = st.lists(MUTATION, min_size=1, max_size=4)


def mutated(content: bytes, mutations: list[tuple[str, int, int]], *, words: tuple[bytes, ...] = ()) -> bytes:
    for kind, at, value in mutations:
        where = at % (len(content) + 1)
        head, tail = content[:where], content[where:]
        match kind:
            case "flip":
                content = head + bytes(byte ^ value for byte in tail[:1]) + tail[1:]
            case "cut":
                content = head
            case "drop":
                content = head + tail[value:]
            case "repeat":
                content = content[: where + value] + tail
            case "number":
                content = head + value.to_bytes(4, "little") + tail[4:]
            case "zeros":
                content = head + bytes(value) + tail[value:]
            case "word":
                content = head + words[value % len(words)] + tail
    return content


def one_line(error: Exception) -> None:
    assert len(str(error).splitlines()) == 1


def some_lines(error: Exception, expected: str = "") -> None:
    assert str(error).startswith(expected)
    assert str(error)


@pytest.fixture(scope="module")
def place():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def fresh(place: Path) -> Path:
    shutil.rmtree(place / "fresh", ignore_errors=True)
    (place / "fresh").mkdir()
    return place / "fresh"


FILES = {f"{'ab'[n % 2]}/{'long' * 30 if n == 3 else ''}{n}.png": bytes(range(n, 60 + 10 * n)) for n in range(8)}


def tar_of(files: dict[str, bytes], form: int) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=form) as content:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            content.addfile(member, io.BytesIO(data))
    return stream.getvalue()


def zip_of(files: dict[str, bytes], compression: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as content:
        for name, data in files.items():
            content.writestr(name, data)
    return stream.getvalue()


TARS = [tar_of(FILES, tarfile.GNU_FORMAT), tar_of(FILES, tarfile.PAX_FORMAT)]
TARS += [gzip.compress(tar) for tar in TARS]
ZIPS = [zip_of(FILES, zipfile.ZIP_STORED), zip_of(FILES, zipfile.ZIP_DEFLATED), zip_of(FILES, zipfile.ZIP_LZMA)]


@FEW
@example(0, [("cut", 836, 0), ("zeros", 836, 700)])
@given(st.sampled_from(range(4)), MUTATIONS)
def test_a_damaged_tar_is_refused_or_gives_every_file(place, which, mutations):
    content = mutated(TARS[which], mutations)
    (place / "a.tar").write_bytes(content)
    try:
        archive.unpack(place / "a.tar", folder := fresh(place))
    except OURS as error:
        one_line(error)
    else:
        found = [file for file in folder.rglob("*") if file.is_file()]
        # Names and data of a tar have no checksum that is their own; how many there are, and how long they are, does not change.
        expected = FILES if content.strip(b"\0") else {}
        assert sorted(file.stat().st_size for file in found) == sorted(map(len, expected.values()))
    assert not [path for path in place.iterdir() if path.name not in ("a.tar", "fresh")]
    (place / "a.tar").unlink()


@FEW
@given(st.sampled_from(range(3)), MUTATIONS)
def test_a_damaged_zip_is_refused_or_gives_every_file_as_it_was(place, which, mutations):
    (place / "a.zip").write_bytes(mutated(ZIPS[which], mutations))
    try:
        archive.unpack(place / "a.zip", folder := fresh(place))
    except OURS as error:
        one_line(error)
    else:
        assert sorted(file.read_bytes() for file in folder.rglob("*") if file.is_file()) == sorted(FILES.values())
    assert not [path for path in place.iterdir() if path.name not in ("a.zip", "fresh")]
    (place / "a.zip").unlink()


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=40) | st.sampled_from(
    [
        "../x",
        "/etc/x",
        "a/../../x",
        ".",
        "..",
        "a/.",
        "a//b",
        "a\\..\\..\\b",
        "a\0b",
        "-rf",
        "$(touch x)",
        "x" * 300,
        "con",
        "a/b/",
    ]
)


@FEW
@given(st.lists(st.tuples(NAMES, st.binary(max_size=20)), max_size=5), st.sampled_from(["zip", "tar"]))
def test_whatever_the_names_in_an_archive_nothing_lands_outside_the_folder(place, members, form):
    file = place / f"n.{form}"
    if form == "zip":
        with zipfile.ZipFile(file, "w") as content:
            for name, data in members:
                if name not in content.namelist() and "\0" not in name:
                    content.writestr(zipfile.ZipInfo(name), data)
    else:
        with tarfile.open(file, "w") as content:
            for name, data in members:
                member = tarfile.TarInfo(name)
                member.size = len(data)
                content.addfile(member, io.BytesIO(data))
    with contextlib.suppress(*OURS):
        archive.unpack(file, fresh(place))
    assert not [path for path in place.iterdir() if path.name not in (file.name, "fresh")]
    file.unlink()


@FEW
@given(st.tuples(st.integers(1, 6), st.integers(1, 5), st.integers(1, 5)), MUTATIONS, st.booleans(), st.booleans())
def test_damaged_idx_files_are_refused_or_give_a_sample_for_each_label(place, shape, mutations, packed, labels_too):
    folder = fresh(place)
    pictures = idx(np.arange(np.prod(shape), dtype=np.uint8).reshape(shape))
    labels = idx(np.arange(shape[0], dtype=np.uint8))
    pack, ending = (gzip.compress, ".gz") if packed else (bytes, "")
    (folder / f"images-idx3-ubyte{ending}").write_bytes(mutated(pack(pictures), mutations))
    (folder / f"labels-idx1-ubyte{ending}").write_bytes(mutated(pack(labels), mutations) if labels_too else pack(labels))
    try:
        made, _ = samples_of(idx_form.pairs_in(folder))
    except OURS as error:
        one_line(error)
    else:
        assert labels_too or [sample.label for sample in made] == [str(number) for number in range(shape[0])]


def samples_of(source: Source) -> tuple[list[Sample], LeftOut]:
    """All samples of a source, and what it left out."""
    left_out = LeftOut()
    reader = Reader(source.root, 3, left_out)
    return [reader.read(entry) for entry in source.entries(left_out)], left_out


def npz_of(**arrays: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


PICTURES = np.arange(4 * 5 * 6, dtype=np.uint8).reshape(4, 5, 6)
NPZ = npz_of(images=PICTURES, labels=np.array([0, 1, 2, 1]), classes=np.array(["x", "y", "z"]))


@FEW
@example([("flip", 629, 112)])  # a name with a line's end in it
@example([("flip", 14277, 233)])  # a directory that has lost the names of the classes
@given(MUTATIONS)
def test_a_damaged_npz_is_refused_or_gives_what_was_saved(place, mutations):
    (place / "a.npz").write_bytes(mutated(NPZ, mutations))
    try:
        made, left_out = samples_of(npz.read(Listing(place / "a.npz"), Options()))
    except OURS as error:
        one_line(error)
    else:
        if not left_out.counts:  # else the list of the classes has another name now, and is said to be ignored
            assert [sample.label for sample in made] == ["x", "y", "z", "y"]
        assert len(made) == 4


DTYPES = st.sampled_from(["u1", "i1", "i8", "u8", "f4", "f8", "c8", "?", "U3", "S3", "M8[s]", "V4", "O"])
SHAPES = st.lists(st.integers(0, 4), max_size=5).map(tuple)


@FEW
@example(("u1", ()), ("i8", ()), None, False)
@example(("u1", (0, 2, 2)), ("i8", ()), ("U3", ()), False)
@example(("u1", ()), ("i8", (0,)), None, False)
@given(st.tuples(DTYPES, SHAPES), st.tuples(DTYPES, SHAPES), st.none() | st.tuples(DTYPES, SHAPES), st.booleans())
def test_arrays_of_any_kind_and_shape_are_refused_or_give_a_sample_a_row(place, pictures, labels, classes, fitting):
    def array(kind: str, shape: tuple[int, ...]) -> np.ndarray:
        return np.zeros(shape, kind) if kind != "O" else np.full(shape, None, object)

    if fitting:
        pictures = ("u1", (3, 4, 4, 3))
        labels = (labels[0], (3, *labels[1][1:]))
    arrays = {"images": array(*pictures), "labels": array(*labels)}
    if classes:
        arrays["classes"] = array(*classes)
    np.savez(place / "k.npz", **arrays)
    try:
        made, _ = samples_of(npz.read(Listing(place / "k.npz"), Options()))
    except OURS as error:
        one_line(error)
    else:
        assert len(made) == len(arrays["images"]) == len(arrays["labels"])


WORDS = (b'"', b"\n", b"\r", b"\r\n", b",", b";", b"\0", b"\xff", b"\xef\xbb\xbf", b"../", b"/", b" ", b"=1+1", b"\t")
TEXT_MUTATION = MUTATION | st.tuples(st.just("word"), st.integers(0, 2**16), st.integers(0, len(WORDS) - 1))


@pytest.fixture(scope="module")
def table(place):
    folder = place / "table"
    folder.mkdir()
    for number in range(9):
        (folder / f"{number}.png").write_bytes(bytes([number]))
    return folder


def read(file: Path) -> list[Sample]:
    return samples_of(FORMS["table"].read(Listing(file), Options()))[0]


@FEW
@given(st.lists(TEXT_MUTATION, min_size=1, max_size=4))
def test_a_damaged_csv_is_refused_or_gives_a_sample_for_each_line(place, table, mutations):
    text = b"path,label,split\n" + b"".join(b'%d.png,"one",train\n' % number for number in range(9))
    content = mutated(text, mutations, words=WORDS)
    (table / "t.csv").write_bytes(content)
    try:
        made = read(table / "t.csv")
    except OURS as error:
        some_lines(error)
    else:
        lines = [line for line in re.split(r"\r\n|\r|\n", content.decode("utf-8-sig")) if line.strip(' \t"')]
        assert len(made) == len(lines) - 1


CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\0\n\r"), max_size=12)


@FEW
@given(st.lists(st.tuples(CELLS, CELLS, CELLS), min_size=1, max_size=9), st.sampled_from(",;\t"), st.booleans(), st.booleans())
def test_a_table_of_any_text_gives_that_text_or_is_refused(place, table, cells, delimiter, bom, parquet):
    rows = [(f"{number}.png", *values) for number, values in enumerate(cells)]
    if parquet:
        import pandas as pd

        pd.DataFrame(rows, columns=["path", "label", "group", "clip"]).to_parquet(table / "t.parquet")
    else:
        stream = io.StringIO(newline="")
        writer = csv.writer(stream, delimiter=delimiter, lineterminator="\r\n")
        writer.writerows([["path", "label", "group", "clip"], *rows])
        (table / "t.csv").write_text(stream.getvalue(), encoding="utf-8-sig" if bom else "utf-8", newline="")
    try:
        made = read(table / ("t.parquet" if parquet else "t.csv"))
    except OURS as error:
        some_lines(error, expected="E_LABEL_EMPTY" if any(not label.strip() for _, label, _, _ in rows) else "E_LABEL_CONFLICT")
    else:
        frames = {path: (sample.label, sample.group) for sample in made for _, path in sample.frames}
        assert frames == {path: (label.strip(" \t"), group if group.strip() else None) for path, label, group, _ in rows}


@FEW
@given(st.sampled_from(["a.zip", "a.tar", "a.npz", "a.csv", "a.parquet", "a.png", "a", "x-ubyte"]), st.binary(max_size=200))
def test_whatever_stands_in_a_file_it_is_a_source_or_told(place, name, content):
    folder = fresh(place)
    (folder / name).write_bytes(content)
    try:
        path = archive.unpack(folder / name, folder) if archive.is_archive(folder / name) else folder / name
        samples_of(understand(path, FORMS, Options()).source)
    except OURS as error:
        some_lines(error)
