"""A folder per class, with or without `train/ validation/ test/` folders above -> samples.

The tree is walked twice, one folder in memory at a time: once to find all faults and to count, once to read. So ten million
files take no more memory than the largest folder's names.
"""

import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from natsort import natsorted

from components.ingest import motion
from components.ingest.sample_reader import LONG_CLIP, STILLS, Reader, escaped
from components.ingest.source import SPLIT_NAMES, Passed, Source
from components.shared.data.dataset import Sample
from components.shared.errors import CannotRun, Refused

_LITTER = ("Thumbs.db", "desktop.ini", "__MACOSX")


@dataclass
class Entry:
    """One sample by its files, before any byte is read."""

    label: str
    split: str | None
    source: str
    files: list[Path]

    @property
    def is_clip(self) -> bool:
        """Whether it has several frames; for that a file may have to be opened."""
        return len(self.files) > 1 or motion.is_clip(self.files[0])


@dataclass
class Walk:
    """One way through a tree, in natural order (2 before 10): what is wrong with it, and what was passed over."""

    root: Path
    kind: str
    faults: list[str] = field(default_factory=list)
    ignored: Passed = field(default_factory=Passed)

    def entries(self, tops: list[Path], *, official: bool) -> Iterator[Entry]:
        """Every sample, folder by folder."""
        for top in tops:
            split = SPLIT_NAMES[top.name.lower()] if official else None
            names, folders = self.children(top)
            for name in names:
                if name in folders:
                    yield from self._class(top / name, split)
                else:
                    self.ignored.add(self.relative(top / name))

    def children(self, folder: Path) -> tuple[list[str], set[str]]:
        """The names in a folder, and which of them are folders; hidden ones are passed over, each fault is noted."""
        names, folders = [], set()
        try:
            with os.scandir(folder) as found:
                for entry in found:
                    if entry.name.startswith(".") or entry.name in _LITTER:
                        self.ignored.add(self.relative(folder / entry.name))
                    elif fault := _fault(entry, self.root):
                        self.faults.append(f"{fault[0]} {escaped(self.relative(folder / entry.name))}: {fault[1]}")
                    else:
                        names.append(entry.name)
                        if entry.is_dir():
                            folders.add(entry.name)
        except PermissionError:
            where = escaped(self.relative(folder))
            self.faults.append(f"E_PERMISSION {where}: may not be read; chmod it or run as its owner")
        return natsorted(names), folders

    def relative(self, path: Path) -> str:
        """A path as it goes into a shard."""
        return path.relative_to(self.root).as_posix()

    def _class(self, folder: Path, split: str | None) -> Iterator[Entry]:
        names, folders = self.children(folder)
        for name in names:
            path = folder / name
            if name in folders:
                yield from self._subfolder(path, folder.name, split)
            elif path.suffix.lower() in STILLS | motion.VIDEOS:
                yield Entry(folder.name, split, self.relative(path), [path])
            else:
                self.ignored.add(self.relative(path))

    def _subfolder(self, path: Path, label: str, split: str | None) -> Iterator[Entry]:
        """A folder inside a class: one clip when its pictures are numbered, and said so by --kind otherwise."""
        names, folders = self.children(path)
        frames = []
        for name in names:
            if os.path.splitext(name)[1].lower() in STILLS and name not in folders:  # noqa: PTH122 (names of millions)
                frames.append(name)
            elif name not in folders:
                self.ignored.add(self.relative(path / name))
        if self.kind == "stills":
            for name in frames:
                yield Entry(label, split, self.relative(path / name), [path / name])
            for name in names:
                if name in folders:
                    yield from self._subfolder(path / name, label, split)
            return
        where = escaped(self.relative(path))
        numbered = all(re.search(r"\d", name.rpartition(".")[0]) for name in frames)
        if folders or (self.kind == "auto" and not numbered):
            self.faults.append(f"E_AMBIGUOUS {where}: a clip, or more stills? say --kind clips or --kind stills")
        elif not frames:
            self.faults.append(f"E_SEQ_EMPTY {where}: a clip without frames")
        elif self.kind == "auto" and len(frames) > LONG_CLIP:
            self.faults.append(f"E_AMBIGUOUS {where}: a clip of {len(frames):,} pictures, or more stills? say --kind stills, "
                               "or --kind clips, which thins such a clip evenly to --max-frames")  # fmt: skip
        else:
            yield Entry(label, split, self.relative(path), [path / name for name in frames])


def tree(root: Path, folders: list[Path], *, kind: str, max_frames: int) -> Source:
    """A folder per class, below `train/ validation/ test/` folders when those are all there is. Raises Refused, CannotRun."""
    splits = {SPLIT_NAMES.get(folder.name.lower()) for folder in folders}
    official = None not in splits and "train" in splits and len(folders) > 1
    if not official and "train" in splits and len(splits - {None}) > 1:
        others = ", ".join(folder.name for folder in folders if folder.name.lower() not in SPLIT_NAMES)
        raise CannotRun(f"{root}: splits and other folders side by side ({others}); move the others out, or name one split")
    tops = folders if official else [root]
    walk, count, clips, classes = Walk(root, kind), 0, 0, set()
    for entry in walk.entries(tops, official=official):
        count += 1
        clips += entry.is_clip
        classes.add(entry.label)
    if walk.faults:
        raise Refused(*walk.faults)
    if not count:
        raise Refused(f"E_NO_DATA {root}: no pictures in its folders ({', '.join(f.name for f in folders[:5])})")
    what = f"{count - clips:,} stills" if not clips else f"{clips:,} clips"
    if clips and clips < count:
        what += f" and {count - clips:,} stills"
    shape = "official splits, a folder per class" if official else "a folder per class"
    reader = Reader(root, max_frames)

    def samples() -> Iterator[Sample]:
        again = Walk(root, kind)
        for entry in again.entries(tops, official=official):
            yield Sample(entry.label, entry.source, tuple(reader.read(entry.source, entry.files)), split=entry.split)
        if again.faults:
            raise Refused(*again.faults)

    return Source(f"{shape}: {what} in {len(classes)} classes", count, samples, walk.ignored, thinned=reader.thinned)


def _fault(entry: os.DirEntry, root: Path) -> tuple[str, str] | None:
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return "E_NAME", "the name is not valid UTF-8; rename it"
    if entry.is_symlink():
        try:
            target = Path(entry.path).resolve(strict=True)
        except (OSError, RuntimeError):
            return "E_SYMLINK", "a broken link or a loop of links; remove it"
        if target.is_dir():
            return "E_SYMLINK", "a link to a folder; put the folder itself there"
        if not target.is_relative_to(root.resolve()):
            return "E_PATH_OUTSIDE", "links to a file outside the source; copy the file there"
        if not stat.S_ISREG(target.stat().st_mode):
            return "E_SPECIAL_FILE", "neither a file nor a folder; remove it"
    elif not (entry.is_file() or entry.is_dir()):
        return "E_SPECIAL_FILE", "neither a file nor a folder; remove it"
    if entry.is_file() and not os.access(entry.path, os.R_OK):
        return "E_PERMISSION", "may not be read; chmod it or run as its owner"
    return None
