"""The files of one sample -> its frames: pictures as they are, animations and videos decoded, too much of either refused."""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from components.ingest import motion
from components.ingest.source import Passed
from components.shared.errors import Refused

STILLS = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".apng"}
MAX_FILE = 256 * 2**20  # bytes; no single picture is larger
MAX_CLIP = 2**30  # bytes of all frames of a clip: it is one row of a shard, and held in memory as a whole
LONG_CLIP = 1000  # frames; a folder of more is most likely no clip but a class


class Reader:
    """Reads sample after sample. `thinned` counts the clips of which not every picture was taken."""

    def __init__(self, root: Path, max_frames: int) -> None:
        self.root, self.max_frames, self.thinned = root, max_frames, Passed()

    def read(self, name: str, files: Sequence[Path]) -> list[tuple[bytes, str]]:
        """(bytes, relative path) of each frame. A clip of more than LONG_CLIP pictures is thinned evenly before any is read.

        Raises Refused for what is no picture, or too large.
        """
        if len(files) > LONG_CLIP and len(files) > self.max_frames:
            self.thinned.add(name)
            files = [files[index] for index in np.linspace(0, len(files) - 1, self.max_frames).round().astype(int)]
        frames, size = [], 0
        for file in files:
            for content, path in self._frames(file):
                size += len(content)
                if size > MAX_CLIP:
                    raise Refused(f"E_TOO_LARGE {escaped(name)}: a clip of more than {MAX_CLIP / 2**30:.0f} GiB; --kind stills "
                                  f"if its {len(files)} pictures are no clip, or a lower --max-frames")  # fmt: skip
                frames.append((content, path))
        return frames

    def _frames(self, file: Path) -> list[tuple[bytes, str]]:
        relative = str(PurePosixPath(file.relative_to(self.root)))
        try:
            if motion.is_clip(file):
                frames = motion.frames(file, at_most=self.max_frames, limit=MAX_CLIP)
                return [(data, f"{relative}/{number:06d}.png") for number, data in enumerate(frames, 1)]
            if (size := file.stat().st_size) > MAX_FILE:
                raise Refused(f"E_TOO_LARGE {escaped(relative)}: {size / 2**20:.0f} MiB for one picture")
            return [(file.read_bytes(), relative)]
        except PermissionError:
            raise Refused(f"E_PERMISSION {escaped(relative)}: may not be read; chmod it or run as its owner") from None
        except FileNotFoundError:
            raise Refused(f"E_MISSING_FILE {escaped(relative)}: was there, and is gone; run it again") from None


def escaped(name: str) -> str:
    """A name that cannot write over a terminal: control characters and bad bytes are shown as escapes."""
    return name.encode("utf-8", "backslashreplace").decode().encode("unicode_escape").decode("ascii")
