"""What pictures tell of people: found by validate, taken out by ingest or fix, the pixels left alone."""

import io
from pathlib import Path

import matplotlib
import numpy as np
import pytest
from conftest import MEASURE, by_code, draw_stills, measured
from PIL import ExifTags, Image, ImageCms, PngImagePlugin

from components.fix.step import fix
from components.ingest.step import ingest
from components.measure.config import MeasureConfig
from components.measure.step import measure
from components.shared.data import dataset
from components.shared.pictures import faces
from components.shared.pictures.decode import decode
from components.shared.pictures.formats import Undecodable
from components.shared.pictures.strip import strip
from components.validate.config import ValidateConfig
from components.validate.step import validate

PORTRAIT = Path(matplotlib.get_data_path()) / "sample_data/grace_hopper.jpg"  # the one face that comes with what is installed
PIXELS = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)


def told() -> Image.Exif:
    exif = Image.Exif()
    exif[ExifTags.Base.Artist] = "Anna"
    exif[ExifTags.Base.Orientation] = 6
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.BodySerialNumber] = "SN 1234567"
    return exif


def jpeg() -> bytes:
    buffer = io.BytesIO()
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    Image.fromarray(PIXELS).save(buffer, "JPEG", exif=told(), comment=b"by Anna", icc_profile=profile, xmp=b"<x:xmpmeta/>")
    return buffer.getvalue() + b"behind the end"


def jpeg_of(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG")
    return buffer.getvalue()


def png() -> bytes:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "Anna")
    texts.add_itxt("XML:com.adobe.xmp", "<exif:GPSLatitude>52</exif:GPSLatitude>")
    buffer = io.BytesIO()
    Image.fromarray(PIXELS).save(buffer, "PNG", exif=told(), pnginfo=texts, dpi=(72, 72))
    return buffer.getvalue()


@pytest.mark.parametrize("frame", [jpeg(), png()], ids=["JPEG", "PNG"])
def test_metadata_goes_and_every_pixel_stays(frame):
    before = decode(frame)
    assert {"W_GPS", "W_PERSON", "W_SERIAL", "W_ROTATED"} <= set(before.notes)
    clean = strip(frame)
    after = decode(clean)
    assert np.array_equal(after.pixels, before.pixels)
    assert after.notes == ("W_ROTATED",), "which way is up has to stay"
    for word in (b"Anna", b"SN 1234567", b"GPS", b"xmp", b"behind"):
        assert word not in clean
    assert (b"acsp" in clean) == (b"acsp" in frame)
    assert strip(clean) == clean


def test_names_and_places_in_iptc_records_are_found_and_stripped():
    for field, code in ((80, "W_PERSON"), (116, "W_PERSON"), (90, "W_GPS"), (5, None)):
        record = b"\x1c\x02" + bytes([field]) + b"\0\4Anna"
        block = b"Photoshop 3.0\x008BIM\x04\x04\0\0" + len(record).to_bytes(4) + record
        frame = jpeg_of(PIXELS)
        frame = frame[:2] + b"\xff\xed" + (len(block) + 2).to_bytes(2) + block + frame[2:]
        assert decode(frame).notes == ((code,) if code else ())
        assert strip(frame) == jpeg_of(PIXELS)


def test_a_picture_that_tells_nothing_is_not_touched(stills):
    frame = (stills / "bar" / "0.png").read_bytes()
    assert strip(frame) == frame


def photographs(folder: Path) -> Path:
    draw_stills(folder, size=32)
    (folder / "bar" / "where.jpg").write_bytes(jpeg())
    (folder / "box" / "face.jpg").write_bytes(PORTRAIT.read_bytes())
    return folder


def judged(here: Path, knobs, *, faces: bool) -> dict:
    measure(data=here / "data", config=MeasureConfig(faces=faces, max_megapixels=100), manifest=here / "manifest")
    config = knobs(ValidateConfig, "validate", max_odd_sizes=1e6)
    validate(manifest=here / "manifest", config=config, validation=here / "validation")
    return by_code(here / "validation/findings.json")


