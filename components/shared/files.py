"""Writing so that nothing half-written ever stands under a final name, and reading what other steps wrote."""

import contextlib
import csv
import errno
import hashlib
import itertools
import json
import os
import re
import secrets
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from components.shared import destination
from components.shared.errors import CannotRun

_FULL = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the quota of this disk is used up",
    errno.EFBIG: "no file there may grow so large",
}
_BEING_WRITTEN = re.compile(r"\.([^/]+)\.(?:new|\w{8})\.tmp")
QUOTED = r"^'(?=[=+\-@\t\r])"  # what `no_formula` puts before a text
_LOCKLESS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP}  # what a network disk answers that has no locks


@contextlib.contextmanager
def whole_file(final: Path, *, ours: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Yield a temporary path beside `final`; it takes the final name only when the block ends well. A link is followed.

    A file that a person names is overwritten only when `ours` recognises it, and by one process at a time. Raises CannotRun.
    """
    target = destination.check_file(final, ours=ours) if ours else destination.followed(final)
    with _locked(final, target) if ours else contextlib.nullcontext():
        target.parent.mkdir(parents=True, exist_ok=True)
        # Where a lock is held, what a killed one left behind is nobody's.
        temporary = _beside(target, "new_file" if ours else secrets.token_hex(4))
        try:
            with room(target):
                if ours:
                    temporary.unlink(missing_ok=True)
                temporary.touch(exist_ok=False)
                yield temporary
                _sync(temporary)
            if ours:
                destination.check_file(final, ours=ours)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(final: Path, *, kind: str, ours: Callable[[Path], bool] | None = None) -> Iterator[Path]:
    """Yield an empty folder beside `final`; it replaces `final`, old content and all, only when the block ends well.

    `final` is new, empty or a folder of this kind, as its marker `.darkroom` says; a link is followed. Without a kind no marker
    is written, and `ours` recognises each file that may be replaced (see `destination.check_folder`). One process at a time:
    another one is told so at once. What a killed one left behind is cleared away. Raises CannotRun.
    """
    target = destination.check_folder(final, kind=kind, ours=ours)
    with _locked(final, target):
        temporary = _beside(target, "new")
        try:
            with room(target):
                _mend(target)
                shutil.rmtree(temporary, ignore_errors=True)
                temporary.mkdir()
                yield temporary
                if kind:
                    destination.mark(temporary, kind)
                for file in temporary.rglob("*"):
                    if file.is_file():
                        _sync(file)
            destination.check_folder(final, kind=kind, ours=ours)  # again: the work may have taken hours
            if target.exists():
                # Two renames, not one: a folder cannot replace a full one. A kill in between is mended by `_mend`.
                target.replace(_beside(target, "old"))
                temporary.replace(target)
                shutil.rmtree(_beside(target, "old"))
            else:
                temporary.replace(target)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def restore(final: Path) -> None:
    """Undo half a replacement: when a kill came between the two renames, the old folder gets its name back.

    Raises CannotRun while another process is at work there, and when the folder cannot be written.
    """
    target = destination.followed(final)
    if target.name and not target.exists() and _beside(target, "old").exists():
        with _locked(final, target):
            _mend(target)


@contextlib.contextmanager
def room(place: Path, *, needed: int = 0) -> Iterator[None]:
    """Turns a disk that is full, or over its quota, into one line that says which, and how many bytes are free there.

    When the bytes that are `needed` are known, they are compared with the free ones first. Raises CannotRun.
    """
    try:
        if needed > free_bytes(place):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        yield
    except OSError as error:
        code = error.errno or next((code for code in _FULL if os.strerror(code) in str(error)), None)
        if code not in _FULL:
            raise
        # What fills up may be another disk than that of the destination: the one of TMPDIR.
        fullest = min((place, Path(tempfile.gettempdir())), key=free_bytes)
        where = Path(os.fsdecode(error.filename)) if isinstance(error.filename, str | bytes) else place if needed else fullest
        amount = f"{needed:,} bytes needed, " if needed else ""
        raise CannotRun(f"{final_name(where)}: {_FULL[code]} ({amount}{free_bytes(where):,} bytes free); "
                        "nothing was changed; make room, and run the same command again") from None  # fmt: skip


def final_name(path: Path) -> Path:
    """The path as a person knows it: without the temporary name of the folder that is being written."""
    return Path(_BEING_WRITTEN.sub(r"\1", str(path)))


def free_bytes(place: Path) -> int:
    """How much a file may grow there, which need not exist yet."""
    place = place.absolute()
    return shutil.disk_usage(next(above for above in (place, *place.parents) if above.exists())).free


def _beside(target: Path, state: str) -> Path:
    return target.with_name(f".{target.name}.{state}.tmp")


def _mend(target: Path) -> None:
    """What a kill left: of the two renames the first alone, or what it had not yet cleared away. The lock is held."""
    old = _beside(target, "old")
    if old.exists() and not target.exists():
        old.replace(target)
    shutil.rmtree(old, ignore_errors=True)


@contextlib.contextmanager
def _locked(final: Path, target: Path) -> Iterator[None]:
    """Hold the lock `.NAME.lock` beside the destination, or raise CannotRun at once when another process does.

    The file stays: were it deleted, two processes could hold two files of that name.
    """
    import filelock

    try:
        with room(target), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the library helps itself where the disk has no locks
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock = filelock.FileLock(target.with_name(f".{target.name}.lock"), blocking=False)
                lock.acquire()
            except OSError as error:
                if error.errno not in _LOCKLESS:
                    raise
                lock = filelock.SoftFileLock(target.with_name(f".{target.name}.soft.lock"), blocking=False)
                lock.acquire()
    except filelock.Timeout:
        raise CannotRun(f"{final}: another process is writing it; wait for it, or stop it") from None
    try:
        yield
    finally:
        lock.release()


def write_json(file: Path, content: Any, *, ours: Callable[[Path], bool] | None = None) -> None:
    """Sorted keys and a fixed layout, so that the same content is the same bytes. `ours` as in `whole_file`."""
    with whole_file(file, ours=ours) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def write_csv(file: Path, rows: Iterable[dict]) -> None:
    """A row each, the columns those of the first. A spreadsheet takes no text of ours for a formula."""
    first = next(rows := iter(rows), None)
    with whole_file(file) as temporary, temporary.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, first or ["empty"], lineterminator="\n")
        writer.writeheader()
        for row in itertools.chain([first] if first else [], rows):
            writer.writerow({name: no_formula(value) for name, value in row.items()})


def no_formula(value: object) -> object:
    """A text that a spreadsheet does not take for a formula; other values as they are."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def as_folder(label: str) -> str:
    """A label as the name of a folder, whatever it is: it must not lead elsewhere."""
    return re.sub(r"^\.+$|[/\\\x00-\x1f]", "-", label).encode(errors="replace")[:100].decode(errors="ignore")


def read_json(file: Path, *keys: str) -> Any:
    """Raises CannotRun when the file is missing or damaged, or holds no object with these keys, with the step that makes it."""
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CannotRun(f"{file}: no such file; `dvc repro` makes it") from None
    except (ValueError, RecursionError) as error:
        raise CannotRun(f"{file}: not valid JSON ({error}); delete it and run `dvc repro`") from None
    missing = sorted(set(keys) - (content.keys() if isinstance(content, dict) else set()))
    if missing:
        raise CannotRun(f"{file}: holds no {', '.join(missing)}; another version of Darkroom wrote it, or it was edited; delete it, "
                        "and `dvc repro` makes it anew")  # fmt: skip
    return content


def digest(file: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of the file's bytes, read in pieces."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def digest_of(folder: Path, *patterns: str) -> str:
    """sha256 over the names and contents of the files of a folder that one of the patterns names."""
    whole = hashlib.sha256()
    for file in sorted({file for pattern in patterns for file in folder.glob(pattern) if file.is_file()}):
        whole.update(f"{file.relative_to(folder)} {digest(file)}\n".encode())
    return whole.hexdigest()


def _sync(file: Path) -> None:
    with file.open("rb") as stream:
        os.fsync(stream.fileno())
