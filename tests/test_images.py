import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from conftest import png
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from components.ingest.motion import frames
from components.measure.statistics import reduced
from components.shared.pictures import formats
from components.shared.pictures.decode import Undecodable, as_image, decode
from components.shared.pictures.encode import encode_png, preview
from components.shared.pictures.fit import fit
from components.shared.pictures.strip import strip

PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
PNG = png(PIXELS)


def saved(form: str, image: Image.Image | None = None, **options) -> bytes:
    buffer = io.BytesIO()
    (image or Image.fromarray(PIXELS)).save(buffer, form, **options)
    return buffer.getvalue()


JPEG = saved("JPEG")


def header(width: int, height: int, depth: int = 8, colour: int = 2) -> bytes:
    """A PNG of these dimensions with hardly any data: what a bomb looks like."""
    body = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", body) + chunk(b"IDAT", zlib.compress(b"\0" * 100)) + chunk(b"IEND", b"")


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]


BAD = {
    "no byte": (b"", "E_EMPTY"),
    "one byte": (b"\x00", "E_NOT_IMAGE"),
    "PNG signature alone": (PNG[:8], "E_"),
    "half a PNG": (PNG[: len(PNG) // 2], "E_TRUNCATED"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], "E_TRUNCATED"),
    "PNG without its end": (PNG[:-12], "E_TRUNCATED"),
    "JPEG without its end": (JPEG[:-2], "E_TRUNCATED"),
    "HTML": (b"<!DOCTYPE html><html>404</html>", "E_NOT_IMAGE: an HTML page"),
    "Git LFS": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "E_NOT_IMAGE: a Git LFS pointer: run git lfs pull",
    ),
    "text": (b"not a picture\n", "E_NOT_IMAGE: plain text"),
    "GIF": (saved("GIF"), "E_FORMAT: looks like GIF"),
    "BMP": (saved("BMP"), "E_FORMAT: looks like BMP"),
    "WebP": (saved("WEBP"), "E_FORMAT: looks like WEBP"),
    "TIFF": (saved("TIFF"), "E_FORMAT: looks like TIFF"),
    "SVG": (b'<?xml version="1.0"?><svg></svg>', "E_FORMAT: looks like SVG"),
    "zip": (b"PK\x03\x04....", "E_FORMAT: looks like a zip"),
    "pickle": (b"\x80\x04\x95", "E_FORMAT: looks like a pickle"),
    "flipped bit in the data": (flipped(PNG, len(PNG) // 2), "E_CORRUPT"),
    "width 0": (header(0, 10), "E_"),
    "20000 x 20000": (header(20_000, 20_000), "E_TOO_LARGE"),
    "13000 x 13000": (header(13_000, 13_000), "E_TOO_LARGE"),
    "a strip": (header(10, 6_000), "E_ASPECT"),
    "2 x 2": (png(PIXELS[:2, :2]), "E_TOO_SMALL"),
    "bit depth 7": (header(16, 16, depth=7), "E_"),
    "16-bit grey": (saved("PNG", Image.fromarray(PIXELS[:, :, 0].astype(np.uint16) * 256)), "E_BIT_DEPTH"),
    "CMYK": (saved("JPEG", Image.new("CMYK", (32, 32))), "E_MODE: CMYK"),
    "APNG": (saved("PNG", save_all=True, append_images=[Image.new("RGB", (32, 24))]), "E_ANIMATED"),
    "random bytes after a JPEG's start": (b"\xff\xd8\xff" + bytes(range(200)), "E_"),
}


@pytest.mark.parametrize("name", BAD)
def test_refuses_with_a_code_and_a_reason(name):
    frame, expected = BAD[name]
    with pytest.raises(Undecodable) as caught:
        decode(frame)
    assert str(caught.value).startswith(expected)


def test_refuses_a_bomb_before_decoding_it():
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(Undecodable, match=r"400\.0 Mpx > 100 Mpx"):
        decode(header(20_000, 20_000))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024


def test_fifty_megapixels_are_a_photo_and_the_limit_is_asked_for():
    wide = saved("JPEG", Image.new("RGB", (8160, 6120), "navy"))
    assert decode(wide, at_least=64).width == 8160
    with pytest.raises(Undecodable, match=r"49\.9 Mpx > 25 Mpx \(measure.max_megapixels\)"):
        decode(wide, max_pixels=25_000_000)


@pytest.mark.parametrize("turned", [1, 6])
def test_of_a_multi_picture_jpeg_the_first_picture_is_taken(turned):
    first, second = Image.fromarray(PIXELS), Image.new("RGB", (32, 24))
    exif = Image.Exif()
    exif[0x0112] = turned
    frame = saved("MPO", first, save_all=True, append_images=[second], exif=exif)
    alone = frame[: frame.index(b"\xff\xd9") + 2]
    picture = decode(frame)
    assert np.array_equal(picture.pixels, decode(alone).pixels)
    assert picture.format == "JPEG"
    assert picture.trailing == len(frame) - len(alone)
    assert decode(strip(frame)).trailing == 0
    assert np.array_equal(decode(strip(frame)).pixels, picture.pixels)
    assert decode(frame, at_least=8).pixels.shape == decode(alone, at_least=8).pixels.shape


def test_gives_the_pixels_of_a_png_untouched():
    picture = decode(PNG)
    assert np.array_equal(picture.pixels, PIXELS)
    assert (picture.width, picture.height, picture.mode, picture.format, picture.notes) == (32, 24, "RGB", "PNG", ())


def test_keeps_grey_pictures_grey():
    assert decode(png(PIXELS[:, :, 0])).pixels.shape == (24, 32, 1)


def test_turns_a_picture_upright_as_its_exif_says():
    exif = Image.Exif()
    exif[0x0112] = 6
    picture = decode(saved("JPEG", quality=95, exif=exif))
    assert picture.pixels.shape == (32, 24, 3)
    assert (picture.width, picture.height) == (24, 32)
    assert picture.notes == ("W_ROTATED",)
    upright = decode(saved("JPEG", quality=95)).pixels
    assert np.array_equal(picture.pixels, np.rot90(upright, -1))


@settings(max_examples=200, deadline=None)
@given(
    shape=st.tuples(st.integers(8, 70), st.integers(8, 70), st.sampled_from([1, 3])),
    quality=st.integers(1, 100),
    subsampling=st.integers(0, 2),
    progressive=st.booleans(),
    restart=st.sampled_from([0, 1, 3]),
    turned=st.integers(1, 8),
)
def test_a_jpeg_has_the_pixels_that_pillow_gives(shape, quality, subsampling, progressive, restart, turned):
    noise = np.random.default_rng(quality).integers(0, 256, shape, dtype=np.uint8)
    exif = Image.Exif()
    exif[0x0112] = turned
    frame = saved("JPEG", as_image(noise), quality=quality, subsampling=subsampling, progressive=progressive,
                  restart_marker_blocks=restart, exif=exif)  # fmt: skip
    with Image.open(io.BytesIO(frame)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image)).reshape(decode(frame).pixels.shape)
    assert np.array_equal(decode(frame).pixels, expected)


def test_a_jpeg_with_damaged_data_is_told_and_still_shows_what_is_there():
    picture = decode(JPEG[:-100] + JPEG[-2:])
    assert picture.notes == ("W_DAMAGED",)
    assert np.array_equal(picture.pixels[:8], decode(JPEG).pixels[:8])


def test_a_jpeg_of_endless_scans_is_refused_before_it_is_decoded():
    stream = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64), np.uint8)).save(stream, "JPEG", progressive=True)
    frame = stream.getvalue()
    scans = [place for place in formats.segments(frame) if place[0] == 0xDA]
    assert 1 < len(scans) < 20
    _, start, end = scans[-1]
    assert decode(frame[:end] + frame[start:end] * 50 + frame[end:]).pixels.shape == (64, 64, 1)
    with pytest.raises(Undecodable, match="more than 100 scans"):
        decode(frame[:end] + frame[start:end] * 100 + frame[end:])


