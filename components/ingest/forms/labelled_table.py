"""A table of samples: path and label, and optionally group, split, clip and frame number."""

from components.ingest import columns
from components.ingest.form import COULD, MARKED, Fit, Form, Options
from components.ingest.forms import box_table, hugging_face, jester, kaggle, label_studio, roboflow
from components.ingest.listing import Listing
from components.ingest.rows import source_of
from components.ingest.source import Source

EXAMPLE = """\
labels.csv         path,label,split
pictures/1.jpg"""
_SPECIAL = (box_table, roboflow, label_studio, hugging_face, kaggle, jester)  # tables of a maker, of which more is known


def fit(listing: Listing) -> Fit | None:
    """A table that was named, or that has paths and labels; or the only one beside pictures of which nothing else tells labels."""
    files = columns.tables(listing)
    good = columns.labelled(files)
    top = listing.folders[""]
    inside = [folder for path, folder in listing.folders.items() if path]
    alone = len(files) == 1 and (listing.file or not inside or (len(inside) == 1 and inside[0].stills and not top.stills))
    if not (good or alone):
        return None
    file = (good or files)[0]
    names = ", ".join(name.strip() for name in columns.header_of(file)[:20])
    special = any(fit.strength == MARKED for form in _SPECIAL if (fit := form.FORM.fit(listing)))
    return Fit(COULD if special else MARKED, f"{file.name} has the columns {names or 'of no table that can be read'}")


def read(listing: Listing, options: Options) -> Source:
    """The rows of the table. Raises Refused with every bad row, CannotRun for a table without the columns."""
    files = columns.tables(listing)
    parts = columns.read_all(columns.with_labels(columns.labelled(files) or files[:1]))
    return source_of(parts, "table", listing, options)


FORM = Form(
    "table", "a CSV, JSON Lines or Parquet table: path, label, and optionally group, split, clip, frame", EXAMPLE, fit, read
)
