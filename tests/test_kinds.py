"""Pictures of every kind that ingest takes, as Pillow and pillow-heif write them, and how each could be misread."""

import csv
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pillow_heif
import pytest
from conftest import MEASURE, drawing
from PIL import Image

from components.ingest.kinds import kind_of_bytes
from components.ingest.step import ingest
from components.measure.step import measure
from components.shared.data import dataset
from components.shared.errors import Refused
from components.shared.pictures.decode import decode

# Four fields of one colour each, so that what is turned is told from what is mirrored, whatever a lossy kind makes of it.
FIELDS = np.zeros((24, 32, 3), np.uint8)
FIELDS[:12, :16], FIELDS[:12, 16:], FIELDS[12:, :16] = (230, 20, 20), (20, 230, 20), (20, 20, 230)
PICTURE = Image.fromarray(FIELDS)
LOSSLESS = {"bmp": "BMP", "tiff": "TIFF", "webp": "WEBP", "gif": "GIF"}
ON_ITS_SIDE = 6  # EXIF: to be turned by a quarter to the right


def saved(form: str, image: Image.Image = PICTURE, **options) -> bytes:
    buffer = io.BytesIO()
    if form == "HEIC":
        pillow_heif.from_pillow(image).save(buffer, quality=-1, **options)
    else:
        image.save(buffer, form, **({"lossless": True} if form == "WEBP" else {}) | options)
    return buffer.getvalue()


def lay(root: Path, files: dict[str, bytes]) -> str:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    return str(root)


def taken(source: str, data: Path, **options) -> dict[str, dataset.Sample]:
    ingest(source, data, **options)
    return {sample.source: sample for shard in dataset.shards(data) for sample in dataset.read_samples(shard)}


def pixels(sample: dataset.Sample, frame: int = 0) -> np.ndarray:
    return decode(sample.frames[frame][0]).pixels


