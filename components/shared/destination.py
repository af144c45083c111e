"""Where a step may write: a destination is new, empty, or provably Darkroom's own, and never one of the step's inputs."""

import errno
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from components.shared.errors import CannotRun

MARKER = ".darkroom"  # its first line is the kind of the folder that it lies in, the others the files that were written there
SCRATCH = "scratch"  # the kind of a folder in TMPDIR, where anything may be written
_LITTER = {".DS_Store", "Thumbs.db", "desktop.ini", ".ipynb_checkpoints", "__pycache__"}  # of other programs, worth nothing

Recognise = Callable[[Path], bool]


def check_folder(final: Path, *, kind: str, ours: Recognise | None = None, inputs: Iterable[Path] = ()) -> Path:
    """Return the folder that is written when `final` is asked for, links followed. Nothing is changed on disk.

    `kind` is what the marker of the folder must say; without one, the folder must be empty, or `ours` must recognise each
    file in it. `ours` also recognises what an older version wrote without a marker. Raises CannotRun, with what is in the way.
    """
    target = followed(final)
    if target.exists():
        if not target.is_dir():
            raise CannotRun(f"{final}: is a file, expected a folder; name a new folder")
        if os.path.ismount(target):
            raise CannotRun(f"{final}: is a mount point, which cannot be replaced; name a folder inside it")
        _refuse_foreign(final, target, kind, ours)
        _refuse_unwritable(final, target)
    _refuse_surroundings(final, target, inputs)
    return target


def check_file(final: Path, *, ours: Recognise | None = None, inputs: Iterable[Path] = ()) -> Path:
    """Return the file that is written when `final` is asked for, links followed. Nothing is changed on disk.

    A file that is there already must be empty, or `ours` must recognise it. Raises CannotRun, with what is in the way.
    """
    target = followed(final)
    if target.is_dir():
        raise CannotRun(f"{final}: is a folder, expected a file; name a new file")
    if target.exists():
        if not target.is_file():
            raise CannotRun(f"{final}: is no regular file; name a new file")
        if ours and target.stat().st_size and not _recognised(ours, target):
            raise CannotRun(f"{final}: holds something that darkroom did not write; name a new file, or move this one away")
    _refuse_surroundings(final, target, inputs)
    return target


def mark(folder: Path, kind: str) -> None:
    """Write the marker: the kind and the names of all files, so that a file that a person adds can be told from ours."""
    files = (path for path in folder.rglob("*") if not path.is_dir() and path.name not in _LITTER)
    names = sorted(path.relative_to(folder).as_posix() for path in files)
    text = "\n".join([kind, *(name.replace("\n", " ") for name in names)]) + "\n"
    (folder / MARKER).write_text(text, encoding="utf-8", errors="surrogateescape")


def followed(final: Path) -> Path:
    """Where a link leads, though nothing may be there yet; any other path as it is.

    Raises CannotRun for a link to itself, and for one into a folder that is not there: of a disk that is away no second one is made.
    """
    try:
        final.stat()
    except OSError as error:
        if error.errno == errno.ELOOP:
            raise CannotRun(f"{final}: is a link that leads back to itself; delete it") from None
        if error.errno in (errno.EACCES, errno.ENAMETOOLONG):
            raise CannotRun(f"{final}: {error.strerror}; name another place") from None
    to_nothing = [place for place in (final, *final.parents) if place.is_symlink() and not place.exists()]
    for place in to_nothing:
        there = Path(os.path.realpath(place))
        if not there.parent.exists():
            raise CannotRun(
                f"{place}: is a link to {there}, and {there.parent} is not there; mount its disk, or make the folder"
            )
    return Path(os.path.realpath(final)) if to_nothing or final.is_symlink() or not final.name else final


def _refuse_foreign(final: Path, target: Path, kind: str, ours: Recognise | None) -> None:
    entries = [path for path in target.iterdir() if path.name not in _LITTER and not path.name.startswith(".nfs")]
    entries.sort(key=lambda path: (path.name.startswith("."), path.name))  # what a person knows comes first
    if not entries:
        return
    marker = target / MARKER
    if marker.is_file():
        is_kind, *written = marker.read_bytes().decode(errors="surrogateescape").removesuffix("\n").split("\n")
        if is_kind != kind:
            expected = f"expected {kind!r}" if kind else "which is no place for this"
            raise CannotRun(f"{final}: holds a darkroom folder of kind {is_kind!r}, {expected}; name a new folder")
        foreign = _unlisted(target, set(written)) if written else None
    elif ours:
        foreign = next((path for path in entries if not _recognised(ours, path)), None)
    else:
        foreign = entries[0]
    if foreign:
        name = foreign.relative_to(target).as_posix()
        raise CannotRun(f"{final}: holds {name!r}, which darkroom did not write; name a new folder, or move it away")


def _unlisted(target: Path, written: set[str]) -> Path | None:
    for path in target.rglob("*"):
        name = path.relative_to(target)
        if path.is_dir() or _LITTER.intersection(name.parts) or path.name.startswith(".nfs") or name == Path(MARKER):
            continue
        if name.as_posix().replace("\n", " ") not in written:
            return path
    return None


def _recognised(ours: Recognise, path: Path) -> bool:
    try:
        return ours(path)
    except Exception:  # whatever a foreign file makes a reader say, it is foreign
        return False


def _refuse_surroundings(final: Path, target: Path, inputs: Iterable[Path]) -> None:
    """The folders above must be folders, writable, and none that Darkroom replaces as a whole."""
    here = Path(os.path.realpath(target))
    for given in inputs:
        there = Path(os.path.realpath(given))
        if here == there or here in there.parents or there in here.parents:
            raise CannotRun(f"{final}: is, holds or lies in {given}, which is read from; name a folder of its own")
    refuse_inside_ours(final, here.parents)
    above = next(above for above in here.parents if os.path.lexists(above))
    if not above.is_dir():
        raise CannotRun(f"{final}: {above} is a file, expected a folder; name another place")
    _refuse_unwritable(final, above)


def refuse_inside_ours(final: Path | str, folders: Iterable[Path]) -> None:
    """Raises CannotRun when one of the folders that `final` is in is replaced as a whole: what is put there would be lost."""
    for above in folders:
        if _kind_of(above) not in (None, SCRATCH) or _holds_shards(above):
            raise CannotRun(f"{final}: lies in {above}, which darkroom replaces as a whole; name a folder outside it")


def _kind_of(folder: Path) -> str | None:
    try:
        return (folder / MARKER).read_text(encoding="utf-8", errors="replace").partition("\n")[0]
    except OSError:
        return None


def _holds_shards(folder: Path) -> bool:
    from components.shared.data.dataset import is_shard  # which imports `files`, and so this module

    # Shards and nothing else: a single one that lies about in a home folder must not make all of it forbidden ground.
    readable = folder.is_dir() and os.access(folder, os.R_OK)
    entries = [path for path in folder.iterdir() if path.name not in _LITTER] if readable else []
    return bool(entries) and all(path.suffix == ".parquet" for path in entries) and _recognised(is_shard, entries[0])


def _refuse_unwritable(final: Path, folder: Path) -> None:
    if os.access(folder, os.W_OK | os.X_OK):
        return
    read_only = os.statvfs(folder).f_flag & os.ST_RDONLY
    raise CannotRun(f"{final}: {folder} is {'on a read-only disk' if read_only else 'not writable for this user'}; "
                    "name another place, or allow writing there")  # fmt: skip
