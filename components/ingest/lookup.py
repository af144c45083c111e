"""Paths as tables write them -> the files that are meant: another case, another ending, a folder more or less, an id alone."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from components.ingest import motion
from components.ingest.listing import is_system
from components.ingest.sample_reader import STILLS

_UPLOAD = re.compile(r"[0-9a-f]{8}-")  # what Label Studio puts before the name of an upload
_ENDINGS = {*STILLS, *motion.VIDEOS}
_SAME = {".jpeg": ".jpg", ".jpe": ".jpg", ".tiff": ".tif"}


def plain(path: str, root: Path, there: Callable[[str], bool]) -> str:
    """A path of a table as one below the root, if something lies there as it stands; else nothing."""
    path = os.path.relpath(path, os.path.abspath(root)) if path.startswith("/") else os.path.normpath(path)  # noqa: PTH100 (links stay)
    return "" if path == "." or leaves(path) or "\0" in path or not there(f"{root}/{path}") else path


def leaves(path: str) -> bool:
    """Whether a relative path leads above where it begins; no file is looked for by such a one."""
    return os.path.normpath(path).split("/")[0] == ".."


def look_up(root: Path, names: Iterable[str], *, below: str = "", folders: bool = False) -> dict[str, list[str]]:
    """Paths of a table that are none as they stand -> for each those below `root` that it can mean, of files or `folders` too.

    One path can mean another one if both end alike, folder by folder, as far as the shorter of them goes: `/home/me/set/a/1.JPG`
    means `a/1.jpg`, and the id `1` means `train/1.png`. Case, the two ways to write an accent, `\\` for `/`, spaces around it, and
    an ending that is not there make no difference. With `below`, those in this folder of the root alone.
    """
    whole, ends = defaultdict(list), defaultdict(list)
    for name in names:
        above, last = _cut(name)
        for parts in {_folded(above, last), _folded(above, _UPLOAD.sub("", last, count=1))}:
            whole[parts].append(name)
            for length in range(1, len(parts)):
                ends[parts[-length:]].append(name)
    found: dict[str, list[tuple[tuple, str]]] = defaultdict(list)
    for path, is_folder in walk(root, below):
        if is_folder and not folders:
            continue
        above, last = _cut(path)
        parts = _folded(above, last)
        shorter = {name for length in range(1, len(parts) + 1) for name in whole.get(parts[-length:], ())}
        for name in shorter.union(ends.get(parts, ())):
            if _kind(name) in ("", _kind(path)):
                asked = _cut(name)
                likeness = min(len(above), len(asked[0])), len(above) == len(asked[0]), last == asked[1]
                found[name].append((likeness, path))
    best = {name: max(likeness for likeness, _ in paths) for name, paths in found.items()}
    return {name: sorted(path for likeness, path in paths if likeness == best[name]) for name, paths in found.items()}


def walk(root: Path, below: str = "") -> Iterator[tuple[str, bool]]:
    """Every file and folder below a folder, but those that are hidden or of a system: (relative to the root, whether it is a folder)."""
    for folder, folders, files in os.walk(root / below):
        folders[:] = sorted(name for name in folders if not is_system(name))
        inside = os.path.relpath(folder, root)
        inside = "" if inside == "." else f"{inside}/"
        yield from ((inside + name, True) for name in folders)
        yield from ((inside + name, False) for name in sorted(files) if not is_system(name))


def _cut(path: str) -> tuple[list[str], str]:
    """The folders of a path, and its last name without the ending of a picture or video."""
    *folders, last = os.path.normpath(path.strip().replace("\\", "/")).lstrip("/").split("/")
    return folders, last[: len(last) - len(ending(last))]


def _folded(folders: list[str], last: str) -> tuple[str, ...]:
    """So written that what means the same is the same."""
    return tuple(unicodedata.normalize("NFC", part).casefold() for part in (*folders, last))


def ending(name: str) -> str:
    """The ending of a name, if it is one of pictures or videos; what else stands behind a dot is part of an id."""
    last = os.path.splitext(name)[1]  # noqa: PTH122 (millions of names)
    return last if last.lower() in _ENDINGS else ""


def _kind(name: str) -> str:
    last = ending(name.strip()).lower()
    return _SAME.get(last, last)