def is_close(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and np.median(np.abs(one.astype(int) - other)) < 4


def test_other_kinds_become_png_of_the_same_pixels_and_png_and_jpeg_stay(tmp_path, capsys):
    files = {f"a/1.{ending}": saved(form) for ending, form in LOSSLESS.items()}
    files |= {
        "b/1.avif": saved("AVIF", quality=100),
        "b/1.heic": saved("HEIC"),
        "b/1.png": saved("PNG"),
        "b/1.jpg": saved("JPEG"),
    }
    found = taken(lay(tmp_path / "s", files), tmp_path / "data")
    assert set(found) == set(files)
    for ending in LOSSLESS:
        assert np.array_equal(pixels(found[f"a/1.{ending}"]), FIELDS)
        assert found[f"a/1.{ending}"].frames[0][1] == f"a/1.{ending}.png"
    assert all(is_close(pixels(found[f"b/1.{ending}"]), FIELDS) for ending in ("avif", "heic"))
    assert all(found[name].frames == ((files[name], name),) for name in ("b/1.png", "b/1.jpg"))
    assert "W_CONVERTED 1: HEIC pictures, converted to lossless PNG (b 1), such as 'b/1.heic'" in capsys.readouterr().out


def test_netpbm_pictures_of_each_kind_are_read_and_a_text_that_begins_alike_is_none(tmp_path):
    grey, bits = FIELDS[..., 0], PICTURE.convert("1", dither=Image.Dither.NONE)
    plain = b"P3 # by hand\n# twice\n32 24\n255\n" + b" ".join(b"%d" % value for value in FIELDS.flat) + b"\n"
    files = {"a/1.ppm": saved("PPM"), "a/2.pgm": saved("PPM", Image.fromarray(grey)), "a/3.pbm": saved("PPM", bits),
             "a/4.pnm": plain, "a/none": saved("PPM"), "b/1.png": saved("PNG")}  # fmt: skip
    found = taken(lay(tmp_path / "s", files | {"a/P1": b"P6 of 12 is missing"}), tmp_path / "data")
    expected = {"a/2.pgm": grey[..., None], "a/3.pbm": np.asarray(bits.convert("L"))[..., None]}
    assert set(found) == set(files)
    assert [name for name in files if not np.array_equal(pixels(found[name]), expected.get(name, FIELDS))] == []
    deep = b"P6 32 24 65535\n" + FIELDS.astype(">u2").tobytes()
    with pytest.raises(Refused, match=r"E_BIT_DEPTH a/16\.ppm: values of 16 bits; save it with 8 bits"):
        ingest(lay(tmp_path / "s", {"a/16.ppm": deep}), tmp_path / "data")


def test_pictures_that_were_saved_on_their_side_are_upright(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = ON_ITS_SIDE
    exif = exif.tobytes()
    side = PICTURE.transpose(Image.Transpose.ROTATE_90)
    files = {"a/1.webp": saved("WEBP", side, exif=exif), "a/1.avif": saved("AVIF", side, exif=exif, quality=100),
             "a/1.tif": saved("TIFF", side, tiffinfo={274: ON_ITS_SIDE}), "a/1.heic": saved("HEIC", side, exif=exif)}  # fmt: skip
    for name, sample in taken(lay(tmp_path / "s", files), tmp_path / "data").items():
        assert is_close(pixels(sample), FIELDS), name


def test_what_is_transparent_is_on_white_and_of_a_multi_picture_jpeg_the_bytes_stay(tmp_path):
    clear = Image.fromarray(np.dstack([FIELDS, np.where(np.arange(32) < 16, 255, 0) * np.ones((24, 1))]).astype(np.uint8))
    files = {"a/1.webp": saved("WEBP", clear, exact=True), "a/1.tif": saved("TIFF", clear), "a/1.gif": saved("GIF", clear),
             "a/1.avif": saved("AVIF", clear, quality=100), "a/1.heic": saved("HEIC", clear)}  # fmt: skip
    camera = saved("MPO", save_all=True, append_images=[PICTURE.rotate(180)])
    found = taken(lay(tmp_path / "s", files | {"b/1.mpo": camera}), tmp_path / "data")
    white = FIELDS.copy()
    white[:, 16:] = 255
    assert [name for name in files if not is_close(pixels(found[name]), white)] == []
    assert found["b/1.mpo"].frames == ((camera, "b/1.mpo"),)
    assert is_close(pixels(found["b/1.mpo"]), FIELDS)


def test_the_content_counts_under_any_ending_or_none(tmp_path, capsys):
    files = {"a/none": saved("JPEG"), "a/IMG.2019": saved("PNG"), "a/web.jpg": saved("WEBP"), "a/phone.jpg": saved("HEIC"),
             "a/slide.png": saved("GIF", save_all=True, append_images=[PICTURE.rotate(180)])}  # fmt: skip
    others = {
        "a/label.md": saved("PNG"),
        "a/raw.dng": saved("TIFF"),
        "a/bm.note": b"BMW and Benz " * 9,
        "a/movie": saved("JPEG")[2:],
    }
    found = taken(lay(tmp_path / "s", files | others), tmp_path / "data", kind="stills")
    assert set(found) == set(files)
    assert {name: sample.frames[0][1] for name, sample in found.items() if sample.frames[0][1] == name} == {
        "a/none": "a/none", "a/IMG.2019": "a/IMG.2019",
    }  # fmt: skip
    assert all(is_close(pixels(sample), FIELDS) for sample in found.values())


def test_an_avif_that_can_also_be_read_as_heif_is_no_heic():
    assert kind_of_bytes(b"\0\0\0\x20ftypmif1\0\0\0\0mif1avifmiafMA1B") == "AVIF"
    assert kind_of_bytes(b"\0\0\0\x1cftypmif1\0\0\0\0mif1heicmiaf") == "HEIC"
    assert kind_of_bytes(b"\0\0\0\x18ftypisom\0\0\2\0isomavc1") == ""  # a video


def test_what_a_tiff_holds_beside_a_picture_of_8_bits_is_said(tmp_path, capsys):
    deep = Image.fromarray(FIELDS[:, :, 0].astype(np.uint16) * 256)
    floating = Image.fromarray(FIELDS[:, :, 0].astype(np.float32))
    pages = saved("TIFF", save_all=True, append_images=[PICTURE.rotate(180), PICTURE])
    files = {"a/16.tif": saved("TIFF", deep), "a/float.tif": saved("TIFF", floating), "a/ink.tif": saved("TIFF", PICTURE.convert("CMYK")),
             "a/cut.tif": saved("TIFF")[:-99], "b/pages.tif": pages}  # fmt: skip
    source = lay(tmp_path / "s", files)
    with pytest.raises(Refused) as refused:
        ingest(source, tmp_path / "data")
    lines = str(refused.value).splitlines()
    assert lines[:4] == [
        "E_BIT_DEPTH a/16.tif: values of 16 bits; save it with 8 bits",
        "E_TRUNCATED a/cut.tif: image file is truncated",
        "E_BIT_DEPTH a/float.tif: values of 32 bits, floating-point; save it with 8 bits",
        "E_MODE a/ink.tif: CMYK; save it as RGB or grey",
    ]
    assert lines[4].startswith("4 cannot be read: ")
    assert lines[5:] == ["E_CLASS_LOST a: a class of which no sample can be read (4)"]
    lay(tmp_path / "s", {"a/1.png": saved("PNG")})
    found = taken(source, tmp_path / "data", quarantine=str(tmp_path / "quarantine"))
    assert np.array_equal(pixels(found["b/pages.tif"]), FIELDS)
    said = capsys.readouterr().out
    assert "W_FIRST 1: TIFF files of several pictures, of which the first was taken (b 1), such as 'b/pages.tif'" in said
    assert "E_BIT_DEPTH 2: samples that cannot be read, left out: see" in said
    with (tmp_path / "quarantine" / "ingest.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert list(rows[1].values()) == ["E_TRUNCATED", "a/cut.tif", "a", "image file is truncated"]


def test_broken_png_and_jpeg_are_validates_to_judge_unless_they_are_to_be_left_out(tmp_path):
    flipped = bytearray(saved("PNG"))
    flipped[50] ^= 1
    broken = {"a/empty.jpg": b"", "a/cut.jpg": saved("JPEG")[:-9], "a/cut.png": saved("PNG")[:-9], "a/flipped.png": bytes(flipped),
              "a/page.png": b"<html>"}  # fmt: skip
    whole = {"a/1.png": saved("PNG"), "b/1.jpg": saved("JPEG")}
    source = lay(tmp_path / "s", broken | whole)
    assert set(taken(source, tmp_path / "data")) == {*broken, *whole}
    assert set(taken(source, tmp_path / "some", quarantine=str(tmp_path / "q"))) == {*whole}
    with (tmp_path / "q" / "ingest.csv").open() as stream:
        assert {row["source"]: row["code"] for row in csv.DictReader(stream)} == {
            "a/empty.jpg": "E_EMPTY", "a/cut.jpg": "E_TRUNCATED", "a/cut.png": "E_TRUNCATED", "a/flipped.png": "E_CORRUPT",
            "a/page.png": "E_NOT_IMAGE",
        }  # fmt: skip


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "AVIF", "HEIC", "BMP", "TIFF", "PPM"])
def test_a_picture_that_is_cut_anywhere_is_refused(tmp_path, kind):
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    whole = saved(kind, noise)
    for share in (0.3, 0.6, 0.9, 0.99):
        source = lay(tmp_path / "s", {f"a/1.{kind.lower()}": whole[: int(len(whole) * share)]})
        with pytest.raises(Refused, match=r"^(E_TRUNCATED|E_CORRUPT) a/1"):
            ingest(source, tmp_path / "data")


def test_heic_that_nothing_opens_does_not_make_a_class_vanish(tmp_path):
    broken = saved("HEIC")[:300]
    files = {f"cat/{number}.heic": broken for number in range(28)} | {"dog/1.png": saved("PNG")}
    with pytest.raises(Refused) as refused:
        ingest(lay(tmp_path / "s", files), tmp_path / "data", quarantine=str(tmp_path / "q"))
    assert str(refused.value) == "E_CLASS_LOST cat: a class of which no sample can be read (28)"
    with pytest.raises(Refused) as refused:
        ingest(str(tmp_path / "s"), tmp_path / "data")
    assert str(refused.value).count("E_TRUNCATED ") == 28  # of which the command shows twenty, as of any refusal
    assert not (tmp_path / "data").exists()


def test_few_animations_beside_stills_are_stills(tmp_path, capsys):
    files = {
        f"a/{number}.png": saved("PNG", Image.fromarray(drawing("box", np.random.default_rng(number)))) for number in range(20)
    }
    moving = {"append_images": [PICTURE.rotate(180)], "save_all": True}
    source = lay(tmp_path / "s", files | {"b/1.gif": saved("GIF", **moving), "b/2.png": saved("PNG", **moving)})
    found = taken(source, tmp_path / "data")
    assert all(len(sample.frames) == 1 for sample in found.values())
    assert all(np.array_equal(pixels(found[name]), FIELDS) for name in ("b/1.gif", "b/2.png"))
    assert "of 2 animations the first frame is taken; --kind clips takes all frames" in capsys.readouterr().out
    assert len(taken(source, tmp_path / "clips", kind="clips")["b/1.gif"].frames) == 2
    for number in range(12):
        (tmp_path / "s" / "a" / f"{number}.png").unlink()
    assert len(taken(source, tmp_path / "some")["b/1.gif"].frames) == 2


@pytest.mark.parametrize("form", ["GIF", "WEBP", "PNG", "AVIF"])
def test_an_animation_is_put_on_white_where_it_is_transparent(tmp_path, form):
    frames = []
    for at in (4, 12):
        rgba = np.zeros((24, 32, 4), np.uint8)
        rgba[at : at + 8, 8:24] = (200, 0, 0, 255)
        frames.append(Image.fromarray(rgba))
    content = saved(form, frames[0], save_all=True, append_images=frames[1:], duration=100, disposal=2 if form == "GIF" else 1)
    sample = taken(lay(tmp_path / "s", {f"a/1.{form.lower()}": content}), tmp_path / "data", kind="clips")[
        f"a/1.{form.lower()}"
    ]
    assert len(sample.frames) == 2
    assert pixels(sample)[0, 0].tolist() == [255, 255, 255]
    assert abs(pixels(sample)[8, 16].astype(int) - [200, 0, 0]).max() < 8


def test_palettes_with_transparency_print_no_warnings(tmp_path):
    palette = PICTURE.convert("P", palette=Image.Palette.ADAPTIVE)
    moving = {"save_all": True, "append_images": [PICTURE.rotate(180).convert("P")]}
    files = {"a/1.png": saved("PNG", palette, transparency=bytes(range(256))), "a/2.png": saved("PNG", palette, transparency=0),
             "a/3.gif": saved("GIF", palette, transparency=0), "a/4.gif": saved("GIF", palette, transparency=0, **moving),
             "a/5.tif": saved("TIFF", palette), "a/6.jpg": saved("JPEG", exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09\1\x12")}  # fmt: skip
    lay(tmp_path / "s", files)
    command = [sys.executable, "-m", "components"]
    done = [
        subprocess.run([*command, *arguments], capture_output=True, text=True, check=True)
        for arguments in (
            ["ingest", tmp_path / "s", tmp_path / "data", "--strip-metadata"],
            ["measure", "--data", tmp_path / "data", "--config", "measure", "--manifest", tmp_path / "manifest"],
        )
    ]
    assert [each.stderr for each in done if "Warning" in each.stderr or "Palette" in each.stderr] == []
    measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "again")


def test_what_libraries_write_of_broken_files_stays_off_the_terminal(tmp_path, capfd):
    packed = bytearray(
        saved(
            "TIFF", Image.fromarray(np.random.default_rng(0).integers(0, 9, (64, 64), dtype=np.uint8)), compression="tiff_lzw"
        )
    )
    packed[40:400] = bytes(360)
    for kind in ("GIF", "WEBP", "AVIF", "HEIC", "BMP"):
        lay(tmp_path / "s", {f"a/{kind}.bin": saved(kind)[:60] + bytes(99)})
    with pytest.raises(Refused, match=r"a/1\.tif"):
        ingest(
            lay(tmp_path / "s", {"a/1.tif": bytes(packed), "a/1.mp4": b"no video" * 99, "a/2.mkv": b"\x1a\x45\xdf\xa3" * 99}),
            tmp_path / "data",
        )
    assert re.sub(r"ingest: .*\r?", "", capfd.readouterr().err).strip() == ""
