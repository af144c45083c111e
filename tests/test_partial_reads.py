"""A part is never taken for the whole: sources that are cut, damaged or ambiguous are refused, and data/ stays as it was."""

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from conftest import draw_stills, drawing, png
from PIL import Image
from test_ingest import contents, idx, samples

from components.__main__ import main
from components.ingest import archive
from components.ingest.step import ingest
from components.shared.data import dataset
from components.shared.errors import CannotRun, Refused, Stop
from components.shared.pictures import formats

PACK = {".tar": bytes, ".tar.gz": gzip.compress, ".tar.bz2": bz2.compress, ".tar.xz": lzma.compress}


def packed(tmp_path: Path) -> bytes:
    """A tar of 24 pictures, some with names that need headers of their own."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as content:
        for number in range(24):
            name = f"{'ab'[number % 2]}/{'long' * 30 if number == 7 else ''}{number}.png"
            picture = png(drawing("box", np.random.default_rng(number)))
            member = tarfile.TarInfo(name)
            member.size = len(picture)
            content.addfile(member, io.BytesIO(picture))
    return stream.getvalue()


@pytest.mark.parametrize("ending", PACK)
def test_a_tar_that_is_cut_anywhere_is_refused(tmp_path, ending):
    whole = packed(tmp_path)
    last = len(whole.rstrip(b"\0"))
    last += -last % 512
    content = PACK[ending](whole)
    cuts = {0, 1, 511, 512, 513, 1024, last - 1, last, last + 1, last + 512, last + 1023, *range(100, last, 1531)}
    if ending != ".tar":
        cuts = {*range(0, len(content), 311), *range(len(content) - 12, len(content))}
    file = tmp_path / f"a{ending}"
    for cut in sorted(cuts):
        file.write_bytes(content[:cut])
        with pytest.raises(CannotRun, match="cannot be unpacked") as caught:
            archive.unpack(file, fresh(tmp_path))
        assert "\n" not in str(caught.value)
    file.write_bytes(content)
    archive.unpack(file, fresh(tmp_path))
    assert len(list((tmp_path / "fresh").rglob("*.png"))) == 24
    if ending == ".tar":
        for end in (last + 1024, len(whole)):  # as Go and Rust write it, and as GNU tar and Python
            file.write_bytes(whole[:end])
            archive.unpack(file, fresh(tmp_path))
            assert len(list((tmp_path / "fresh").rglob("*.png"))) == 24


@pytest.mark.parametrize("ending", PACK)
def test_a_tar_whose_tail_is_zeros_is_refused_and_one_of_large_records_is_whole(tmp_path, ending):
    whole, file = packed(tmp_path), tmp_path / f"a{ending}"
    last = len(whole.rstrip(b"\0")) // 512 * 512
    # As after a copy that stopped: in the midst of a picture, and between two of them.
    for kept in (last // 3, last // 2 // 512 * 512):
        for size in (len(whole), len(whole) + 10240 * 7, len(whole) + 512):
            file.write_bytes(PACK[ending](whole[:kept].ljust(size, b"\0")))
            with pytest.raises((CannotRun, Refused), match=r"a\.tar"):
                archive.unpack(file, fresh(tmp_path))
    for record in (512, 1024, 5120, 10240, 51200, 2**16, 102400, 2**20):
        content = whole[: last + 512]
        content += bytes(1024 + -(len(content) + 1024) % record)
        file.write_bytes(PACK[ending](content))
        if record < 2**17 or ending == ".tar":  # else it is packed like a bomb
            archive.unpack(file, fresh(tmp_path))
            assert len(list((tmp_path / "fresh").rglob("*.png"))) == 24


def fresh(tmp_path: Path) -> Path:
    import shutil

    shutil.rmtree(tmp_path / "fresh", ignore_errors=True)
    (tmp_path / "fresh").mkdir()
    return tmp_path / "fresh"


def test_a_tar_with_a_damaged_header_or_a_second_archive_behind_it_is_refused(tmp_path):
    whole = bytearray(packed(tmp_path))
    at = bytes(whole).index(b"b/9.png")
    file = tmp_path / "a.tar"
    file.write_bytes(whole[:at] + b"\xff" + whole[at + 1 :])
    with pytest.raises(CannotRun, match="headers are damaged"):
        archive.unpack(file, fresh(tmp_path))
    file.write_bytes(whole + whole)
    with pytest.raises(CannotRun, match="two archives were put together"):
        archive.unpack(file, fresh(tmp_path))


def test_links_in_a_tar_are_files_or_are_refused(tmp_path):
    def made(*members: tuple[str, bytes, str]) -> Path:
        with tarfile.open(tmp_path / "l.tar", "w") as content:
            for name, kind, link in members:
                member = tarfile.TarInfo(name)
                member.type, member.linkname = kind, link
                member.size = 5 if kind == tarfile.REGTYPE else 0
                content.addfile(member, io.BytesIO(b"hello"))
        return tmp_path / "l.tar"

    file = ("a/x.png", tarfile.REGTYPE, "")
    for kind, link in ((tarfile.LNKTYPE, "a/x.png"), (tarfile.SYMTYPE, "../a/x.png")):
        archive.unpack(made(("b/y.png", kind, link), file), fresh(tmp_path))
        assert (tmp_path / "fresh/b/y.png").read_bytes() == b"hello"
    outside = (tarfile.LNKTYPE, "/etc/passwd"), (tarfile.SYMTYPE, "../../../etc/passwd"), (tarfile.LNKTYPE, "../x")
    for kind, link in outside:
        with pytest.raises(Refused, match="E_PATH_OUTSIDE"):
            archive.unpack(made(file, ("b/y.png", kind, link)), fresh(tmp_path))
    for kind, link in ((tarfile.LNKTYPE, "nowhere.png"), (tarfile.SYMTYPE, "y.png"), (tarfile.SYMTYPE, "../a")):
        with pytest.raises(Refused, match="E_SYMLINK"):
            archive.unpack(made(file, ("b/y.png", kind, link)), fresh(tmp_path))
    for kind in (tarfile.FIFOTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE):
        with pytest.raises(Refused, match="E_SPECIAL_FILE"):
            archive.unpack(made(file, ("b/y.png", kind, "")), fresh(tmp_path))
    with pytest.raises(Refused, match="stands twice in it"):
        archive.unpack(made(file, file), fresh(tmp_path))


def test_a_tar_bomb_is_refused_however_it_is_built(tmp_path):
    def header(name: bytes, kind: bytes, size: int) -> bytes:
        member = tarfile.TarInfo(name.decode())
        member.type, member.size = kind, size
        return member.tobuf(tarfile.GNU_FORMAT)

    bombs = [
        header(b"a/a.png", tarfile.REGTYPE, 300 * 2**20) + bytes(300 * 2**20),
        bytes(300 * 2**20),  # zeros behind the end
        header(b"a", tarfile.GNUTYPE_LONGNAME, 2**30) + bytes(1024),  # a name of a gigabyte
        header(b"a", tarfile.REGTYPE, -512),
    ]
    for bomb in bombs:
        (tmp_path / "b.tar.gz").write_bytes(gzip.compress(bomb))
        with pytest.raises(Stop, match=r"E_TOO_LARGE|a header claims|negative size|cannot be unpacked"):
            archive.unpack(tmp_path / "b.tar.gz", fresh(tmp_path))
        assert sum(file.stat().st_size for file in (tmp_path / "fresh").rglob("*") if file.is_file()) < 2**20


def test_zips_whose_parts_do_not_fit_are_refused(tmp_path):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as content:
        for number in range(6):
            content.writestr(f"a/{number}.png", bytes(range(50 + number)))
    whole = stream.getvalue()
    end, listed = whole.rindex(b"PK\5\6"), whole.index(b"PK\1\2")
    last = whole.rindex(b"PK\1\2")
    file = tmp_path / "z.zip"
    # The directory without its last entry, its size and place said right: all but one file would come.
    short = whole[:last] + whole[end : end + 12] + struct.pack("<II", last - listed, listed) + whole[end + 20 :]
    sizes = whole[: listed + 24] + struct.pack("<I", 10) + whole[listed + 28 :]
    for damaged in (whole[:-1], whole[:end], whole[: len(whole) // 2], short, sizes):
        file.write_bytes(damaged)
        with pytest.raises(CannotRun, match="cannot be unpacked"):
            archive.unpack(file, fresh(tmp_path))
    with zipfile.ZipFile(file, "w") as content:
        content.writestr("a/x.png", b"one")
        with pytest.warns(UserWarning, match="Duplicate"):
            content.writestr("a/x.png", b"two")
    with pytest.raises(Refused, match="stands twice in it"):
        archive.unpack(file, fresh(tmp_path))


TABLES = {
    "an unclosed quote": ('path,label\n"bar/0.png,bar\nbar/1.png,bar\nbar/2.png,bar\n', "E_CSV .* line 2: .*is a quote not closed"),
    "an unclosed quote in the last row": ('path,label\nbar/0.png,bar\nbar/1.png,"bar\n', "E_CSV .* line 3: .*is a quote not closed"),
    "quotes that swallow rows": ('path,label\nbar/0.png,"bar\nbar/1.png,bar"\nbar/2.png,bar\n', "line 2: a line break in label"),
    "text behind a quote": ('path,label\n"bar/0.png"x,bar\n', "E_CSV .* line 2"),
    "a NUL byte": ("path,label\nbar/0.png,b\0r\n", "line 2: holds a NUL byte"),
    "a huge cell": ("path,label\nbar/0.png," + "x" * 200_000 + "\n", "E_CSV .* line 2"),
    "a long cell": ("path,label\nbar/0.png," + "x" * 2000 + "\n", "line 2: more than 1000 characters in label"),
    "a row too long": ("path,label\n\nbar/0.png,bar,x\n", "line 3: 3 fields, expected 2"),
    "one file under two names": ("path,label\nbar/0.png,bar\n./bar/0.png,box\n", "E_DUPLICATE_ROW .* line 3: .* stands in line 2"),
    "a folder for a file": ("path,label\nbar,bar\n", "E_MISSING_FILE"),
    "a name too long": ("path,label\n" + "x" * 400 + ".png,bar\n", "E_MISSING_FILE"),
    "only a header": ("path,label\n", "E_NO_DATA"),
    "nothing": ("", "E_NO_DATA"),
    "a quoted header that is not closed": ('"path,label\nbar/0.png,bar\n', "E_CSV .* line 1"),
}  # fmt: skip


@pytest.mark.parametrize("case", TABLES)
def test_a_csv_is_read_whole_or_refused_with_its_line(stills, tmp_path, case):
    text, expected = TABLES[case]
    (stills / "t.csv").write_text(text)
    with pytest.raises(Refused, match=expected):
        ingest(str(stills / "t.csv"), tmp_path / "data")
    assert not (tmp_path / "data").exists()


def test_a_csv_may_have_line_breaks_where_nothing_is_read_from(stills, tmp_path):
    (stills / "t.csv").write_text('path,label,remark\r\nbar/0.png,bar,"two\r\nlines"\r\n"bar/1.png",bar,"a ""quote"""\r\n')
    ingest(str(stills / "t.csv"), tmp_path / "data")
    assert [sample.source for sample in samples(tmp_path / "data")] == ["bar/0.png", "bar/1.png"]


