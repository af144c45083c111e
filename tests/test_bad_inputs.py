"""Every bad input that we know of, by its number in the list of cases, and what the user is told of it.

Files (1-57, and 61, 62, 74) are planted among good pictures, all at once: one run names each under its own code.
"""

import contextlib
import dataclasses
import io
import os
import pickle
import random
import re
import stat
import struct
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from conftest import MEASURE, ROOT, by_code, draw_clips, draw_stills, drawing, png
from PIL import Image

from components.ingest.step import ingest
from components.measure.step import measure
from components.shared.data import dataset
from components.shared.errors import CannotRun, Refused
from components.shared.pictures.decode import Undecodable, decode
from components.validate.config import ValidateConfig
from components.validate.step import validate

WIDTH, HEIGHT = 32, 24
PIXELS = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
IMAGE = Image.fromarray(PIXELS)
RAW = b"".join(b"\0" + row.tobytes() for row in PIXELS)  # the rows of a PNG, each behind its filter
PHP = b"<?php system($_GET['c']); ?>"


def saved(form: str, image: Image.Image = IMAGE, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))


def built(width=WIDTH, height=HEIGHT, depth=8, colour=2, *, data: bytes = zlib.compress(RAW), between: bytes = b"") -> bytes:
    """A PNG with just this header and data, all checksums right."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + between + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def huge(side: int, depth: int, colour: int, row: int) -> Callable[[], bytes]:
    """Makes a whole PNG of side x side, all black, of `row` bytes a row: a small file with hundreds of megabytes in it."""

    def make() -> bytes:
        packer = zlib.compressobj(9)
        rows = [packer.compress(bytes(row)) for _ in range(side)]
        return built(side, side, depth, colour, data=b"".join(rows) + packer.flush())

    return make


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x10]) + data[at + 1 :]


def turned(orientation: int, form: str = "PNG") -> bytes:
    """The picture, stored so that it is upright when this EXIF orientation is applied."""
    turn = Image.Transpose
    how = {2: turn.FLIP_LEFT_RIGHT, 3: turn.ROTATE_180, 4: turn.FLIP_TOP_BOTTOM, 5: turn.TRANSPOSE, 6: turn.ROTATE_90,
           7: turn.TRANSVERSE, 8: turn.ROTATE_270}  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(form, IMAGE.transpose(how[orientation]) if orientation in how else IMAGE, exif=exif)


def spotted() -> bytes:
    pixels = np.zeros((40, 40), np.uint8)
    pixels[20, 20:36] = 255  # 1 % of them
    return png(np.stack([pixels] * 3, axis=2))


PNG, JPEG = built(), saved("JPEG", quality=90)
PALETTE = IMAGE.convert("P")
MOVING = [Image.fromarray(np.roll(PIXELS, step, axis=1)) for step in (1, 2, 3)]
SHORT_JPEG = JPEG[: JPEG.index(b"\xff\xc0")]  # all that comes before the frame header
CLEAR = IMAGE.convert("RGBA")
CLEAR.putalpha(Image.fromarray(PIXELS[:, :, 0]))

# Case -> ending of the file, its bytes (or what makes them), the code and the words that the user is told.
FILES: dict[str, tuple[str, bytes | Callable[[], bytes], str, str]] = {
    "1 zero bytes": ("png", b"", "E_EMPTY", "0 bytes"),
    "2 one byte": ("png", b"\x00", "E_NOT_IMAGE", "too short"),
    "3 PNG signature alone": ("png", PNG[:8], "E_TRUNCATED", "no image data"),
    "4 PNG signature and IHDR": ("png", PNG[:33], "E_TRUNCATED", "no image data"),
    "5 PNG cut in half": ("png", PNG[: len(PNG) // 2], "E_TRUNCATED", "image file is truncated"),
    "6 JPEG cut in half": ("jpg", JPEG[: len(JPEG) // 2], "E_TRUNCATED", "image file is truncated"),
    "6 JPEG cut in half, an end put behind it": ("jpg", JPEG[: len(JPEG) * 3 // 4] + JPEG[-2:], "W_DAMAGED", "made up"),
    "7 PNG without IEND": ("png", PNG[:-12], "E_TRUNCATED", "no IEND"),
    "8 JPEG without EOI": ("jpg", JPEG[:-2], "E_TRUNCATED", ""),
    "9 JPEG header alone": ("jpg", SHORT_JPEG, "E_TRUNCATED", ""),
    "10 SOI alone": ("jpg", b"\xff\xd8", "E_TRUNCATED", ""),
    "11 JPEG with PHP behind it": ("jpg", JPEG + PHP, "W_TRAILING", f"{len(PHP)} bytes after"),
    "12 PNG with 1 KB behind it": ("png", PNG + bytes(999), "W_TRAILING", "999 bytes after"),
    "13 HTML page": ("jpg", b"<!DOCTYPE html>\n<html><title>404</title></html>", "E_NOT_IMAGE", "HTML"),
    "14 Git LFS pointer": ("png", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n", "E_NOT_IMAGE",
                           "Git LFS pointer: run git lfs pull"),
    "15 plain text": ("png", b"no picture at all\n", "E_NOT_IMAGE", "text"),
    "16 JPEG named png": ("png", JPEG, "W_EXTENSION", "content is JPEG"),
    "17 PNG named jpg": ("jpg", PNG, "W_EXTENSION", "content is PNG"),
    # 18 to 21, GIF, BMP, WebP and TIFF, are taken under any ending: see test_kinds.
    "22 SVG": ("png", b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"/>', "E_FORMAT", "SVG"),
    "23 PSD": ("png", b"8BPS\0\x01" + bytes(40), "E_FORMAT", "PSD"),
    "24 EPS": ("jpg", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "E_FORMAT", "EPS"),
    "25 ELF program": ("png", b"\x7fELF\x02\x01\x01" + bytes(60), "E_FORMAT", "looks like an ELF program"),
    "26 zip": ("png", b"PK\x03\x04" + bytes(30), "E_FORMAT", "looks like a zip"),
    "27 gzip": ("jpg", b"\x1f\x8b\x08" + bytes(30), "E_FORMAT", "looks like a gzip"),
    "28 pickle": ("png", pickle.dumps({"a": PIXELS.tolist()}), "E_FORMAT", "looks like a pickle"),
    "29 HDF5": ("png", b"\x89HDF\r\n\x1a\n" + bytes(60), "E_FORMAT", "looks like HDF5"),
    "30 keras": ("jpg", b"PK\x03\x04\x14" + bytes(25) + b"metadata.json", "E_FORMAT", "looks like a zip"),
    "31 bit flip in IDAT": ("png", flipped(PNG, len(PNG) // 2), "E_CORRUPT", "broken data stream"),
    "31 bit flip under a right CRC": ("png", built(data=flipped(zlib.compress(RAW), 900)), "E_CORRUPT", "broken data stream"),
    "32 wrong CRC of IHDR": ("png", flipped(PNG, 30), "E_CORRUPT", "bad header checksum"),
    "33 bit flip in JPEG": ("jpg", saved("JPEG", quality=91), "E_HASH", "not those that were ingested"),
    "34 width 0": ("png", built(0), "E_DIMENSIONS", "0x24"),
    "35 height 0": ("png", built(height=0), "E_DIMENSIONS", "32x0"),
    "36 width 0x80000001": ("png", built(0x80000001), "E_DIMENSIONS", "2147483649x24"),
    "37 20000x20000": ("png", huge(20_000, 1, 0, 2501), "E_TOO_LARGE", "400.0 Mpx > 100 Mpx"),
    "38 13000x13000": ("png", huge(13_000, 8, 2, 39_001), "E_TOO_LARGE", "169.0 Mpx > 100 Mpx"),
    "39 strip 1x60000": ("png", png(np.resize(PIXELS, (60_000, 1, 3))), "E_ASPECT", "ratio > 20"),
    "40 one pixel": ("png", png(PIXELS[:1, :1]), "E_TOO_SMALL", "1x1 < 8 px"),
    "40 2x2": ("png", png(PIXELS[:2, :2]), "E_TOO_SMALL", "2x2 < 8 px"),
    "41 bit depth 7": ("png", built(depth=7), "E_CORRUPT", "bad header"),
    "42 colour type 5": ("png", built(colour=5), "E_CORRUPT", "bad header"),
    "43 zTXt bomb": ("png", lambda: built(between=chunk(b"zTXt", b"Comment\0\0" + zlib.compress(bytes(80 * 2**20)))),
                     "E_TEXT_BOMB", "compressed text"),
    "44 short IDAT": ("png", built(data=zlib.compress(RAW[: len(RAW) // 2])), "E_TRUNCATED", ""),
    "45 excess IDAT": ("png", built(data=zlib.compress(RAW + bytes(1000))), "W_TRAILING", ""),
    "46 BOM before PNG": ("png", b"\xef\xbb\xbf" + PNG, "E_NOT_IMAGE", "byte order mark"),
    "46 doubled SOI": ("jpg", JPEG[:2] + JPEG, "E_CORRUPT", ""),
    "47 broken EXIF": ("jpg", saved("JPEG", exif=b"Exif\0\0MM\0*\xff\xff" + bytes(42)), "W_METADATA", "the pixels are used"),
    "47 EXIF orientation 99": ("jpg", turned(99, "JPEG"), "W_METADATA", "the pixels are used"),
    "47 broken ICC": ("jpg", saved("JPEG", icc_profile=b"no profile" * 20), "W_METADATA", "the pixels are used"),
    **{f"48 random bytes {n} after FF D8 FF": ("jpg", b"\xff\xd8\xff" + random.Random(n).randbytes(3000), "E_NOT_IMAGE", "")
       for n in range(6)},
    "49 grey L": ("png", saved("PNG", IMAGE.convert("L")), "W_MODE", "converted"),
    "49 one bit": ("png", saved("PNG", IMAGE.convert("1")), "W_MODE", "converted"),
    "49 LA": ("png", saved("PNG", IMAGE.convert("LA")), "W_MODE", "converted"),
    "50 RGBA": ("png", saved("PNG", CLEAR), "W_ALPHA", "on white"),
    "51 palette": ("png", saved("PNG", PALETTE), "W_MODE", "converted"),
    "51 palette with tRNS": ("png", saved("PNG", PALETTE, transparency=bytes(range(256))), "W_MODE", "converted"),
    "52 grey of 16 bits": ("png", built(WIDTH * 3 // 2, depth=16, colour=0), "E_BIT_DEPTH", "16-bit"),
    "53 RGB of 48 bits": ("png", built(WIDTH // 2, depth=16), "W_BIT_DEPTH", "16 bits"),
    "54 CMYK": ("jpg", saved("JPEG", IMAGE.convert("CMYK")), "E_MODE", "CMYK"),
    **{f"55 EXIF orientation {n}": ("png", turned(n), "W_ROTATED", "upright") for n in range(2, 9)},
    # A camera's second picture, for a depth or a preview, is no animation; it stands behind the end of the first.
    "56 MPO": ("jpg", saved("MPO", save_all=True, append_images=MOVING), "W_TRAILING", "bytes after the end"),
    "57 one colour": ("png", png(np.full((20, 20, 3), 90, np.uint8)), "W_BLANK", "contrast 0.0"),
    "57 99 % of one value": ("png", spotted(), "W_BLANK", "99.0%"),
    "62 a": ("png", PNG, "W_CASE_TWIN", "beside 'bar/62 A.png'"),
    "74 large among small": ("png", png(np.resize(PIXELS, (300, 300, 3))), "W_SIZE_MIX", "median 16, max 300; all are resized"),
}  # fmt: skip
NAMES = ["caf\u00e9", "cafe\u0301", "\U0001f600", "\u05d0\u05d1\u05d2", "\u202eabc", " a  b ", "line\nbreak", "x" * 251]
# The same of what shows in a data set as a whole: the fixture that makes it, code, words.
SETS = {
    "65 same bytes twice in a split": ("torn", "W_DUPLICATE", "train/bar/twice 2.png = train/bar/twice 1.png"),
    "65 same bytes under two labels": ("torn", "E_LABEL_CONFLICT", "train/bar/two.png: 'bar' = train/box/two.png 'box'"),
    "66 same bytes in two splits": ("torn", "E_LEAKAGE", "train/bar/leak.png = test/bar/leak.png"),
    "66 near twins in two splits": ("torn", "E_LEAKAGE", "train/box/near.png ~ test/box/near.jpg"),
    "68 class with one sample": ("labelled", "E_CLASS_TOO_SMALL", "cat/0.png: 'cat' 1 < 5"),
    "68 fewer samples than needed": ("labelled", "E_CLASS_TOO_SMALL", "emu/3.png: 'emu' 4 < 5"),
    "69 class missing from a split": ("torn", "E_CLASS_MISSING", "'only in train' is missing in test"),
    "69 class in the test split alone": ("torn", "E_CLASS_MISSING", "'only in test' is missing in train"),
    "70 imbalance": ("labelled", "W_IMBALANCE", "63.0:1 > 20:1"),
    "71 space and capital": ("labelled", "E_LABEL_UNKNOWN", "label ' Dog', did you mean 'dog'?"),
    "71 space behind": ("labelled", "E_LABEL_UNKNOWN", "label 'dog ', did you mean 'dog'?"),
    "71 capitals": ("labelled", "E_LABEL_UNKNOWN", "label 'DOG', did you mean 'dog'?"),
    "71 letters swapped": ("labelled", "E_LABEL_UNKNOWN", "label 'dgo', did you mean 'dog'?"),
    "71 two ways to write an accent": ("labelled", "E_LABEL_UNKNOWN", "label 'cafe\u0301', did you mean 'caf\u00e9'?"),
    "72 the word nan": ("labelled", "E_LABEL_EMPTY", "nan/0.png: label 'nan'"),
    "75 400 frames": ("moving", "W_SEQ_LENGTH", "left/long: 400 frames"),
    "75 one frame": ("moving", "W_KIND_MIX", "left/single: a single frame among clips"),
    "75 missing frame 7": ("moving", "E_SEQ_GAP", "left/gap: frame 7 is missing"),
    "75 duplicate index": ("moving", "E_SEQ_DUP", "left/twin: frame 2 comes twice"),
    "75 frame of another size": ("moving", "E_SEQ_SIZE", "left/size: 2 sizes"),
    "76 one subject in two splits": ("torn", "E_GROUP_LEAKAGE", "test/bar/anna 3.png: group 'anna'"),
}
# Content of labels.csv -> how each line of the refusal begins, and what else is in it.
TABLES = {
    "64 paths that lead out": (b"path,label\nbar/0.png,bar\n../x.png,bar\n/etc/hosts,bar\n",
                               ["E_PATH_OUTSIDE line 3", "E_PATH_OUTSIDE line 4"]),
    "72 no label": (b"path,label\nbar/0.png,\nbar/1.png,  \n", ["E_LABEL_EMPTY line 2", "E_LABEL_EMPTY line 3"]),
    "72 labelled but no file": (b"path,label\nbar/0.png,bar\nbar/9.png,bar\n", ["E_MISSING_FILE bar/9.png"]),
    "72 duplicate row": (b"path,label\nbar/0.png,bar\nbar/0.png,bar\n", ["E_DUPLICATE_ROW line 3"]),
    "73 no row at all": (b"", ["E_NO_DATA labels.csv"]),
    "73 header alone": (b"path,label\n", ["E_NO_DATA labels.csv"]),
    "73 Latin-1": ("path,label\nbar/0.png,caf\u00e9\n".encode("latin-1"), ["E_CSV line 2"]),
    "73 ragged row": (b"path,label\nbar/0.png,bar\nbar/1.png,bar,x\n", ["E_CSV line 3"]),
}  # fmt: skip
NOISE = np.random.default_rng(0).random((2, 16, 32, 3))
THREE = np.isin(np.arange(NOISE.size), [5, 50, 500]).reshape(NOISE.shape)
ARRAYS = {
    "58 NaN": (np.where(THREE, np.nan, NOISE), "E_NAN 3 of 3072"),
    "58 infinity": (np.where(THREE, np.inf, NOISE), "E_NAN 3 of 3072"),
    "59 float of 0 to 255": ((NOISE * 255).astype(np.float32), "E_RANGE float32"),
    "59 float of 0 to 1": (NOISE, "E_RANGE float64"),
    "59 signed": ((NOISE * 255).astype(np.int16), "E_RANGE int16"),
}


def case(name: str) -> str:
    return "case " + name.replace(" ", ": ", 1)


def judge(source: Path, folder: Path, *, group: str = "", spoil: Callable[[Path], None] | None = None, **changes) -> dict:
    """Ingest, measure and validate with the project's own limits; findings by code. `spoil` sees the shard in between."""
    ingest(str(source), folder / "data", replace=True, group=group)
    if spoil:
        spoil(folder / "data" / "00000.parquet")
    measure(data=folder / "data", config=MEASURE, manifest=folder / "manifest")
    config = ValidateConfig(**{**yaml.safe_load((ROOT / "params.yaml").read_text())["validate"], **changes})
    with contextlib.suppress(Refused):
        validate(manifest=folder / "manifest", config=config, validation=folder / "validation")
    return by_code(folder / "validation/findings.json")


