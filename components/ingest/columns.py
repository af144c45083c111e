"""What the columns of a table mean, and which of several tables have the labels."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from components.ingest import sheet
from components.ingest.lookup import ending
from components.ingest.source import split_of, words
from components.shared import files
from components.shared.errors import CannotRun, Refused

# What the columns may be called. Of paths the first counts: a table may well have a `path` and an `image`.
PATHS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img_path", "image_name",
         "img")  # fmt: skip
ANSWERED = (
    "source",
    "prediction_set",
)  # of a table of answers of `predict`, whose labels a person corrected: its id is no name
IDS = ("id", "image_id", "img_id", "id_code", "imageid", "video_id", "uid")
LABELS = ("label", "class", "category", "labels", "class_name", "classname", "label_name", "classid", "class_id", "breed", "species",
          "diagnosis", "target", "dx")  # fmt: skip
# Words in the name of a file of names.
NAMING = {"label", "labels", "class", "classes", "names", "map", "mapping", "categories"}
OTHERS = {"group": ("group",), "split": ("split",), "clip": ("clip", "video", "sequence"), "frame": ("frame", "frame_number")}
_UNLABELLED = "unlabeled"  # Roboflow's column of pictures that nobody labelled


class Columns(NamedTuple):
    """The places of what a table has: each column that could be it; they must agree."""

    names: list[str]
    path: list[int]
    label: list[int]
    others: dict[str, list[int]]

    @property
    def answers(self) -> bool:
        """Whether it is a table of answers, where a folder's path is a clip."""
        return {*ANSWERED} <= {name.strip().lower() for name in self.names}

    @property
    def by_id(self) -> bool:
        """Whether samples are named by an id, which may be a folder's name, not by a file's path."""
        return bool(self.path) and self.names[self.path[0]].strip().lower() not in (*PATHS, ANSWERED[0])

    @property
    def classes(self) -> dict[int, str]:
        """Of a table with a column of 0 and 1 for each class: their names."""
        names = {place: name.strip() for place, name in enumerate(self.names) if place not in self.path}
        return {place: name for place, name in names.items() if name.lower() != _UNLABELLED}


def columns_of(header: list[str]) -> Columns:
    """What the columns are, by their names; spaces around and case make no difference."""
    names = [name.strip().lower() for name in header]

    def places(wanted: Sequence[str]) -> list[int]:
        first = next((name for name in wanted if name in names), None)
        return [place for place, name in enumerate(names) if name == first]

    answered = {*ANSWERED} <= {*names}
    others = {key: places(wanted) for key, wanted in OTHERS.items()} | {"fault": places(("fault",)) if answered else []}
    path = places(ANSWERED[:1] if answered else (*PATHS, *IDS))
    if not path:  # each row is a whole clip
        path, others["clip"] = others["clip"] or places(ANSWERED[:1]), []
    taken = {*path, *(place for some in others.values() for place in some)}
    # `class_id` says again in numbers what `class` says, and `class` what `class_name` says.
    plain = places(("class_name", "label_name")) or [
        place for place, name in enumerate(names) if name in LABELS[:2] and place not in taken
    ]
    label = plain or [place for place in places(LABELS) if place not in taken]
    if path and not label and len(names) == 2 and names[path[0]] not in PATHS:  # of a file's path it may be the caption
        label = [1 - path[0]]
    return Columns(header, path, label, others)


def of(file: Path) -> Columns:
    """What the columns of a table are; it has none where it cannot be read."""
    return columns_of(sheet.header_of(file))