def test_two_columns_of_one_name_are_told(stills, tmp_path):
    (stills / "t.csv").write_text("path,label,Label\nbar/0.png,bar,box\n")
    with pytest.raises(Refused, match="the columns 'label' and 'Label' differ"):
        ingest(str(stills / "t.csv"), tmp_path / "data")


def test_a_source_without_samples_never_empties_the_data(stills, tmp_path):
    data = tmp_path / "data"
    ingest(str(stills), data)
    before = contents(data)
    np.savez(tmp_path / "e.npz", images=np.zeros((0, 9, 9), np.uint8), labels=np.zeros(0, int))
    (tmp_path / "i").mkdir()
    (tmp_path / "i/images-idx3-ubyte").write_bytes(idx(np.zeros((0, 9, 9), np.uint8)))
    (tmp_path / "i/labels-idx1-ubyte").write_bytes(idx(np.zeros(0, np.uint8)))
    pd.DataFrame({"path": [], "label": []}).to_parquet(tmp_path / "t.parquet")
    (tmp_path / "t.csv").write_text("path,label\n")
    with tarfile.open(tmp_path / "t.tar", "w"):
        pass
    with zipfile.ZipFile(tmp_path / "z.zip", "w"):
        pass
    (tmp_path / "f/a").mkdir(parents=True)
    for source in ("e.npz", "i", "t.parquet", "t.csv", "t.tar", "z.zip", "f"):
        for options in ({"replace": True}, {"add": True}, {}):
            with pytest.raises(Refused, match="E_NO_DATA"):
                ingest(str(tmp_path / source), data, **options)
        assert contents(data) == before


