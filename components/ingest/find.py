"""Find out by looking what a source is, and list its samples. Bytes are read only when a sample is asked for."""

from pathlib import Path

from components.ingest import array_files, sample_table, tree
from components.ingest.sample_reader import STILLS
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
        return sample_table.read(tables[0], kind=kind, max_frames=max_frames)
    if not folders:
        if any(path.suffix.lower() in STILLS for path in children):
            raise CannotRun(f"{root}: pictures without labels; put each class into a folder of its own, or add a table")
        if len(children) == 1:
            return _file(children[0], kind=kind, max_frames=max_frames)
        raise Refused(f"E_NO_DATA {root}: no folder per class, no table, no arrays in it")
    return tree.tree(root, folders, kind=kind, max_frames=max_frames)


def _file(path: Path, *, kind: str, max_frames: int) -> Source:
    if sample_table.is_table(path):
        return sample_table.read(path, kind=kind, max_frames=max_frames)
    if path.suffix == ".npz":
        return array_files.npz(path)
    if "-ubyte" in path.name:
        return array_files.idx(path.parent)
    raise CannotRun(f"{path}: expected a folder, a CSV or Parquet table, IDX, NPZ, a zip or tar; got {path.suffix or 'a file'}")
