"""An image folder of Hugging Face: `metadata.csv`, `.jsonl` or `.parquet` with `file_name` and a label, one or one a split."""

from pathlib import Path

from components.ingest import columns
from components.ingest.form import COULD, MARKED, Fit, Form, Options
from components.ingest.listing import Listing
from components.ingest.rows import source_of
from components.ingest.source import SPLIT_NAMES, Source

EXAMPLE = """\
train/metadata.jsonl   {"file_name": "1.jpg", "label": "cat"}
train/1.jpg
test/metadata.jsonl"""


def fit(listing: Listing) -> Fit | None:
    """Tables of that name with the column `file_name`; without labels they are captions, and folders may have the labels."""
    files = _tables(listing)
    if not files:
        return None
    labelled = all(columns.columns_of(columns.header_of(file)).label for file in files)
    return Fit(MARKED if labelled else COULD, f"{', '.join(map(listing.relative, files[:3]))} with file_name")


def read(listing: Listing, options: Options) -> Source:
    """The rows of all tables; the split is what a folder above the table or the picture says."""
    parts = {file: columns.read(file) for file in _tables(listing)}
    for file, rows in parts.items():
        above = Path(listing.relative(file)).parent
        splits = [_split(above / path) for path in rows["path"].fillna("")]
        if None not in splits:
            rows["split"] = splits
    return source_of(parts, "Hugging Face's metadata", listing, options)


def _tables(listing: Listing) -> list[Path]:
    files = listing.others("metadata.csv", "metadata.jsonl", "metadata.parquet")
    return [file for file in files if file.stem == "metadata" and "file_name" in columns.header_of(file)]


def _split(path: Path) -> str | None:
    return next((SPLIT_NAMES[part.lower()] for part in path.parts[:-1] if part.lower() in SPLIT_NAMES), None)


FORM = Form("hugging-face", "Hugging Face: an image folder with metadata.csv, .jsonl or .parquet", EXAMPLE, fit, read)
