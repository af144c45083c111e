"""What lies in a source, by looking: its folders, and in each how many pictures and which other files. No picture is decoded."""

import itertools
import math
import os
import re
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from natsort import natsort_keygen

from components.ingest.sample_reader import escaped, kind_of
from components.ingest.source import LeftOut

# Names that no person gave: of systems, of tools, of archives packed on a Mac.
_SYSTEM = {
    "thumbs.db", "ehthumbs.db", "desktop.ini", "__macosx", "@eadir", "@tmp", "lost+found", "#recycle", "#snapshot", "$recycle.bin",
    "system volume information", "__pycache__",
}  # fmt: skip
_NATURAL = natsort_keygen()  # 2 before 10
_OTHERS = 1000  # names of other files that are kept of a folder


@dataclass(slots=True)
class Folder:
    """One folder: its path below the root (`""` is the root itself), and what lies in it."""

    path: str
    stills: int = 0
    videos: int = 0
    numbered: bool = False  # its pictures are called as frames are: alike, but for a number that hardly leaves one out
    folders: list[str] = field(default_factory=list)
    full: list[str] = field(default_factory=list)  # the paths of those that have pictures or videos in or below them
    others: list[str] = field(default_factory=list)  # files that are neither pictures nor videos, the first thousand

    @property
    def pictures(self) -> int:
        """How many pictures and videos lie in it."""
        return self.stills + self.videos


@dataclass(slots=True)
class Scan:
    """The names in one folder, and what is wrong with some of them."""

    files: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    hidden: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


class Listing:
    """A source as it lies there. `file` is what a person named, where that is a file; `root` is its folder then.

    `left_out` has hidden files and those of systems, `faults` what cannot be read at all: links, special files, bad names.
    """

    def __init__(self, named: Path) -> None:
        self.file = named if named.is_file() else None
        self.root = named.parent if self.file else named
        self.faults: list[str] = []
        self.left_out = LeftOut()

    @cached_property
    def folders(self) -> dict[str, Folder]:
        """Each folder by its path, from the root down in natural order; of a file that was named, its folder alone."""
        found: dict[str, Folder] = {}
        waiting = [self.root]
        while waiting:
            path = waiting.pop()
            scan = self.scan(path)
            self.faults += scan.faults
            for name in scan.hidden:
                self.left_out.add("W_IGNORED", "hidden files, or files of a system", self.relative(path / name))
            folder = found[self.relative(path)] = Folder(self.relative(path), folders=scan.folders)
            stills = []
            for name in scan.files:
                kind = kind_of(path / name)
                if kind == "still":
                    stills.append(name)
                elif kind == "video":
                    folder.videos += 1
                elif len(folder.others) < _OTHERS:
                    folder.others.append(name)
            folder.stills, folder.numbered = len(stills), _are_numbered(stills)
            if not self.file:
                waiting += [path / name for name in reversed(folder.folders)]
        for path, folder in reversed(found.items()):
            below = [f"{path}/{name}".lstrip("/") for name in folder.folders if not self.file]
            folder.full = [each for each in below if found[each].pictures or found[each].full]
        return found

    @property
    def pictures(self) -> int:
        """How many pictures and videos there are; none where a file was named."""
        return 0 if self.file else sum(folder.pictures for folder in self.folders.values())

    def others(self, *endings: str) -> list[Path]:
        """Files that are neither pictures nor videos, wherever they lie, with one of these endings (lower case), or any."""
        files = [self.file] if self.file else [
            self.root / folder.path / name for folder in self.folders.values() for name in folder.others
        ]  # fmt: skip
        return [file for file in files if not endings or file.name.lower().endswith(endings)]

    def every(self, wanted: Callable[[str], object]) -> Iterator[Path]:
        """All files with such a name that are neither pictures nor videos, also where a folder has more than are kept."""
        for path, folder in self.folders.items() if not self.file else ():
            if any(map(wanted, folder.others)):
                yield from (self.root / path / name for name in self.scan(self.root / path).files if wanted(name))
        if self.file and wanted(self.file.name):
            yield self.file

    def files(self, folder: str) -> Iterator[tuple[str, str]]:
        """(path below the root, what it is) of each file in a folder, 2 before 10: a still, a video or nothing of these."""
        for name in self.scan(self.root / folder).files:
            yield f"{folder}/{name}".lstrip("/"), kind_of(self.root / folder / name)

    def relative(self, path: Path) -> str:
        """A path as it goes into a shard; of the root itself it is empty."""
        return "" if path == self.root else path.relative_to(self.root).as_posix()

    def scan(self, folder: Path) -> Scan:
        """What lies in one folder, 2 before 10. It is asked anew each time: millions of names are not kept."""
        scan = Scan()
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if is_system(entry.name):
                        scan.hidden.append(entry.name)
                    elif fault := _fault(entry, self.root):
                        scan.faults.append(f"{fault[0]} {escaped(self.relative(folder / entry.name))}: {fault[1]}")
                    else:
                        (scan.folders if entry.is_dir() else scan.files).append(entry.name)
        except PermissionError:
            where = escaped(self.relative(folder))
            scan.faults.append(f"E_PERMISSION {where}: may not be read; chmod it or run as its owner")
        return Scan(sorted(scan.files, key=_NATURAL), sorted(scan.folders, key=_NATURAL), sorted(scan.hidden), scan.faults)


def head(file: Path, size: int) -> bytes:
    """The first bytes of a file."""
    with file.open("rb") as stream:
        return stream.read(size)


def lines(file: Path) -> list[str]:
    """The lines of a text; what is not UTF-8 in it is replaced."""
    return file.read_text(encoding="utf-8-sig", errors="replace").splitlines()


def first_like(files: Iterable[Path], pattern: re.Pattern[bytes], *, most: int = 100) -> Path | None:
    """The first of these that begins with something like that; no more than `most` are looked into."""
    return next((file for file in itertools.islice(files, most) if pattern.search(head(file, 2000))), None)


def is_system(name: str) -> bool:
    """Whether it is a name that no person gave: hidden, or of a system."""
    return name.startswith(".") or name.lower() in _SYSTEM


def _are_numbered(names: list[str]) -> bool:
    """Whether names differ by their last number alone, and the numbers follow one another: `f1.png`, `f2.png`, `f4.png`."""
    found = [re.match(r"(.*?)(\d+)(\D*)\Z", name.rpartition(".")[0], re.DOTALL) for name in names]
    if not all(found) or len({(match[1], match[3]) for match in found}) != 1:
        return False
    numbers = sorted({int(match[2]) for match in found})
    step = math.gcd(*(after - before for before, after in itertools.pairwise(numbers)))
    return step == 0 or (numbers[-1] - numbers[0]) // step < 4 * len(numbers)


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