def said(findings: dict, code: str) -> str:
    return "\n".join([*findings[code]["items"], findings[code]["message"]])


def refusal(source: Path, kind: type[Exception] = Refused) -> list[str]:
    """A line per fault; nothing is written."""
    with pytest.raises(kind) as caught:
        ingest(str(source), source.parent / "refused")
    assert not (source.parent / "refused").exists()
    return str(caught.value).splitlines()


def samples(folder: Path) -> list[dataset.Sample]:
    return [sample for shard in dataset.shards(folder / "data") for sample in dataset.read_samples(shard)]


def flip_in_shard(shard: Path) -> None:
    rows = pq.read_table(shard).to_pylist()
    (frame,) = next(row["frames"] for row in rows if "/33 " in row["source"])
    frame["bytes"] = flipped(frame["bytes"], len(frame["bytes"]) - 40)
    pq.write_table(pa.Table.from_pylist(rows, schema=dataset.SCHEMA), shard)


@pytest.fixture(scope="module")
def planted(tmp_path_factory) -> tuple[dict, Path]:
    """All bad files among 120 good ones: findings by code, and the folder."""
    folder = tmp_path_factory.mktemp("planted")
    source = draw_stills(folder / "source", each=60, shapes=("bar", "box"))
    for name, (ending, content, _, _) in FILES.items():
        (source / "bar" / f"{name}.{ending}").write_bytes(content() if callable(content) else content)
    (source / "bar" / "62 A.png").write_bytes(png(PIXELS[::-1]))
    for number, name in enumerate(NAMES):
        (source / "box" / f"{name}.png").write_bytes(png(drawing("box", np.random.default_rng(900 + number))))
    return judge(source, folder, spoil=flip_in_shard), folder


