"""Names of frames: which schemes leave a number out, or have one twice, and which only look so."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from components.measure.frame_order import order

# Scheme -> names in their order, and what is to be told.
WHOLE = {
    "ffmpeg %04d": [f"clip/{n:04d}.png" for n in range(1, 40)],
    "ffmpeg %d, past ten": [f"clip/out{n}.jpg" for n in range(1, 130)],
    "jester": [f"34870/{n:05d}.jpg" for n in range(1, 38)],
    "UCF101": [f"v_ApplyEyeMakeup_g01_c01_frame{n}.jpg" for n in range(0, 60)],
    "a total beside the number": [f"t_{n:04d}_of_0096.png" for n in range(1, 97)],
    "a total in front": [f"of_0096_t_{n:04d}.png" for n in range(1, 97)],
    "every fifth frame": [f"{n:05d}.jpg" for n in range(0, 100, 5)],
    "thinned evenly to whole numbers": [f"f{round(n * 63 / 19):03d}.png" for n in range(20)],
    "thinned once in a while": [f"f{n}.png" for n in (0, 7, 13, 20, 26, 33, 40, 46)],
    "thinned by a quarter": [f"f{round(n * 1009 / 899)}.png" for n in range(900)],
    "10 of 13": [f"f{round(n * 12 / 9)}.png" for n in range(10)],
    "60 of 64, rounded down": [f"f{int(n * 63 / 59)}.png" for n in range(60)],
    "milliseconds of 25 a second": [f"{n * 40:08d}.png" for n in range(50)],
    "milliseconds of 30 a second": [f"{round(n * 1000 / 30)}.png" for n in range(50)],
    "milliseconds as they came": [
        f"{n}.png" for n in (1700000000123, 1700000000161, 1700000000204, 1700000000239, 1700000000281)
    ],
    "seconds with a fraction": [f"t_{n * 0.4:.2f}.png" for n in range(40)],
    "TUM: seconds and microseconds": [f"1305031{102 + n // 30}.{(175304 + 33333 * n) % 10**6:06d}.png" for n in range(60)],
    "nanoseconds": [f"{1403636579763555584 + n * 50_000_000 + (n * 7919) % 1000}.png" for n in range(20)],
    "date and time": [f"2024-01-01_12-{n // 60:02d}-{n % 60:02d}.jpg" for n in range(50, 130)],
    "date and time in one": [f"20240101{12 + n // 3600:02d}{n // 60 % 60:02d}{n % 60:02d}.jpg" for n in range(3500, 3700)],
    "time over an hour": [f"12{n // 60:02d}{n % 60:02d}.jpg" for n in range(30, 90)],
    "time with milliseconds": [
        f"12{n // 1000 // 60:02d}{n // 1000 % 60:02d}{n % 1000:03d}.jpg" for n in range(58_000, 62_000, 40)
    ],
    "a day each, over a month": [f"2024{m:02d}{d:02d}.png" for m, d in [(1, 29), (1, 30), (1, 31), (2, 1), (2, 2), (2, 3)]],
    "date and time in two": [f"clip_20260101_00{n // 60:02d}{n % 60:02d}.png" for n in range(50, 130)],
    "date and time in two, every 20 s": [f"clip_20260101_00{n // 60:02d}{n % 60:02d}.png" for n in range(0, 300, 20)],
    "an hour each, over days": [f"202601{1 + n // 24:02d}{n % 24:02d}.png" for n in range(60)],
    "a month each": [f"{2024 + n // 12}{n % 12 + 1:02d}.png" for n in range(30)],
    "days of the year": [f"{2025 + (350 + n) // 365}{(350 + n) % 365 + 1:03d}.png" for n in range(40)],
    "weekdays": [f"202601{d:02d}.png" for d in range(1, 32) if (d + 2) % 7 < 5],
    "weekdays, with a holiday, month first": [f"01{d:02d}2026.png" for d in range(2, 32) if (d + 2) % 7 < 5 and d != 20],
    "seconds and frames of 25": [f"tc_{n // 25:02d}{n % 25:02d}.png" for n in range(10, 80)],
    "hours to frames of 30": [f"10{n // 1800:02d}{n // 30 % 60:02d}{n % 30:02d}.png" for n in range(1780, 1900)],
    "minutes to frames of 25": [f"{n // 1500:02d}{n // 25 % 60:02d}{n % 25:02d}.png" for n in range(1480, 1600)],
    "seconds and frames of 120": [f"{n // 120:02d}{n % 120:03d}.png" for n in range(100, 300)],
    "tiles of a grid": [f"{n // 12 + 1:02d}{n % 12 + 1:02d}.png" for n in range(60)],
    "negative": [f"t{n}.png" for n in (-1, -2, -3, 0, 1, 2, 3, 4, 5)],
    "letters behind": [f"{n:03d}{letter}.png" for n in range(1, 9) for letter in "ab"],
    "a copy": ["img_0001.png", "img_0001(2).png", "img_0002.png", "img_0003.png", "img_0004.png"],
    "one of them edited": ["f1.png", "f2.png", "f3_edit.png", "f4.png", "f5.png", "f6.png"],
    "numbered in brackets": [f"img ({n}).jpg" for n in range(1, 30)],
    "two cameras": [f"cam{camera}_{n:03d}.png" for camera in (1, 2) for n in range(20)],
    "a folder each": [f"clip/cam{camera}/{n:03d}.png" for camera in (1, 2) for n in range(20)],
    "number and irregular time": [f"f{n:03d}_{t}.png" for n, t in enumerate((0, 33, 71, 98, 140))],
    "number and a measured value": [f"f{n}_v{value}.png" for n, value in ((1, 3), (2, 9), (4, 2), (5, 7), (6, 6))],
    "fractions that differ by a zero": ["t_1.05.png", "t_1.5.png", "t_1.50.png"],
    "shuffled": [f"{n}.png" for n in (3, 1, 2, 5, 4)],
    "no number": ["a.png", "b.png", "c.png"],
    "one frame": ["7.png"],
}
FAULTS = {
    "one missing": ([f"{n:04d}.png" for n in range(1, 30) if n != 7], {"frame_gap": "frame 7"}),
    "one missing of a thinned clip": ([f"{n}.png" for n in range(0, 100, 5) if n != 45], {"frame_gap": "frame 45"}),
    "the first of several": ([f"{n}.png" for n in range(50) if n not in (20, 21, 40)], {"frame_gap": "frame 20"}),
    "one missing beside a total": ([f"t_{n:04d}_of_0096.png" for n in range(1, 97) if n != 12], {"frame_gap": "frame 12"}),
    "one missing of UCF101": ([f"v_X_g01_c01_frame{n}.jpg" for n in range(30) if n != 12], {"frame_gap": "frame 12"}),
    "a second missing": ([f"12{n // 60:02d}{n % 60:02d}.jpg" for n in range(30, 90) if n != 75], {"frame_gap": "frame 120115"}),
    "one missing of seconds and frames": (
        [f"tc_{n // 25:02d}{n % 25:02d}.png" for n in range(10, 80) if n != 30], {"frame_gap": "frame 105"}),
    "one missing where the hundreds change": ([f"{n:04d}.png" for n in range(90, 110) if n != 99], {"frame_gap": "frame 99"}),
    "the hundredth missing": ([f"{n:04d}.png" for n in range(90, 110) if n != 100], {"frame_gap": "frame 100"}),
    "number and time both miss one": ([f"f{n}_{n * 40}ms.png" for n in range(20) if n != 5], {"frame_gap": "frame 5"}),
    "twice, padded": (["1.png", "2.png", "02.png", "3.png"], {"frame_twin": "frame 2"}),
    "twice, as PNG and as JPEG": (["f1.png", "f2.jpg", "f2.png", "f3.png"], {"frame_twin": "frame 2"}),
    "twice, beside a total": (["t_01_of_03.png", "t_1_of_03.png", "t_02_of_03.png"], {"frame_twin": "frame 1"}),
    "both": (["1.png", "2.png", "02.png", "3.png", "5.png", "6.png", "7.png"], {"frame_twin": "frame 2", "frame_gap": "frame 4"}),
}  # fmt: skip


@pytest.mark.parametrize("scheme", WHOLE)
def test_a_whole_clip_is_told_nothing(scheme):
    assert order(WHOLE[scheme]) == {}


@pytest.mark.parametrize("scheme", FAULTS)
def test_what_is_missing_or_twice_is_told(scheme):
    names, expected = FAULTS[scheme]
    assert order(names) == expected


TEXT = st.text("ab_-. (\u0663\u4e00\u00b2", max_size=6)


@settings(max_examples=200, deadline=None)
@given(TEXT, TEXT, st.integers(0, 10**6), st.integers(1, 50), st.integers(3, 60), st.integers(0, 8))
def test_an_evenly_numbered_clip_is_whole_whatever_stands_around(before, behind, start, step, count, width):
    names = [f"{before}{start + step * n:0{width}d}{behind}.png" for n in range(count)]
    assert order(names) == {}


@settings(max_examples=300, deadline=None)
@given(st.lists(st.text(max_size=20), min_size=1, max_size=30))
@example(["1" * 5000, "2" * 5000])
def test_any_names_are_read(names):
    assert set(order(names)) <= {"frame_gap", "frame_twin"}
