"""What the columns of a table mean, and which of several tables have the labels."""

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from components.ingest import sheet
from components.ingest.listing import Listing
from components.ingest.rows import COLUMNS
from components.ingest.source import SPLIT_NAMES
from components.shared.errors import CannotRun, Refused, Stop

# What the columns may be called. Of paths the first counts: a table may well have a `path` and an `image`.
PATHS = (
    "path",
    "file",
    "filename",
    "file_name",
    "filepath",
    "file_path",
    "image",
    "image_path",
    "img_path",
    "image_name",
    "img",
)
IDS = ("id", "image_id", "img_id", "id_code", "imageid", "video_id", "uid")
LABELS = ("label", "class", "category", "labels", "class_name", "label_name", "classid", "class_id", "breed", "species",
          "diagnosis", "target", "dx")  # fmt: skip
OTHERS = {"group": ("group",), "split": ("split",), "clip": ("clip", "video", "sequence"), "frame": ("frame", "frame_number")}


class Columns(NamedTuple):
    """The places of what a table has: each column that could be it; they must agree."""

    names: list[str]
    path: list[int]
    label: list[int]
    others: dict[str, list[int]]

    @property
    def by_id(self) -> bool:
        """Whether samples are named by an id, which may be a folder's name, not by a file's path."""
        return bool(self.path) and self.names[self.path[0]].strip().lower() not in PATHS


def columns_of(header: list[str]) -> Columns:
    """What the columns are, by their names; spaces around and case make no difference."""
    names = [name.strip().lower() for name in header]

    def places(wanted: Sequence[str]) -> list[int]:
        first = next((name for name in wanted if name in names), None)
        return [place for place, name in enumerate(names) if name == first]

    others = {key: places(wanted) for key, wanted in OTHERS.items()}
    path = places((*PATHS, *IDS))
    if not path:  # each row is a whole clip
        path, others["clip"] = others["clip"], []
    taken = {*path, *(place for some in others.values() for place in some)}
    # `class_id` says again in numbers what `class` says, so that one of the two is enough.
    plain = [place for place, name in enumerate(names) if name in LABELS[:3] and place not in taken]
    label = plain or [place for place in places(LABELS) if place not in taken]
    if path and not label and len(names) == 2:
        label = [1 - path[0]]
    return Columns(header, path, label, others)


def read(file: Path) -> pd.DataFrame:
    """The columns of COLUMNS, and `line`. Raises CannotRun for a table without path or label, Refused where two columns differ."""
    columns = columns_of(sheet.header(file))
    missing = [key for key in ("path", "label") if not getattr(columns, key)]
    if missing:
        there = ", ".join(columns.names) or "none"
        raise CannotRun(f"{file}: no column {' or '.join(missing)}; it has: {there}; rename the one that is meant")
    places = {"path": columns.path, "label": columns.label, **columns.others}
    wanted = {f"{key} {number}": place for key, some in places.items() for number, place in enumerate(some)}
    found = sheet.read(file, wanted)
    for key, some in places.items():
        for number in range(1, len(some)):
            differs = (found[f"{key} 0"].fillna("") != found[f"{key} {number}"].fillna("")).to_numpy()
            if differs.any():
                row = found[differs].iloc[0]
                raise Refused(
                    f"E_CSV {file} line {row['line']}: the columns {columns.names[some[0]]!r} and {columns.names[some[number]]!r} "
                    f"differ ({row[f'{key} 0']!r} and {row[f'{key} {number}']!r}); rename all but the one that counts"
                )
    cells = {key: found[f"{key} 0"] if some else pd.array([None] * len(found), sheet.TEXT) for key, some in places.items()}
    return pd.DataFrame(cells)[list(COLUMNS)].assign(line=found["line"])


def tables(listing: Listing) -> list[Path]:
    """The tables of a source: the one that was named, those beside the pictures, or wherever they are."""
    found = [file for file in listing.others(*sheet.ENDINGS) if "submission" not in _words(file.stem)]
    return [file for file in found if file.parent == listing.root] or found


def header_of(file: Path) -> list[str]:
    """The names of a table's columns; none where it is no table that can be read."""
    try:
        return sheet.header(file)
    except Stop:
        return []


def split_of(name: str) -> str | None:
    """The official split that a file or folder is of by its name: `train_labels`, `jester-v1-validation`."""
    splits = {SPLIT_NAMES[word] for word in _words(name) if word in SPLIT_NAMES}
    return splits.pop() if len(splits) == 1 else None


def _words(name: str) -> list[str]:
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def with_labels(files: Sequence[Path]) -> dict[Path, str | None]:
    """The tables that have the labels, and the split that each is of. Raises CannotRun where more than one could be meant."""
    splits = {file: split_of(file.stem) for file in files}
    if "train" not in splits.values():
        if len(files) > 1:
            raise CannotRun(f"{files[0].parent}: several tables have labels; name the one that counts:", *map(str, files))
        return dict.fromkeys(files)
    official = {file: split for file, split in splits.items() if split}
    if len(set(official.values())) < len(official):
        raise CannotRun(f"{files[0].parent}: several tables of one split; name the one that counts:", *map(str, official))
    return official if len(official) > 1 else dict.fromkeys(official)
