"""Files that hold a whole clip: animated GIF, WebP and APNG (Pillow) and videos (PyAV) -> lossless PNG frames."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.ingest import clip_ends
from components.shared.errors import Refused
from components.shared.pictures.encode import encode_png

MAX_PIXELS = 40_000_000  # of a frame: 8K video has 33 million
VIDEOS = {".mp4", ".mov", ".avi", ".mkv", ".webm", ".m4v", ".mpg", ".mpeg"}
ANIMATIONS = {".gif": "GIF", ".webp": "WEBP", ".apng": "PNG", ".png": "PNG"}


def is_animated(path: Path) -> bool:
    """Whether a picture file holds more than one frame, told from its first bytes alone."""
    suffix = path.suffix.lower()
    if suffix not in ANIMATIONS:
        return False
    if suffix == ".png":
        # Every PNG is asked, so no decoder is started: an APNG says so by an acTL chunk before its data.
        with path.open("rb") as file:
            return is_animated_png(file.read(4096))
    from PIL import Image

    try:
        with Image.open(path, formats=[ANIMATIONS[suffix]]) as image:
            return getattr(image, "n_frames", 1) > 1
    except Exception:  # no such picture: measuring says why
        return False


def is_animated_png(head: bytes) -> bool:
    """Whether the first bytes of a PNG are those of an APNG."""
    return b"acTL" in head.split(b"IDAT")[0]


def frames(path: Path, *, at_most: int, limit: int = 2**30) -> list[bytes]:
    """PNG bytes of the frames; a longer clip is thinned evenly to `at_most`, with one frame in memory at a time.

    Raises Refused when the file cannot be read, or is cut short (decoders stop at the cut and say nothing), and when the PNGs
    are more than `limit` bytes.
    """
    try:
        clip_ends.check(path)
        decode = _video if path.suffix.lower() in VIDEOS else _animation
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
        reason = (str(error).splitlines() or [""])[0]
        raise Refused(f"E_CORRUPT {path.name}: cannot be read as a clip ({type(error).__name__}: {reason})") from None


def _animation(path: Path) -> Iterator[np.ndarray]:
    from PIL import Image, ImageSequence

    with Image.open(path, formats=[ANIMATIONS[path.suffix.lower()]]) as image:
        _refuse_large(path, image.width, image.height)
        for frame in ImageSequence.Iterator(image):
            yield np.asarray(frame.convert("RGBA").convert("RGB"))  # at once, a palette makes Pillow warn


def _video(path: Path) -> Iterator[np.ndarray]:
    import av

    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            _refuse_large(path, frame.width, frame.height)
            yield frame.to_ndarray(format="rgb24")


def _refuse_large(path: Path, width: int, height: int) -> None:
    if width * height > MAX_PIXELS:
        raise Refused(
            f"E_TOO_LARGE {path.name}: frames of {width}x{height}, at most {MAX_PIXELS / 1e6:.0f} Mpx; save it smaller"
        )
