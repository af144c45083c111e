"""Find out by looking what a source is, and list its samples. Bytes are read only when a sample is asked for."""

import functools
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from natsort import natsorted

from components.ingest import array_files, motion, sample_table
from components.ingest.source import SPLIT_NAMES, Source
from components.shared.data.dataset import Sample
from components.shared.errors import CannotRun, Refused

STILLS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".apng"}
MAX_FILE = 256 * 2**20  # bytes; no single picture is larger


@dataclass(frozen=True)
class _Entry:
    """One sample by its files, before any byte is read."""

    label: str
    split: str | None
    source: str
    files: tuple[Path, ...]
    moving: bool = False  # one file that holds a whole clip


def find(root: Path, *, kind: str, max_frames: int) -> Source:
    """Look at a file or folder and say what it holds. Raises Refused or CannotRun for what is ambiguous or nothing."""
    if not root.exists():
        raise CannotRun(f"{root}: no such file or folder")
    if root.is_file():
        return _file(root, max_frames)
    children = _children(root, root)
    tables = [path for path in children if sample_table.is_table(path)]
    folders = [path for path in children if path.is_dir()]
    if array_files.idx_pairs(root):
        return array_files.idx(root)
    if tables and kind == "auto":
        if len(tables) > 1 or len(folders) > 1:
            names = ", ".join(path.name for path in tables)
            raise CannotRun(f"{root}: holds tables ({names}) and folders; name the table itself, or --kind stills|clips")
        return _table(tables[0], max_frames)
    if not folders:
        if any(path.suffix.lower() in STILLS for path in children):
            raise CannotRun(f"{root}: pictures without labels; put each class into a folder of its own, or add a table")
        if len(children) == 1:
            return _file(children[0], max_frames)
        raise Refused(f"E_NO_DATA {root}: no folder per class, no table, no arrays in it")
    return _tree(root, folders, kind=kind, max_frames=max_frames)


def _file(path: Path, max_frames: int) -> Source:
    if sample_table.is_table(path):
        return _table(path, max_frames)
    if path.suffix == ".npz":
        return array_files.npz(path)
    if "-ubyte" in path.name:
        return array_files.idx(path.parent)
    raise CannotRun(f"{path}: expected a folder, a CSV or Parquet table, IDX, NPZ, a zip or tar; got {path.suffix or 'a file'}")


def _table(file: Path, max_frames: int) -> Source:
    root = file.parent
    there = [_relative(path, root) for path in natsorted(root.rglob("*")) if path.suffix.lower() in STILLS and path.is_file()]
    return sample_table.read(file, opener=functools.partial(_frames, root), max_frames=max_frames, there=there)


def _tree(root: Path, folders: list[Path], *, kind: str, max_frames: int) -> Source:
    """A folder per class, below `train/ validation/ test/` folders when those are all there is."""
    splits = {SPLIT_NAMES.get(folder.name.lower()) for folder in folders}
    official = None not in splits and "train" in splits and len(folders) > 1
    if not official and "train" in splits and len(splits - {None}) > 1:
        others = ", ".join(folder.name for folder in folders if folder.name.lower() not in SPLIT_NAMES)
        raise CannotRun(f"{root}: splits and other folders side by side ({others}); move the others out, or name one split")
    faults: list[str] = []
    ignored: list[str] = []
    entries: list[_Entry] = []
    for top in folders if official else [root]:
        split = SPLIT_NAMES[top.name.lower()] if official else None
        for folder in _children(top, root, faults, ignored):
            if folder.is_dir():
                entries += _class(folder, root, split, kind, faults, ignored)
            else:
                ignored.append(_relative(folder, root))
    if faults:
        raise Refused(*faults)
    if not entries:
        raise Refused(f"E_NO_DATA {root}: no pictures in its folders ({', '.join(f.name for f in folders[:5])})")
    clips = sum(entry.moving or len(entry.files) > 1 for entry in entries)
    classes = len({entry.label for entry in entries})
    what = f"{len(entries) - clips:,} stills" if not clips else f"{clips:,} clips"
    if clips and clips < len(entries):
        what += f" and {len(entries) - clips:,} stills"
    shape = "official splits, a folder per class" if official else "a folder per class"
    return Source(f"{shape}: {what} in {classes} classes", len(entries), lambda: _read(entries, root, max_frames), ignored)


def _class(folder: Path, root: Path, split: str | None, kind: str, faults: list[str], ignored: list[str]) -> list[_Entry]:
    entries = []
    for path in _children(folder, root, faults, ignored):
        relative = _relative(path, root)
        if path.is_dir():
            entries += _subfolder(path, folder.name, root, split, kind, faults, ignored)
        elif path.suffix.lower() in motion.VIDEOS or motion.is_animated(path):
            entries.append(_Entry(folder.name, split, relative, (path,), moving=True))
        elif path.suffix.lower() in STILLS:
            entries.append(_Entry(folder.name, split, relative, (path,)))
        else:
            ignored.append(relative)
    return entries


