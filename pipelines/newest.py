"""Which data is the newest, as `publish` says and schedules read, and whether a run of it has ended well: then there is nothing to do."""

import argparse
import datetime
import hashlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from components.shared import deadline, yaml_reader
from components.shared.errors import CannotRun
from components.shared.masking import masked
from components.shared.store import Store, open_store
from pipelines import drifted, graph

AGAIN = "again"  # where the store keeps which artifacts were found damaged
DONE = "done"  # where the store keeps when a schedule's run ended well, under its data, code and knobs
SECONDS = 60  # for one answer
POINTER = Path("data.dvc")
WHOLE = 86_400  # seconds for the data
NEW = "new"


def newest(
    address: str, code: str, knobs: Sequence[int | str], answers: str = "", model: str = ""
) -> tuple[str, str, str, str]:
    """The digest that the data.dvc at an address names, the code (with a suffix where something must be made again), the key of
    such a run, by these knobs, and the news: `new`, or what a person is told.

    With `answers`, the address of answers that `model` gave, it is news only where they drift.

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
        if answers:
            moved = drifted.reason(answers, model)
            news = news if moved else f"no drift in the answers below {masked(answers)}: nothing to train for"
            print("\n".join(moved))
        print(f"newest: {address}: {digest}, {news}")
    return digest, code, key, news


def keep(key: str) -> None:
    """A run of this key ended well: the next one of the schedule has nothing to do."""
    if store := open_store():
        store.write(f"{DONE}/{key}", datetime.datetime.now(datetime.UTC).isoformat(timespec="minutes"))
        store.clean(DONE)


def digest_of(address: str) -> str:
    """What the data.dvc at an address records. Raises CannotRun."""
    folder, _, name = address.rpartition("/")
    try:
        text = deadline.within(SECONDS, lambda: Store(folder, known_as="the address").read(name), what=masked(address))
    except CannotRun as error:
        raise CannotRun(f"{error}; `python -m pipelines publish` puts it there") from None
    try:
        return str(yaml_reader.parse(text, where=masked(address))["outs"][0]["md5"])
    except (LookupError, TypeError):
        what = "is no data.dvc" if text else "cannot be read (there is none)"
        raise CannotRun(f"{masked(address)}: {what}; `python -m pipelines publish` puts it there") from None


def again(store: Store | None) -> str:
    """A suffix of the code, the same until another artifact is found damaged: Kubeflow's cache holds it, and is left once for all."""
    found = store.names(AGAIN) if store else []
    return f"+{hashlib.sha256(json.dumps(found).encode()).hexdigest()[:8]}" if found else ""


def publish(options: argparse.Namespace) -> int:
    """`dvc push`, then a copy of data.dvc in the remote, in this order: what it names is there. Raises CannotRun."""
    from components.shared.data import remote

    digest, address = graph.recorded_digest(POINTER), graph.default_remote()
    if "://" not in address:
        raise CannotRun(
            f"DVC's default remote {address}: a cluster cannot reach a folder of this machine; `dvc remote add -d` another"
        )
    pushed = deadline.command([sys.executable, "-m", "dvc", "push", str(POINTER)], seconds=WHOLE)
    if pushed.returncode:
        reason = next(iter((pushed.stderr or pushed.stdout).strip().splitlines()[-1:]), "no reason given")
        raise CannotRun(f"dvc push: {reason}")
    remote.listing(address, digest)
    Store(address).put(POINTER.name, POINTER)
    print(f"{address}: {digest} is the newest data; schedules take it at their next run")
    return 0
