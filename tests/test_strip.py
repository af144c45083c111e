"""Stripping keeps what pixels and colours need and nothing else: files with every kind of segment, and a canary in each."""

import io
import resource
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from components.shared.pictures import colour_profile, formats
from components.shared.pictures.decode import Undecodable, as_image, decode
from components.shared.pictures.metadata import chunk
from components.shared.pictures.strip import strip

CANARY = b"Anna-Canary-4711"
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def saved(form: str, image: Image.Image, **options) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, form, **options)
    return buffer.getvalue()


def exif(orientation: int = 1) -> bytes:
    block = Image.Exif()
    block[0x013B], block[0x0112] = CANARY.decode(), orientation
    return block.tobytes()


def profile(extra: bytes = b"mmod") -> bytes:
    """An sRGB profile with the canary in its description, in a private tag, and in the header's free bytes."""
    tags = struct.unpack_from(">I", SRGB, 128)[0]
    table = [list(struct.unpack_from(">4sII", SRGB, 132 + 12 * index)) for index in range(tags)]
    body = SRGB[132 + 12 * tags :]
    shifted = [(name, start + 12, size) for name, start, size in table]
    shifted.append((extra, 132 + 12 * (tags + 1) + len(body), len(CANARY)))
    head = SRGB[4:100] + CANARY + SRGB[100 + len(CANARY) : 128] + struct.pack(">I", tags + 1)
    whole = head + b"".join(struct.pack(">4sII", *tag) for tag in shifted) + body + CANARY
    return struct.pack(">I", len(whole) + 4) + whole


def segment(marker: int, content: bytes) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content


JPEG_PARTS = {
    "JFIF with a thumbnail": segment(0xE0, b"JFIF\0\1\2\0\0\1\0\1\5\1" + CANARY[:15]),
    "JFXX": segment(0xE0, b"JFXX\0\x10\xff\xd8" + CANARY),
    "EXIF": segment(0xE1, exif(6)),
    "XMP": segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0<x>" + CANARY),
    "ICC": segment(0xE2, b"ICC_PROFILE\0\1\1" + profile()),
    "ICC that is none": segment(0xE2, b"ICC_PROFILE\0\1\1" + CANARY),
    "MPF": segment(0xE2, b"MPF\0MM\0*" + CANARY),
    "FlashPix": segment(0xE2, b"FPXR\0" + CANARY),
    "JUMBF": segment(0xEB, b"JP\0\1\0\0\0\1" + CANARY),
    "IPTC": segment(0xED, b"Photoshop 3.0\x008BIM\x04\x04" + CANARY),
    "Adobe": segment(0xEE, b"Adobe\0\x64" + CANARY[:4] + b"\1" + CANARY),
    "Adobe cut short": segment(0xEE, b"Adobe" + CANARY[:3]),
    "Ducky": segment(0xEC, b"Ducky" + CANARY),
    "comment": segment(0xFE, CANARY),
    "number of lines": segment(0xDC, CANARY),
    "a maker's": segment(0xE7, CANARY),
    "fill bytes": b"\xff" * 9,
}
PNG_PARTS = {
    name.decode(): chunk(name, content)
    for name, content in {
        b"tEXt": b"Author\0" + CANARY, b"zTXt": b"Author\0\0" + zlib.compress(CANARY), b"tIME": CANARY, b"caBX": CANARY,
        b"iTXt": b"XML:com.adobe.xmp\0\0\0\0\0" + CANARY, b"eXIf": exif(8)[6:], b"iCCP": CANARY + b"\0\0" + zlib.compress(profile()),
        b"gAMA": CANARY, b"cHRM": CANARY * 3, b"sRGB": b"\0" + CANARY, b"pHYs": CANARY, b"sBIT": CANARY, b"bKGD": CANARY,
        b"hIST": CANARY, b"sPLT": CANARY, b"oFFs": CANARY, b"pCAL": CANARY, b"sCAL": CANARY, b"gIFg": CANARY, b"dSIG": CANARY,
        b"prVt": CANARY, b"teST": CANARY, b"cICP": CANARY, b"mDCV": CANARY, b"cLLI": CANARY, b"vpAg": CANARY, b"orNT": CANARY,
        b"PLTE": CANARY + b"!!", b"tRNS": CANARY, b"mkBF": CANARY, b"iDOT": CANARY,
    }.items()
}  # fmt: skip


def is_clean(frame: bytes) -> bool:
    """No canary, neither in the bytes nor in what can be unpacked from them."""
    unpacked = [frame]
    if frame.startswith(formats.SIGNATURES["PNG"]):
        idat = b"".join(content for name, content in formats.chunks(frame) if name == b"IDAT")
        unpacker = zlib.decompressobj()
        unpacked += [unpacker.decompress(idat), unpacker.unused_data]
        unpacked += [
            zlib.decompress(content[len(CANARY if b"Anna" in bytes(content) else b"icc") + 2 :])
            for name, content in formats.chunks(frame)
            if name == b"iCCP"
        ]
    return not any(CANARY[:8] in content or CANARY[-6:] in content for content in unpacked)


