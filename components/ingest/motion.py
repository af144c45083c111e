"""Files that hold a whole clip: animated GIF, WebP and APNG (Pillow) and videos (PyAV) -> lossless PNG frames."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.ingest import clip_ends
from components.shared.errors import Refused
from components.shared.pictures import formats
from components.shared.pictures.encode import encode_png

MAX_PIXELS = 40_000_000  # of a frame: 8K video has 33 million
VIDEOS = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"}
ANIMATIONS = {".gif": "GIF", ".webp": "WEBP", ".apng": "PNG", ".png": "PNG"}
_SLACK = 0.5  # seconds that a video may end before it says: containers round, and a last frame has no successor


def is_clip(path: Path) -> bool:
    """Whether a file is a video, or a picture of more than one frame, as its first bytes tell."""
    suffix = path.suffix.lower()
    if suffix not in ANIMATIONS:
        return suffix in VIDEOS
    if suffix == ".png":
        # Every PNG is asked, so no decoder is started: an APNG says so by an acTL chunk before its data.
        with path.open("rb") as file:
            return b"acTL" in file.read(4096).split(b"IDAT")[0]
    from PIL import Image

    try:
        with Image.open(path, formats=[ANIMATIONS[suffix]]) as image:
            return getattr(image, "n_frames", 1) > 1
    except Exception:  # no such picture: measuring says why
        return False


def frames(path: Path, *, at_most: int, limit: int = 2**30) -> list[bytes]:
    """PNG bytes of the frames; a longer clip is thinned evenly to `at_most`, with one frame in memory at a time.

    Raises Refused when the file cannot be read, or is cut short (decoders stop at the cut and say nothing), and when the PNGs
    are more than `limit` bytes.
    """
    decode = _video if path.suffix.lower() in VIDEOS else _animation
    try:
        count = sum(1 for _ in decode(path))
        wanted = set(np.linspace(0, count - 1, min(count, at_most)).round().astype(int).tolist())
        encoded, size = [], 0
        for index, pixels in enumerate(decode(path)):
            if index in wanted:
                encoded.append(encode_png(pixels))
                size += len(encoded[-1])
                if size > limit:
                    raise Refused(f"E_TOO_LARGE {path.name}: its frames take more than {limit:,} bytes; lower --max-frames")
        return encoded
    except Refused:
        raise
    except Exception as error:  # decoders of foreign formats raise anything
        fault = error if isinstance(error, formats.Undecodable) else formats.undecodable(error)
        raise Refused(f"{fault.code} {path.name}: {fault.reason}; get the whole file again, or leave it out") from None


def _animation(path: Path) -> Iterator[np.ndarray]:
    from PIL import Image, ImageSequence

    form = ANIMATIONS[path.suffix.lower()]
    if form == "PNG":
        for _ in formats.chunks(path.read_bytes()):
            pass  # each is held to its checksum, up to the end
    with path.open("rb") as stream, Image.open(stream, formats=[form]) as image:
        _refuse_large(path, image.width, image.height)
        for frame in ImageSequence.Iterator(image):
            yield np.asarray(frame.convert("RGBA").convert("RGB"))  # at once, a palette makes Pillow warn
        if form == "GIF":  # Pillow has now read its last byte
            stream.seek(-1, 1)
            if stream.read(1) != b";":
                raise clip_ends.cut(path, "no end of the GIF")


def _video(path: Path) -> Iterator[np.ndarray]:
    """Packets are held against the number of frames, and their times against the duration, where the container says these."""
    import av

    clip_ends.check(path)
    with av.open(str(path)) as container:
        if not container.streams.video:
            raise Refused(f"E_CORRUPT {path.name}: holds no pictures")
        video = container.streams.video[0]
        claimed, packets, end = video.frames, 0, 0
        for packet in container.demux():
            if packet.size and packet.pts is not None:
                end = max(end, (packet.pts + (packet.duration or 0)) * packet.time_base)
            if packet.stream is video:
                packets += packet.size > 0
                if packet.is_corrupt:
                    raise clip_ends.cut(path, f"frame {packets} is damaged")
                for frame in packet.decode():
                    _refuse_large(path, frame.width, frame.height)
                    yield frame.to_ndarray(format="rgb24")
        seconds, there = ((container.duration or 0) / av.time_base, float(end) - (container.start_time or 0) / av.time_base)
    if packets < claimed:
        raise clip_ends.cut(path, f"{packets} frames of the {claimed} that its header says")
    if there + _SLACK + 0.02 * seconds < seconds:
        raise clip_ends.cut(path, f"{there:.1f} seconds of the {seconds:.1f} that its header says")


def _refuse_large(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Refused(
            f"E_TOO_LARGE {path.name}: frames of {width}x{height}, at most {MAX_PIXELS / 1e6:.0f} Mpx; save it smaller"
        )