@pytest.mark.parametrize("option", ["--max-frames", "--shard-samples", "--shard-mebibytes"])
@pytest.mark.parametrize("value", ["0", "-1"])
def test_numbers_below_one_are_refused(stills, tmp_path, capsys, option, value):
    assert main(["ingest", str(stills), str(tmp_path / "data"), f"{option}={value}"]) == 2
    assert f"{option}: expected an integer of at least 1, got '{value}'" in capsys.readouterr().err
    assert not (tmp_path / "data").exists()


ARRAYS = {
    "labels out of range": ({"labels": [0, 1, 3], "classes": ["a", "b", "c"]}, "1 of its labels are outside .*first is 3, of picture 2"),
    "negative labels": ({"labels": [0, -1, 1], "classes": ["a", "b"]}, "the first is -1, of picture 1"),
    "several labels": ({"labels": np.tri(3, dtype=int)}, "of 2 pictures the 3 numbers are others, the first is picture 1"),
    "no labels at all": ({"labels": np.array(3)}, r"labels of shape \(\)"),
    "fractions": ({"labels": [0.0, 0.5, 1.0]}, "got float64"),
    "not numbers": ({"labels": [0.0, np.nan, 1.0]}, "got float64"),
    "times": ({"labels": np.array([1, 2, 3], "M8[s]")}, "got datetime64"),
    "names for places": ({"labels": ["a", "b", "a"], "classes": ["a", "b"]}, "whole numbers, the places in `classes`"),
    "empty names": ({"labels": ["a", " ", "b"]}, "E_LABEL_EMPTY"),
    "classes twice": ({"labels": [0, 1, 1], "classes": ["a", "a"]}, "names 'a' twice"),
    "a table of classes": ({"labels": [0, 1, 1], "classes": [["a", "b"]]}, "a list of names"),
    "fewer labels": ({"labels": [0, 1]}, "3 pictures but 2 labels"),
    "no height": ({"images": np.zeros((3, 0, 9), np.uint8), "labels": [0, 1, 1]}, "E_DIMENSIONS"),
    "clips without frames": ({"images": np.zeros((3, 0, 9, 9, 3), np.uint8), "labels": [0, 1, 1]}, "E_DIMENSIONS"),
    "flat pictures": ({"images": np.zeros((3, 81), np.uint8), "labels": [0, 1, 1]}, "E_DIMENSIONS"),
    "half a pair": ({"x_train": np.zeros((3, 9, 9), np.uint8), "y_train": [0, 1, 2], "x_test": np.zeros((3, 9, 9), np.uint8)},
                    "it holds x_test but no y_test"),
}  # fmt: skip


