"""Find out by looking what a source is, and list its samples. Bytes are read only when a sample is asked for."""

import os
from collections.abc import Iterator
from pathlib import Path

from components.ingest import array_files, sample_table, tree
from components.ingest.sample_reader import LONG_CLIP, STILLS, Reader
from components.ingest.source import Source
from components.shared.errors import CannotRun, Refused


def find(root: Path, *, kind: str, max_frames: int) -> Source:
    """Look at a file or folder and say what it holds. Raises Refused or CannotRun for what is ambiguous or nothing."""
    try:
        is_file = root.is_file()
        if not root.exists():
            raise CannotRun(f"{root}: no such file or folder")
    except (OSError, ValueError) as error:
        raise CannotRun(f"{root}: cannot be read ({error})") from None
    if is_file:
        return _file(root, kind=kind, max_frames=max_frames)
    walk = tree.Walk(root, kind)
    names, inside = walk.children(root)
    if walk.faults:
        raise Refused(*walk.faults)
    children = [root / name for name in names]
    tables = [path for path in children if sample_table.is_table(path)]
    folders = [path for path in children if path.name in inside]
    if array_files.idx_pairs(root):
        return array_files.idx(root)
    if tables and kind == "auto":
        if len(tables) > 1 or len(folders) > 1:
            listed = ", ".join(path.name for path in tables)
            raise CannotRun(f"{root}: holds tables ({listed}) and folders; name the table itself, or --kind stills|clips")
        return _table(tables[0], kind=kind, max_frames=max_frames)
    if not folders:
        if any(path.suffix.lower() in STILLS for path in children):
            raise CannotRun(f"{root}: pictures without labels; put each class into a folder of its own, or add a table")
        if len(children) == 1:
            return _file(children[0], kind=kind, max_frames=max_frames)
        raise Refused(f"E_NO_DATA {root}: no folder per class, no table, no arrays in it")
    return tree.tree(root, folders, kind=kind, max_frames=max_frames)


def _file(path: Path, *, kind: str, max_frames: int) -> Source:
    if sample_table.is_table(path):
        return _table(path, kind=kind, max_frames=max_frames)
    if path.suffix == ".npz":
        return array_files.npz(path)
    if "-ubyte" in path.name:
        return array_files.idx(path.parent)
    raise CannotRun(f"{path}: expected a folder, a CSV or Parquet table, IDX, NPZ, a zip or tar; got {path.suffix or 'a file'}")


def _table(file: Path, *, kind: str, max_frames: int) -> Source:
    reader = Reader(file.parent, max_frames)
    # Who has a table says what a clip is; a longer one than is sane is asked back all the same.
    longest = None if kind == "clips" else LONG_CLIP
    found = sample_table.read(file, reader=reader.read, longest=longest, pictures=_pictures(file.parent))
    found.thinned = reader.thinned
    return found


def _pictures(root: Path) -> Iterator[str]:
    """The relative paths of all pictures in a folder and below."""
    for folder, inside, names in os.walk(root):
        inside.sort()
        for name in sorted(names):
            if os.path.splitext(name)[1].lower() in STILLS:  # noqa: PTH122 (millions of names)
                yield (Path(folder) / name).relative_to(root).as_posix()
