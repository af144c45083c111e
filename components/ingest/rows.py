"""Rows of a table -> samples: each row held against the files that lie there, all bad ones told together."""

import itertools
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from natsort import index_natsorted

from components.ingest.form import Options
from components.ingest.listing import Listing
from components.ingest.sample_reader import LONG_CLIP, STILLS
from components.ingest.sheet import TEXT
from components.ingest.source import SPLIT_NAMES, Entry, LeftOut, Source
from components.shared.errors import Refused

COLUMNS = ("path", "label", "group", "split", "clip", "frame")  # and `line`, where a row stands in its file


def source_of(rows: pd.DataFrame, file: Path, what: str, listing: Listing, options: Options) -> Source:
    """The samples of rows with the columns of COLUMNS, of which only path and label are needed in each row.

    Paths are relative to the table's folder and stay inside it. Rows with the same `clip` are its frames, in the order of `frame`.
    A clip of more than LONG_CLIP frames is refused, unless `options.kind` says that it is one. Raises Refused with every bad row.
    """
    if rows.empty:
        raise Refused(f"E_NO_DATA {file}: no rows")
    rows["asked"] = rows["split"].str.strip().str.lower()
    rows["split"] = rows["asked"].map(SPLIT_NAMES).astype(TEXT)
    rows["file"] = pd.array([os.path.normpath(path) for path in rows["path"].fillna("")], dtype=TEXT)
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
    if options.kind != "clips" and (long := np.flatnonzero(sizes > LONG_CLIP)).size:
        raise Refused(*(f"E_AMBIGUOUS {file}: clip {names[code]!r} has {sizes[code]:,} frames; is that so? "
                        "--kind clips thins it evenly to --max-frames" for code in long))  # fmt: skip
    in_order = rows.iloc[np.argsort(codes, kind="stable")]
    named = {hash(path) for path in rows["file"]}

    def entries(left_out: LeftOut) -> Iterator[Entry]:
        _leave_out_unlabelled(file.parent, named, left_out)
        for name, frames in itertools.groupby(in_order.itertuples(), key=lambda row: row.sample):
            frames = list(frames)
            paths = [file.parent / frames[index].path for index in index_natsorted(row.order for row in frames)]
            group, split = (None if pd.isna(value) else value for value in (frames[0].group, frames[0].split))
            yield Entry(frames[0].label, name, paths, group=group, split=split)

    return Source(what, file.parent, entries)


def _leave_out_unlabelled(root: Path, named: set[int], left_out: LeftOut) -> None:
    """The pictures in a folder and below whose relative paths are not among those that are named, known by their hash."""
    for folder, inside, names in os.walk(root):
        inside.sort()
        for name in sorted(names):
            path = os.path.relpath(f"{folder}/{name}", root)
            if os.path.splitext(name)[1].lower() in STILLS and hash(path) not in named:  # noqa: PTH122 (millions of names)
                left_out.add("W_UNLABELED", "pictures that the table does not name", path)


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