@pytest.mark.parametrize("case", ARRAYS)
def test_arrays_whose_labels_or_pictures_do_not_fit_are_refused(tmp_path, case):
    arrays, expected = ARRAYS[case]
    pictures = {} if {"images", "x_train"} & arrays.keys() else {"images": np.zeros((3, 9, 9), np.uint8)}
    np.savez(tmp_path / "a.npz", **pictures, **arrays)
    with pytest.raises(Refused, match=expected):
        ingest(str(tmp_path / "a.npz"), tmp_path / "data")


def test_labels_in_a_column_or_as_whole_floats_or_bytes_are_what_they_mean(tmp_path):
    pictures = np.random.default_rng(0).integers(0, 255, (3, 9, 9), dtype=np.uint8)
    for name, labels, expected in (("column", np.array([[0], [1], [2]]), "abc"), ("float", np.array([0.0, 1.0, 2.0]), "abc")):
        np.savez(tmp_path / f"{name}.npz", images=pictures, labels=labels, classes=["a", "b", "c"])
        ingest(str(tmp_path / f"{name}.npz"), tmp_path / name)
        assert "".join(sample.label for sample in samples(tmp_path / name)) == expected
    np.savez(tmp_path / "bytes.npz", images=pictures, labels=np.array([b"x", b"..", b"a/b"]))
    ingest(str(tmp_path / "bytes.npz"), tmp_path / "bytes")
    assert [sample.label for sample in samples(tmp_path / "bytes")] == ["x", "..", "a/b"]
    assert [sample.source for sample in samples(tmp_path / "bytes")] == ["x/0.png", "-/1.png", "a-b/2.png"]