def test_composes_transparency_on_white():
    image = Image.fromarray(PIXELS).convert("RGBA")
    image.putalpha(0)
    picture = decode(saved("PNG", image))
    assert (picture.pixels == 255).all()
    assert picture.notes == ("W_ALPHA",)


@pytest.mark.parametrize("palette", [False, True])
def test_every_transparent_colour_is_to_the_bit_what_pillow_composes(palette):
    level, alpha = np.meshgrid(np.arange(256, dtype=np.uint8), np.arange(256, dtype=np.uint8))
    image = Image.fromarray(np.dstack([level, 255 - level, level // 2, alpha]))
    image = image.quantize(256, method=Image.Quantize.FASTOCTREE) if palette else image
    white = Image.new("RGBA", image.size, "white")
    picture = decode(saved("PNG", image), thorough=True)
    assert np.array_equal(picture.pixels, np.asarray(Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")))
    assert picture.notes == (("W_ALPHA", "W_MODE") if palette else ("W_ALPHA",))


def test_a_palette_colour_that_no_pixel_has_makes_nothing_transparent():
    image = Image.fromarray(PIXELS).quantize(16)
    picture = decode(saved("PNG", image, transparency=200))
    assert picture.notes == ("W_MODE",)
    assert np.array_equal(picture.pixels, np.asarray(image.convert("RGB")))


def test_converts_a_palette_and_says_so():
    picture = decode(saved("PNG", Image.fromarray(PIXELS).convert("P")))
    assert picture.pixels.shape == (24, 32, 3)
    assert picture.notes == ("W_MODE",)


@pytest.mark.parametrize("transparency", [0, bytes(range(256))])
def test_a_palette_with_transparency_warns_nobody(transparency, tmp_path):
    image = Image.fromarray(PIXELS).convert("P")
    frame = saved("PNG", image, transparency=transparency)
    image.save(tmp_path / "moving.png", transparency=transparency, save_all=True, append_images=[image.transpose(0)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        picture = decode(frame, thorough=True)
        reduced(picture)
        preview(frame, picture)
        strip(frame)
        fit(picture.pixels, height=8, width=8, channels=1, rule="pad")
        assert len(frames(tmp_path / "moving.png", at_most=2)) == 2


def test_an_animation_of_too_large_frames_is_refused_before_it_is_decoded(tmp_path):
    Image.new("P", (8000, 5001)).save(tmp_path / "large.gif", save_all=True, append_images=[Image.new("P", (8000, 5001), 1)])
    with pytest.raises(Undecodable, match="frames of 8000x5001, at most 40 Mpx"):  # whoever asks names the file
        frames(tmp_path / "large.gif", at_most=2)


def test_encoding_is_lossless_and_not_deflated():
    assert np.array_equal(decode(encode_png(PIXELS)).pixels, PIXELS)
    flat = np.zeros((64, 64), np.uint8)
    assert len(encode_png(flat)) > flat.nbytes


def test_padding_keeps_the_ratio_and_crops_nothing():
    white = np.full((20, 40, 1), 255, np.uint8)
    white[:2], white[-2:] = 0, 0  # a dark border above and below
    fitted = fit(white, height=40, width=40, channels=1, rule="pad")
    assert fitted.shape == (40, 40, 1)
    assert fitted[20, 20] == 255
    assert (fitted[:10] == fitted[0, 0]).all()
    stretched = fit(white, height=40, width=40, channels=1, rule="stretch")
    assert (stretched[4:36] > 128).all()


def test_a_jpeg_may_be_decoded_small_but_never_smaller_than_asked():
    large = saved("JPEG", Image.fromarray(np.kron(PIXELS, np.ones((16, 16, 1), np.uint8))))
    picture = decode(large, at_least=100)
    assert min(picture.pixels.shape[:2]) >= 100
    assert picture.pixels.shape[0] < 384
    assert (picture.width, picture.height) == (512, 384)


@settings(max_examples=200, deadline=None)
@given(st.integers(8, 40), st.integers(8, 40), st.sampled_from([1, 3]), st.integers(0, 9), st.integers(0, 2**32 - 1))
def test_a_small_plain_png_is_the_same_to_the_bit_as_pillow_reads_it(height, width, channels, level, seed):
    shape = (height, width) if channels == 1 else (height, width, 3)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    pixels[: height // 2] //= 64  # so that every filter of a PNG comes up
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=level)
    picture = decode(buffer.getvalue())
    assert np.array_equal(picture.pixels, pixels.reshape(height, width, channels))
    assert (picture.width, picture.height, picture.mode) == (width, height, "L" if channels == 1 else "RGB")
