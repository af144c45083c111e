"""Tables as tools write them, CSV (any of `,;` and tabs), JSON Lines and Parquet -> the columns that are asked for, as text."""

import codecs
import csv
import functools
import io
import itertools
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from components.ingest import charsets
from components.shared import supervise
from components.shared.errors import CannotRun, Refused, Stop

_SPREADSHEETS = (".xlsx", ".xls", ".ods")
ENDINGS = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet", *_SPREADSHEETS)
_ROWS = 2**16  # that are held as Python objects at once
csv.field_size_limit(2**31 - 1)  # a caption that nobody reads may be of any length
# The words of a text that are not ASCII.
_WORDS = re.compile(rb"[A-Za-z]*[\x80-\xff][A-Za-z\x80-\xff]*")
_LONGEST = 1000  # characters of a path, a label ...; more is a quote that was not closed
TEXT = pd.StringDtype("pyarrow")  # a tenth of what Python's own text takes

# The line on which a row begins, and its cells; or what is wrong with it.
Row = tuple[int, Sequence[str | None]] | str


def header(file: Path) -> list[str]:
    """The names of a table's columns, in order. Raises Refused, CannotRun for what is no table."""
    return _opened(file, None, ())[0]


def header_of(file: Path) -> list[str]:
    """The same, and none where it is no table that can be read. Many forms ask for them."""
    status = file.stat()
    return _header_at(file, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=100)
def _header_at(file: Path, changed: int, size: int) -> list[str]:
    try:
        return header(file)
    except Stop:
        return []


def read(file: Path, places: Mapping[str, int | None], names: list[str] | None = None) -> pd.DataFrame:
    """Name -> place of the columns in, a frame of text with these names and `line` out; a place of None is a column of nothing.

    `names` are the columns of a CSV that has no line with them. Empty cells, nulls and spaces alone are missing. Raises Refused
    with every bad line, CannotRun for what is no table.
    """
    _, rows = _opened(file, names, {place for place in places.values() if place is not None})
    faults: list[str] = []
    parts = [_frame([], places)]
    while piece := list(itertools.islice(rows, _ROWS)):
        faults += [row for row in piece if isinstance(row, str)]
        parts.append(_frame([row for row in piece if not isinstance(row, str)], places))
    if faults:
        raise Refused(*faults)
    return pd.concat(parts, ignore_index=True)


def place(file: Path, line: int) -> str:
    """Where something stands, in a person's words."""
    return f"{file} {'entry' if file.suffix.lower() == '.json' else 'line'} {line}"


def spoken(file: Path) -> str:
    """What a person should know of how a table was read: `, read as cp1251`."""
    encoding = "utf-8" if file.suffix.lower() == ".parquet" else _text(file)[1]
    return "" if encoding == "utf-8" else f", read as {encoding}"


def _frame(rows: list[tuple[int, Sequence[str | None]]], places: Mapping[str, int | None]) -> pd.DataFrame:
    """One word for "nothing here", however a file puts it: an empty cell, a null, spaces."""
    columns = {name: [None if at is None else cells[at] for _, cells in rows] for name, at in places.items()}
    frame = pd.DataFrame({name: pd.array(values, dtype=TEXT) for name, values in columns.items()})
    for name, column in frame.items():
        frame[name] = column.where((column.str.strip() != "").fillna(False).astype(bool))
    return frame.assign(line=np.fromiter((line for line, _ in rows), np.int64, len(rows)))


def _opened(file: Path, names: list[str] | None, used: Collection[int]) -> tuple[list[str], Iterator[Row]]:
    """The names of the columns, and the rows, of which only the columns in `used` have to be right."""
    match file.suffix.lower():
        case ".parquet":
            return _parquet(file, used)
        case ".csv" | ".tsv":
            return _csv(file, names, used)
        case ending if ending in _SPREADSHEETS:
            raise CannotRun(f"{file}: a spreadsheet, which is not read; save it as CSV in UTF-8")
    # Of every object: one may leave out what another has.
    names = list(dict.fromkeys(name for _, row in _objects(file) for name in row))
    return names, ((line, [_cell(row.get(name)) for name in names]) for line, row in _objects(file))