def test_a_header_that_no_decoder_knows_is_no_picture_to_strip():
    frame = jpeg()
    at = frame.index(b"\xff\xc0") + 4  # bits of a sample
    with pytest.raises(Undecodable, match="bad header"):
        strip(frame[:at] + b"\x09" + frame[at + 1 :])


def test_what_pictures_tell_is_found_and_stripped_on_the_way_in(here, knobs, capsys):
    source = photographs(here / "source")
    ingest(str(source), here / "data")
    findings = judged(here, knobs, faces=False)
    assert findings["W_GPS"]["items"] == findings["W_PERSON"]["items"] == findings["W_SERIAL"]["items"] == ["bar/where.jpg"]
    assert "--strip-metadata" in findings["W_GPS"]["fix"]
    assert "W_FACES" not in findings
    ingest(str(source), here / "data", replace=True, strip_metadata=True)
    assert "metadata taken out of 2 pictures" in capsys.readouterr().out
    assert not {"W_GPS", "W_PERSON", "W_SERIAL"} & set(judged(here, knobs, faces=False))


def test_faces_are_counted_by_knob_and_blurred_on_the_way_in(here, knobs, capsys):
    source = photographs(here / "source")
    ingest(str(source), here / "data")
    assert judged(here, knobs, faces=True)["W_FACES"]["items"] == ["box/face.jpg: 1 face"]
    assert measured(here / "manifest").set_index("source").loc["bar/0.png", "faces"] == 0
    ingest(str(source), here / "data", replace=True, blur_faces=True)
    assert "1 face blurred in 1 picture;" in capsys.readouterr().out
    assert "W_FACES" not in judged(here, knobs, faces=True)
    frame = next(
        s for shard in dataset.shards(here / "data") for s in dataset.read_samples(shard) if s.source == "box/face.jpg"
    )
    before, after = decode(PORTRAIT.read_bytes()).pixels.astype(int), decode(frame.frames[0][0]).pixels.astype(int)
    changed = np.abs(before - after).max(axis=2) > 40
    assert 0.005 < changed.mean() < 0.3, "the face alone"


def test_what_could_be_stripped_stays_stripped_where_faces_cannot_be_looked_for(here, capsys):
    source = draw_stills(here / "source", size=32)
    deep = io.BytesIO()
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Author", "Anna")
    Image.fromarray(PIXELS[:, :, 0].astype(np.uint16) * 256).save(deep, "PNG", pnginfo=texts)  # faces need 8 bits
    (source / "bar" / "deep.png").write_bytes(deep.getvalue())
    cut = jpeg()[:300]  # its profile tells the second in which it was made
    (source / "box" / "cut.jpg").write_bytes(cut)
    ingest(str(source), here / "data", strip_metadata=True, blur_faces=True)
    out = capsys.readouterr().out
    assert "metadata taken out of 1 picture\n" in out
    assert (
        "W_NOT_STRIPPED 1: pictures came in with whatever they tell; replace them (box 1), such as 'box/cut.jpg (E_TRUNCATED"
        in out
    )
    assert (
        "W_NOT_BLURRED 2: pictures were not searched for faces; replace them (bar 1, box 1), such as 'bar/deep.png (E_BIT_DEPTH"
        in out
    )
    frames = {s.source: s.frames[0][0] for shard in dataset.shards(here / "data") for s in dataset.read_samples(shard)}
    assert b"Anna" not in frames["bar/deep.png"]
    assert frames["box/cut.jpg"] == cut, "what is no whole picture is not changed"


def test_fix_cleans_what_is_in_the_data_already(here, knobs):
    ingest(str(photographs(here / "source")), here / "data")
    judged(here, knobs, faces=True)
    fix(here / "data", here / "validation", apply=("W_GPS", "W_FACES"))
    assert not {"W_GPS", "W_FACES", "W_SERIAL"} & set(judged(here, knobs, faces=True))


def test_the_detector_says_nothing_of_drawings(stills):
    assert faces.find(np.asarray(Image.open(stills / "bar/0.png"))) == []
    assert MEASURE.faces is False
