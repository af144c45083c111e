"""What a picture says about people beside its pixels: where it was taken, by whom, with which device."""

import io
import re
import struct
import warnings
import zlib

from PIL import ExifTags, Image, JpegImagePlugin, PngImagePlugin

from components.shared.pictures import formats

# Pillow warns about broken metadata and goes on; sizes are refused in front of the pixels.
warnings.filterwarnings("ignore", module=r"PIL\.")

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
# In IPTC records: by-line, credit, copyright notice, contact and writer; and the place.
_PRIVATE_IPTC = {
    "W_PERSON": re.compile(rb"\x1c\x02[\x50\x6e\x74\x76\x7a]\0[^\0]"),
    "W_GPS": re.compile(rb"\x1c\x02[\x1a\x5a\x5c]\0[^\0]"),
}
_PNG_PERSON = {"author", "artist", "copyright", "creator", "owner"}
_PNG_TELLING = {b"IHDR", b"acTL", b"iCCP", b"eXIf", b"tEXt", b"zTXt", b"iTXt"}


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
            exif = Image.Image.getexif(image)  # a PNG's own would load the pixels
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
    iptc = info.get("photoshop", {}).get(0x0404) if isinstance(info.get("photoshop"), dict) else None
    found |= {code for code, pattern in _PRIVATE_IPTC.items() if pattern.search(iptc or b"")}
    texts = {key: value for key, value in info.items() if isinstance(key, str) and isinstance(value, (str, bytes))}
    for key, value in texts.items():
        if key in ("xmp", "XML:com.adobe.xmp"):
            packet = value.encode("utf-8", "replace") if isinstance(value, str) else value
            found |= {code for code, pattern in _PRIVATE_TEXT.items() if pattern.search(packet)}
        elif key.lower() in _PNG_PERSON:
            found.add("W_PERSON")
    return orientation or 1, found


def header(frame: bytes) -> bytes:
    """What has to be read of a frame to know all that it tells: of a PNG no pixels, and what stands behind them in front."""
    if not frame.startswith(formats.SIGNATURES["PNG"]):
        return frame
    parts = [(name, content) for name, content in formats.chunks(frame) if name in _PNG_TELLING]
    return formats.SIGNATURES["PNG"] + b"".join(chunk(name, bytes(content)) for name, content in [*parts, (b"IDAT", b"")])


def opened(frame: bytes) -> Image.Image:
    """The frame as Pillow reads its header, by its one decoder: of a multi-picture JPEG the first. Raises Undecodable."""
    decoder = JpegImagePlugin.JpegImageFile if frame.startswith(formats.SIGNATURES["JPEG"]) else PngImagePlugin.PngImageFile
    try:
        image = decoder(io.BytesIO(frame))
    except Exception as error:  # a decoder may raise anything on hostile bytes
        raise formats.undecodable(error, header=True) from None
    if (frames := getattr(image, "n_frames", 1)) > 1:
        raise formats.Undecodable("E_ANIMATED", f"{frames} frames in one picture; ingest it as a clip")
    return image


def chunk(name: bytes, content: bytes) -> bytes:
    """One part of a PNG."""
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