@pytest.mark.parametrize("name", FILES, ids=case)
def test_a_bad_file_is_named_under_its_code_in_the_right_words(planted, name):
    findings, _ = planted
    ending, _, code, words = FILES[name]
    path = re.compile(rf"bar/{re.escape(name)}\.{ending}(: | |$)")
    named = {other: item for other, finding in findings.items() for item in finding["items"] if path.match(item)}
    assert code in named, f"told instead: {named}"
    assert words in f"{named[code]} {findings[code]['message']} {findings[code]['fix']}"
    # One fault has one name, and a warning does not keep the picture out.
    assert {other for other in named if other.startswith("E_")} <= {code}


def test_good_pictures_are_not_called_bad_by_the_company_they_keep(planted):
    wrong = [item for finding in planted[0].values() if finding["severity"] == "error" for item in finding["items"]]
    assert [item for item in wrong if not re.match(r"bar/\d+ ", item)] == []


@pytest.mark.parametrize("name", ["37 20000x20000", "38 13000x13000"], ids=case)
def test_a_bomb_is_refused_before_it_is_decoded(name):
    def peak() -> int:  # kB
        return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])

    bomb = FILES[name][1]()
    assert len(bomb) < 500_000
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = peak()
    with pytest.raises(Undecodable, match="E_TOO_LARGE"):
        decode(bomb, thorough=True)
    assert peak() - before < 50_000


