"""What a frame's bytes say before any pixel is decoded: PNG or JPEG, whole or cut, and what stands behind the end.

Pillow takes a picture without its end, never compares the checksums of pixel data and says nothing of what follows: a frame
that was damaged on the way must not pass for a whole one.
"""

import contextlib
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

SIGNATURES = {"PNG": b"\x89PNG\r\n\x1a\n", "JPEG": b"\xff\xd8\xff"}

# First bytes -> what they are, for the message alone.
_LOOKS_LIKE = (
    (b"GIF8", "GIF"), (b"BM", "BMP"), (b"RIFF", "WEBP"), (b"II*\0", "TIFF"), (b"MM\0*", "TIFF"), (b"8BPS", "PSD"),
    (b"%!PS", "EPS"), (b"\x7fELF", "an ELF program"), (b"PK\x03\x04", "a zip archive"), (b"\x1f\x8b", "a gzip file"),
    (b"\x80\x04", "a pickle"), (b"\x80\x05", "a pickle"), (b"\x89HDF", "HDF5"), (b"%PDF", "PDF"),
)  # fmt: skip
_PIECE = 2**20  # bytes
MAX_RATIO = 20  # long side / short side: a longer strip would be less than two pixels of 28, and nothing is ever cropped
MIN_SIDE = 8  # pixels: the block of a JPEG, and what three poolings of the networks leave one pixel of
_PNG_DEPTHS = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}  # colour type -> bits
_PNG_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
# Interlaced: first column and row of each pass, and its steps.
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
_SMALL = 2**17  # bytes of pixels; above it the decoding itself is what takes the time
MOST_SCANS = 100  # of a JPEG; encoders write a dozen at the most
JPEG_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}  # markers that begin a frame header
# Segments that stand first, told by their name or by a length that they can have.
_JPEG_START = re.compile(rb"\xff(?:[\xe0-\xef]..[0-9A-Za-z_]{3}|[\xc0-\xcf\xdb\xdd]\x00|\xfe|\xff|\xd9)", re.DOTALL)
_JPEG_MARKER = re.compile(rb"\xff[^\x00\xff\xd0-\xd7]")


class Undecodable(Exception):
    """A frame that is no usable picture: a stable `code` and the `reason`."""

    def __init__(self, code: str, reason: str) -> None:
        super().__init__(f"{code}: {reason}")
        self.code, self.reason = code, reason


@dataclass(frozen=True)
class Verdict:
    """A whole picture. `notes`: warning codes. `trailing`: bytes behind its end.

    `plain`: (height, width, channels) of a small 8-bit PNG that is nothing but pixels.
    """

    notes: tuple[str, ...] = ()
    trailing: int = 0
    plain: tuple[int, int, int] | None = None


def judge(frame: bytes, *, thorough: bool, max_pixels: int | None = None) -> Verdict:
    """Say whether this is a whole PNG or JPEG. `thorough` also unpacks a PNG's data to see whether it is too long.

    `max_pixels` refuses sizes before anything is unpacked. Raises Undecodable for everything else.
    """
    if not frame:
        raise Undecodable("E_EMPTY", "0 bytes")
    if frame.startswith(SIGNATURES["PNG"]):
        return _judge_png(frame, thorough, max_pixels)
    if frame.startswith(SIGNATURES["JPEG"]):
        return _judge_jpeg(frame)
    raise _no_image(frame)


