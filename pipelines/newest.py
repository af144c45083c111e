"""Which data is the newest, for a schedule, and whether a run of it has ended well before: then there is nothing to do."""

import datetime
import hashlib
import json
from collections.abc import Sequence

from components.shared import deadline, scratch
from components.shared.errors import CannotRun
from components.shared.masking import masked
from components.shared.store import Store, open_store
from pipelines import graph

AGAIN = "again"  # where the store keeps which artifacts were found damaged
DONE = "done"  # where the store keeps when a schedule's run ended well, under its data, code and knobs
SECONDS = 60  # for one answer
NEW = "new"


def newest(address: str, code: str, knobs: Sequence[int | str]) -> tuple[str, str, str, str]:
    """The digest that the data.dvc at an address names, the code (with a suffix where something must be made again), the key of
    such a run, by these knobs, and the news: `new`, or what a person is told.

    `address` is anything that fsspec reads: `s3://bucket/path/data.dvc`, or a raw file of a branch by https. Ends the process when
    it cannot be read.
    """
    from pipelines.execution import ending, refuse_other_code

    with ending("newest"):
        refuse_other_code(code)
        digest = digest_of(address)
        store = open_store()
        code += again(store)
        key = hashlib.sha256(json.dumps([digest, code, *knobs]).encode()).hexdigest()[:16]
        at = store.read(f"{DONE}/{key}") if store else ""
        news = f"nothing changed since {at}: {digest} was run by code {code} with these knobs" if at else NEW
        print(f"newest: {address}: {digest}, {news}")
    return digest, code, key, news


def keep(key: str) -> None:
    """A run of this key ended well: the next one of the schedule has nothing to do."""
    if store := open_store():
        store.write(f"{DONE}/{key}", datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"))
        store.clean(DONE)


def digest_of(address: str) -> str:
    """What the data.dvc at an address records. Raises CannotRun."""
    import fsspec

    def read() -> bytes:
        with fsspec.open(address, "rb") as stream:
            return stream.read(2**20)

    with scratch.folder() as folder:
        try:
            (folder / "data.dvc").write_bytes(deadline.within(SECONDS, read, what=masked(address)))
        except CannotRun:
            raise
        except Exception as error:  # each kind of store has its own
            reason = masked(str(error).splitlines()[0]) if str(error) else type(error).__name__
            raise CannotRun(
                f"{masked(address)}: cannot be read ({reason}); `python -m pipelines publish` puts it there"
            ) from None
        try:
            return graph.recorded_digest(folder / "data.dvc")
        except CannotRun:
            raise CannotRun(f"{masked(address)}: is no data.dvc; `python -m pipelines publish` puts one there") from None


def again(store: Store | None) -> str:
    """A suffix of the code, the same until another artifact is found damaged: Kubeflow's cache holds it, and is left once for all."""
    found = store.names(AGAIN) if store else []
    return f"+{hashlib.sha256(json.dumps(found).encode()).hexdigest()[:8]}" if found else ""
