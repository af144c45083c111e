"""What kind of picture bytes are, by the first of them; what is neither PNG nor JPEG -> a lossless PNG of it, upright."""

import contextlib
import io
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from components.ingest import ends
from components.shared.pictures import decode, formats, metadata
from components.shared.pictures.encode import encode_png
from components.shared.pictures.formats import Undecodable

HEAD = 4096  # bytes that tell the kind
KEPT = ("PNG", "JPEG", "")  # whose bytes stay; what is no picture at all, measuring names
_FIRST_BYTES = {
    **{signature: name for name, signature in formats.SIGNATURES.items()},
    b"GIF87a": "GIF", b"GIF89a": "GIF", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"II+\0": "TIFF", b"MM\0+": "TIFF",
}  # fmt: skip
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # bytes: the lengths that there are
_PNM = re.compile(rb"P[1-6](?:\s+(?:#[^\n]*\n\s*)*\d+){2}\s")  # PBM, PGM, PPM: width and height behind the mark, and remarks
_WEBP_ANIMATION, _WEBP_ALPHA = 0x02, 0x10  # flags of the chunk VP8X
_HEIF_BRANDS = {b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1"}


_PILLOWS = {"APNG": "PNG", "PNM": "PPM", "HEIC": "HEIF"}  # names of kinds, where ours are others


def kind_of_bytes(content: bytes) -> str:
    """PNG, APNG, JPEG (MPO too), GIF, WEBP, BMP, TIFF, AVIF, HEIC or PNM, by the first HEAD bytes; empty for anything else."""
    head = content[:HEAD]
    kind = next((name for signature, name in _FIRST_BYTES.items() if head.startswith(signature)), "")
    if kind == "PNG":  # an animated one says so by a chunk before its data
        return "APNG" if b"acTL" in head.split(b"IDAT")[0] else "PNG"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    if head[:2] == b"BM" and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:
        return "BMP"
    if head[4:8] == b"ftyp":  # ISO 14496-12: a brand, a version, and the brands that it can be read as
        length = int.from_bytes(head[:4])
        brands = {head[8:12], *(head[at : at + 4] for at in range(16, min(length, len(head)), 4))}
        return "AVIF" if brands & {b"avif", b"avis"} else "HEIC" if brands & _HEIF_BRANDS else ""
    return kind or ("PNM" if _PNM.match(head) else "")


def is_animated_webp(content: bytes) -> bool:
    """Whether a WebP says of itself that it moves."""
    return content[12:16] == b"VP8X" and bool(content[20] & _WEBP_ANIMATION)


def opened(content: bytes, kind: str) -> Image.Image:
    """The picture by the one decoder of its kind, before any pixel is decoded. Raises Undecodable, also for one that is cut."""
    ends.check_picture(content, kind)
    if kind == "WEBP" and is_animated_webp(content):  # whose canvas is transparent even where no frame is: say so
        content = content[:20] + bytes([content[20] | _WEBP_ALPHA]) + content[21:]
    try:
        image = header(io.BytesIO(content), kind)
    except UnidentifiedImageError:
        raise Undecodable("E_CORRUPT", f"a {kind} that its decoder does not open; save it as PNG or JPEG") from None
    if image.width * image.height > decode.MAX_PIXELS:
        size = f"{image.width * image.height / 1e6:.1f} Mpx > {decode.MAX_PIXELS / 1e6:.0f} Mpx"
        raise Undecodable("E_TOO_LARGE", f"{size}; save it smaller")
    return image


def header(file: Path | io.BytesIO, kind: str) -> Image.Image:
    """The picture of a kind, of which no more is read than tells its size. Raises whatever its decoder does, Undecodable."""
    if kind == "HEIC":
        try:
            from pi_heif import register_heif_opener
        except ImportError:
            raise Undecodable("E_FORMAT", "HEIC, which needs the package pi-heif: pip install pi-heif") from None
        register_heif_opener()  # which turns it upright itself
    return Image.open(file, formats=[_PILLOWS.get(kind, kind)])


def first_picture(content: bytes, kind: str) -> tuple[bytes, int]:
    """The first picture of a file as a PNG, upright, what is transparent on white; and how many it has. Raises Undecodable."""
    try:
        with _silence() if kind == "TIFF" else contextlib.nullcontext(), opened(content, kind) as image:
            count = getattr(image, "n_frames", 1)
            _refuse_deep(image)
            decode.refuse_by_header(image)
            pixels = np.asarray(decode.grey_or_rgb(image)[0])
            return encode_png(decode.upright(pixels, metadata.notes(image)[0])), count
    except Undecodable:
        raise
    except Exception as error:
        raise formats.undecodable(error) from None


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """libtiff writes what it thinks of a file to standard error itself, line after line; what counts of it is raised."""
    kept = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _refuse_deep(image: Image.Image) -> None:
    """Raise Undecodable for a TIFF or PNM of more than 8 bits a value: Pillow would cut off, or round, what lies above."""
    tags = getattr(image, "tag_v2", {})
    bits = max(tags.get(TiffImagePlugin.BITSPERSAMPLE, (1,)))
    if image.format == "PPM" and isinstance(arguments := image.tile[0].args, tuple):  # the packing, the largest value
        bits = arguments[1].bit_length()
    if bits > 8:
        floating = 3 in tags.get(TiffImagePlugin.SAMPLEFORMAT, ())
        raise Undecodable("E_BIT_DEPTH", f"values of {bits} bits{', floating-point' if floating else ''}; save it with 8 bits")
