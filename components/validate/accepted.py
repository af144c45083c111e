"""The data that passed before: its figures and a sample of it, kept where the next run finds them, from which drift is measured."""

from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.shared import files, scratch, store
from components.shared.data import dataset

# Beside summary.json: a sample of the data that was judged, and of what it was held against.
SAMPLE, BEFORE = "sample.parquet", "accepted.parquet"


@dataclass(frozen=True)
class Accepted:
    """`figures` and `sample`: see drift.py and `Context.sample`; the latter is None where none was kept."""

    figures: dict
    sample: pa.Table | None = None


def find(validation: Path, digest: str) -> Accepted | None:
    """What passed before the data of this digest, if anything did.

    That is what was accepted last by whoever shares the store, since a pod finds nothing in its folder; else what was judged last
    here. The same data judged twice is compared with the same data as the first time, so that it gives the same findings.
    """
    files.restore(validation)
    with scratch.folder("accepted") as folder:
        kept, place = store.open_store(), folder
        if kept is None or not kept.get("accepted/summary.json", folder / "summary.json"):
            place = validation
        elif kept:
            for name in (SAMPLE, BEFORE):
                kept.get(f"accepted/{name}", folder / name)
        if not (place / "summary.json").exists():
            return None
        before = files.read_json(place / "summary.json", "figures", "passed", "data_digest", "accepted")
        figures = before["figures"] if before["passed"] and before["data_digest"] != digest else before["accepted"]
        return figures and Accepted(figures, _sample(place, figures.get("data_digest")))


def _sample(place: Path, digest: str | None) -> pa.Table | None:
    """The sample of the data of this digest."""
    for file in (place / SAMPLE, place / BEFORE):
        if file.exists():
            with dataset.readable(file, what="a sample of accepted data", remedy="delete it"):
                if (pq.read_schema(file).metadata or {}).get(b"data_digest") == (digest or "").encode():
                    return pq.read_table(file)
    return None


def write(sample: pa.Table, before: Accepted | None, validation: Path) -> None:
    """Put the sample of the data that is judged, and of what it was held against, beside the summary."""
    for table, name in ((sample, SAMPLE), (before and before.sample, BEFORE)):
        if table is not None:
            with files.whole_file(validation / name) as temporary:
                pq.write_table(table, temporary, compression="zstd")


def keep(validation: Path) -> None:
    """Put what passed into the store, if there is one. The summary comes last: its digest says which sample belongs to it."""
    if kept := store.open_store():
        for name in (SAMPLE, BEFORE, "summary.json"):
            if (validation / name).exists():
                kept.put(f"accepted/{name}", validation / name)
