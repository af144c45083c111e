"""Which data is the newest, for a schedule, and whether a run of it has ended well before: then there is nothing to do."""

import datetime
import hashlib
import json

LAST = "data/last"  # where the store keeps what a schedule's run did last: which data, by which code
SECONDS = 60  # for one answer
NEW = "new"


def newest(address: str, code: str) -> tuple[str, str, str]:
    """The digest that the data.dvc at an address names, the code (with a suffix where something must be made again), and the news.

    `address` is anything that fsspec reads: `s3://bucket/path/data.dvc`, or a raw file of a branch by https. The news is `new`, or
    what a person is told. Ends the process when it cannot be read.
    """
    from pipelines.execution import ending, refuse_other_code

    with ending("newest"):
        refuse_other_code(code)
        digest = digest_of(address)
        code += _again()
        done = _last()
        same = done.get("of") == _of(digest, code)
        news = f"nothing changed since {done['at']}: {digest} was run by code {code}" if same else NEW
        print(f"newest: {address}: {digest}, {news}")
    return digest, code, news


def keep(digest: str, code: str) -> None:
    """A run of this data by this code ended well: the next one of the schedule has nothing to do."""
    from components.shared import files, scratch
    from components.shared.store import open_store

    if store := open_store():
        with scratch.folder() as folder:
            at = datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes")
            files.write_json(folder / "last", {"of": _of(digest, code), "at": at})
            store.put(LAST, folder / "last")


def digest_of(address: str) -> str:
    """What the data.dvc at an address records. Raises CannotRun."""
    import fsspec

    from components.shared import deadline, scratch
    from components.shared.errors import CannotRun
    from components.shared.masking import masked
    from pipelines import graph

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


def _of(digest: str, code: str) -> str:
    return f"{digest} {code}"


def marks(store) -> dict[str, str]:
    """What a Store marks to be made again because it was found damaged: the step's section, such as `train.cnn`, and the mark."""
    from components.shared import scratch
    from pipelines.execution import AGAIN

    found = {}
    with scratch.folder() as folder:
        for key in store.names(AGAIN):
            store.get(key, folder / "mark")
            found[key.removeprefix(f"{AGAIN}/")] = (folder / "mark").read_text()
    return found


def _again() -> str:
    """A suffix of the code, the same until another artifact is found damaged: all is made again once, since a schedule has no knobs."""
    from components.shared.store import open_store

    found = marks(store) if (store := open_store()) else {}
    return f"+{hashlib.sha256(json.dumps(found).encode()).hexdigest()[:8]}" if found else ""


def _last() -> dict:
    from components.shared import scratch
    from components.shared.store import open_store

    store = open_store()
    with scratch.folder() as folder:
        if not store or not store.get(LAST, folder / "last"):
            return {}
        return json.loads((folder / "last").read_text())
