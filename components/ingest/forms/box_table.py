"""Tables of boxes, as TensorFlow's object detection, Roboflow and Open Images have them."""

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from components.ingest import boxes, sheet
from components.ingest.boxes import Box, Export, Marked
from components.ingest.listing import Listing
from components.ingest.source import split_of

_EDGES = ["xmin", "ymin", "xmax", "ymax"]
_COLUMNS = {
    "path": ("filename", "file_name", "file", "image", "path", "image_path", "imageid", "image_id"),
    "label": ("class", "label", "category", "class_name", "labelname"), "width": ("width",), "height": ("height",),
    **{edge: (edge, edge.replace("m", "_m"), edge[0] + ("1" if "min" in edge else "2")) for edge in _EDGES},
}  # fmt: skip


def _places(header: list[str]) -> dict[str, int | None]:
    """Which column holds what; nothing at all unless it is a table of boxes."""
    named = [name.strip().lower() for name in header]
    found = {key: next((named.index(name) for name in names if name in named), None) for key, names in _COLUMNS.items()}
    return found if all(found[key] is not None for key in ("path", "label", *_EDGES)) else {}


def _files(listing: Listing) -> list[Path]:
    return [file for file in listing.others(*sheet.ENDINGS) if _places(sheet.header_of(file))]


def _find(listing: Listing) -> str:
    files = _files(listing)
    return f"{listing.relative(files[0])} has columns of boxes" if files else ""


def _marked(export: Export) -> Iterator[Marked]:
    for file in _files(export.listing):
        yield from _pictures(file, export)


def _pictures(file: Path, export: Export) -> Iterator[Marked]:
    """Those of one table; the split is the table's name or folder. Raises Refused, CannotRun."""
    path = export.listing.relative(file)
    rows = sheet.read(file, _places(sheet.header(file)))
    folders = boxes.near(path.rpartition("/")[0], "images", file.stem.removesuffix("_labels"))
    numbers = rows[[*_EDGES, "width", "height"]].apply(pd.to_numeric, errors="coerce").astype(float)
    empty = rows[["label", *_EDGES]].isna().all(axis=1)  # a picture with nothing on it
    bad = numbers[_EDGES].isna().any(axis=1) | rows["label"].isna() | rows["path"].isna()
    what = "without a picture, a class or four numbers"
    export.faults += [f"E_BOX {path} line {line}: {what}" for line in rows["line"][bad & ~empty]]
    fractions = bool((numbers[_EDGES].max() <= 1).all())  # Open Images has fractions of the picture
    for name, group in numbers[~bad].groupby(rows["path"][~bad], sort=False):
        if picture := export.find(name, folders):
            edges = map(tuple, group[_EDGES].to_numpy())
            found = [Box(label, each) for label, each in zip(rows["label"][group.index], edges, strict=True)]
            width, height = group.iloc[0][["width", "height"]]
            yield Marked(picture, found, (width, height) if width > 0 and height > 0 else None, split_of(path), fractions)
        else:
            export.faults.append(f"E_MISSING_FILE {path}: names {name!r}, which is not there")


FORM = boxes.form(
    "box-table", "a table of boxes",
    "train/_annotations.csv   filename,width,height,class,xmin,ymin,xmax,ymax\ntrain/1.jpg", _find, _marked,
)  # fmt: skip
