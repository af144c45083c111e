"""Data by reference: a folder of shards, or a DVC remote that holds it, brought here part by part and checked on arrival.

A DVC remote stores each file under its own md5, so what was pushed once is never uploaded again, and what was changed has
another name: nothing stale can be taken for it.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from components.shared import deadline, files, scratch
from components.shared.data import dataset
from components.shared.errors import CannotRun
from components.shared.masking import masked

WHOLE = 600  # seconds for one object, however the store spends them
OBJECTS = "files/md5"  # where a DVC remote (or cache) keeps its objects


@contextlib.contextmanager
def fetched(data: str, digest: str, *, part: str = "1/1") -> Iterator[Path]:
    """Yield a folder with part `i/n` of the shards: every n-th, in the order of their names. It may be empty.

    `data` is a folder of shards, or a DVC remote: a URL (`s3://bucket/path`) or a folder that holds `files/md5`.
    `digest` is what data.dvc records. Shards out of a remote are checked against it here; those of a folder are not
    copied, and checked where the parts are gathered. Raises CannotRun.
    """
    number, count = (int(text) for text in part.split("/"))
    with scratch.folder("data") as folder:
        if is_remote(data):
            for name, md5 in listing(data, digest)[number - 1 :: count]:
                _fetch(data, md5, folder / name)
        else:
            for shard in dataset.shards(Path(data))[number - 1 :: count]:
                (folder / shard.name).symlink_to(shard.absolute())
        yield folder


def is_remote(data: str) -> bool:
    """Whether `data` is a DVC remote, and no folder of shards."""
    return "://" in data or (Path(data) / OBJECTS).is_dir()


def listing(data: str, digest: str) -> list[tuple[str, str]]:
    """Name and md5 of every shard, as the remote's listing of that digest has them. Raises CannotRun."""
    listed = _object(data, digest)
    try:
        entries = {entry["relpath"]: entry["md5"] for entry in json.loads(listed)}
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
    with files.whole_file(shard) as temporary:
        temporary.write_bytes(_object(data, md5))
        if files.digest(temporary, "md5") != md5:
            raise CannotRun(
                f"{masked(data)}: {shard.name} is not what its name says (md5 {md5}); delete {_place(md5)} there, and `dvc push`"
            )


def _object(data: str, md5: str) -> bytes:
    import fsspec

    def read() -> bytes:
        system, root = fsspec.core.url_to_fs(data)
        return system.cat_file(f"{root.rstrip('/')}/{_place(md5)}")

    try:
        return deadline.within(WHOLE, read, what=masked(data))
    except CannotRun:
        raise
    except FileNotFoundError:
        raise CannotRun(f"{masked(data)}: does not hold {md5}; `dvc push` where the data is sends it") from None
    except Exception as error:  # each kind of store has its own
        reason = masked(str(error).splitlines()[0]) if str(error) else type(error).__name__
        raise CannotRun(f"{masked(data)}: cannot be read ({reason}); are its address and credentials right?") from None


def _place(md5: str) -> str:
    return f"{OBJECTS}/{md5[:2]}/{md5[2:]}"