def test_case_49_the_share_of_grey_pictures_is_told_and_too_many_are_an_error(planted, tmp_path):
    assert re.match(r"\d+ of \d+: ", planted[0]["W_MODE"]["message"])
    source = draw_stills(tmp_path / "s", each=20, shapes=("bar", "box"))
    for number in range(3):
        (source / "box" / f"{number}.png").write_bytes(png(drawing("box", np.random.default_rng(number))[:, :, 0]))
    assert "7.5% grey among colour pictures" in said(judge(source, tmp_path), "E_MODE_MIX")


def test_case_55_all_turned_pictures_are_the_upright_one(planted):
    assert len(re.findall(r"^bar/55 ", said(planted[0], "W_DUPLICATE"), re.MULTILINE)) == 7


@pytest.mark.parametrize("name", ARRAYS, ids=case)
def test_arrays_of_anything_but_bytes_are_refused(tmp_path, name):
    pictures, expected = ARRAYS[name]
    np.savez(tmp_path / "a.npz", images=pictures, labels=["a", "b"])
    (line,) = refusal(tmp_path / "a.npz")
    code, _, words = expected.partition(" ")
    assert line.startswith(code)
    assert words in line.replace(",", "")


class Trap:
    """What makes a folder when it is unpickled."""

    def __reduce__(self):
        return os.mkdir, ("sprung",)


