"""Where results live that outlive a pod: an object store, by fsspec, at the address in DARKROOM_STORE; nowhere when it is not set."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from components.shared import deadline, files, scratch
from components.shared.errors import CannotRun
from components.shared.masking import masked

STORE = "DARKROOM_STORE"
WHOLE = 600  # seconds for one object, however the store spends them
DAYS = 30  # after which what nobody wrote any more is cleaned away
T = TypeVar("T")


def open_store() -> "Store | None":
    """The store in DARKROOM_STORE, such as `s3://bucket/path`; None when there is none."""
    address = os.environ.get(STORE, "")
    return Store(address) if address else None


class Store:
    """Objects under keys such as `parts/measure/0f3a.parquet`. What goes wrong in any call is a CannotRun."""

    def __init__(self, address: str, known_as: str = STORE) -> None:
        self._address, self._known_as = address, known_as  # for the message

    def get(self, key: str, file: Path) -> bool:
        """Bring an object into a file, whole or not at all; whether there is such an object."""

        def fetch(system, place: str) -> bool:
            with files.whole_file(file) as temporary:
                system.get_file(place, str(temporary))
            return True

        try:
            return self._ask(fetch, key)
        except FileNotFoundError:
            return False

    def put(self, key: str, file: Path) -> None:
        """Keep a file under a key, whole or not at all, in place of what was there."""

        def send(system, place: str) -> None:
            if "file" not in system.protocol:
                return system.put_file(str(file), place)  # an object store shows an object when it is whole
            with files.whole_file(Path(place)) as temporary:
                shutil.copyfile(file, temporary)

        self._ask(send, key)

    def read(self, key: str) -> str:
        """The short text under a key; empty where there is none."""
        with contextlib.suppress(FileNotFoundError):
            return self._ask(lambda system, place: system.cat_file(place).decode(), key)
        return ""

    def write(self, key: str, text: str) -> None:
        """Keep a short text under a key."""
        with scratch.folder() as folder:
            (folder / "text").write_text(text, encoding="utf-8")
            self.put(key, folder / "text")

    def names(self, prefix: str, days: float = float("inf")) -> list[str]:
        """The keys below a prefix, in order; `days`: only what was written within so many."""

        def listed(system, place: str) -> list[str]:
            system.invalidate_cache()  # other pods write there too
            entries, since = system.find(place, detail=True).items(), time.time() - days * 86400
            # An empty folder, which an object store may keep, is found as itself.
            recent = [found for found, entry in entries if found != place and _written(entry) >= since]
            return sorted(prefix.rstrip("/") + found.removeprefix(place) for found in recent)

        return self._ask(listed, prefix.rstrip("/"))

    def delete(self, key: str) -> None:
        """Remove an object, if it is there."""

        with contextlib.suppress(FileNotFoundError):
            self._ask(lambda system, place: system.rm_file(place), key)

    def clean(self, prefix: str) -> None:
        """Remove each object and each folder directly below a prefix in which nothing was written for DAYS days."""

        def remove(system, place: str) -> None:
            system.invalidate_cache()
            newest: dict[str, float] = {}
            for path, entry in system.find(place, detail=True).items():
                child = path.removeprefix(f"{place}/").partition("/")[0]
                newest[child] = max(newest.get(child, 0.0), _written(entry))
            for child, when in newest.items():
                if when < time.time() - DAYS * 86400:
                    with contextlib.suppress(FileNotFoundError):  # another one was faster
                        system.rm(f"{place}/{child}", recursive=True)

        self._ask(remove, prefix)

    def _ask(self, work: Callable[..., T], key: str) -> T:
        import fsspec

        def ask() -> T:
            system, root = fsspec.core.url_to_fs(self._address)
            return work(system, f"{root.rstrip('/')}/{key}")

        where = masked(self._address)
        try:
            return deadline.within(WHOLE, ask, what=where)
        except (CannotRun, FileNotFoundError):
            raise
        except Exception as error:  # each kind of store has its own
            reason = masked(str(error).splitlines()[0]) if str(error) else type(error).__name__
            raise CannotRun(f"{where}: {key}: {reason}; are {self._known_as} and its credentials right?") from None


def _written(entry: dict) -> float:
    """When an object was written, in seconds since 1970, in the words of S3, Azure, Google or a disk; now, where it is not told."""
    when = next((entry[name] for name in ("LastModified", "last_modified", "mtime") if name in entry), time.time())
    return when if isinstance(when, int | float) else when.timestamp()
