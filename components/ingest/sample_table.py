"""A CSV or Parquet table of samples: path and label, and optionally group, split, clip and frame number."""

import csv
import io
import itertools
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from natsort import index_natsorted

from components.ingest.sample_reader import LONG_CLIP, STILLS, Reader
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


def is_table(path: Path) -> bool:
    """Whether a file's name is that of a table."""
    return path.is_file() and path.suffix.lower() in (".csv", ".tsv", ".parquet")


def read(file: Path, *, kind: str, max_frames: int) -> Source:
    """The samples of a table. Paths are relative to its folder and stay inside it.

    A clip of more than LONG_CLIP frames is refused, unless `kind` says that it is one.
    Raises Refused with every bad row, CannotRun for a table without the columns.
    """
    rows = _parquet(file) if file.suffix.lower() == ".parquet" else _csv(file)
    if rows.empty:
        raise Refused(f"E_NO_DATA {file}: no rows")
    rows["asked"] = rows["split"].str.strip().str.lower()
    rows["split"] = rows["asked"].map(SPLIT_NAMES).astype(_TEXT)
    rows["file"] = pd.array([os.path.normpath(path) for path in rows["path"].fillna("")], dtype=_TEXT)
    if faults := list(_faults(rows, file)):
        raise Refused(*faults)
    rows["order"] = (rows["frame"] if rows["frame"].notna().any() else rows["path"]).fillna("")
    rows["sample"] = rows["clip"].fillna(rows["path"])
    codes, names = pd.factorize(rows["sample"])
    for column in ("label", "split", "group"):
        mixed = rows[column].groupby(codes).nunique(dropna=False) > 1
        if mixed.any():
            raise Refused(*(f"E_LABEL_CONFLICT {file}: clip {name!r} has two {column}s" for name in names[mixed]))
    sizes = np.bincount(codes)
    if kind != "clips" and (long := np.flatnonzero(sizes > LONG_CLIP)).size:
        raise Refused(*(f"E_AMBIGUOUS {file}: clip {names[code]!r} has {sizes[code]:,} frames; is that so? "
                        "--kind clips thins it evenly to --max-frames" for code in long))  # fmt: skip
    in_order = rows.iloc[np.argsort(codes, kind="stable")]
    reader = Reader(file.parent, max_frames)

    def samples() -> Iterator[Sample]:
        for name, frames in itertools.groupby(in_order.itertuples(), key=lambda row: row.sample):
            frames = list(frames)
            paths = [file.parent / frames[index].path for index in index_natsorted(row.order for row in frames)]
            group, split = (None if pd.isna(value) else value for value in (frames[0].group, frames[0].split))
            yield Sample(frames[0].label, name, tuple(reader.read(name, paths)), group, split)

    what = "clips" if rows["clip"].notna().any() else "samples"
    unlabelled = _unlabelled(file.parent, {hash(path) for path in rows["file"]})
    return Source(f"table {file.name}: {len(names):,} {what}", len(names), samples, Passed(), reader.thinned, unlabelled)


def _unlabelled(root: Path, named: set[int]) -> Passed:
    """The pictures in a folder and below whose relative paths are not among those that are named, known by their hash."""
    unlabelled = Passed()
    for folder, inside, names in os.walk(root):
        inside.sort()
        for name in sorted(names):
            path = os.path.relpath(f"{folder}/{name}", root)
            if os.path.splitext(name)[1].lower() in STILLS and hash(path) not in named:  # noqa: PTH122 (millions of names)
                unlabelled.add(path)
    return unlabelled


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


def _faults(rows: pd.DataFrame, file: Path) -> Iterator[str]:
    root = os.path.realpath(file.parent)
    first = rows.groupby("file")["line"].transform("first")
    for row, first_line in zip(rows.itertuples(), first, strict=True):
        where = f"{file} line {row.line}"
        if pd.isna(row.path):
            yield f"E_MISSING_FILE {where}: no path"
            continue
        if pd.isna(row.label):
            yield f"E_LABEL_EMPTY {where}: {row.path!r} has no label"
        if pd.notna(row.asked) and pd.isna(row.split):
            yield f"E_SPLIT {where}: expected train, validation or test, got {row.asked!r}"
        if first_line != row.line:
            yield f"E_DUPLICATE_ROW {where}: {row.path!r} stands in line {first_line} too"
        inside = "\0" not in row.path and os.path.realpath(f"{root}/{row.path}").startswith(root.rstrip("/") + "/")
        if not inside or Path(row.path).is_absolute():
            yield f"E_PATH_OUTSIDE {where}: {row.path!r} leaves the table's folder"
        elif not os.path.isfile(f"{root}/{row.path}"):  # noqa: PTH113 (pathlib's raises for names that are too long)
            yield f"E_MISSING_FILE {where}: {row.path!r} does not exist"
