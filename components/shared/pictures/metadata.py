"""What a picture says about people beside its pixels: where it was taken, by whom, with which device."""

import io
import re
import struct
import zlib

from PIL import ExifTags, Image

from components.shared.pictures import formats

# Kind -> EXIF tags that tell it.
_PRIVATE = {
    "W_GPS": (ExifTags.Base.GPSInfo,),
    "W_PERSON": (ExifTags.Base.Artist, ExifTags.Base.XPAuthor, ExifTags.Base.CameraOwnerName, ExifTags.Base.Copyright),
    "W_SERIAL": (ExifTags.Base.BodySerialNumber, ExifTags.Base.LensSerialNumber, ExifTags.Base.CameraSerialNumber),
}
# The same in XMP packets and in the texts of a PNG.
_PRIVATE_TEXT = {
    "W_GPS": re.compile(rb"GPSL(?:atitude|ongitude)", re.IGNORECASE),
    "W_PERSON": re.compile(rb"dc:creator|photoshop:AuthorsPosition|aux:OwnerName|<Iptc4xmpCore:Creator", re.IGNORECASE),
    "W_SERIAL": re.compile(rb"SerialNumber", re.IGNORECASE),
}
_PNG_PERSON = {"author", "artist", "copyright", "creator", "owner"}


def notes(image: Image.Image) -> tuple[int, set[str]]:
    """The EXIF orientation (1 upright, up to 8) and the codes of what else was found. Broken metadata is a code, no error."""
    found: set[str] = set()
    orientation = 1
    info = image.info
    profile = info.get("icc_profile")
    if profile and profile[36:40] != b"acsp":  # the mark of every ICC profile
        found.add("W_METADATA")
    if info.get("exif") or "Raw profile type exif" in info:
        try:
            exif = image.getexif()
            tags = {**exif, **exif.get_ifd(ExifTags.IFD.Exif)}
            if not exif and len(info.get("exif", b"")) > 14:
                found.add("W_METADATA")
            orientation = tags.get(ExifTags.Base.Orientation, 1)
            found |= {code for code, wanted in _PRIVATE.items() if any(tags.get(tag) for tag in wanted)}
        except Exception:  # it may raise anything; the pixels are used as they are
            found.add("W_METADATA")
        if not isinstance(orientation, int) or not 0 <= orientation <= 8:
            orientation = 1
            found.add("W_METADATA")
    texts = {key: value for key, value in info.items() if isinstance(key, str) and isinstance(value, (str, bytes))}
    for key, value in texts.items():
        if key in ("xmp", "XML:com.adobe.xmp"):
            packet = value.encode("utf-8", "replace") if isinstance(value, str) else value
            found |= {code for code, pattern in _PRIVATE_TEXT.items() if pattern.search(packet)}
        elif key.lower() in _PNG_PERSON:
            found.add("W_PERSON")
    return orientation or 1, found


# What says nothing of people: JFIF, ICC profile, Adobe's colours.
_JPEG_KEPT = {0xE0, 0xE2, 0xEE}
_PNG_PRIVATE = {b"tEXt", b"zTXt", b"iTXt", b"eXIf", b"tIME"}


def strip(frame: bytes) -> bytes:
    """The same picture, bit for bit, without what it says beside its pixels: EXIF, XMP, IPTC, comments, what stands behind its end.

    Which way is up stays, as the one tag of a new EXIF block. Raises Undecodable for what is no whole PNG or JPEG.
    """
    formats.judge(frame, thorough=False)
    try:
        with Image.open(io.BytesIO(frame), formats=tuple(formats.SIGNATURES)) as image:
            orientation = notes(image)[0]
    except Exception:  # a decoder may raise anything on hostile bytes
        raise formats.Undecodable("E_CORRUPT", "bad header") from None
    exif = b""
    if orientation != 1:
        exif = b"MM\0*\0\0\0\x08\0\x01" + struct.pack(">HHIHHI", ExifTags.Base.Orientation, 3, 1, orientation, 0, 0)
    if frame.startswith(formats.SIGNATURES["JPEG"]):
        kept = [frame[:2]]
        for marker, start, end in formats.segments(frame):
            # JFIF comes first, if it is there at all; EXIF behind it.
            if exif and marker != 0xE0:
                kept.append(b"\xff\xe1" + struct.pack(">H", len(exif) + 8) + b"Exif\0\0" + exif)
                exif = b""
            if marker in _JPEG_KEPT or not (0xE0 <= marker <= 0xEF or marker == 0xFE):
                kept.append(frame[start:end])
        return b"".join(kept)
    kept = [formats.SIGNATURES["PNG"]]
    for name, content in formats.chunks(frame):
        if name not in _PNG_PRIVATE:
            kept.append(_chunk(name, bytes(content)))
        if name == b"IHDR" and exif:
            kept.append(_chunk(b"eXIf", exif))
    return b"".join(kept)


def _chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