def _subfolder(path: Path, label: str, root: Path, split: str | None, kind: str, faults: list[str], ignored: list[str]):
    """A folder inside a class: one clip when its pictures are numbered, and said so by --kind otherwise."""
    inside = _children(path, root, faults, ignored)
    frames = [frame for frame in inside if frame.is_file() and frame.suffix.lower() in STILLS]
    deeper = [frame for frame in inside if frame.is_dir()]
    ignored += [_relative(frame, root) for frame in inside if frame not in set(frames) and frame.is_file()]
    if kind == "stills":
        found = [_Entry(label, split, _relative(frame, root), (frame,)) for frame in frames]
        return found + [e for d in deeper for e in _subfolder(d, label, root, split, kind, faults, ignored)]
    numbered = all(re.search(r"\d", frame.stem) for frame in frames)
    if deeper or (kind == "auto" and not numbered):
        faults.append(f"E_AMBIGUOUS {_escaped(path, root)}: a clip, or more stills? say --kind clips or --kind stills")
        return []
    if not frames:
        faults.append(f"E_SEQ_EMPTY {_escaped(path, root)}: a clip without frames")
        return []
    return [_Entry(label, split, _relative(path, root), tuple(frames))]


def _read(entries: list[_Entry], root: Path, max_frames: int) -> Iterator[Sample]:
    for entry in entries:
        frames: list[tuple[bytes, str]] = []
        for path in entry.files:
            frames += _frames(root, path, moving=entry.moving, max_frames=max_frames)
        yield Sample(entry.label, entry.source, tuple(frames), split=entry.split)


def _frames(root: Path, path: Path, *, moving: bool | None = None, max_frames: int) -> list[tuple[bytes, str]]:
    """(bytes, relative path) of each frame in one file: one for a picture, several for an animation or a video."""
    relative = _relative(path, root)
    if path.suffix.lower() in motion.VIDEOS or (motion.is_animated(path) if moving is None else moving):
        frames = motion.frames(path, at_most=max_frames)
        return [(data, f"{relative}/{number:06d}.png") for number, data in enumerate(frames, 1)]
    try:
        if path.stat().st_size > MAX_FILE:
            raise Refused(f"E_TOO_LARGE {_escaped(path, root)}: {path.stat().st_size / 2**20:.0f} MiB for one picture")
        return [(path.read_bytes(), relative)]
    except PermissionError:
        raise Refused(f"E_PERMISSION {_escaped(path, root)}: may not be read; chmod it or run as its owner") from None


def _children(folder: Path, root: Path, faults: list[str] | None = None, ignored: list[str] | None = None) -> list[Path]:
    """What a folder holds, in natural order (2 before 10), without hidden files, which are noted as ignored.

    Each fault is noted, or raised where there is no place for a note.
    """
    found, wrong = [], []
    try:
        entries = list(os.scandir(folder))
    except PermissionError:
        entries, wrong = [], [f"E_PERMISSION {_escaped(folder, root)}: may not be read; chmod it or run as its owner"]
    for entry in entries:
        path = Path(entry.path)
        if entry.name.startswith(".") or entry.name in ("Thumbs.db", "desktop.ini", "__MACOSX"):
            if ignored is not None:
                ignored.append(_relative(path, root))
            continue
        fault = _fault(entry, path, root)
        if fault:
            wrong.append(f"{fault[0]} {_escaped(path, root)}: {fault[1]}")
        else:
            found.append(path)
    if wrong and faults is None:
        raise Refused(*wrong)
    if faults is not None:
        faults += wrong
    return natsorted(found, key=lambda path: path.name)


def _fault(entry: os.DirEntry, path: Path, root: Path) -> tuple[str, str] | None:
    try:
        entry.name.encode()
    except UnicodeEncodeError:
        return "E_NAME", "the name is not valid UTF-8; rename it"
    if entry.is_symlink():
        try:
            target = path.resolve(strict=True)
        except (OSError, RuntimeError):
            return "E_SYMLINK", "a broken link or a loop of links; remove it"
        if target.is_dir():
            return "E_SYMLINK", "a link to a folder; put the folder itself there"
        if not target.is_relative_to(root.resolve()):
            return "E_PATH_OUTSIDE", "links to a file outside the source; copy the file there"
    mode = path.stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return "E_SPECIAL_FILE", "neither a file nor a folder; remove it"
    if stat.S_ISREG(mode) and not os.access(path, os.R_OK):
        return "E_PERMISSION", "may not be read; chmod it or run as its owner"
    return None


def _relative(path: Path, root: Path) -> str:
    return str(PurePosixPath(path.relative_to(root)))


def _escaped(path: Path, root: Path) -> str:
    """A name that cannot write over a terminal: control characters and bad bytes are shown as escapes."""
    name = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
    return name.encode("utf-8", "backslashreplace").decode().encode("unicode_escape").decode("ascii")
