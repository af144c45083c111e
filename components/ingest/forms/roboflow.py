"""Roboflow's export for several classes a picture: `_classes.csv` in the folder of each split, a column of 0 and 1 for each class."""

from components.ingest import columns, sheet
from components.ingest.form import MARKED, Fit, Form, Options
from components.ingest.listing import Listing
from components.ingest.rows import source_of
from components.ingest.source import Source
from components.shared.errors import CannotRun

EXAMPLE = """\
train/_classes.csv    filename, cat, dog
train/1.jpg
valid/_classes.csv"""


def fit(listing: Listing) -> Fit | None:
    """The name that only Roboflow gives."""
    files = listing.others("_classes.csv")
    return Fit(MARKED, ", ".join(map(listing.relative, files[:3]))) if files else None


def read(listing: Listing, options: Options) -> Source:
    """The rows that have one class. Raises Refused with all that have several, CannotRun for an export of masks."""
    parts = {}
    for file in listing.others("_classes.csv"):
        names = [name.strip() for name in sheet.header(file)]
        if names[0].lower() != "filename":
            raise CannotRun(f"{file}: has {', '.join(names)}, which is of masks, not of classes; export it as classification")
        # The column of those that nobody labelled is no class.
        classes = {place: name for place, name in enumerate(names) if place and name.lower() != "unlabeled"}
        parts[file] = columns.one_hot(file, 0, classes).assign(split=columns.split_of(file.parent.name))
    return source_of(parts, "Roboflow's tables", listing, options)


FORM = Form("roboflow", "Roboflow: _classes.csv beside the pictures of each split", EXAMPLE, fit, read)
