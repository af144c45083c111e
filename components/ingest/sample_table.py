"""A CSV or Parquet table of samples: path and label, and optionally group, split, clip and frame number."""

import csv
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath

import pandas as pd
from natsort import natsort_keygen

from components.ingest.source import SPLIT_NAMES, Source
from components.shared.data.dataset import Sample
from components.shared.errors import CannotRun, Refused

# What the columns may be called.
COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "image"), "label": ("label", "class", "category"),
    "group": ("group",), "split": ("split",), "clip": ("clip", "video", "sequence"), "frame": ("frame", "frame_number"),
}  # fmt: skip


def is_table(path: Path) -> bool:
    """Whether a file's name is that of a table."""
    return path.is_file() and path.suffix.lower() in (".csv", ".tsv", ".parquet")


def read(file: Path, *, opener: Callable, max_frames: int, there: Iterable[str] = ()) -> Source:
    """The samples of a table. Paths are relative to its folder and stay inside it. `there`: the pictures that lie in it.

    Raises Refused with every bad row.
    """
    rows = _rows(file)
    if rows.empty and not len(rows.columns):
        raise Refused(f"E_NO_DATA {file}: no rows")
    columns = {key: next((c for c in rows.columns if c.strip().lower() in names), None) for key, names in COLUMNS.items()}
    missing = [key for key in ("path", "label") if columns[key] is None]
    if missing:
        raise CannotRun(f"{file}: no column {' or '.join(missing)}; it has: {', '.join(rows.columns)}")
    rows = pd.DataFrame({key: rows[name] if name else None for key, name in columns.items()}, dtype=object)
    # One word for "nothing here", however the file puts it: an empty cell, a null, spaces.
    rows = rows.where(rows.map(lambda value: isinstance(value, str) and bool(value.strip())), None)
    if rows.empty:
        raise Refused(f"E_NO_DATA {file}: no rows")
    splits = rows["split"].str.strip().str.lower() if columns["split"] else rows["split"]
    rows["split"] = splits.map(SPLIT_NAMES).astype(object).where(lambda known: known.notna(), None)
    faults = _faults(rows, splits, file)
    if faults:
        raise Refused(*faults)
    rows["sample"] = rows["clip"].where(rows["clip"].notna(), rows["path"])
    if columns["clip"]:
        by = ["frame"] if columns["frame"] else ["path"]
        rows = rows.sort_values(by, key=natsort_keygen(), kind="stable")
    grouped = rows.groupby("sample", sort=False)
    for column in ("label", "split", "group"):
        mixed = grouped[column].nunique(dropna=False)
        if (mixed > 1).any():
            raise Refused(*(f"E_LABEL_CONFLICT {file}: clip {clip!r} has two {column}s" for clip in mixed[mixed > 1].index))

    def samples() -> Iterator[Sample]:
        for name, part in grouped:
            first = part.iloc[0]
            frames = [f for p in part["path"] for f in opener(file.parent / p, max_frames=max_frames)]
            yield Sample(first["label"], str(name), tuple(frames), first["group"], first["split"])

    what = "clips" if columns["clip"] else "samples"
    named = {str(PurePosixPath(path)) for path in rows["path"]}
    unlabelled = [path for path in there if path not in named]
    return Source(f"table {file.name}: {grouped.ngroups:,} {what}", grouped.ngroups, samples, unlabelled=unlabelled)


def _rows(file: Path) -> pd.DataFrame:
    if file.suffix.lower() == ".parquet":
        try:
            cells = pd.read_parquet(file).astype(object)
            return cells.map(lambda value: None if pd.isna(value) else str(value))
        except Exception as error:
            raise CannotRun(f"{file}: not a Parquet table ({str(error).splitlines()[0]})") from None
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        line = file.read_bytes()[: error.start].count(b"\n") + 1
        raise Refused(f"E_CSV {file} line {line}: not UTF-8; save it as UTF-8") from None
    lines = csv.reader(text.splitlines(), delimiter=max(",;\t", key=text.partition("\n")[0].count))
    header = next(lines, [])
    body = [row for row in lines if row]
    ragged = [
        f"E_CSV {file} line {n}: {len(row)} fields, expected {len(header)}"
        for n, row in enumerate(body, 2)
        if len(row) != len(header)
    ]
    if ragged:
        raise Refused(*ragged)
    return pd.DataFrame(body, columns=header, dtype=object)


def _faults(rows: pd.DataFrame, splits: pd.Series, file: Path) -> list[str]:
    faults = []
    root = file.parent.resolve()
    seen: dict[str, int] = {}
    for line, (path, label, split, given) in enumerate(zip(rows["path"], rows["label"], rows["split"], splits, strict=True), 2):
        where = f"{file} line {line}"
        if path is None:
            faults.append(f"E_MISSING_FILE {where}: no path")
            continue
        if label is None:
            faults.append(f"E_LABEL_EMPTY {where}: {path!r} has no label")
        if given and split is None:
            faults.append(f"E_SPLIT {where}: expected train, validation or test, got {given!r}")
        if path in seen:
            faults.append(f"E_DUPLICATE_ROW {where}: {path!r} stands in line {seen[path]} too")
        seen.setdefault(path, line)
        try:
            target = (root / path).resolve()
            inside, there = target.is_relative_to(root) and not Path(path).is_absolute(), target.is_file()
        except ValueError:  # a NUL byte in a name
            inside, there = False, False
        if not inside:
            faults.append(f"E_PATH_OUTSIDE {where}: {path!r} leaves the table's folder")
        elif not there:
            faults.append(f"E_MISSING_FILE {where}: {path!r} does not exist")
    return faults
