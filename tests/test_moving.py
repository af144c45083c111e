"""Videos and animations: upright, at their real times, one frame in memory at a time; broken ones named together."""

import re
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import png
from PIL import Image

from components.ingest.motion import evenly, frames
from components.ingest.step import ingest
from components.shared.data import dataset
from components.shared.errors import Refused
from components.shared.pictures.decode import decode

FIELDS = np.zeros((48, 64, 3), np.uint8)
FIELDS[:24, :32], FIELDS[:24, 32:], FIELDS[24:, :32] = (220, 20, 20), (20, 220, 20), (20, 20, 220)


def film(
    file: Path, pictures: list[np.ndarray], *, times: list[int] | None = None, codec="mpeg4", pixels="yuv420p", turn=None
) -> Path:
    """A video of pictures, shown at these milliseconds, or ten a second."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(file), "w") as container:
        stream = container.add_stream(codec, rate=10)
        stream.height, stream.width = pictures[0].shape[:2]
        stream.pix_fmt = pixels
        stream.codec_context.time_base = Fraction(1, 1000)
        if turn:
            stream.set_display_rotation(*turn)
        for number, picture in enumerate(pictures):
            frame = av.VideoFrame.from_ndarray(picture, format="rgba" if picture.shape[2] == 4 else "rgb24")
            frame.pts, frame.time_base = times[number] if times else 100 * number, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return file


def grey(level: int) -> np.ndarray:
    return np.full((48, 64, 3), level, np.uint8)


def levels(encoded: list[bytes]) -> list[int]:
    return [round(decode(frame).pixels.mean() / 10) * 10 for frame in encoded]


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("ending", ["mp4", "mov"])
def test_a_video_is_upright_as_its_display_matrix_says(tmp_path, degrees, mirrored, ending):
    file = film(tmp_path / f"a.{ending}", [FIELDS] * 3, turn=(degrees, mirrored, False))
    upright = np.rot90(FIELDS, degrees // 90)  # both turn against the clock
    upright = upright[:, ::-1] if mirrored else upright
    for frame in frames(file, at_most=3):
        seen = decode(frame).pixels
        assert seen.shape == upright.shape
        assert np.median(np.abs(seen.astype(int) - upright)) < 12


def test_frames_are_taken_evenly_over_time_where_the_rate_varies(tmp_path):
    shown = [*range(0, 1000, 100), 5000, 9000]  # ten in the first second, then two that stay for four
    file = film(tmp_path / "a.mkv", [grey(20 * number) for number in range(12)], times=shown)
    assert levels(frames(file, at_most=10)) == [0, 180, 180, 180, 180, 200, 200, 200, 200, 220]
    assert levels(frames(file, at_most=12)) == [20 * number for number in range(12)]


def test_an_animation_is_thinned_by_how_long_its_frames_are_shown(tmp_path):
    pictures = [Image.fromarray(grey(40 * number)) for number in range(5)]
    pictures[0].save(tmp_path / "a.gif", save_all=True, append_images=pictures[1:], duration=[100, 100, 100, 2000, 100])
    assert levels(frames(tmp_path / "a.gif", at_most=4)) == [0, 120, 120, 160]


def test_at_a_constant_rate_and_without_times_the_nearest_frames_are_taken():
    for count, most in ((20, 5), (100, 64), (7, 3), (9, 1)):
        nearest = [int(place + 0.5) for place in np.linspace(0, count - 1, most)]
        assert evenly([number / 4 for number in range(count)], most) == nearest
        assert evenly([None] * count, most) == evenly([0.0] * count, most) == nearest


def test_a_video_with_transparency_is_put_on_white(tmp_path):
    clear = np.zeros((48, 64, 4), np.uint8)
    clear[16:32, 16:48] = (200, 0, 0, 255)
    seen = decode(frames(film(tmp_path / "a.mov", [clear] * 3, codec="qtrle", pixels="argb"), at_most=3)[1]).pixels
    assert seen[0, 0].tolist() == [255, 255, 255]
    assert seen[24, 32].tolist() == [200, 0, 0]


def test_no_more_of_a_long_video_is_in_memory_than_what_is_taken(tmp_path):
    rng = np.random.default_rng(0)
    pictures = [np.kron(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8), np.ones((16, 16, 1), np.uint8)) for _ in range(8)]
    file = film(tmp_path / "a.mp4", pictures * 40)  # 295 MB of pixels
    frames(file, at_most=2)

    def peak() -> int:  # kB
        return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1])

    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    before = peak()
    assert len(frames(file, at_most=4)) == 4
    assert peak() - before < 60_000


def test_broken_videos_are_all_named_and_can_be_left_out(tmp_path, capsys):
    whole = film(tmp_path / "s" / "run" / "1.mp4", [grey(90)] * 10).read_bytes()
    for name in ("run/2.mp4", "walk/3.mp4"):
        (tmp_path / "s" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "s" / name).write_bytes(whole[: len(whole) // 2])
    (tmp_path / "s" / "walk" / "4.mkv").write_bytes(b"no video")
    (tmp_path / "s" / "walk" / "5.png").write_bytes(png(grey(3)))
    with pytest.raises(Refused) as refused:
        ingest(str(tmp_path / "s"), tmp_path / "data")
    assert [line.split(":")[0].split(" ", 1)[1] for line in str(refused.value).splitlines()[:3]] == [
        "run/2.mp4",
        "walk/3.mp4",
        "walk/4.mkv",
    ]
    assert not (tmp_path / "data").exists()
    ingest(str(tmp_path / "s"), tmp_path / "data", quarantine=str(tmp_path / "q"))
    (shard,) = dataset.shards(tmp_path / "data")
    assert [sample.source for sample in dataset.read_samples(shard)] == ["run/1.mp4", "walk/5.png"]
    assert (tmp_path / "q" / "ingest.csv").read_text().count("\n") == 4
    assert "samples that cannot be read, left out" in capsys.readouterr().out
