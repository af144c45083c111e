"""The one decoder: encoded frame -> uint8 pixels. Measuring, training, evaluation and serving all see what it gives.

Only PNG and JPEG are opened (no other decoder of Pillow is ever reached), sizes are checked before any pixel is
decoded, EXIF rotation is applied, transparency is composed on white.
"""

import io
import re
import warnings
import zlib
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, PngImagePlugin

FORMATS = ("PNG", "JPEG")
MAX_PIXELS = 25_000_000
MAX_RATIO = 20  # long side / short side
MIN_SIDE = 8  # pixels

# 16 MiB of text in a PNG is no picture's caption; Pillow's own limit is 64 MiB.
PngImagePlugin.MAX_TEXT_MEMORY = 16 * 2**20
Image.MAX_IMAGE_PIXELS = MAX_PIXELS

_ROTATION = 0x0112  # EXIF tag Orientation

# First bytes -> what they are, for the message alone.
_LOOKS_LIKE = (
    (b"GIF8", "GIF"), (b"BM", "BMP"), (b"RIFF", "WEBP"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"8BPS", "PSD"),
    (b"%!PS", "EPS"), (b"\x7fELF", "an ELF program"), (b"PK\x03\x04", "a zip archive"), (b"\x1f\x8b", "a gzip file"),
    (b"\x80\x04", "a pickle"), (b"\x80\x05", "a pickle"), (b"\x89HDF", "HDF5"), (b"%PDF", "PDF"),
)  # fmt: skip


