"""The files of one sample -> its frames: PNG and JPEG as they are, other pictures and videos decoded, too much of either refused."""

from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np

from components.ingest import kinds, motion
from components.ingest.source import Entry, LeftOut
from components.shared import supervise
from components.shared.data.dataset import Sample
from components.shared.errors import Refused
from components.shared.page.render import plain as escaped
from components.shared.pictures import formats
from components.shared.pictures.formats import Undecodable

STILLS = {
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".mpo", ".bmp", ".dib", ".gif", ".webp", ".tif", ".tiff", ".apng",
    ".avif", ".heic", ".heif", ".hif", ".ppm", ".pgm", ".pbm", ".pnm",
}  # fmt: skip
# A folder of these alone is no class whose pictures cannot be read.
DOCUMENTS = {
    ".txt", ".cls", ".csv", ".tsv", ".json", ".jsonl", ".xml", ".yaml", ".yml", ".md", ".html", ".pdf", ".py", ".ipynb", ".log",
    ".mat",
}  # fmt: skip
# What is no picture whatever its first bytes are; a camera's raw file begins like a TIFF.
_NO_PICTURES = DOCUMENTS | {
    ".parquet", ".npz", ".npy", ".h5", ".pkl", ".tfrecord", ".zip", ".tar", ".gz", ".db",
    ".dng", ".cr2", ".nef", ".arw", ".orf", ".rw2",
}  # fmt: skip
MAX_FILE = 256 * 2**20  # bytes; no single picture is larger
MAX_CLIP = 2**30  # bytes of all frames of a clip: it is one row of a shard, and held in memory as a whole
LONG_CLIP = 1000  # frames; a folder of more is most likely no clip but a class


def kind_of(file: Path) -> Literal["still", "video", ""]:
    """What a file is by its ending; one that says nothing is asked by its first bytes."""
    ending = file.suffix.lower()
    if ending in STILLS:
        return "still"
    if ending in motion.VIDEOS:
        return "video"
    if ending in _NO_PICTURES:
        return ""
    try:
        with file.open("rb") as stream:
            return "still" if kinds.kind_of_bytes(stream.read(kinds.HEAD)) else ""
    except OSError:  # whoever takes it says why
        return ""


def is_clip(entry: Entry) -> bool:
    """Whether it has several frames for certain: of a lone picture that may move see `is_animation`."""
    return entry.clip or len(entry.files) > 1 or (bool(entry.files) and motion.is_video(entry.files[0]))


def is_animation(entry: Entry) -> bool:
    """Whether it is one picture of several frames; for that the file may have to be opened."""
    return not entry.clip and len(entry.files) == 1 and motion.is_animation(entry.files[0])


class Reader:
    """Reads sample after sample. What it does not take as it is, is told in `left_out`.

    `first_frames`: an animation is a still, its first frame. `whole`: a PNG or JPEG that is broken is refused here, and not taken
    for `validate` to judge.
    """

    def __init__(
        self, root: Path, max_frames: int, left_out: LeftOut, *, first_frames: bool = False, whole: bool = False
    ) -> None:
        self.root, self.max_frames, self.left_out = root, max_frames, left_out
        self.first_frames, self.whole = first_frames, whole

    def read(self, entry: Entry) -> Sample:
        """The sample of an entry, with the bytes of its frames.

        A clip of more than LONG_CLIP pictures is thinned evenly before any is read. Raises Refused for what is no picture, or too large.
        """
        name, files = entry.source, entry.files
        supervise.reads(name)
        if len(files) > LONG_CLIP and len(files) > self.max_frames:
            reason = f"clips of more than {LONG_CLIP:,} pictures, of which {self.max_frames} each were taken"
            self.left_out.add("W_THINNED", reason, name, entry.label)
            files = [files[index] for index in np.linspace(0, len(files) - 1, self.max_frames).round().astype(int)]
        frames, size = [], 0
        for source in [entry.frames] if entry.frames else files:
            for content, path in self._frames(source) if isinstance(source, Path) else source():
                content, path = self._taken(content, path, entry.label)
                size += len(content)
                if size > MAX_CLIP:
                    raise Refused(f"E_TOO_LARGE {escaped(name)}: a clip of more than {MAX_CLIP / 2**30:.0f} GiB; --kind stills "
                                  f"if its {len(files)} pictures are no clip, or a lower --max-frames")  # fmt: skip
                frames.append((content, path))
        return Sample(entry.label, entry.source, tuple(frames), entry.group, entry.split)

    def _frames(self, file: Path) -> Iterator[tuple[bytes, str]]:
        relative = str(PurePosixPath(file.relative_to(self.root)))
        try:
            if motion.is_video(file) or (not self.first_frames and motion.is_animation(file)):
                frames = motion.frames(file, at_most=self.max_frames, limit=MAX_CLIP)
                yield from ((data, f"{relative}/{number:06d}.png") for number, data in enumerate(frames, 1))
            elif (size := file.stat().st_size) > MAX_FILE:
                raise Refused(f"E_TOO_LARGE {escaped(relative)}: {size / 2**20:.0f} MiB for one picture")
            else:
                yield file.read_bytes(), relative
        except PermissionError:
            raise Refused(f"E_PERMISSION {escaped(relative)}: may not be read; chmod it or run as its owner") from None
        except FileNotFoundError:
            raise Refused(f"E_MISSING_FILE {escaped(relative)}: was there, and is gone; run it again") from None
        except Undecodable as fault:
            raise refused(fault, relative) from None

    def _taken(self, content: bytes, path: str, label: str) -> tuple[bytes, str]:
        """A frame as it goes into a shard: PNG and JPEG byte for byte, another kind as a PNG whose path says what it was."""
        kind = kinds.kind_of_bytes(content)
        try:
            if kind in kinds.KEPT:
                if self.whole:
                    formats.judge(content, thorough=False)
                return content, path
            png, count = kinds.first_picture(content, kind)
        except Undecodable as fault:
            raise refused(fault, path) from None
        self.left_out.add("W_CONVERTED", f"{kind} pictures, converted to lossless PNG", path, label)
        if count > 1:
            self.left_out.add("W_FIRST", f"{kind} files of several pictures, of which the first was taken", path, label)
        return png, f"{path}.png"


def refused(fault: Undecodable, path: str) -> Refused:
    """A fault of a picture, with where it lies."""
    return Refused(f"{fault.code} {escaped(path)}: {fault.reason}")
