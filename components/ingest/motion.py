"""Files that hold a whole clip: animated GIF, WebP, APNG and AVIF (Pillow) and videos (PyAV) -> lossless PNG frames."""

from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from components.ingest import ends, kinds
from components.shared.pictures import decode, formats
from components.shared.pictures.encode import encode_png
from components.shared.pictures.formats import Undecodable

MAX_PIXELS = 40_000_000  # of a frame: 8K video has 33 million
VIDEOS = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"}
# So many that none is opened for that.
_NEVER_ANIMATED = {".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".tif", ".tiff", ".heic", ".ppm", ".pgm"}
_SLACK = 0.5  # seconds that a video may end before it says: containers round, and a last frame has no successor

# A frame's time in seconds, where it has one, and what makes its pixels, uint8 (height, width, 3).
Frame = tuple[float | None, Callable[[], np.ndarray]]


def is_video(path: Path) -> bool:
    """Whether a file is a video, by its ending."""
    return path.suffix.lower() in VIDEOS


def is_animation(path: Path) -> bool:
    """Whether a file is a picture of more than one frame, as its first bytes tell."""
    if path.suffix.lower() in _NEVER_ANIMATED or is_video(path):
        return False
    with path.open("rb") as file:
        head = file.read(kinds.HEAD)
    kind = kinds.kind_of_bytes(head)
    if kind == "APNG":
        return True
    may_move = {"WEBP": kinds.is_animated_webp, "AVIF": lambda head: b"avis" in head[:64], "GIF": bool}
    if kind not in may_move or not may_move[kind](head):
        return False
    try:
        with kinds.opened(path.read_bytes(), kind) as image:
            return getattr(image, "n_frames", 1) > 1
    except Exception:  # no such picture: reading it says why
        return False


def frames(path: Path, *, at_most: int, limit: int = 2**30) -> list[bytes]:
    """PNG bytes of the frames; a longer clip is thinned to `at_most`, evenly over its time, with one frame in memory at a time.

    Raises Undecodable when the file cannot be read, or is cut short (decoders stop at the cut and say nothing), and when the
    PNGs are more than `limit` bytes.
    """
    read = _video if is_video(path) else _animation
    try:
        wanted = Counter(evenly([time for time, _ in read(path)], at_most))
        encoded, size = [], 0
        for index, (_, pixels) in enumerate(read(path)):
            if index in wanted:
                encoded += [encode_png(pixels())] * wanted[index]
                size += len(encoded[-1]) * wanted[index]
                if size > limit:
                    raise Undecodable("E_TOO_LARGE", f"its frames take more than {limit:,} bytes; lower --max-frames")
        return encoded
    except Undecodable:
        raise
    except Exception as error:  # decoders of foreign formats raise anything
        raise formats.undecodable(error) from None


def evenly(times: list[float | None], at_most: int) -> list[int]:
    """Which frames to take: all, or those that are shown at `at_most` moments of the same distance; a long one more than once."""
    count = len(times)
    if count <= at_most:
        return list(range(count))
    if None in times or (np.diff(times) <= 0).any():  # no real times: each as long as the others
        times = list(range(count))
    # Half a frame later, so that at a constant rate it is the nearest.
    moments = np.linspace(times[0], times[-1], at_most) + np.median(np.diff(times)) / 2
    return (np.searchsorted(times, moments, side="right") - 1).tolist()


def _animation(path: Path) -> Iterator[Frame]:
    from PIL import ImageSequence

    content = path.read_bytes()
    kind = kinds.kind_of_bytes(content)
    if kind == "APNG":
        for _ in formats.chunks(content):
            pass  # each is held to its checksum, up to the end
    with kinds.opened(content, kind) as image:
        _refuse_large(image.width, image.height)
        time = 0.0
        for frame in ImageSequence.Iterator(image):
            frame.load()
            yield time, lambda frame=frame: np.asarray(decode.on_white(frame))
            time += frame.info.get("duration", 0) / 1000


def _video(path: Path) -> Iterator[Frame]:
    """Packets are held against the number of frames, and their times against the duration, where the container says these."""
    import av

    ends.check_video(path)
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise Undecodable("E_CORRUPT", "holds no pictures")
        video = container.streams.video[0]
        claimed, packets, end = video.frames, 0, 0
        for packet in container.demux():
            if packet.size and packet.pts is not None:
                end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
            if packet.stream is video:
                packets += packet.size > 0
                if packet.is_corrupt:
                    raise ends.cut(f"frame {packets} is damaged")
                for frame in packet.decode():
                    _refuse_large(frame.width, frame.height)
                    yield frame.time, lambda frame=frame: _upright(frame)
        seconds, there = ((container.duration or 0) / av.time_base, float(end) - (container.start_time or 0) / av.time_base)
    if packets < claimed:
        raise ends.cut(f"{packets} frames of the {claimed} that its header says")
    if there + _SLACK + 0.02 * seconds < seconds:
        raise ends.cut(f"{there:.1f} seconds of the {seconds:.1f} that its header says")


def _upright(frame) -> np.ndarray:
    """A frame of PyAV's as its display matrix says that it is to be seen (ISO 14496-12, 6.2.2): what is transparent on white."""
    if any(component.is_alpha for component in frame.format.components):
        pixels = np.asarray(decode.on_white(decode.as_image(frame.to_ndarray(format="rgba"))))
    else:
        pixels = frame.to_ndarray(format="rgb24")
    side_data = frame.side_data.get("DISPLAYMATRIX")
    if side_data is None:
        return pixels
    across, down = np.frombuffer(bytes(side_data), np.int32)[:6].reshape(2, 3)[:, :2]  # where a step right and a step down lead
    if abs(across[1]) > abs(across[0]):
        pixels, across, down = pixels.swapaxes(0, 1), down, across
    return np.ascontiguousarray(pixels[:: -1 if down[1] < 0 else 1, :: -1 if across[0] < 0 else 1])


def _refuse_large(width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Undecodable("E_TOO_LARGE", f"frames of {width}x{height}, at most {MAX_PIXELS / 1e6:.0f} Mpx; save it smaller")