def test_an_empty_half_of_an_npz_empties_nothing(tmp_path):
    full, none = np.zeros((20, 8, 8), np.uint8), np.zeros((0, 8, 8), np.uint8)
    labels, nothing = np.arange(20) % 2, np.zeros(0, int)
    np.savez(tmp_path / "a.npz", x_train=full, y_train=labels, x_test=full + 1, y_test=labels)
    ingest(str(tmp_path / "a.npz"), tmp_path / "data")
    before = {file.name: file.read_bytes() for file in (tmp_path / "data").glob("*")}
    for part in ("train", "test"):
        halves = {"x_train": full, "y_train": labels, "x_test": full + 1, "y_test": labels} | {
            f"x_{part}": none,
            f"y_{part}": nothing,
        }
        np.savez(tmp_path / "b.npz", **halves)
        with pytest.raises(Refused, match=r"E_NO_DATA .*b\.npz: arrays without a picture"):
            ingest(str(tmp_path / "b.npz"), tmp_path / "data", replace=True)
        assert {file.name: file.read_bytes() for file in (tmp_path / "data").glob("*")} == before


def test_a_fault_in_an_archive_names_the_archive(tmp_path):
    with tarfile.open(tmp_path / "empty.tar", "w"):
        pass
    with pytest.raises((Refused, CannotRun), match=r"empty\.tar") as refused:
        ingest(str(tmp_path / "empty.tar"), tmp_path / "data")
    assert "darkroom-" not in str(refused.value)


def test_an_npz_that_claims_more_than_it_holds_is_refused(tmp_path):
    pictures = np.lib.format
    stream = io.BytesIO()
    pictures.write_array_header_1_0(stream, {"descr": "|u1", "fortran_order": False, "shape": (10**9, 64, 64)})
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as content:
        content.writestr("images.npy", stream.getvalue() + bytes(100))
        content.writestr("labels.npy", b"")
    with pytest.raises(CannotRun, match="its content has another size"):
        ingest(str(tmp_path / "a.npz"), tmp_path / "data")
    np.save(tmp_path / "b.npy", np.zeros(3))
    (tmp_path / "b.npy").rename(tmp_path / "b.npz")
    with pytest.raises(CannotRun, match="not an NPZ file"):
        ingest(str(tmp_path / "b.npz"), tmp_path / "data")


