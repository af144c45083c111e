"""Writing so that nothing half-written ever stands under a final name, and reading what other steps wrote."""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.shared.errors import CannotRun


@contextlib.contextmanager
def whole_file(final: Path) -> Iterator[Path]:
    """Yield a temporary path beside `final`; it takes the final name only when the block ends well."""
    final.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{final.name}.", suffix=".tmp", dir=final.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        _sync(temporary)
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(final)
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(final: Path) -> Iterator[Path]:
    """Yield an empty folder beside `final`; it replaces `final`, old content and all, only when the block ends well.

    Only one process at a time: another one is told so at once. What a killed one left behind is cleared away.
    Raises CannotRun.
    """
    final.parent.mkdir(parents=True, exist_ok=True)
    _clear_leftovers(final)
    temporary = Path(tempfile.mkdtemp(prefix=f".{final.name}.", suffix=".tmp", dir=final.parent))
    # Held as long as we live, and let go by the system when we are killed: so a leftover can be told from work under way.
    held = os.open(temporary, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    try:
        yield temporary
        for file in temporary.rglob("*"):
            if file.is_file():
                _sync(file)
        temporary.chmod(0o777 & ~_umask())
        if final.exists():
            # Two renames, not one: a folder cannot replace a full one. A kill in between is mended by `restore`.
            final.replace(_outdated(final))
            temporary.replace(final)
            shutil.rmtree(_outdated(final))
        else:
            temporary.replace(final)
    finally:
        os.close(held)
        shutil.rmtree(temporary, ignore_errors=True)


def restore(final: Path) -> None:
    """Undo half a replacement: when a kill came between the two renames, the old folder gets its name back."""
    if not final.exists() and _outdated(final).exists():
        _outdated(final).replace(final)


def _outdated(final: Path) -> Path:
    return final.with_name(f".{final.name}.old.tmp")


def _clear_leftovers(final: Path) -> None:
    restore(final)
    for folder in [path for path in final.parent.glob(f".{final.name}.*.tmp") if path.is_dir()]:
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise CannotRun(f"{final}: another process is writing it; wait for it, or stop it") from None
        finally:
            os.close(handle)
        shutil.rmtree(folder)


def write_json(file: Path, content: Any) -> None:
    """Sorted keys and a fixed layout, so that the same content is the same bytes."""
    with whole_file(file) as temporary:
        temporary.write_text(json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n", encoding="utf-8")


def read_json(file: Path) -> Any:
    """Raises CannotRun when the file is missing or damaged, with the step that makes it."""
    try:
        return json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CannotRun(f"{file}: no such file; `dvc repro` makes it") from None
    except ValueError as error:
        raise CannotRun(f"{file}: not valid JSON ({error}); delete it and run `dvc repro`") from None


def digest(file: Path, algorithm: str = "sha256") -> str:
    """Hexadecimal digest of the file's bytes, read in pieces."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, algorithm).hexdigest()


def _sync(file: Path) -> None:
    handle = os.open(file, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