def _no_image(frame: bytes) -> Undecodable:
    if len(frame) > 1 and any(signature.startswith(frame) for signature in SIGNATURES.values()):
        return Undecodable("E_TRUNCATED", "no image data")
    for magic, name in _LOOKS_LIKE:
        if frame.startswith(magic):
            return Undecodable("E_FORMAT", f"looks like {name}; PNG and JPEG are accepted")
    if frame.startswith(b"version https://git-lfs"):
        return Undecodable("E_NOT_IMAGE", "a Git LFS pointer: run git lfs pull")
    bare = frame[:512].removeprefix(b"\xef\xbb\xbf")
    if bare.startswith(tuple(SIGNATURES.values())):
        return Undecodable("E_NOT_IMAGE", "a byte order mark before the picture: a text tool has rewritten it")
    start = bare.lstrip(b" \t\r\n").lower()
    if b"<svg" in start:
        return Undecodable("E_FORMAT", "looks like SVG; PNG and JPEG are accepted")
    if start.startswith((b"<!doctype html", b"<html")):
        return Undecodable("E_NOT_IMAGE", "an HTML page, perhaps a failed download")
    if len(frame) < 4:
        return Undecodable("E_NOT_IMAGE", "too short")
    if re.fullmatch(rb"[\t\r\n\x20-\x7e]*", frame[:512]):
        return Undecodable("E_NOT_IMAGE", "plain text")
    return Undecodable("E_NOT_IMAGE", "neither PNG nor JPEG")


def refuse_size(width: int, height: int, max_pixels: int) -> None:
    """Raise Undecodable for a picture that is too large, too long or too small."""
    if width * height > max_pixels:
        raise Undecodable("E_TOO_LARGE", f"{width * height / 1e6:.1f} Mpx > {max_pixels / 1e6:g} Mpx (measure.max_megapixels)")
    if max(width, height) > MAX_RATIO * min(width, height):
        raise Undecodable("E_ASPECT", f"{width}x{height}: ratio > {MAX_RATIO}")
    if min(width, height) < MIN_SIDE:
        raise Undecodable("E_TOO_SMALL", f"{width}x{height} < {MIN_SIDE} px")


def undecodable(error: Exception, *, header: bool = False) -> Undecodable:
    """What a decoder raised, as a code and a reason. `header`: it had not come to the pixels yet."""
    text = str(error).splitlines()[0] if str(error) else type(error).__name__
    lower = text.lower()
    if "decompressed data too large" in lower or "too much memory used in text" in lower:
        return Undecodable("E_TEXT_BOMB", "compressed text above the limit")
    if header:
        return Undecodable("E_CORRUPT", "bad header")
    if "truncated" in lower or "premature" in lower:
        return Undecodable("E_TRUNCATED", "image file is truncated")
    return Undecodable("E_CORRUPT", f"broken data stream ({text})")


