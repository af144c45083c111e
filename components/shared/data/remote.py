"""Data by reference: a folder of shards, or a DVC remote that holds it, brought here shard by shard and checked on arrival.

A DVC remote stores each file under its own md5, so what was pushed once is never uploaded again, and what was changed has
another name: nothing stale can be taken for it.
"""

import json
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from components.shared import files, parallel, scratch
from components.shared.data import dataset
from components.shared.errors import CannotRun
from components.shared.masking import masked
from components.shared.store import Store

OBJECTS = "files/md5"  # where a DVC remote (or cache) keeps its objects


class Shards:
    """The shards of a data set: their names, in order, and where their bytes are: here, or brought here when they are asked for.

    `data` is a folder of shards, or a DVC remote: a URL (`s3://bucket/path`) or a folder that holds `files/md5`. `digest` is what
    data.dvc records: a remote's listing is checked against it, and of a folder its bytes are where it is given. Raises CannotRun.
    """

    def __init__(self, data: str | Path, digest: str = "") -> None:
        self.data = str(data)
        self.here = not is_remote(self.data)
        self._md5 = {} if self.here else dict(listing(self.data, digest))
        self.names = [shard.name for shard in dataset.shards(Path(data))] if self.here else list(self._md5)
        if self.here and digest and (there := dataset.data_digest({name: self.md5(name) for name in self.names})) != digest:
            raise CannotRun(f"the data is {there}, expected {digest}; `dvc status data.dvc` says what was changed")

    def md5(self, name: str) -> str:
        """Of the bytes of a shard."""
        if name not in self._md5:
            self._md5[name] = files.digest(Path(self.data) / name, "md5")
        return self._md5[name]

    def refuse_other_than(self, measured: dict[str, str], *, contents: bool) -> None:
        """Raise CannotRun for a shard that was not measured (name -> md5), for one that was and is not there, and for a changed one."""
        here = set(self.names)
        changed = {name for name in here & set(measured) if self.md5(name) != measured[name]} if contents else set()
        for names, what in (
            (here - set(measured), "was not measured"),
            (set(measured) - here, "was measured, and is not there any more"),
            (changed, "changed since it was measured"),
        ):
            if names:
                raise stale(Path(self.data) / min(names) if self.here else min(names), what)

    def few(self, names: Collection[str]) -> Iterator[list[Path]]:
        """These shards as files: all at once where they are here, else a few at a time, checked, gone when the next few come."""
        if self.here:
            yield [Path(self.data) / name for name in names]
            return
        at_once, names = parallel.processors(), list(names)
        for start in range(0, len(names), at_once):
            with scratch.folder("data") as folder, ThreadPoolExecutor(at_once) as pool:
                brought = [folder / name for name in names[start : start + at_once]]
                list(pool.map(lambda shard: _fetch(self.data, self.md5(shard.name), shard), brought))
                yield brought


def stale(shard: Path | str, what: str = "changed since it was measured") -> CannotRun:
    """What to raise for a shard that is not the one that was measured."""
    return CannotRun(f"{shard}: {what}; `dvc repro measure` brings manifest and data together")


def is_remote(data: str) -> bool:
    """Whether `data` is a DVC remote, and no folder of shards."""
    return "://" in data or (Path(data) / OBJECTS).is_dir()


def listing(data: str, digest: str) -> list[tuple[str, str]]:
    """Name and md5 of every shard, as the remote's listing of that digest has them. Raises CannotRun."""
    with scratch.folder("listing") as folder:
        try:
            entries = {
                entry["relpath"]: entry["md5"] for entry in json.loads(_bring(data, digest, folder / "listing").read_bytes())
            }
        except (ValueError, TypeError, KeyError):
            entries = {}
    if dataset.data_digest(entries) != digest:
        raise CannotRun(
            f"{masked(data)}: the listing of {digest} is damaged; `dvc push --force` from where the data is mends it"
        )
    if any(PurePosixPath(name).name != name for name in entries):
        raise CannotRun(f"{masked(data)}: {digest} is no folder of shards: it has folders in it; `darkroom ingest` makes one")
    return sorted((name, md5) for name, md5 in entries.items() if name.endswith(".parquet"))


def _fetch(data: str, md5: str, shard: Path) -> None:
    if files.digest(_bring(data, md5, shard), "md5") != md5:
        raise CannotRun(
            f"{masked(data)}: {shard.name} is not what its name says (md5 {md5}); delete {_place(md5)} there, and `dvc push`"
        )


def _bring(data: str, md5: str, file: Path) -> Path:
    if not Store(data, known_as="its address").get(_place(md5), file):
        raise CannotRun(f"{masked(data)}: does not hold {md5}; `dvc push` where the data is sends it")
    return file


def _place(md5: str) -> str:
    return f"{OBJECTS}/{md5[:2]}/{md5[2:]}"
