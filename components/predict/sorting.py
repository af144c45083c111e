"""Pictures into a folder per label, those without a sure answer into one of their own: linked where that can be, else copied."""

import contextlib
import errno
import hashlib
import os
import re
from pathlib import Path

from components.predict.lots import Encoded
from components.shared.files import as_folder

ABSTAINED = "_abstained"
_NO_PLACE = {errno.EEXIST, errno.ENOTDIR, errno.ENAMETOOLONG}  # a folder is a file, or a name is too long for this disk


def folders(labels: list[str]) -> dict[str, str]:
    """The folder of each label: no two are the same, on any file system, and none leads elsewhere."""
    names, taken = {}, {ABSTAINED}
    for label in labels:
        name = as_folder(label) or "-"
        while name.casefold() in taken:
            name += "-"
        names[label] = name
        taken.add(name.casefold())
    return names


def put(sample: Encoded, folder: Path) -> None:
    """Each frame at its path below what was named; where something else is, or it is too long, under its digest. Nothing is overwritten."""
    for index, (content, path) in enumerate(sample.frames):
        parts = [re.sub(r"^\.+$|[\\\x00-\x1f]", "-", part) for part in path.split("/") if part]
        target = folder.joinpath(*parts or ["-"])
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.lstat()
            taken = not target.is_file() or target.read_bytes() != content
        except FileNotFoundError:
            taken = False
        except OSError as error:
            if error.errno not in _NO_PLACE:
                raise
            taken = True
        if taken:
            target = folder / f"{hashlib.sha256(content).hexdigest()[:32]}{target.suffix[:10]}"
        _place(content, os.path.realpath(sample.files[index]) if sample.files else None, target)


def _place(content: bytes, original: str | None, target: Path) -> None:
    """Whole or not at all, and only where nothing is."""
    temporary = target.with_name(f".{hashlib.sha256(os.fsencode(target.name)).hexdigest()[:16]}.{os.getpid()}.tmp")
    with contextlib.suppress(FileExistsError):
        try:
            os.link(original or temporary, target)
        except FileExistsError:
            raise
        except OSError:  # bytes without a file, or of another disk
            temporary.write_bytes(content)
            try:
                os.link(temporary, target)
            except FileExistsError:
                raise
            except OSError:  # a disk that knows no links: a moment ago nothing was there
                temporary.rename(target)
            finally:
                temporary.unlink(missing_ok=True)
