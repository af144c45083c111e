"""A table of samples: path and label, and optionally group, split, clip and frame number."""

from pathlib import Path

from components.ingest import columns, rows, sheet
from components.ingest.form import COULD, MARKED, Fit, Form, Options
from components.ingest.forms import box_table
from components.ingest.listing import Listing
from components.ingest.source import Source

EXAMPLE = """\
labels.csv         path,label,split
pictures/1.jpg"""


def fit(listing: Listing) -> Fit | None:
    """A table that was named, or that has paths and labels; or the only one beside pictures of which nothing else tells labels."""
    files = columns.tables(listing)
    good = _good(files)
    top = listing.folders[""]
    inside = [folder for path, folder in listing.folders.items() if path]
    alone = len(files) == 1 and (listing.file or not inside or (len(inside) == 1 and inside[0].stills and not top.stills))
    if not good and not alone:
        return None
    file = (good or files)[0]
    header = columns.header_of(file)
    names = ", ".join(name.strip() for name in header)
    return Fit(
        COULD if box_table.places(header) else MARKED, f"{file.name} has the columns {names or 'of no table that can be read'}"
    )


def read(listing: Listing, options: Options) -> Source:
    """The rows of the table. Raises Refused with every bad row, CannotRun for a table without the columns."""
    files = columns.tables(listing)
    return source_of(columns.with_labels(_good(files) or files[:1]), listing, options)


def _good(files: list[Path]) -> list[Path]:
    found = ((file, columns.columns_of(columns.header_of(file))) for file in files)
    return [file for file, names in found if names.path and names.label]


def source_of(splits: dict[Path, str | None], listing: Listing, options: Options) -> Source:
    """The samples of tables, each with the split that it is of."""
    parts = {}
    for file, split in splits.items():
        parts[file] = columns.read(file)
        if split:
            parts[file]["split"] = parts[file]["split"].fillna(split)
    what = "table " + ", ".join(f"{listing.relative(file)}{sheet.spoken(file)}" for file in parts)
    by_id = any(columns.columns_of(columns.header_of(file)).by_id for file in parts)
    return rows.source_of(rows.joined(parts, listing.root), list(parts), what, listing, options, folders=by_id)


FORM = Form(
    "table", "a CSV, JSON Lines or Parquet table: path, label, and optionally group, split, clip, frame", EXAMPLE, fit, read
)
