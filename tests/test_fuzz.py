"""Damaged pictures of every kind: whatever comes in, only our own errors come out, soon and within bounds."""

import io
import resource
import time
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from components.shared.pictures import faces
from components.shared.pictures.decode import as_image, decode
from components.shared.pictures.fit import fit
from components.shared.pictures.formats import Undecodable
from components.shared.pictures.strip import strip


def seeds() -> list[bytes]:
    """20 pictures: PNG and JPEG, grey, colour, palette, alpha, 16 bits, interlaced, progressive, with metadata."""
    pixels = np.random.default_rng(0).integers(0, 256, (24, 32, 3), dtype=np.uint8)
    image, exif = Image.fromarray(pixels), Image.Exif()
    exif[0x0112] = 6
    kinds = [("PNG", image.convert(mode), {}) for mode in ("RGB", "L", "1", "P", "RGBA", "LA", "I;16")]
    kinds += [("PNG", image, options) for options in ({"compress_level": 0}, {"exif": exif}, {"icc_profile": b"x" * 200})]
    kinds += [("PNG", image.convert("P"), {"transparency": 0}), ("PNG", image, {"save_all": True, "append_images": [image]})]
    kinds += [("JPEG", image.convert(mode), {}) for mode in ("RGB", "L", "CMYK")]
    kinds += [("JPEG", image, options) for options in ({"progressive": True}, {"exif": exif}, {"icc_profile": b"x" * 200},
                                                       {"subsampling": 0, "quality": 100}, {"comment": b"x" * 99})]  # fmt: skip
    found = []
    for form, picture, options in kinds:
        buffer = io.BytesIO()
        picture.save(buffer, form, **options)
        found.append(buffer.getvalue())
    return found


SEEDS = seeds()
MUTATION = st.one_of(
    st.tuples(st.just("flip"), st.integers(0, 2**16), st.integers(1, 255)),
    st.tuples(st.just("cut"), st.integers(0, 2**16), st.just(0)),
    st.tuples(st.just("drop"), st.integers(0, 2**16), st.integers(1, 64)),
    st.tuples(st.just("repeat"), st.integers(0, 2**16), st.integers(1, 64)),
    st.tuples(st.just("number"), st.integers(0, 2**16), st.sampled_from([0, 1, 0x7FFFFFFF, 0x80000001, 0xFFFFFFFF])),
    st.tuples(st.just("join"), st.integers(0, 19), st.integers(0, 2**16)),
)


def mutated(frame: bytes, kind: str, at: int, value: int) -> bytes:
    where = at % (len(frame) + 1)
    match kind:
        case "flip":
            return frame[:where] + bytes(byte ^ value for byte in frame[where : where + 1]) + frame[where + 1 :]
        case "cut":
            return frame[:where]
        case "drop":
            return frame[:where] + frame[where + value :]
        case "repeat":
            return frame[: where + value] + frame[where:]
        case "number":
            return frame[:where] + value.to_bytes(4) + frame[where + 4 :]
    return frame[: value % (len(frame) + 1)] + SEEDS[at][value % len(SEEDS[at]) :]


def survive(seed: bytes, mutations: list[tuple[str, int, int]]) -> None:
    frame = seed
    for kind, at, value in mutations:
        frame = mutated(frame, kind, at, value)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with suppress(Undecodable):
        pixels = decode(frame, thorough=True).pixels
        assert pixels.dtype == np.uint8
        assert pixels.shape[2] in (1, 3)
        blurred, count = faces.blur(frame, pixels)
        assert (blurred == frame) == (count == 0)
    with suppress(Undecodable):
        clean = strip(frame)
        assert strip(clean) == clean
        with suppress(Undecodable):
            pixels = decode(frame).pixels
            assert np.array_equal(decode(clean).pixels, pixels)
    assert time.process_time() - started < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024


FUZZ = {"deadline": None, "suppress_health_check": [HealthCheck.too_slow]}
ANY = (st.sampled_from(SEEDS), st.lists(MUTATION, min_size=1, max_size=6))


@settings(max_examples=200, **FUZZ)
@given(*ANY)
def test_damaged_pictures_raise_nothing_but_our_own(seed, mutations):
    survive(seed, mutations)


SIDE = st.integers(1, 90)


@settings(max_examples=200, **FUZZ)
@given(st.tuples(SIDE, SIDE, st.sampled_from([1, 3])), SIDE, SIDE, st.sampled_from([1, 3]), st.sampled_from(["pad", "stretch"]))
def test_any_picture_fits_any_size(shape, height, width, channels, rule):
    pixels = np.random.default_rng(0).integers(100, 200, shape, dtype=np.uint8)
    fitted = fit(pixels, height=height, width=width, channels=channels, rule=rule)
    assert fitted.shape == (height, width, channels)
    assert fitted.dtype == np.uint8
    assert fitted.min() >= 90
    assert fitted.max() <= 210, "nothing is made up, padding neither"


@settings(max_examples=50, **FUZZ)
@given(st.tuples(st.integers(8, 200), st.integers(8, 200), st.sampled_from([1, 3])), st.sampled_from(["PNG", "JPEG"]))
def test_faces_are_looked_for_in_pictures_of_any_shape(shape, form):
    buffer = io.BytesIO()
    as_image(np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)).save(buffer, form)
    pixels = decode(buffer.getvalue()).pixels if max(shape[:2]) <= 20 * min(shape[:2]) else np.zeros(shape, np.uint8)
    blurred, _ = faces.blur(buffer.getvalue(), pixels)
    assert decode(blurred).pixels.shape == pixels.shape


@pytest.mark.slow
@settings(max_examples=2000, **FUZZ)
@given(*ANY)
def test_two_thousand_damaged_pictures_raise_nothing_but_our_own(seed, mutations):
    survive(seed, mutations)