def holds(frame: bytes) -> None:
    """What stripping promises, of one file."""
    clean = strip(frame)
    assert is_clean(clean)
    assert strip(clean) == clean
    before, after = decode(frame, thorough=True), decode(clean, thorough=True)
    assert np.array_equal(after.pixels, before.pixels)
    assert (after.width, after.height, after.mode) == (before.width, before.height, before.mode)
    assert set(after.notes) <= {"W_ROTATED", "W_MODE", "W_ALPHA", "W_BIT_DEPTH", "W_DAMAGED"} & set(before.notes)
    assert ("W_ROTATED" in after.notes) == ("W_ROTATED" in before.notes)
    assert after.trailing == 0


@settings(max_examples=150, deadline=None)
@given(
    parts=st.lists(st.sampled_from(sorted(JPEG_PARTS)), max_size=6),
    between=st.lists(st.sampled_from(sorted(JPEG_PARTS)), max_size=3),
    behind=st.sampled_from([b"", CANARY, b"\0" * 40, saved("JPEG", Image.fromarray(PIXELS), comment=CANARY)]),
    progressive=st.booleans(),
    mode=st.sampled_from(["L", "RGB"]),
    restart=st.sampled_from([0, 2]),
)
def test_a_jpeg_keeps_its_pixels_and_nothing_else(parts, between, behind, progressive, mode, restart):
    plain = saved("JPEG", Image.fromarray(PIXELS).convert(mode), progressive=progressive, restart_marker_blocks=restart)
    last = [start for marker, start, _ in formats.segments(plain) if marker == 0xDA][-1]  # of a progressive one: between scans
    parts = [*(name for name in parts if name != "number of lines"), *(name for name in parts if name == "number of lines")]
    parts = ["EXIF", *parts] if parts[:1] == ["number of lines"] else parts  # no JPEG begins with it
    extra = b"".join(JPEG_PARTS[name] for name in between)
    frame = plain[:2] + b"".join(JPEG_PARTS[name] for name in parts) + plain[2:last] + extra + plain[last:] + behind
    holds(frame)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_what_hides_behind_the_pixels_of_a_jpegs_scans_goes(progressive, mode):
    plain = saved("JPEG", Image.fromarray(PIXELS).convert(mode), progressive=progressive)
    ends = [end for marker, _, end in formats.segments(plain) if marker == 0xDA]
    for end in ends:
        frame = plain[:end] + CANARY + plain[end:]
        clean = strip(frame)
        assert CANARY[4:] not in clean
        assert strip(clean) == clean
        assert np.array_equal(decode(clean).pixels, decode(plain).pixels)
    everywhere = plain
    for end in reversed(ends):
        everywhere = everywhere[:end] + CANARY + everywhere[end:]
    assert CANARY[4:] not in strip(everywhere)


@settings(max_examples=200, deadline=None)
@given(
    parts=st.lists(st.sampled_from(sorted(PNG_PARTS)), max_size=6),
    later=st.lists(st.sampled_from(sorted(set(PNG_PARTS) - {"PLTE", "tRNS"})), max_size=3),
    mode=st.sampled_from(["1", "L", "P", "RGB", "RGBA", "LA"]),
    hidden=st.sampled_from(["nowhere", "in the stream", "behind the stream", "behind the end", "in the end"]),
)
def test_a_png_keeps_its_pixels_and_nothing_else(parts, later, mode, hidden):
    plain = saved("PNG", Image.fromarray(PIXELS).convert(mode))
    if mode == "P":  # it has its own, and a second one is no PNG
        parts = [name for name in parts if name not in ("PLTE", "tRNS")]
    out = [formats.SIGNATURES["PNG"]]
    for name, content in formats.chunks(plain):
        content = bytes(content)
        if name == b"IDAT" and hidden == "in the stream":
            content = zlib.compress(zlib.decompress(content) + CANARY)
        elif name == b"IDAT" and hidden == "behind the stream":
            content += CANARY
        elif name == b"IEND":
            out += [PNG_PARTS[part] for part in later]
            content = CANARY if hidden == "in the end" else content
        if name == b"IDAT":
            out += [PNG_PARTS[part] for part in parts]
        out.append(chunk(name, content))
    out.append(CANARY if hidden == "behind the end" else b"")
    holds(b"".join(out))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("size", [(8, 9), (24, 32), (33, 17)])
def test_the_size_of_unpacked_pixels_is_known_of_interlaced_pictures_too(interlaced, size):
    import cv2

    pixels = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    frame = cv2.imencode(".png", pixels)[1].tobytes() if not interlaced else interlace(pixels)
    header = next(bytes(content) for _, content in formats.chunks(frame))
    idat = b"".join(content for name, content in formats.chunks(frame) if name == b"IDAT")
    assert formats.unpacked_size(header) == len(zlib.decompress(idat))
    hidden = frame.replace(bytes(chunk(b"IDAT", idat)), chunk(b"IDAT", zlib.compress(zlib.decompress(idat) + CANARY)))
    assert decode(hidden, thorough=True).trailing == len(CANARY)
    holds(hidden)


