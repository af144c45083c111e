"""A table of samples: path and label, and optionally group, split, clip and frame number."""

from pathlib import Path

from components.ingest import rows, sheet
from components.ingest.form import FITS, Fit, Form, Options
from components.ingest.listing import Listing
from components.ingest.source import Source
from components.shared.errors import CannotRun, Stop

# What the columns may be called; the first that is there counts.
COLUMNS = {
    "path": ("path", "file", "filename", "file_name", "image"), "label": ("label", "class", "category"),
    "group": ("group",), "split": ("split",), "clip": ("clip", "video", "sequence"), "frame": ("frame", "frame_number"),
}  # fmt: skip
EXAMPLE = """\
labels.csv         path,label,split
pictures/1.jpg"""


def fit(listing: Listing) -> Fit | None:
    """A table that was named, or the one that lies beside its pictures."""
    tables = [file for file in listing.others(*sheet.ENDINGS) if listing.file or file.parent == listing.root]
    if len(tables) != 1 or (not listing.file and len(listing.folders[""].folders) > 1):
        return None
    try:
        names = [name.strip().lower() for name in sheet.header(tables[0])]
    except Stop:
        names = []
    return Fit(FITS + 1, f"{tables[0].name} has the columns {', '.join(names) or 'of no table that can be read'}")


def read(listing: Listing, options: Options) -> Source:
    """The rows of the table. Raises Refused with every bad row, CannotRun for a table without the columns."""
    file = next(file for file in listing.others(*sheet.ENDINGS) if listing.file or file.parent == listing.root)
    found = sheet.read(file, _places(sheet.header(file), file))
    return rows.source_of(found, file, f"table {file.name}", listing, options)


def _places(header: list[str], file: Path) -> dict[str, int | None]:
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


FORM = Form("table", "a CSV or Parquet table: path, label, and optionally group, split, clip, frame", EXAMPLE, fit, read)
