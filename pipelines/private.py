"""Folders that nobody else on this machine can enter, for sockets, logs and what containers write as another user."""

import os
import stat
from pathlib import Path


def folder(path: Path) -> Path:
    """Make a folder with mode 0700, or take one that is so and ours already. Raises CannotRun; no mode is ever changed."""
    from components.shared.errors import CannotRun

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        path.mkdir(mode=0o700)
        return path
    except FileExistsError:
        status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise CannotRun(f"{path}: is open to other users, or not yours (mode {status.st_mode & 0o777:04o}); expected a folder of "
                        "mode 0700 that Darkroom made: remove it, or name another --root")  # fmt: skip
    return path
