"""The record of fixes (fixes.csv), in two moves: rows are prepared before the data takes its place, and settled after."""

import csv
import io
from pathlib import Path

from components.shared import files
from components.shared.errors import CannotRun

COLUMNS = ["data_before", "data_after", "code", "source", "action", "before", "after"]


def is_record(file: Path) -> bool:
    """Whether a file is a record of fixes."""
    with file.open(encoding="utf-8") as stream:
        return stream.readline().strip() == ",".join(COLUMNS)


def prepare(log: Path, after: str, rows: list[dict]) -> None:
    """Keep the rows of a fix beside the record until the data is the one with the digest `after`."""
    files.write_json(_pending(log), {"after": after, "rows": rows})


def settle(log: Path, digest: str) -> None:
    """Append what is pending, if it is about the data as it is now; rows that are there already are not repeated.

    So a kill between the data and its record loses no row, and a fix that never took place leaves none.
    """
    pending = _pending(log)
    try:
        waiting = files.read_json(pending)
    except CannotRun:  # there is none; nothing of ours is half-written, and what is not readable is no record
        return
    if waiting["after"] != digest:
        return
    old = log.read_text(encoding="utf-8") if log.exists() else ""
    known = set(map(tuple, csv.reader(io.StringIO(old, newline=""))))
    # A spreadsheet takes no cell of ours for a formula.
    rows = [tuple(COLUMNS), *(tuple(files.no_formula(row[name]) for name in COLUMNS) for row in waiting["rows"])]
    new = io.StringIO(newline="")
    csv.writer(new, lineterminator="\n").writerows(row for row in rows if row not in known)
    with files.whole_file(log, ours=is_record) as temporary:
        temporary.write_text(old + new.getvalue(), encoding="utf-8", errors="backslashreplace", newline="")
    pending.unlink(missing_ok=True)


def _pending(log: Path) -> Path:
    return log.with_name(f".{log.name}.pending")