def _parquet(file: Path, used: Collection[int]) -> tuple[list[str], Iterator[Row]]:
    supervise.reads(file.name)
    try:
        if not used:
            return pq.read_schema(file).names, iter(())
        table = pq.read_table(file)
        cells = [_as_text(column) if place in used else [None] * len(table) for place, column in enumerate(table.columns)]
    except Exception as error:  # what stands in a foreign file makes Arrow raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CannotRun(f"{file}: not a Parquet table that can be read ({reason})") from None
    return table.column_names, enumerate(zip(*cells, strict=True), 2)  # as in a CSV, the first row stands in line 2


def _as_text(column: pa.ChunkedArray) -> list[str | None]:
    if pa.types.is_floating(column.type):
        return [None if value is None or value != value else str(value) for value in column.to_pylist()]
    return column.cast(pa.string()).to_pylist()


def _text(file: Path) -> tuple[str, str]:
    """The text of a file, and its encoding where that is plain. Raises Refused for what is no text."""
    content = file.read_bytes()
    encoding = "utf-16" if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8"
    try:
        text = content.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError as error:
        words = [word[0] for word in itertools.islice(_WORDS.finditer(content), 1000)]
        encoding = charsets.detected(words)
        try:
            text = content.decode(encoding or "utf-8")
        except UnicodeDecodeError:
            line = content[: error.start].count(b"\n") + 1
            what = "not UTF-8, and too little text to tell its encoding; save it as UTF-8"
            raise Refused(f"E_CSV {file} line {line}: {what}") from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise Refused(f"E_CSV {file} line {line}: holds a NUL byte; save it as plain UTF-8 text")
    return text, encoding


def _objects(file: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line, or place in the list, object) of JSON Lines, or of one list in JSON. Raises Refused for what is neither."""
    text = _text(file)[0]
    if text.lstrip().startswith("["):
        numbered: Iterable[tuple[int, Any]] = enumerate(_parsed(text, f"{file}"), 1)
    else:
        # By line feeds alone: a JSON text may hold other signs that Python takes for the end of a line.
        lines = ((number, line) for number, line in enumerate(text.split("\n"), 1) if line.strip())
        numbered = ((number, _parsed(line, f"{file} line {number}")) for number, line in lines)
    for number, value in numbered:
        if not isinstance(value, dict):
            where = place(file, number)
            raise Refused(f"E_JSON {where}: expected an object with a name for each value, got {str(value)[:40]!r}")
        yield number, value


def _parsed(text: str, where: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Refused(f"E_JSON {where}: not JSON ({error})") from None


def _cell(value: Any) -> str | None:
    """A value of JSON as a table would have it: a list of one is that one, numbers stay as they are written."""
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    if value is None or value == [] or isinstance(value, str):
        return value or None
    return json.dumps(value, ensure_ascii=False)


def _csv(file: Path, names: list[str] | None, used: Collection[int]) -> tuple[list[str], Iterator[Row]]:
    text, _ = _text(file)
    first = text.lstrip().partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    spaced = f"{delimiter} " in first  # `filename, cat, dog`: the spaces are no part of the cells
    # Strict, and over the whole text: a quote that is not closed would swallow all rows behind it in silence.
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=spaced)
    try:
        names = names or next(lines, None)
    except csv.Error as error:
        raise Refused(f"E_CSV {file} line 1: {error}; is a quote not closed?") from None
    if not names:
        raise Refused(f"E_NO_DATA {file}: no rows")
    return names, _csv_rows(lines, names, used, file)


def _csv_rows(lines, names: list[str], used: Collection[int], file: Path) -> Iterator[Row]:
    while True:
        line = lines.line_num + 1
        where = f"E_CSV {file} line {line}"
        try:
            row = next(lines, None)
        except csv.Error as error:
            yield f"{where}: {error}; is a quote not closed?"
            return
        if row is None:
            return
        if len(row) < 2 and not "".join(row).strip(" \t"):
            continue
        if len(row) != len(names):
            yield f"{where}: {len(row)} fields, expected {len(names)}"
        elif broken := next((names[place] for place in used if "\n" in row[place] or "\r" in row[place]), None):
            yield f"{where}: a line break in {broken}; is a quote not closed?"
        elif long := next((names[place] for place in used if len(row[place]) > _LONGEST), None):
            yield f"{where}: more than {_LONGEST} characters in {long}; is a quote not closed?"
        else:
            yield line, row
