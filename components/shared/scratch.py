"""Scratch folders in TMPDIR: gone when their block ends, or, when their maker was killed, at the start of the next."""

import contextlib
import fcntl
import math
import mmap
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from components.shared import files
from components.shared.destination import MARKER, SCRATCH
from components.shared.errors import CannotRun

_PREFIX = "darkroom-"
_NEARLY_FULL = 2**24  # bytes; what was to be written next was more


@contextlib.contextmanager
def folder(purpose: str = "") -> Iterator[Path]:
    """Yield a folder that only this user can enter. Raises CannotRun when the disk of TMPDIR is full."""
    place = _place()
    _clear(place)
    with files.room(place):
        made = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{purpose}-" if purpose else _PREFIX, dir=place))
    # Held as long as we live, and let go by the system when we are killed. Marked only then: a folder without a marker is
    # never cleared, so nobody takes it in between, nor where the file system has no locks.
    lock = os.open(made, os.O_RDONLY)
    with contextlib.suppress(OSError):
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        (made / MARKER).write_text(SCRATCH, encoding="utf-8")
    try:
        yield made
    except OSError:
        if files.free_bytes(made) < _NEARLY_FULL:  # else it is another disk that is full
            with files.room(made):
                raise
        raise
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)


def mapped(file: Path, shape: tuple[int, ...], kind: str = "uint8"):
    """Make a file of numbers, such as levels: an array that is mapped and filled piece by piece, never in memory as a whole.

    Its room on the disk is taken now: a full disk would otherwise end the process by SIGBUS, when it writes to memory that
    stands for a file without room. Raises CannotRun with the bytes that are needed and free.
    """
    import numpy as np

    with files.room(file, needed=math.prod(shape) * np.dtype(kind).itemsize):
        array = np.lib.format.open_memmap(file, mode="w+", dtype=kind, shape=shape)
        if hasattr(os, "posix_fallocate"):
            with file.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, file.stat().st_size)
    return array


def let_go(levels) -> None:
    """Give the memory of a mapped array back; what is in it stays in its file, and comes back when it is asked for."""
    if isinstance(levels.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
        levels.base.madvise(mmap.MADV_DONTNEED)


def _place() -> Path:
    try:
        return Path(tempfile.gettempdir())
    except OSError:
        raise CannotRun("TMPDIR: no folder for temporary files can be written; set TMPDIR to one that can") from None


def _clear(folder: Path) -> None:
    """Remove what killed processes of this user left behind; a folder without our marker is none of ours."""
    for place in folder.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if place.is_symlink() or place.stat().st_uid != os.getuid() or (place / MARKER).read_text() != SCRATCH:
                continue
            lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(place, ignore_errors=True)
            finally:
                os.close(lock)
