"""Lists of `id;label` without a line of names, as Jester has them: one a split, and beside them a file or folder of frames per id."""

from pathlib import Path

from components.ingest import columns, sheet
from components.ingest.form import MARKED, Fit, Form, Options
from components.ingest.listing import Listing
from components.ingest.rows import source_of
from components.ingest.source import Source

EXAMPLE = """\
jester-v1-train.csv        34870;Drumming Fingers
jester-v1-validation.csv
34870/00001.jpg"""


def fit(listing: Listing) -> Fit | None:
    """Two columns whose first line is a row already."""
    files = _lists(listing)
    return Fit(MARKED, f"{files[0].name} begins with a row, not with names of columns") if files else None


def read(listing: Listing, options: Options) -> Source:
    """The rows of the lists, of which each has the split that its name says."""
    parts = {}
    for file, split in columns.with_labels(_lists(listing)).items():
        parts[file] = columns.filled(sheet.read(file, {"path": 0, "label": 1}, ["id", "label"]))
        parts[file]["split"] = split
    return source_of(parts, "lists without names of columns", listing, options, folders=True)


def _lists(listing: Listing) -> list[Path]:
    """Tables whose first line begins with a number, or with the name of a picture or of a folder that is there."""
    folders = {path.rpartition("/")[2] for path in listing.folders} | {*listing.folders[""].folders}
    found = []
    for file in columns.tables(listing):
        first = columns.header_of(file) if file.suffix.lower() in (".csv", ".tsv") else []
        named = columns.columns_of(first).path  # a folder may be called `image`, as the column is
        if len(first) == 2 and not named and (first[0].isdigit() or first[0] in folders or columns.is_picture(first[0])):
            found.append(file)
    return found


FORM = Form("jester", "Jester: lists of id;label without names of columns, a folder of frames per id", EXAMPLE, fit, read)
