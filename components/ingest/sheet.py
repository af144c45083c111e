"""Tables as tools write them, CSV (any of `,;` and tabs) and Parquet -> the columns that are asked for, as text."""

import contextlib
import csv
import io
import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.errors import CannotRun, Refused

ENDINGS = (".csv", ".tsv", ".parquet")
_ROWS = 2**16  # that are held as Python objects at once
_LONGEST = 1000  # characters of a path, a label ...; more is a quote that was not closed
TEXT = pd.StringDtype("pyarrow")  # a tenth of what Python's own text takes


def header(file: Path) -> list[str]:
    """The names of a table's columns, in order. Raises Refused, CannotRun for what is no table."""
    if file.suffix.lower() == ".parquet":
        with _readable(file):
            return pq.read_schema(file).names
    return _header(_lines(file), file)


def read(file: Path, places: Mapping[str, int | None]) -> pd.DataFrame:
    """Name -> place of the columns in, a frame of text with these names and `line` out; a place of None is a column of nothing.

    Empty cells, nulls and spaces alone are missing. Raises Refused with every bad line, CannotRun for what is no table.
    """
    return _parquet(file, places) if file.suffix.lower() == ".parquet" else _csv(file, places)


def _frame(cells: dict[str, object], lines: Iterable[int]) -> pd.DataFrame:
    """One word for "nothing here", however a file puts it: an empty cell, a null, spaces."""
    frame = pd.DataFrame({key: pd.array(values, dtype=TEXT) for key, values in cells.items()})
    for name, column in frame.items():
        frame[name] = column.where((column.str.strip() != "").fillna(False).astype(bool))
    return frame.assign(line=np.fromiter(lines, np.int64, len(frame)))


@contextlib.contextmanager
def _readable(file: Path) -> Iterator[None]:
    """What stands in a foreign file makes Arrow raise anything: one line that names it."""
    try:
        yield
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CannotRun(f"{file}: not a Parquet table that can be read ({reason})") from None


def _parquet(file: Path, places: Mapping[str, int | None]) -> pd.DataFrame:
    with _readable(file):
        table = pq.read_table(file)
        cells = {key: _as_text(table.column(place)) if place is not None else pa.nulls(len(table), pa.string())
                 for key, place in places.items()}  # fmt: skip
        # As in a CSV, the first row stands in line 2.
        return _frame(cells, range(2, len(table) + 2))


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    if pa.types.is_floating(column.type):
        return pa.array([None if value is None or value != value else str(value) for value in column.to_pylist()], pa.string())
    text = column.cast(pa.string())
    text.validate(full=True)
    return text


def _lines(file: Path):
    """The reader of a CSV. Raises Refused for what is no text."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise Refused(f"E_CSV {file} line {line}: not UTF-8; save it as UTF-8") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise Refused(f"E_CSV {file} line {line}: holds a NUL byte; save it as plain UTF-8 text")
    delimiter = max(",;\t", key=text.lstrip().partition("\n")[0].count)
    # Strict, and over the whole text: a quote that is not closed would swallow all rows behind it in silence.
    return csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)


def _header(lines, file: Path) -> list[str]:
    try:
        names = next(lines, [])
    except csv.Error as error:
        raise Refused(f"E_CSV {file} line 1: {error}; is a quote not closed?") from None
    if not names:
        raise Refused(f"E_NO_DATA {file}: no rows")
    return names


def _csv(file: Path, places: Mapping[str, int | None]) -> pd.DataFrame:
    lines = _lines(file)
    faults: list[str] = []
    rows = _good(lines, _header(lines, file), [place for place in places.values() if place is not None], file, faults)
    parts = [_frame({key: [] for key in places}, [])]
    while piece := list(itertools.islice(rows, _ROWS)):
        cells = list(zip(*(row for _, row in piece), strict=True))
        columns = {key: cells[place] if place is not None else [None] * len(piece) for key, place in places.items()}
        parts.append(_frame(columns, (line for line, _ in piece)))
    if faults:
        raise Refused(*faults)
    return pd.concat(parts, ignore_index=True)


def _good(lines, header: list[str], used: list[int], file: Path, faults: list[str]) -> Iterator[tuple[int, list[str]]]:
    """(line that it begins on, cells) of each row; what is wrong with a row goes into `faults`."""
    while True:
        line = lines.line_num + 1
        where = f"E_CSV {file} line {line}"
        try:
            row = next(lines, None)
        except csv.Error as error:
            faults.append(f"{where}: {error}; is a quote not closed?")
            return
        if row is None:
            return
        if len(row) < 2 and not "".join(row).strip(" \t"):
            continue
        if len(row) != len(header):
            faults.append(f"{where}: {len(row)} fields, expected {len(header)}")
        elif broken := next((header[place] for place in used if "\n" in row[place] or "\r" in row[place]), None):
            faults.append(f"{where}: a line break in {broken}; is a quote not closed?")
        elif long := next((header[place] for place in used if len(row[place]) > _LONGEST), None):
            faults.append(f"{where}: more than {_LONGEST} characters in {long}")
        else:
            yield line, row