class Undecodable(Exception):
    """A frame that is no usable picture: a stable `code` and the `reason`."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code, self.reason = code, reason


@dataclass(frozen=True)
class Picture:
    """A decoded frame. `pixels`: uint8 (height, width, channels), channels 1 (grey) or 3 (RGB), upright."""

    pixels: np.ndarray
    width: int  # of the upright original, in pixels
    height: int
    mode: str  # of the original, as Pillow names it
    format: str
    notes: tuple[str, ...]  # warning codes: what was converted on the way


def decode(frame: bytes, *, at_least: int | None = None) -> Picture:
    """Decode one frame.

    `at_least` (pixels) lets a JPEG be decoded at a fraction of its size as long as both sides stay that long: several
    times faster where the picture is resized afterwards. Raises Undecodable.
    """
    _refuse_what_is_no_image(frame)
    try:
        # Pillow warns about broken metadata and goes on; its bomb warning is an error here.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(frame), formats=FORMATS) as image:
                _refuse_by_header(image, frame)
                mode, form, size = image.mode, image.format, image.size
                rotated = _orientation(image)
                if at_least and form == "JPEG":
                    image.draft(None, (at_least, at_least))
                image.load()
                image, notes = _grey_or_rgb(image)
                if rotated not in (0, 1):
                    image = ImageOps.exif_transpose(image)
                    notes += ("W_ROTATED",)
                    size = size[::-1] if rotated >= 5 else size
                pixels = np.asarray(image)
    except Undecodable:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as bomb:
        raise _too_large(int(re.search(r"\d+", str(bomb))[0])) from None
    except Image.UnidentifiedImageError:
        raise Undecodable("E_CORRUPT", "bad header") from None
    except Exception as error:  # a decoder may raise anything on hostile bytes
        raise _as_undecodable(error) from None
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    return Picture(pixels, size[0], size[1], mode, form, notes)


def fit(pixels: np.ndarray, *, height: int, width: int, channels: int, rule: str) -> np.ndarray:
    """Resize uint8 (h, w, 1|3) to (height, width, channels) by one named rule; nothing is ever cropped.

    `stretch` gives up the ratio of the sides; `pad` keeps it and fills the rest with the mean of the border, so that no
    hard edge appears. Bilinear with antialiasing.
    """
    if pixels.shape == (height, width, channels):
        return pixels
    image = Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)
    image = image.convert("L" if channels == 1 else "RGB")
    if rule == "pad":
        scale = min(height / image.height, width / image.width)
        inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(inner, Image.Resampling.BILINEAR)
        canvas = Image.new(image.mode, (width, height), _border_mean(image))
        canvas.paste(image, ((width - inner[0]) // 2, (height - inner[1]) // 2))
        image = canvas
    else:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels)


def encode_png(pixels: np.ndarray) -> bytes:
    """Lossless frame from uint8 (h, w), (h, w, 1) or (h, w, 3).

    Not deflated: stored blocks are the same bytes with every zlib, so that shards have one digest on every machine;
    the shard compresses them.
    """
    buffer = io.BytesIO()
    pixels = pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=0)
    return buffer.getvalue()


def _refuse_what_is_no_image(frame: bytes) -> None:
    if not frame:
        raise Undecodable("E_EMPTY", "0 bytes")
    if frame.startswith((b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff")):
        return
    if frame.startswith(b"\x89PNG"[: len(frame)]) or frame == b"\xff\xd8":
        raise Undecodable("E_TRUNCATED", "no image data")
    for magic, name in _LOOKS_LIKE:
        if frame.startswith(magic):
            raise Undecodable("E_FORMAT", f"looks like {name}; PNG and JPEG are accepted")
    if frame.startswith(b"version https://git-lfs"):
        raise Undecodable("E_NOT_IMAGE", "a Git LFS pointer: run git lfs pull")
    start = frame[:512].lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if b"<svg" in start:
        raise Undecodable("E_FORMAT", "looks like SVG; PNG and JPEG are accepted")
    if start.startswith((b"<!doctype html", b"<html")):
        raise Undecodable("E_NOT_IMAGE", "an HTML page, perhaps a failed download")
    if re.fullmatch(rb"[\t\r\n\x20-\x7e]*", frame[:512]):
        raise Undecodable("E_NOT_IMAGE", "plain text")
    raise Undecodable("E_NOT_IMAGE", "neither PNG nor JPEG")


def _refuse_by_header(image: Image.Image, frame: bytes) -> None:
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(width * height)
    if max(width, height) > MAX_RATIO * min(width, height):
        raise Undecodable("E_ASPECT", f"{width}x{height}: ratio > {MAX_RATIO}")
    if min(width, height) < MIN_SIDE:
        raise Undecodable("E_TOO_SMALL", f"{width}x{height} < {MIN_SIDE} px")
    if getattr(image, "n_frames", 1) > 1:
        raise Undecodable("E_ANIMATED", f"{image.n_frames} frames in one picture; ingest it as a clip")
    if image.mode.startswith("I"):
        raise Undecodable("E_BIT_DEPTH", "16-bit grey; save it with 8 bits")
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        raise Undecodable("E_MODE", f"{image.mode}; save it as RGB or grey")
    # Pillow takes a picture without its end: one cut short must not pass for a whole one.
    if image.format == "JPEG" and b"\xff\xd9" not in frame:
        raise Undecodable("E_TRUNCATED", "no end of image")
    if image.format == "PNG":
        _check_png(frame)


def _check_png(frame: bytes) -> None:
    """Compare every chunk with its checksum, which Pillow does not do for pixels, and look for the end."""
    at = 8
    while at + 12 <= len(frame):
        size = int.from_bytes(frame[at : at + 4])
        name, end = frame[at + 4 : at + 8], at + 12 + size
        if end > len(frame):
            raise Undecodable("E_TRUNCATED", "image file is truncated")
        if zlib.crc32(memoryview(frame)[at + 4 : end - 4]) != int.from_bytes(frame[end - 4 : end]):
            raise Undecodable("E_CORRUPT", f"bad checksum in {name.decode('ascii', 'replace')}")
        if name == b"IEND":
            return
        at = end
    raise Undecodable("E_TRUNCATED", "no IEND")


def _orientation(image: Image.Image) -> int:
    try:
        return int(image.getexif().get(_ROTATION, 1))
    except Exception:  # broken EXIF: the pixels are used as they are
        return 1


def _grey_or_rgb(image: Image.Image) -> tuple[Image.Image, tuple[str, ...]]:
    if image.mode in ("L", "RGB"):
        return image, ()
    if image.mode in ("RGBA", "LA", "PA") or "transparency" in image.info:
        rgba = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        note = "W_ALPHA" if rgba.getextrema()[3][0] < 255 else "W_MODE"
        return _with_exif(Image.alpha_composite(white, rgba).convert("RGB"), image), (note,)
    return _with_exif(image.convert("L" if image.mode == "1" else "RGB"), image), ("W_MODE",)


def _with_exif(converted: Image.Image, original: Image.Image) -> Image.Image:
    converted.info.update(original.info)
    return converted


def _border_mean(image: Image.Image) -> int | tuple[int, ...]:
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    mean = np.rint(border.mean(axis=0)).astype(int)
    return int(mean) if mean.ndim == 0 else tuple(int(value) for value in mean)


def _too_large(pixels: int) -> Undecodable:
    return Undecodable("E_TOO_LARGE", f"{pixels / 1e6:.1f} Mpx > {MAX_PIXELS / 1e6:.0f} Mpx")


def _as_undecodable(error: Exception) -> Undecodable:
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    lower = text.lower()
    if "truncated" in lower or "premature" in lower:
        return Undecodable("E_TRUNCATED", "image file is truncated")
    if "decompressed data too large" in lower or "too much memory used in text" in lower:
        return Undecodable("E_TEXT_BOMB", "compressed text above the limit")
    return Undecodable("E_CORRUPT", f"broken data stream ({text})")
