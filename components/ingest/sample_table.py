"""A CSV or Parquet table of samples: path and label, and optionally group, split, clip and frame number."""

import csv
import io
import itertools
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from natsort import index_natsorted

from components.ingest.source import SPLIT_NAMES, Passed, Source
from components.shared.data.dataset import Sample
from components.shared.errors import CannotRun, Refused

# What the columns may be called.
COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "image"), "label": ("label", "class", "category"),
    "group": ("group",), "split": ("split",), "clip": ("clip", "video", "sequence"), "frame": ("frame", "frame_number"),
}  # fmt: skip
_ROWS = 2**16  # that are held as Python objects at once
_LONGEST = 1000  # characters of a path, a label ...; more is a quote that was not closed
_TEXT = pd.StringDtype("pyarrow")  # a tenth of what Python's own text takes
_USED = ("sample", "path", "label", "group", "split", "order")


def is_table(path: Path) -> bool:
    """Whether a file's name is that of a table."""
    return path.is_file() and path.suffix.lower() in (".csv", ".tsv", ".parquet")


def read(
    file: Path,
    *,
    reader: Callable[[str, list[Path]], list[tuple[bytes, str]]],
    longest: int | None,
    pictures: Iterable[str],
) -> Source:
    """The samples of a table. Paths are relative to its folder and stay inside it.

    `reader` makes frames of a sample's name and files; a clip of more than `longest` frames is refused; `pictures` are the
    paths of those that lie in the folder.
    Raises Refused with every bad row, CannotRun for a table without the columns.
    """
    rows = _parquet(file) if file.suffix.lower() == ".parquet" else _csv(file)
    if rows.empty:
        raise Refused(f"E_NO_DATA {file}: no rows")
    given = rows["split"].str.strip().str.lower()
    rows["split"] = given.map(SPLIT_NAMES).astype(_TEXT)
    faults = _faults(rows, given, file)
    if faults:
        raise Refused(*faults)
    clips = rows["clip"].notna().any()
    rows["sample"] = rows["clip"].where(rows["clip"].notna(), rows["path"])
    rows["order"] = (rows["frame"] if rows["frame"].notna().any() else rows["path"]).fillna("")
    codes, names = pd.factorize(rows["sample"])
    order = np.argsort(codes, kind="stable")
    bounds = np.searchsorted(codes[order], np.arange(len(names) + 1))
    for column in ("label", "split", "group"):
        values = pd.factorize(rows[column])[0]
        mixed = np.unique(codes[values != values[order[bounds[:-1]]][codes]])
        if len(mixed):
            raise Refused(*(f"E_LABEL_CONFLICT {file}: clip {names[code]!r} has two {column}s" for code in mixed))
    rows = rows.iloc[order]
    if longest and len(long := np.flatnonzero(np.diff(bounds) > longest)):
        raise Refused(*(f"E_AMBIGUOUS {file}: clip {names[index]!r} has {bounds[index + 1] - bounds[index]:,} frames; is that so? "
                        "--kind clips thins it evenly to --max-frames" for index in long))  # fmt: skip

    def samples() -> Iterator[Sample]:
        for first in range(0, len(names), _ROWS):
            last = min(first + _ROWS, len(names))
            # A piece at a time becomes Python's objects.
            piece = rows.iloc[bounds[first] : bounds[last]]
            cells = {name: piece[name].astype(object).where(piece[name].notna(), None).tolist() for name in _USED}
            for start, end in itertools.pairwise(bounds[first : last + 1] - bounds[first]):
                paths = [file.parent / path for path in cells["path"][start:end]]
                in_order = [paths[index] for index in index_natsorted(cells["order"][start:end])]
                frames = reader(cells["sample"][start], in_order)
                yield Sample(cells["label"][start], cells["sample"][start], tuple(frames), cells["group"][start],
                             cells["split"][start])  # fmt: skip

    unlabelled = Passed()
    named = np.sort(np.fromiter((hash(os.path.normpath(path)) for path in rows["path"]), np.int64, len(rows)))
    for path in pictures:
        if named[min(np.searchsorted(named, hash(path)), len(named) - 1)] != hash(path):
            unlabelled.add(path)
    what = "clips" if clips else "samples"
    return Source(f"table {file.name}: {len(names):,} {what}", len(names), samples, unlabelled=unlabelled)