def unpacked_size(header: bytes) -> int:
    """How many bytes the pixels of a PNG with this IHDR have when they are unpacked: each row has one of its filter more."""
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    bits = header[8] * _PNG_CHANNELS[header[9]]
    passes = _ADAM7 if header[12] else ((0, 0, 1, 1),)
    sizes = ((-(-(width - x) // across), -(-(height - y) // down)) for x, y, across, down in passes)
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes if columns > 0 and rows > 0)


def _judge_png(frame: bytes, thorough: bool, max_pixels: int | None) -> Verdict:
    parts = list(chunks(frame))
    if [len(content) for name, content in parts if name == b"IHDR"] != [13] or parts[0][0] != b"IHDR":
        raise Undecodable("E_CORRUPT", "bad header")
    header = parts[0][1]
    width, height = int.from_bytes(header[:4]), int.from_bytes(header[4:8])
    depth, colour, interlaced = header[8], header[9], header[12]
    if not 0 < width < 2**31 or not 0 < height < 2**31:
        raise Undecodable("E_DIMENSIONS", f"{width}x{height}: no picture has these sides")
    if depth not in _PNG_DEPTHS.get(colour, ()):
        raise Undecodable("E_CORRUPT", f"bad header (bit depth {depth}, colour type {colour})")
    data = [content for name, content in parts if name == b"IDAT"]
    if max_pixels:
        refuse_size(width, height, max_pixels)
    notes = ("W_BIT_DEPTH",) if depth == 16 else ()
    expected = unpacked_size(header)
    trailing = len(frame) - len(SIGNATURES["PNG"]) - sum(12 + len(content) for _, content in parts)
    plain = None
    nothing_else = len(parts) == len(data) + 2 and depth == 8 and colour in (0, 2) and not interlaced and expected <= _SMALL
    if nothing_else or thorough:
        with contextlib.suppress(zlib.error):  # the decoder says it better
            there = sum(unpacked(data, expected))
            if there < expected:
                raise Undecodable("E_TRUNCATED", "image file is truncated: fewer pixels than its header says")
            trailing += there - expected
            plain = (height, width, _PNG_CHANNELS[colour]) if nothing_else and there == expected else None
    return Verdict(notes, trailing, plain)


def chunks(frame: bytes) -> Iterator[tuple[bytes, memoryview]]:
    """Name and content of each part of a PNG up to its end, held to its checksum. Raises Undecodable, also when it has no end."""
    at, view, data = len(SIGNATURES["PNG"]), memoryview(frame), False
    while at + 12 <= len(frame):
        end = at + 12 + int.from_bytes(view[at : at + 4])
        name = bytes(view[at + 4 : at + 8])
        if end > len(frame):
            raise Undecodable("E_TRUNCATED", "image file is truncated")
        if zlib.crc32(view[at + 4 : end - 4]) != int.from_bytes(view[end - 4 : end]):
            where = name.decode("ascii", "replace")
            raise Undecodable(
                "E_CORRUPT", "bad header checksum" if name == b"IHDR" else f"broken data stream: bad checksum in {where}"
            )
        yield name, view[at + 8 : end - 4]
        data = data or name == b"IDAT"
        if name == b"IEND" and data:
            return
        at = end
    raise Undecodable("E_TRUNCATED", "no IEND" if data else "no image data")


def unpacked(data: list[memoryview], expected: int) -> tuple[int, int]:
    """How many bytes of pixels a PNG's data holds, and how many stand behind them; not much more than `expected` is unpacked.

    Raises zlib.error.
    """
    unpacker, packed, count = zlib.decompressobj(), b"".join(data), 0
    while count <= expected and (some := unpacker.decompress(packed, _PIECE)):
        count, packed = count + len(some), unpacker.unconsumed_tail
    return count, len(unpacker.unused_data)


def _judge_jpeg(frame: bytes) -> Verdict:
    """A frame header must come, an end must come, nothing should follow."""
    parts = list(segments(frame))
    if not any(marker in JPEG_FRAMES for marker, _, _ in parts):
        raise Undecodable("E_TRUNCATED", "no image data")
    return Verdict(trailing=len(frame) - parts[-1][2])


def segments(frame: bytes) -> Iterator[tuple[int, int, int]]:
    """Marker, start and end of each part of a JPEG behind its first two bytes, up to its end; a scan goes with its data.

    Raises Undecodable.
    """
    at, scans = 2, 0
    if len(frame) > 3 and frame[3] != 0xD8 and not _JPEG_START.match(frame, 2):
        raise Undecodable("E_NOT_IMAGE", "starts like a JPEG, but is none")
    while at + 2 <= len(frame):
        marker = frame[at + 1]
        if frame[at] != 0xFF or marker == 0xD8:
            raise Undecodable("E_CORRUPT", "broken header: a marker was expected")
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if marker < 0xC0:
            raise Undecodable("E_NOT_IMAGE", "starts like a JPEG, but is none")
        if marker == 0xD9 or at + 4 > len(frame):
            break
        start = at
        at += 2 + int.from_bytes(frame[at + 2 : at + 4])
        if marker == 0xDA:  # a scan has no length of its own: it lasts until the next marker
            scans += 1
            if scans > MOST_SCANS:
                raise Undecodable(
                    "E_CORRUPT", f"more than {MOST_SCANS} scans, each of which takes as long as a picture to decode"
                )
            found = _JPEG_MARKER.search(frame, at)
            if not found:
                raise Undecodable("E_TRUNCATED", "image file is truncated: no end of image")
            at = found.start()
        yield marker, start, at
    if frame[at : at + 2] != b"\xff\xd9":
        raise Undecodable("E_TRUNCATED", "image file is truncated: no end of image")
    yield 0xD9, at, at + 2
