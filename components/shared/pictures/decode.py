"""The one decoder: encoded frame -> uint8 pixels. Measuring, training, evaluation and serving all see what it gives.

Only PNG and JPEG are opened (no other decoder of Pillow or OpenCV is ever reached), sizes are checked before any pixel is
decoded, EXIF rotation is applied, transparency is composed on white.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import simplejpeg
from PIL import Image, PngImagePlugin

from components.shared.pictures import formats, metadata
from components.shared.pictures.formats import Undecodable

MAX_PIXELS = 100_000_000  # where no knob says otherwise: twice what phones take
LARGEST = 500_000_000  # what the knob `measure.max_megapixels` can allow: 1.5 GB as RGB
_BAND = 2**16  # pixels

# 16 MiB of text in a PNG is no picture's caption; Pillow's own limit is 64 MiB.
PngImagePlugin.MAX_TEXT_MEMORY = 16 * 2**20
Image.MAX_IMAGE_PIXELS = LARGEST  # what is asked before it is ours


@dataclass(frozen=True)
class Picture:
    """A decoded frame. `pixels`: uint8 (height, width, channels), channels 1 (grey) or 3 (RGB), upright."""

    pixels: np.ndarray
    width: int  # of the upright original, in pixels
    height: int
    mode: str  # of the original, as Pillow names it
    format: str
    notes: tuple[str, ...]  # warning codes: what was converted on the way
    trailing: int = 0  # bytes behind the picture's end


def as_image(pixels: np.ndarray) -> Image.Image:
    """uint8 (h, w, 1|3) as Pillow holds it."""
    return Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels)


def decode(frame: bytes, *, max_pixels: int = MAX_PIXELS, at_least: int | None = None, thorough: bool = False) -> Picture:
    """Decode one frame; of a multi-picture JPEG, as cameras write them, the first picture.

    `max_pixels` (width times height) is asked before a pixel is decoded. `at_least` (pixels) lets a JPEG be decoded at a
    fraction of its size as long as both sides stay that long: several times faster where the picture is resized afterwards.
    `thorough` looks for what hides behind a PNG's pixels, too. Raises Undecodable.
    """
    verdict = formats.judge(frame, thorough=thorough, max_pixels=max_pixels)
    notes = verdict.notes
    if verdict.plain:
        height, width, channels = verdict.plain
        pixels = _plain(frame, height, width, channels)
        return Picture(pixels, width, height, "L" if channels == 1 else "RGB", "PNG", notes, verdict.trailing)
    try:
        with metadata.opened(frame) as image:
            formats.refuse_size(*image.size, max_pixels)
            refuse_by_header(image)
            mode, form, (width, height) = image.mode, image.format, image.size
            if form == "PNG":
                image.load()  # what a PNG tells may stand behind its pixels
            orientation, private = metadata.notes(image)
            if at_least and form == "JPEG":
                image.draft(None, (at_least, at_least))
            whole = form == "JPEG" and image.size == (width, height)  # not a draft
            pixels, found = _jpeg(frame, image) if whole else (None, ())
            if pixels is None:
                pixels, converted = grey_or_rgb(image)
                found += converted
    except Undecodable:
        raise
    except Exception as error:  # a decoder may raise anything on hostile bytes
        raise formats.undecodable(error) from None
    notes += (*found, *sorted(private))
    if orientation != 1:
        pixels, notes = upright(pixels, orientation), (*notes, "W_ROTATED")
        width, height = (height, width) if orientation >= 5 else (width, height)
    return Picture(pixels if pixels.ndim == 3 else pixels[:, :, None], width, height, mode, form, notes, verdict.trailing)


def _plain(frame: bytes, height: int, width: int, channels: int) -> np.ndarray:
    """A small PNG of nothing but 8-bit pixels: OpenCV unpacks it to the same bits in a ninth of Pillow's time."""
    import cv2

    pixels = cv2.imdecode(np.frombuffer(frame, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None or pixels.shape[:2] != (height, width):
        raise Undecodable("E_CORRUPT", "broken data stream")
    return pixels[:, :, None] if channels == 1 else cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)


def _jpeg(frame: bytes, image: Image.Image) -> tuple[np.ndarray | None, tuple[str, ...]]:
    """The pixels of a whole JPEG, or None where Pillow has to say what they are; and what there is to note.

    The same bits as Pillow's in two thirds of its time, both being libjpeg-turbo. Where data make no sense, this one says so;
    Pillow makes up what is missing and is silent.
    """
    if image.mode not in ("L", "RGB"):
        return None, ()
    try:
        height, width, *_ = simplejpeg.decode_jpeg_header(frame)
        if (width, height) != image.size:  # what was refused by its size is what Pillow read
            return None, ()
        return simplejpeg.decode_jpeg(frame, "GRAY" if image.mode == "L" else "RGB"), ()
    except ValueError as said:
        return None, ("W_DAMAGED",) if "Corrupt JPEG data" in str(said) else ()


def refuse_by_header(image: Image.Image) -> None:
    """Raise Undecodable for a picture whose values are no grey or RGB of 8 bits, by its header."""
    if image.mode.startswith("I"):
        raise Undecodable("E_BIT_DEPTH", "16-bit grey; save it with 8 bits")
    if image.mode not in ("1", "L", "LA", "P", "PA", "RGB", "RGBA"):
        raise Undecodable("E_MODE", f"{image.mode}; save it as RGB or grey")


def grey_or_rgb(image: Image.Image) -> tuple[np.ndarray, tuple[str, ...]]:
    """The pixels as uint8 (h, w) or (h, w, 3), what is transparent on white, and the codes of what was converted."""
    image.load()
    if image.mode in ("L", "RGB"):
        return np.asarray(image), ()
    if image.mode not in ("RGBA", "LA", "PA") and "transparency" not in image.info:
        return np.asarray(image.convert("L" if image.mode == "1" else "RGB")), ("W_MODE",)
    pixels, seen_through = (_on_white_by_palette if image.mode == "P" else _on_white)(image)
    notes = ("W_ALPHA",) if seen_through else ()
    return pixels, notes + (("W_MODE",) if image.mode != "RGBA" or not seen_through else ())


def on_white(image: Image.Image) -> np.ndarray:
    """A picture of any mode as uint8 (h, w, 3), what is transparent on white."""
    return _on_white(image)[0]


def _on_white(image: Image.Image) -> tuple[np.ndarray, bool]:
    """To the bit what Pillow's `alpha_composite` gives, and whether a pixel is seen through."""
    import cv2

    image = image if image.mode == "RGBA" else image.convert("RGBA")  # which would copy it
    pixels, opaque = np.empty((image.height, image.width, 3), np.uint8), True
    for band, place in _bands(image, pixels):
        cv2.cvtColor(band, cv2.COLOR_RGBA2RGB, dst=place)
        alpha = cv2.extractChannel(band, 3)
        if alpha.min() < 255:
            opaque = False
            ink = cv2.bitwise_not(place)
            cv2.bitwise_not(cv2.multiply(ink, cv2.cvtColor(alpha, cv2.COLOR_GRAY2RGB), dst=ink, scale=1 / 255), dst=place)
    return pixels, not opaque


def _on_white_by_palette(image: Image.Image) -> tuple[np.ndarray, bool]:
    """The same of the palette's colours instead of the pixels: 256 instead of millions."""
    import cv2

    palette = image.crop((0, 0, 1, 1)).resize((256, 1))  # with the palette as Pillow holds it
    palette.putdata(range(256))
    palette = palette.convert("RGBA")
    seen_through = (np.array(image.histogram()) > 0) & (np.asarray(palette)[0, :, 3] < 255)
    colours, pixels = on_white(palette), np.empty((image.height, image.width, 3), np.uint8)
    for band, place in _bands(image, pixels):
        cv2.LUT(cv2.cvtColor(band, cv2.COLOR_GRAY2RGB), colours, dst=place)
    return pixels, bool(seen_through.any())


def _bands(image: Image.Image, pixels: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Some rows of an image and their place in `pixels`: as much as a processor's cache holds, twice as fast as all at once."""
    rows = max(1, _BAND // image.width)
    for top in range(0, image.height, rows):
        yield np.asarray(image.crop((0, top, image.width, min(top + rows, image.height)))), pixels[top : top + rows]


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """The picture as EXIF says that it is to be seen (Exif 3.0, tag 274): from 5 on, rows are columns; then mirrored."""
    import cv2

    pixels = cv2.transpose(pixels) if orientation >= 5 else pixels
    across, down, both = 1, 0, -1
    flip = {2: across, 3: both, 4: down, 6: across, 7: both, 8: down}.get(orientation)
    return pixels if flip is None else cv2.flip(pixels, flip)
