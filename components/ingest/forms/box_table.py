"""Tables of boxes, as TensorFlow's object detection, Roboflow and Open Images have them."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from components.ingest import boxes, sheet
from components.ingest.boxes import Box, Marked, Pictures
from components.ingest.form import MARKED, Fit, Form, Options
from components.ingest.listing import Listing
from components.ingest.source import LeftOut, Source, split_of

EXAMPLE = """\
train/_annotations.csv   filename,width,height,class,xmin,ymin,xmax,ymax
train/1.jpg"""
EDGES = ("xmin", "ymin", "xmax", "ymax")
_COLUMNS = {
    "path": ("filename", "file_name", "file", "image", "path", "image_path", "imageid", "image_id"),
    "label": ("class", "label", "category", "class_name", "labelname"), "width": ("width",), "height": ("height",),
    **{edge: (edge, edge.replace("m", "_m"), edge[0] + ("1" if "min" in edge else "2")) for edge in EDGES},
}  # fmt: skip


def places(header: list[str]) -> dict[str, int | None]:
    """Which column holds what; nothing at all unless it is a table of boxes."""
    named = [name.strip().lower() for name in header]
    found = {key: next((named.index(name) for name in names if name in named), None) for key, names in _COLUMNS.items()}
    return found if all(found[key] is not None for key in ("path", "label", *EDGES)) else {}


def fit(listing: Listing) -> Fit | None:
    """Tables with the columns of a box."""
    files = _files(listing)
    return Fit(MARKED, f"{listing.relative(files[0])} has columns of boxes") if files else None


def read(listing: Listing, options: Options) -> Source:
    """A still of each row's box; the split is the table's name or folder. Raises Refused, CannotRun."""
    files, pictures = _files(listing), Pictures(listing)

    def marked(left_out: LeftOut, faults: list[str]) -> Iterator[Marked]:
        for file in files:
            yield from _marked(file, listing, pictures, faults)

    return boxes.source_of("a table of boxes", listing, options, marked)


def _files(listing: Listing) -> list[Path]:
    return [file for file in listing.others(*sheet.ENDINGS) if places(sheet.header_of(file))]


def _marked(file: Path, listing: Listing, pictures: Pictures, faults: list[str]) -> Iterator[Marked]:
    path = listing.relative(file)
    rows = sheet.read(file, places(sheet.header(file)))
    folders = boxes.near(path.rpartition("/")[0], "images", file.stem.removesuffix("_labels"))
    numbers = rows[[*EDGES, "width", "height"]].apply(pd.to_numeric, errors="coerce").astype(float)
    empty = rows[["label", *EDGES]].isna().all(axis=1)  # a picture with nothing on it
    bad = numbers[list(EDGES)].isna().any(axis=1) | rows["label"].isna() | rows["path"].isna()
    faults += [f"E_BOX {path} line {line}: without a picture, a class or four numbers" for line in rows["line"][bad & ~empty]]
    # Open Images has fractions of the picture.
    fractions = bool((numbers[list(EDGES)].max() <= 1).all())
    for name, group in numbers[~bad].groupby(rows["path"][~bad], sort=False):
        picture = pictures.find(name, folders)
        if not picture:
            faults.append(f"E_MISSING_FILE {path}: names {name!r}, which is not there")
            continue
        found = [
            Box(label, *edges) for label, edges in zip(rows["label"][group.index], group[list(EDGES)].to_numpy(), strict=True)
        ]
        width, height = group.iloc[0][["width", "height"]]
        yield Marked(picture, found, (width, height) if width > 0 and height > 0 else None, split_of(path), fractions)


FORM = Form("box-table", "a table of boxes; with --crop-boxes a still of each", EXAMPLE, fit, read, boxes=True)