def _columns(header: list[str], file: Path) -> dict[str, int | None]:
    """Which column holds what, by its place. Raises CannotRun when one is missing, or could be two."""
    named = [name.strip().lower() for name in header]
    places: dict[str, int | None] = {}
    for key, names in COLUMNS.items():
        # The first of the names counts: a table may well have a `path` and an `image`.
        name = next((name for name in names if name in named), None)
        if name and named.count(name) > 1:
            raise CannotRun(f"{file}: has {named.count(name)} columns called {name}; rename all but one")
        places[key] = named.index(name) if name else None
    missing = [key for key in ("path", "label") if places[key] is None]
    if missing:
        raise CannotRun(f"{file}: no column {' or '.join(missing)}; it has: {', '.join(header) or 'none'}")
    return places


def _frame(cells: dict[str, object], lines: Iterable[int]) -> pd.DataFrame:
    """One word for "nothing here", however a file puts it: an empty cell, a null, spaces."""
    frame = pd.DataFrame({key: pd.array(values, dtype=_TEXT) for key, values in cells.items()})
    for name, column in frame.items():
        frame[name] = column.where((column.str.strip() != "").fillna(False).astype(bool))
    return frame.assign(line=np.fromiter(lines, np.int64, len(frame)))


def _parquet(file: Path) -> pd.DataFrame:
    try:
        table = pq.read_table(file)
        places = _columns(table.column_names, file)
        cells = {key: _as_text(table.column(place)) if place is not None else pa.nulls(len(table), pa.string())
                 for key, place in places.items()}  # fmt: skip
        # As in a CSV, the first row stands in line 2.
        return _frame(cells, range(2, len(table) + 2))
    except CannotRun:
        raise
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CannotRun(f"{file}: not a Parquet table that can be read ({reason})") from None


def _as_text(column: pa.ChunkedArray) -> pa.ChunkedArray | pa.Array:
    if pa.types.is_floating(column.type):
        return pa.array([None if value is None or value != value else str(value) for value in column.to_pylist()], pa.string())
    text = column.cast(pa.string())
    text.validate(full=True)
    return text


def _csv(file: Path) -> pd.DataFrame:
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
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    faults: list[str] = []
    try:
        header = next(lines, [])
    except csv.Error as error:
        raise Refused(f"E_CSV {file} line 1: {error}; is a quote not closed?") from None
    if not header:
        raise Refused(f"E_NO_DATA {file}: no rows")
    places = _columns(header, file)
    rows = _good(lines, header, [place for place in places.values() if place is not None], file, faults)
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


def _faults(rows: pd.DataFrame, given: pd.Series, file: Path) -> list[str]:
    faults = []
    root = os.path.realpath(file.parent)
    codes = pd.factorize(pd.array([os.path.normpath(path) for path in rows["path"].fillna("")], dtype=_TEXT))[0]
    first = np.unique(codes, return_index=True)[1]  # codes count up in the order in which they come
    for start in range(0, len(rows), _ROWS):
        piece = rows.iloc[start : start + _ROWS].assign(given=given.iloc[start : start + _ROWS])
        columns = (piece[name].tolist() for name in ("line", "path", "label", "split", "given"))
        for index, (line, path, label, split, asked) in enumerate(zip(*columns, strict=True), start):
            where = f"{file} line {line}"
            if pd.isna(path):
                faults.append(f"E_MISSING_FILE {where}: no path")
                continue
            if pd.isna(label):
                faults.append(f"E_LABEL_EMPTY {where}: {path!r} has no label")
            if pd.notna(asked) and pd.isna(split):
                faults.append(f"E_SPLIT {where}: expected train, validation or test, got {asked!r}")
            if first[codes[index]] != index:
                faults.append(f"E_DUPLICATE_ROW {where}: {path!r} stands in line {rows['line'].iloc[first[codes[index]]]} too")
            if "\0" in path or Path(path).is_absolute() or not _is_inside(os.path.realpath(f"{root}/{path}"), root):
                faults.append(f"E_PATH_OUTSIDE {where}: {path!r} leaves the table's folder")
            elif not os.path.isfile(f"{root}/{path}"):  # noqa: PTH113 (pathlib's raises for names that are too long)
                faults.append(f"E_MISSING_FILE {where}: {path!r} does not exist")
    return faults


def _is_inside(path: str, root: str) -> bool:
    return path.startswith(root.rstrip("/") + "/")