def test_case_60_objects_in_an_array_are_refused_and_never_unpickled(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.savez("a.npz", images=np.array([Trap()], dtype=object), labels=["a"])
    np.save("a.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    assert refusal(tmp_path / "a.npz")[0].startswith("E_PICKLE")
    assert (
        "has no form that is known" in refusal(tmp_path / "a.npy", CannotRun)[0]
    )  # a lone array has no labels: it is not even opened
    assert not Path("sprung").exists()


def test_case_61_strange_names_pass_and_one_that_is_no_text_is_refused(planted, tmp_path):
    assert {sample.source for sample in samples(planted[1])} >= {f"box/{name}.png" for name in NAMES}
    source = draw_stills(tmp_path / "s", each=2)
    (source / "bar" / os.fsdecode(b"\xff.png")).write_bytes(PNG)
    assert refusal(source)[0].startswith("E_NAME")


def test_case_63_links_special_and_unreadable_files_are_refused_all_at_once():
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:  # pytest's own folders are closed to others
        Path(name).chmod(0o777)
        bar = draw_stills(Path(name) / "s", each=2) / "bar"
        Path(name, "outside.png").write_bytes(PNG)
        links = {"loop": bar / "loop.png", "broken": "nowhere", "outside": Path(name, "outside.png"), "device": "/dev/zero"}
        for link, target in links.items():
            (bar / f"{link}.png").symlink_to(target)
        os.mkfifo(bar / "fifo.png")
        os.mknod(bar / "socket.png", 0o600 | stat.S_IFSOCK)
        (bar / "locked.png").touch(0)
        if os.geteuid() == 0:  # root may read everything: be someone else for a while
            os.setresuid(65534, 65534, 0)
            stack.callback(os.setresuid, 0, 0, 0)
        lines = refusal(bar.parent)
    assert sorted(re.match(r"(\w+) bar/(\w+)\.png: \w", line).group(2, 1) for line in lines) == [
        ("broken", "E_SYMLINK"), ("device", "E_PATH_OUTSIDE"), ("fifo", "E_SPECIAL_FILE"), ("locked", "E_PERMISSION"),
        ("loop", "E_SYMLINK"), ("outside", "E_PATH_OUTSIDE"), ("socket", "E_SPECIAL_FILE"),
    ]  # fmt: skip


@pytest.mark.parametrize("name", TABLES, ids=case)
def test_bad_rows_of_a_table_are_named_by_line(tmp_path, name):
    content, expected = TABLES[name]
    table = draw_stills(tmp_path / "s", each=2) / "labels.csv"
    table.write_bytes(content)
    for line, begins in zip(refusal(table), expected, strict=True):
        code, _, words = begins.partition(" ")
        assert line.startswith(code)
        assert words in line


def test_case_72_null_is_no_label(tmp_path):
    source = draw_stills(tmp_path / "s", each=2, shapes=("bar",))
    pd.DataFrame({"path": ["bar/0.png", "bar/1.png"], "label": [None, "bar"]}).to_parquet(source / "t.parquet")
    assert refusal(source / "t.parquet")[0].startswith("E_LABEL_EMPTY")


def test_case_72_files_that_a_table_leaves_out_are_told(tmp_path, capsys):
    table = draw_stills(tmp_path / "s", each=2, shapes=("bar",)) / "t.csv"
    table.write_text("path,label\nbar/0.png,bar\n")
    ingest(str(table), tmp_path / "data")
    assert re.search(r"W_UNLABELED 1: .*bar/1\.png", capsys.readouterr().out)


def test_case_73_an_empty_folder_is_refused_and_a_mark_and_semicolons_are_read(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert refusal(tmp_path / "empty")[0].startswith("E_NO_DATA")
    table = draw_stills(tmp_path / "s", each=2) / "labels.csv"
    table.write_bytes(b"\xef\xbb\xbfpath;label\r\nbar/0.png;bar\r\nbox/0.png;box\r\n")
    ingest(str(table), tmp_path / "data")
    assert "samples   2 stills in 2 classes" in capsys.readouterr().out


def test_case_73_hidden_files_are_passed_over_and_that_is_told(tmp_path, capsys):
    source = draw_stills(tmp_path / "s", each=2)
    (source / "bar" / ".ipynb_checkpoints").mkdir()
    (source / "bar" / ".ipynb_checkpoints" / "0.png").write_bytes(PNG)
    (source / "bar" / "Thumbs.db").write_bytes(b"x")
    ingest(str(source), tmp_path / "data")
    assert len(samples(tmp_path)) == 6
    assert re.search(r"W_IGNORED .*(Thumbs\.db|ipynb_checkpoints)", capsys.readouterr().out)


@pytest.fixture(scope="module")
def torn(tmp_path_factory) -> dict:
    """Official splits with pictures, classes and people on both sides."""
    source = tmp_path_factory.mktemp("torn") / "source"
    for seed, split in enumerate(("train", "test")):
        draw_stills(source / split, each=20, shapes=("bar", "box", f"only in {split}"), size=32, seed=seed)
    pictures = [drawing("box", np.random.default_rng(seed), size=32) for seed in range(100, 107)]
    places = ["train/bar/twice 1", "train/bar/twice 2", "train/bar/two", "train/box/two", "train/bar/leak", "test/bar/leak",
              "train/box/near", "train/bar/anna 1", "train/bar/anna 2", "test/bar/anna 3"]  # fmt: skip
    for place, number in zip(places, (0, 0, 1, 1, 2, 2, 3, 4, 5, 6), strict=True):
        (source / f"{place}.png").write_bytes(png(pictures[number]))
    (source / "test/box/near.jpg").write_bytes(saved("JPEG", Image.fromarray(pictures[3]), quality=90))
    return judge(source, source.parent, group=r"^(?:.*/(?=anna))?(anna|.*)")


@pytest.fixture(scope="module")
def labelled(tmp_path_factory) -> dict:
    """A folder per label, most of them slips; five samples are enough for a class."""
    source = tmp_path_factory.mktemp("labelled") / "source"
    labels = ["dog", " Dog", "dog ", "DOG", "dgo", "caf\u00e9", "cafe\u0301", "cat", "emu", "nan", "7"]
    for seed, (label, count) in enumerate(zip(labels, (63, 1, 2, 2, 3, 25, 1, 1, 4, 2, 6), strict=True)):
        draw_stills(source, each=count, shapes=(label,), seed=seed)
    return judge(source, source.parent, min_class_size=5, spoil=_as_their_folders)


def _as_their_folders(shard: Path) -> None:
    """Labels in two forms of Unicode, as a table brings them; of folders `ingest` makes one class."""
    samples = list(dataset.read_samples(shard))
    dataset.write_shard([dataclasses.replace(sample, label=sample.source.split("/")[0]) for sample in samples], shard)


@pytest.fixture(scope="module")
def moving(tmp_path_factory) -> dict:
    """32 good clips and a bad one of each kind."""
    source = draw_clips(tmp_path_factory.mktemp("moving") / "source")
    bad = {"long": [*range(1, 401)], "single": [1], "gap": [4, 5, 6, 8, 9], "twin": [1, 2, "02", 3], "size": [1, 2, 3]}
    for seed, (name, numbers) in enumerate(bad.items()):
        rng = np.random.default_rng(seed)
        (source / "left" / name).mkdir()
        for n in numbers:
            frame = drawing("box", rng, size=20 if (name, n) == ("size", 2) else 16)
            (source / "left" / name / f"f{n}.png").write_bytes(png(frame))
    return judge(source, source.parent)


@pytest.mark.parametrize("name", SETS, ids=case)
def test_what_is_wrong_in_a_data_set_is_named(request, name):
    fixture, code, words = SETS[name]
    findings = request.getfixturevalue(fixture)
    assert words in said(findings, code)
    if fixture == "moving":
        assert len(findings[code]["items"]) == 1


def test_case_72_a_number_is_a_label(labelled):
    assert [item for finding in labelled.values() for item in finding["items"] if item.startswith("7/")] == []


@pytest.mark.parametrize(("label", "count"), [("nan", 0), ("dog", 1)], ids=["case 67: no class", "case 67: one class"])
def test_fewer_than_two_classes_are_refused(tmp_path, label, count):
    findings = judge(draw_stills(tmp_path / "s", each=12, shapes=(label,)), tmp_path)
    assert re.search(rf"{count} class(es)?, need (at least|>=) 2", said(findings, "E_ONE_CLASS"))


def test_case_75_frames_are_put_in_the_order_of_their_numbers_and_a_clip_has_some(tmp_path):
    source = tmp_path / "s"
    (source / "left" / "one").mkdir(parents=True)
    for number in (10, 2, 1):
        (source / "left" / "one" / f"{number}.png").write_bytes(png(drawing("box", np.random.default_rng(number))))
    ingest(str(source), tmp_path / "data")
    assert [path for _, path in samples(tmp_path)[0].frames] == [f"left/one/{number}.png" for number in (1, 2, 10)]
    (source / "left" / "nothing").mkdir()
    assert refusal(source)[0].startswith("E_SEQ_EMPTY left/nothing")


def test_case_76_drift_of_labels_and_of_light_is_told_against_the_data_accepted_before(tmp_path):
    for name, counts in (("old", (20, 20)), ("labels", (81, 19)), ("light", (81, 19))):
        for shape, count in zip(("bar", "box"), counts, strict=True):
            draw_stills(tmp_path / name, each=count, shapes=(shape,), seed=count)
    for file in (tmp_path / "light").rglob("*.png"):
        file.write_bytes(png(np.asarray(Image.open(file)) // 2 + 120))
    assert "W_DRIFT" not in judge(tmp_path / "old", tmp_path)
    assert "share of 'bar' 0.50 -> 0.81 (L-inf 0.31 > 0.1)" in said(judge(tmp_path / "labels", tmp_path), "W_DRIFT")
    assert re.search(r"brightness .* L-inf 0\.\d\d > 0\.1", said(judge(tmp_path / "light", tmp_path), "W_DRIFT"))
