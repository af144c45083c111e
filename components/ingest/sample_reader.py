"""The files of one sample -> its frames: pictures as they are, animations and videos decoded, too much of either refused."""

from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from components.ingest import motion
from components.ingest.source import Entry, LeftOut
from components.shared.data.dataset import Sample
from components.shared.errors import Refused
from components.shared.page.render import plain as escaped

STILLS = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".apng"}
MAX_FILE = 256 * 2**20  # bytes; no single picture is larger
MAX_CLIP = 2**30  # bytes of all frames of a clip: it is one row of a shard, and held in memory as a whole
LONG_CLIP = 1000  # frames; a folder of more is most likely no clip but a class


def kind_of(file: Path) -> Literal["still", "video", ""]:
    """What a file is by its ending; one that says nothing is asked by its first bytes."""
    ending = file.suffix.lower()
    if ending in STILLS:
        return "still"
    return "video" if ending in motion.VIDEOS else ""


def is_clip(entry: Entry) -> bool:
    """Whether it has several frames; for that a file may have to be opened."""
    return entry.clip or len(entry.files) > 1 or (bool(entry.files) and motion.is_clip(entry.files[0]))


class Reader:
    """Reads sample after sample. What it leaves out is told in `left_out`: clips of which not every picture was taken."""

    def __init__(self, root: Path, max_frames: int, left_out: LeftOut) -> None:
        self.root, self.max_frames, self.left_out = root, max_frames, left_out

    def read(self, entry: Entry) -> Sample:
        """The sample of an entry, with the bytes of its frames.

        A clip of more than LONG_CLIP pictures is thinned evenly before any is read. Raises Refused for what is no picture, or too large.
        """
        name, files = entry.source, entry.files
        if len(files) > LONG_CLIP and len(files) > self.max_frames:
            reason = f"clips of more than {LONG_CLIP:,} pictures, of which {self.max_frames} each were taken"
            self.left_out.add("W_THINNED", reason, name, entry.label)
            files = [files[index] for index in np.linspace(0, len(files) - 1, self.max_frames).round().astype(int)]
        frames, size = [], 0
        for source in [entry.frames] if entry.frames else files:
            for content, path in self._frames(source) if isinstance(source, Path) else source():
                size += len(content)
                if size > MAX_CLIP:
                    raise Refused(f"E_TOO_LARGE {escaped(name)}: a clip of more than {MAX_CLIP / 2**30:.0f} GiB; --kind stills "
                                  f"if its {len(files)} pictures are no clip, or a lower --max-frames")  # fmt: skip
                frames.append((content, path))
        return Sample(entry.label, entry.source, tuple(frames), entry.group, entry.split)

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