def interlace(pixels: np.ndarray) -> bytes:
    """An Adam7 PNG, which no encoder at hand writes: every pass with the filter "none"."""
    height, width, _ = pixels.shape
    data = b""
    for x, y, across, down in (
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ):
        part = pixels[y::down, x::across]
        data += b"".join(b"\0" + row.tobytes() for row in part if row.size)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    return formats.SIGNATURES["PNG"] + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")


@settings(max_examples=60, deadline=None)
@given(
    st.tuples(st.integers(8, 40), st.integers(8, 40), st.sampled_from([1, 3])),
    st.integers(1, 8),
    st.sampled_from(["JPEG", "PNG"]),
)
def test_which_way_is_up_stays_and_is_all_that_stays(shape, turned, form):
    noise = np.random.default_rng(turned).integers(0, 256, shape, dtype=np.uint8)
    frame = saved(form, as_image(noise), exif=exif(turned))
    holds(frame)
    with Image.open(io.BytesIO(strip(frame))) as image:
        assert dict(image.getexif()) == ({0x0112: turned} if turned > 1 else {})


def test_which_way_is_up_is_read_wherever_a_png_says_it():
    image = Image.fromarray(PIXELS)
    plain = saved("PNG", image)
    behind = plain[:-12] + chunk(b"eXIf", exif(6)[6:]) + plain[-12:]
    text = b"\nexif\n%8d\n" % len(exif(6)) + exif(6).hex().encode()
    raw = plain[:33] + chunk(b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(text)) + plain[33:]
    for frame in (behind, raw):
        assert {"W_ROTATED", "W_PERSON"} <= set(decode(frame).notes)
        holds(frame)


def test_a_profile_gives_the_same_colours_without_its_texts():
    whole = profile()
    clean = colour_profile.stripped(whole)
    assert CANARY in whole
    assert CANARY not in clean
    assert colour_profile.stripped(clean) == clean
    image = Image.fromarray(PIXELS)
    lab = ImageCms.createProfile("LAB")
    by = [
        ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(icc)), lab, outputMode="LAB")
        for icc in (whole, clean)
    ]
    assert by[0].tobytes() == by[1].tobytes()
    assert ImageCms.ImageCmsProfile(io.BytesIO(clean)).profile.profile_description in (None, "")


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(SRGB) - 1), st.binary(min_size=1, max_size=12), st.integers(0, len(SRGB)))
def test_a_damaged_profile_goes_or_stays_valid(at, what, end):
    damaged = SRGB[:at] + what + SRGB[at + len(what) :]
    for content in (damaged, damaged[:end]):
        kept = colour_profile.stripped(content)
        assert kept is None or colour_profile.stripped(kept) == kept


def test_an_animation_is_not_stripped_to_a_still():
    frame = saved("PNG", Image.fromarray(PIXELS), save_all=True, append_images=[Image.new("RGB", (32, 24))])
    with pytest.raises(Undecodable, match="E_ANIMATED"):
        strip(frame)


def test_a_bomb_is_not_unpacked_to_strip_it():
    frame = saved("JPEG", Image.fromarray(PIXELS), progressive=True, exif=exif())
    at = frame.index(b"\xff\xc2") + 5  # height and width
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert CANARY not in strip(frame[:at] + b"\xff\xdc\xff\xdc" + frame[at + 4 :])
    with pytest.raises(Undecodable, match="E_TOO_LARGE"):
        strip(formats.SIGNATURES["PNG"] + chunk(b"IHDR", struct.pack(">IIBBBBB", 60_000, 60_000, 8, 6, 0, 0, 0))
              + chunk(b"IDAT", zlib.compress(bytes(2**20))) + chunk(b"IEND", b""))  # fmt: skip
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 100 * 1024


def test_the_canary_is_seen_where_it_is():
    for part in PNG_PARTS.values():
        frame = saved("PNG", Image.fromarray(PIXELS))
        assert not is_clean(frame[:33] + part + frame[33:]) or b"zTXt" in part or b"PLTE" in part


def test_a_profile_of_many_segments_stays_one(tmp_path):
    table = b"mft1" + bytes(4) + np.random.default_rng(0).bytes(150_000)  # of colours, as a printer's profile has
    head = SRGB[4:128] + struct.pack(">I4sII", 1, b"A2B0", 144, len(table))
    whole = struct.pack(">I", 4 + len(head) + len(table)) + head + table
    for form in ("JPEG", "PNG"):
        frame = strip(saved(form, Image.fromarray(PIXELS), icc_profile=whole))
        with Image.open(io.BytesIO(frame)) as image:
            kept = image.info["icc_profile"]
        assert table in kept
        assert kept == colour_profile.stripped(whole)
        assert strip(frame) == frame
