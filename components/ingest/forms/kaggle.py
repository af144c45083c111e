"""A competition's data: a table of ids and labels, and beside it folders of pictures, those to be guessed without labels."""

import contextlib
import json
from pathlib import Path

import pandas as pd

from components.ingest import columns, sheet
from components.ingest.form import MARKED, Fit, Form, Options
from components.ingest.forms import box_table
from components.ingest.listing import Listing
from components.ingest.rows import source_of
from components.ingest.source import Source
from components.shared.errors import CannotRun, Stop

EXAMPLE = """\
train.csv                     id,label
train/00a1.jpg
test/00b2.jpg                 not labelled: left out
sample_submission.csv
label_num_to_disease_map.json  {"0": "Rust", …}: names of the numbers"""


def fit(listing: Listing) -> Fit | None:
    """A table with ids and labels, or one with labels beside a submission."""
    files = columns.tables(listing)
    labelled = columns.labelled(files) or _one_hot(files)
    asked = any(columns.is_submission(file) for file in listing.others(".csv"))
    if (
        not labelled
        or box_table.fit(listing)
        or not (asked or any(columns.columns_of(columns.header_of(file)).by_id for file in labelled))
    ):
        return None
    return Fit(MARKED, f"{labelled[0].name} has the columns {', '.join(columns.header_of(labelled[0])[:9])}")


def read(listing: Listing, options: Options) -> Source:
    """The rows of the table; an id is looked for in the folder of its split first. Numbers get the names that a file has for them."""
    files = columns.tables(listing)
    labelled = columns.labelled(files)
    if labelled:
        parts = columns.read_all(columns.with_labels(labelled))
    else:
        parts = {file: _of_columns(file) for file in columns.with_labels(_one_hot(files))}
    for file, rows in parts.items():
        splits = rows["split"].fillna("train") if len(parts) > 1 else [columns.split_of(file.stem) or "train"] * len(rows)
        above = {split: _folder(listing, file, split) for split in set(splits)}
        rows["sought"] = [
            path if pd.isna(path) or "/" in path else above[split] + path
            for path, split in zip(rows["path"], splits, strict=True)
        ]
    what = "table"
    if found := _names(next(iter(parts)).parent, {label for rows in parts.values() for label in rows["label"].dropna()}):
        what = f"labels by the names in {found[0]}, table"
        for rows in parts.values():
            rows["label"] = rows["label"].map(found[1]).astype(sheet.TEXT)
    return source_of(parts, what, listing, options, folders=True)


def _one_hot(files: list[Path]) -> list[Path]:
    """Tables with an id and a column of 0 and 1 for each of several classes."""
    found = []
    for file in files:
        names = columns.columns_of(columns.header_of(file))
        if names.path and not names.label and len(names.names) > 2 and file.suffix.lower() in (".csv", ".tsv"):
            found.append(file)
    return found


def _of_columns(file: Path) -> pd.DataFrame:
    names = columns.columns_of(sheet.header(file))
    classes = {place: name.strip() for place, name in enumerate(names.names) if place not in names.path}
    return columns.one_hot(file, names.path[0], classes)


def _folder(listing: Listing, file: Path, split: str) -> str:
    """The folder of a split's pictures beside a table, if it is one: `train`, `train_images`."""
    beside = listing.folders[listing.relative(file.parent)].folders
    folders = [name for name in beside if columns.split_of(name) == split]
    return f"{folders[0]}/" if len(folders) == 1 else ""


def _names(root: Path, labels: set[str]) -> tuple[str, dict[str, str]] | None:
    """The file beside the table that has a name for each number, and the names. Raises CannotRun where two files differ."""
    found: dict[str, dict[str, str]] = {}
    for file in sorted(root.glob("*.json")) + sorted(root.glob("*.csv")):
        if labels and file.stat().st_size < 2**20 and {*columns.words(file.stem)} & columns.NAMING:
            names = _pairs(file)
            if all(value.isdigit() for value in names.values()):
                names = {value: name for name, value in names.items()}
            if labels <= set(names) and all(label.isdigit() for label in labels):
                found[file.name] = names
    if len({tuple(names[label] for label in sorted(labels)) for names in found.values()}) > 1:
        raise CannotRun(f"{root}: {' and '.join(sorted(found))} name the classes differently; leave one of them there")
    return next(iter(found.items()), None)


def _pairs(file: Path) -> dict[str, str]:
    """Numbers and names as an object in JSON, or as a table of two columns; nothing for anything else."""
    with contextlib.suppress(ValueError, Stop):
        if file.suffix == ".json":
            value = json.loads(file.read_text("utf-8"))
            return {str(key): str(name) for key, name in value.items()} if isinstance(value, dict) else {}
        if len(columns.header_of(file)) == 2:
            rows = sheet.read(file, {"key": 0, "name": 1}).dropna()
            return dict(zip(rows["key"], rows["name"], strict=True))
    return {}


FORM = Form("kaggle", "a competition: a table of ids and labels, folders of pictures beside it", EXAMPLE, fit, read)