def test_an_idx_bomb_and_an_orphan_are_refused(tmp_path):
    (tmp_path / "i").mkdir()
    pictures, labels = tmp_path / "i/images-idx3-ubyte.gz", tmp_path / "i/labels-idx1-ubyte.gz"
    labels.write_bytes(gzip.compress(idx(np.zeros(2, np.uint8))))
    with pytest.raises(CannotRun, match=r"no \*images|its pictures are missing|no folder per class|expected a folder"):
        ingest(str(tmp_path / "i"), tmp_path / "data")
    pictures.write_bytes(gzip.compress(idx(np.zeros((2, 4, 4), np.uint8)) + bytes(50 * 2**20)))
    with pytest.raises(CannotRun, match="another size"):
        ingest(str(tmp_path / "i"), tmp_path / "data")
    pictures.write_bytes(gzip.compress(struct.pack(">BBBBIII", 0, 0, 8, 3, 2**31, 2**15, 2**15)))
    with pytest.raises(CannotRun, match=r"bytes of memory|another size"):
        ingest(str(tmp_path / "i"), tmp_path / "data")


@pytest.mark.parametrize("form", ["gif", "webp", "png"])
def test_an_animation_that_is_cut_anywhere_is_refused(tmp_path, form):
    rng = np.random.default_rng(0)
    frames = [Image.fromarray(rng.integers(0, 255, (20, 20, 3), dtype=np.uint8)) for _ in range(6)]
    folder = tmp_path / "s" / "a"
    folder.mkdir(parents=True)
    file = folder / f"a.{form}"
    frames[0].save(file, save_all=True, append_images=frames[1:], lossless=True)
    whole = file.read_bytes()
    for cut in (len(whole) - 1, len(whole) - 20, len(whole) * 3 // 4, len(whole) // 2, len(whole) // 3):
        file.write_bytes(whole[:cut])
        with pytest.raises(Refused, match=r"^E_TRUNCATED a/a\."):
            ingest(str(tmp_path / "s"), tmp_path / "data")


@pytest.mark.parametrize("ending", ["mp4", "mov", "avi", "mkv", "webm"])
def test_a_video_that_is_cut_is_refused(tmp_path, ending):
    import av

    folder = tmp_path / "s" / "a"
    folder.mkdir(parents=True)
    file = folder / f"a.{ending}"
    options = {"movflags": "faststart"} if ending in ("mp4", "mov") else {}
    rng = np.random.default_rng(0)
    with av.open(str(file), "w", options=options) as container:
        stream = container.add_stream("libvpx" if ending == "webm" else "mpeg4", rate=10)
        stream.width = stream.height = 64
        for _ in range(30):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8), format="rgb24"))
            )
        container.mux(stream.encode())
    whole = file.read_bytes()
    ingest(str(tmp_path / "s"), tmp_path / "data")
    assert len(samples(tmp_path / "data")[0].frames) == 30
    for share in (0.95, 0.75, 0.5, 0.25):
        file.write_bytes(whole[: int(len(whole) * share)])
        with pytest.raises(Refused, match=r"E_TRUNCATED|E_CORRUPT"):
            ingest(str(tmp_path / "s"), tmp_path / "cut")


@pytest.mark.parametrize(("form", "codec", "packet"), [("mpeg", "mpeg1video", 2048), ("vob", "mpeg2video", 2048),
                                                       ("mpegts", "mpeg2video", 188)])  # fmt: skip
