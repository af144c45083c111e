"""The same pixels without what stands beside them: only the parts of a PNG or JPEG that its pixels and colours need are kept.

What is not on the lists below goes, known or not: EXIF, XMP, IPTC, comments, content credentials (C2PA), thumbnails, further
pictures of a multi-picture file, private parts, padding, and what hides behind the end or behind the pixels.
"""

import itertools
import re
import struct
import zlib
from collections.abc import Iterator

import numpy as np
import simplejpeg
from PIL import ExifTags

from components.shared.pictures import colour_profile, decode, formats, metadata
from components.shared.pictures.formats import Undecodable

# Parts of a PNG that give colours or geometry -> their length in bytes.
_PNG_KEPT = {b"gAMA": 4, b"cHRM": 32, b"sRGB": 1, b"pHYs": 9, b"cICP": 4, b"mDCV": 24, b"cLLI": 8}
_SBIT = {0: 1, 2: 3, 3: 3, 4: 2, 6: 4}  # colour type -> bytes of sBIT
_TRNS = {0: 2, 2: 6}  # colour type -> bytes of tRNS
_TABLES = {0xC4, 0xCC, 0xDB, 0xDD}  # of a JPEG: Huffman, arithmetic, quantisation, restart interval
_EXTRA = re.compile(r"Corrupt JPEG data: (\d+) extraneous bytes before marker (0x..)")
_ICC = b"ICC_PROFILE\0"


def strip(frame: bytes) -> bytes:
    """The frame with every pixel bit for bit, without what it says beside them.

    Which way is up stays, as the one tag of a new EXIF block; a colour profile stays without its texts. Raises Undecodable
    for what is no whole, still PNG or JPEG.
    """
    formats.judge(frame, thorough=False)
    image = metadata.opened(metadata.header(frame))
    orientation = metadata.notes(image)[0]
    exif = b""
    if orientation != 1:
        exif = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHHI", ExifTags.Base.Orientation, 3, 1, orientation, 0, 0)
    profile = colour_profile.stripped(image.info.get("icc_profile") or b"") or b""
    if frame.startswith(formats.SIGNATURES["JPEG"]):
        clean = b"\xff\xd8" + b"".join(_jpeg(frame, exif, profile))
        return _without_extra(clean) if image.width * image.height <= decode.MAX_PIXELS else clean
    return formats.SIGNATURES["PNG"] + b"".join(_png(frame, exif, profile))


def _png(frame: bytes, exif: bytes, profile: bytes) -> Iterator[bytes]:
    parts = [(name, bytes(content)) for name, content in formats.chunks(frame)]
    header = parts[0][1]
    depth, colour = header[8], header[9]
    if int.from_bytes(header[:4]) * int.from_bytes(header[4:8]) > decode.LARGEST:
        raise Undecodable("E_TOO_LARGE", f"more than {decode.LARGEST / 1e6:.0f} Mpx")
    pixels, seen = _pixels([content for name, content in parts if name == b"IDAT"], header), set()
    for name, content in parts:
        if name == b"IDAT":
            content = content if pixels is None else pixels if name not in seen else None
        elif name in seen:
            content = None  # each of the others may come once
        elif name == b"PLTE":
            content = content[: 3 * 2**depth] if colour == 3 else None
        elif name == b"tRNS":
            length = 2**depth if colour == 3 else _TRNS.get(colour, 0)
            content = content[:length] if colour == 3 or len(content) >= length > 0 else None
        elif name == b"sBIT":
            content = content if len(content) == _SBIT[colour] else None
        elif name == b"iCCP":
            content = b"icc\0\0" + zlib.compress(profile, 0) if profile else None
        elif name not in (b"IHDR", b"IEND") and len(content) != _PNG_KEPT.get(name):
            content = None
        seen.add(name)
        if content is not None:
            yield metadata.chunk(name, b"" if name == b"IEND" else content)
        if name == b"IHDR" and exif:
            yield metadata.chunk(b"eXIf", exif)


def _pixels(data: list[bytes], header: bytes) -> bytes | None:
    """The pixel data packed anew where something stands behind the pixels, else None. Raises Undecodable."""
    expected = formats.unpacked_size(header)
    try:
        count, behind = formats.unpacked(data, expected)
        if count <= expected and not behind:
            return None
        # Stored, not deflated: the same bytes with every zlib.
        return zlib.compress(zlib.decompressobj().decompress(b"".join(data), expected), 0)
    except zlib.error as error:
        raise Undecodable("E_CORRUPT", f"broken data stream ({error})") from None


def _jpeg(frame: bytes, exif: bytes, profile: bytes) -> Iterator[bytes]:
    jfif = False
    for marker, start, end in formats.segments(frame):
        part, content = frame[start:end], frame[start + 4 : end]
        # JFIF comes first, if it is there at all; EXIF behind it.
        if exif and marker != 0xE0:
            yield _segment(0xE1, b"Exif\0\0" + exif)
            exif = b""
        if marker == 0xE0 and content.startswith(b"JFIF\0") and len(content) >= 14 and not jfif:
            jfif = True
            yield _segment(marker, content[:12] + b"\0\0")  # a thumbnail of 0 x 0
        elif marker == 0xE2 and content.startswith(_ICC):
            pieces = [profile[at : at + 65_000] for at in range(0, len(profile), 65_000)]
            yield from (_segment(0xE2, _ICC + bytes([n, len(pieces)]) + piece) for n, piece in enumerate(pieces, 1))
            profile = b""
        elif marker == 0xEE and content.startswith(b"Adobe") and len(content) >= 12:
            yield _segment(marker, b"Adobe\0\x64" + bytes(4) + content[11:12])  # how colours were transformed
        elif marker == 0xDA:
            head = 2 + int.from_bytes(part[2:4])
            yield part[:head] + part[head:].rstrip(b"\xff")
        elif marker in _TABLES or marker in formats.JPEG_FRAMES or marker == 0xD9 or (marker == 0xDC and len(content) == 2):
            yield part


def _without_extra(frame: bytes) -> bytes:
    """The JPEG without what stands behind the pixels of its scans, which a decoder skips; all but some four bytes of it are seen."""
    while extra := _EXTRA.search(_complaint(frame)):
        parts = list(formats.segments(frame))
        ends = [
            end
            for (marker, _, end), (following, *_) in itertools.pairwise(parts)
            if (marker, following) == (0xDA, int(extra[2], 16))
        ]
        cut = (frame[: end - int(extra[1])] + frame[end:] for end in ends)
        cleaner = next((other for other in cut if _EXTRA.sub("", _complaint(other)) == "" and _same_pixels(other, frame)), None)
        if cleaner is None:
            return frame
        frame = cleaner
    return frame


def _complaint(frame: bytes) -> str:
    """What libjpeg-turbo has to say of a JPEG; for that it unpacks all, and makes an eighth of the pixels."""
    try:
        simplejpeg.decode_jpeg(frame, min_factor=8, fastdct=True, fastupsample=True)
    except ValueError as complaint:
        return str(complaint)
    return ""


def _same_pixels(one: bytes, other: bytes) -> bool:
    try:
        return np.array_equal(*(simplejpeg.decode_jpeg(frame, strict=False) for frame in (one, other)))
    except ValueError:
        return False


def _segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content