def read(file: Path, split: str | None = None) -> pd.DataFrame:
    """Path, label and what else there is of group, split, clip, frame and fault; `split` where the table has none of its own.

    Raises CannotRun for a table without path or label, Refused where two columns for one thing differ.
    """
    columns = columns_of(sheet.header(file))
    missing = [key for key in ("path", "label") if not getattr(columns, key)]
    if missing:
        there = ", ".join(columns.names[:20]) + (" …" if len(columns.names) > 20 else "") or "none"
        raise CannotRun(f"{file}: no column {' or '.join(missing)}; it has: {there}; call what is meant so in its first line")
    places = {"path": columns.path, "label": columns.label, **columns.others}
    rows = sheet.read(file, {f"{key} {number}": place for key, some in places.items() for number, place in enumerate(some)})
    for key, some in places.items():
        for number in range(1, len(some)):
            first, other = rows[f"{key} 0"].fillna(""), rows[f"{key} {number}"].fillna("")
            if (differs := (first != other).to_numpy()).any():
                line, values = rows["line"][differs].iloc[0], f"{first[differs].iloc[0]!r} and {other[differs].iloc[0]!r}"
                names = f"{columns.names[some[0]]!r} and {columns.names[some[number]]!r}"
                what = f"the columns {names} differ ({values}); rename all but the one that counts"
                raise Refused(f"E_CSV {sheet.place(file, line)}: {what}")
    rows = rows.rename(columns={f"{key} 0": key for key in places})
    if columns.answers and file.suffix.lower() == ".csv":
        for key in ("path", "label"):
            rows[key] = rows[key].str.replace(files.QUOTED, "", regex=True).astype(sheet.TEXT)
    if split:
        rows["split"] = rows["split"].fillna(split) if "split" in rows else split
    return rows


def read_one_hot(file: Path) -> pd.DataFrame:
    """Path and label of a table with a column of 0 and 1 for each class; rows without a 1 are left out.

    Raises Refused for other values, and for every row that has more than one 1.
    """
    columns = columns_of(sheet.header(file))
    names = np.array(list(columns.classes.values()), object)
    rows = sheet.read(file, {"path": columns.path[0], **{f"class {place}": place for place in columns.classes}})
    cells = rows[[f"class {place}" for place in columns.classes]].fillna("0").to_numpy(str)
    ones = np.isin(cells, ("1", "1.0"))
    where = [sheet.place(file, line) for line in rows["line"]]
    if (wrong := np.argwhere(~ones & ~np.isin(cells, ("0", "0.0")))).size:
        row, column = wrong[0]
        expected = f"expected 0 or 1 in {names[column]!r}, as of a column for each class, got {str(cells[row, column])!r}"
        raise Refused(f"E_LABEL {where[row]}: {expected}; if one column has the labels, call it label")
    if (several := np.flatnonzero(ones.sum(axis=1) > 1)).size:
        raise Refused(*(f"E_LABEL {where[row]}: {rows['path'][row]!r} has several labels ({', '.join(names[ones[row]])}); "
                        "a sample has one here" for row in several))  # fmt: skip
    return rows[["path", "line"]].assign(label=pd.array(names[ones.argmax(axis=1)], sheet.TEXT))[ones.any(axis=1)]


def is_picture(name: str) -> bool:
    """Whether a text ends like the name of a picture or video."""
    return bool(ending(name))


def is_submission(file: Path) -> bool:
    """Whether it has guesses, or shows a competition what they look like: no labels that a person gave."""
    return bool({"submission", "prediction", "predictions", "answers"} & {*words(file.stem)})


def labelled(files: Sequence[Path]) -> list[Path]:
    """Those that have the columns of paths, or of ids, and of labels."""
    return [file for file in files if (columns := of(file)).path and columns.label]


def with_labels(files: Sequence[Path]) -> dict[Path, str | None]:
    """The tables that have the labels, and the split that each is of. Raises CannotRun where more than one could be meant."""
    splits = {file: split_of(file.stem) for file in files}
    if "train" not in splits.values():
        if len(files) > 1:
            what = "several tables have labels; name the one that counts, or say --form class-folders:"
            raise CannotRun(f"{files[0].parent}: {what}", *map(str, files))
        return dict.fromkeys(files)
    official = {file: split for file, split in splits.items() if split}
    if len(set(official.values())) < len(official):
        raise CannotRun(f"{files[0].parent}: several tables of one split; name the one that counts:", *map(str, official))
    return official if len(official) > 1 else dict.fromkeys(official)