def test_an_mpeg_that_is_cut_within_a_packet_is_refused(tmp_path, form, codec, packet):
    import av

    from components.ingest import ends

    file = tmp_path / "a.mpg"
    with av.open(str(file), "w", format=form) as container:
        stream = container.add_stream(codec, rate=25)
        stream.width = stream.height = 64
        rng = np.random.default_rng(0)
        for _ in range(30):
            container.mux(
                stream.encode(av.VideoFrame.from_ndarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8), format="rgb24"))
            )
        container.mux(stream.encode())
    whole = file.read_bytes()
    ends.check_video(file)
    for cut in (1, 4, 100, 187, *range(1500, len(whole) * 3 // 4, 1021)):
        if cut % packet:
            file.write_bytes(whole[:-cut])
            with pytest.raises(formats.Undecodable, match="E_TRUNCATED"):
                ends.check_video(file)


def test_a_class_that_is_taken_for_a_clip_is_asked_back_and_thinned_before_it_is_read(tmp_path, monkeypatch, capsys):
    from components.ingest import sample_reader

    monkeypatch.setattr("components.ingest.forms.class_folders.LONG_CLIP", 20)
    monkeypatch.setattr("components.ingest.rows.LONG_CLIP", 20)
    monkeypatch.setattr(sample_reader, "LONG_CLIP", 20)
    source = draw_stills(tmp_path / "photos" / "all", each=30, shapes=("bar1",)).parent
    draw_stills(source / "some", each=30, shapes=("box2",))
    with pytest.raises(
        Refused, match=r"E_AMBIGUOUS all/bar1: a clip of 30 pictures, or more stills\? say --kind stills, or --kind clips"
    ):
        ingest(str(source), tmp_path / "data")
    ingest(str(source), tmp_path / "stills", kind="stills")
    assert len(samples(tmp_path / "stills")) == 60
    read = []
    stock = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda self: (read.append(self), stock(self))[1])
    ingest(str(source), tmp_path / "clips", kind="clips", max_frames=5)
    assert [len(sample.frames) for sample in samples(tmp_path / "clips")] == [5, 5]
    assert len([path for path in read if path.suffix == ".png"]) == 10
    assert "W_THINNED 2: clips" in capsys.readouterr().out
    rows = "\n".join(f"all/bar1/{number}.png,bar,one,{number}" for number in range(30))
    (source / "t.csv").write_text(f"path,label,clip,frame\n{rows}\n")
    with pytest.raises(Refused, match=r"clip 'one' has 30 frames; is that so\? --kind clips thins it"):
        ingest(str(source / "t.csv"), tmp_path / "table")


def test_a_clip_that_is_too_large_is_refused_and_not_held(tmp_path, monkeypatch):
    from components.ingest import sample_reader

    monkeypatch.setattr(sample_reader, "MAX_CLIP", 2000)
    folder = tmp_path / "s" / "a" / "clip"
    folder.mkdir(parents=True)
    for number in range(9):
        (folder / f"{number}.png").write_bytes(png(drawing("box", np.random.default_rng(number))))
    with pytest.raises(Refused, match="E_TOO_LARGE a/clip: a clip of more than"):
        ingest(str(tmp_path / "s"), tmp_path / "data")


def test_the_same_sample_twice_in_a_source_is_named(stills, tmp_path):
    rows = ["path,label,clip", "bar/0.png,bar,bar/1.png", "bar/2.png,bar,"]
    (stills / "t.csv").write_text("\n".join([*rows, "bar/3.png,bar,bar/2.png"]) + "\n")
    (stills / "t.csv").write_text("\n".join(rows) + "\n")
    ingest(str(stills / "t.csv"), tmp_path / "data")
    assert [sample.source for sample in samples(tmp_path / "data")] == ["bar/1.png", "bar/2.png"]
    pictures = np.random.default_rng(0).integers(0, 255, (2, 9, 9), dtype=np.uint8)
    (tmp_path / "i").mkdir()
    for kind in ("train", "training"):
        (tmp_path / f"i/{kind}-images-idx3-ubyte").write_bytes(idx(pictures))
        (tmp_path / f"i/{kind}-labels-idx1-ubyte").write_bytes(idx(np.zeros(2, np.uint8)))
    with pytest.raises(CannotRun, match=r"more than one set of IDX pairs \(train-images-idx3-ubyte, training-images"):
        ingest(str(tmp_path / "i"), tmp_path / "two")
    assert not (tmp_path / "two").exists()
    assert dataset.shards(tmp_path / "data")
