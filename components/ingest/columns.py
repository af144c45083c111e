"""What the columns of a table mean, and which of several tables have the labels."""

import contextlib
import functools
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from components.ingest import lookup, sheet
from components.ingest.listing import Listing
from components.ingest.rows import COLUMNS
from components.ingest.source import SPLIT_NAMES
from components.shared.errors import CannotRun, Refused, Stop

# What the columns may be called. Of paths the first counts: a table may well have a `path` and an `image`.
PATHS = ("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path", "img_path", "image_name",
         "img")  # fmt: skip
IDS = ("id", "image_id", "img_id", "id_code", "imageid", "video_id", "uid")
LABELS = ("label", "class", "category", "labels", "class_name", "classname", "label_name", "classid", "class_id", "breed", "species",
          "diagnosis", "target", "dx")  # fmt: skip
# Words in the name of a file of names.
NAMING = {"label", "labels", "class", "classes", "names", "map", "mapping", "categories"}
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
    # `class_id` says again in numbers what `class` says, and `class` what `class_name` says.
    plain = places(("class_name", "label_name")) or [
        place for place, name in enumerate(names) if name in LABELS[:2] and place not in taken
    ]
    label = plain or [place for place in places(LABELS) if place not in taken]
    if path and not label and len(names) == 2 and names[path[0]] not in PATHS:  # of a file's path it may be the caption
        label = [1 - path[0]]
    return Columns(header, path, label, others)


def read(file: Path) -> pd.DataFrame:
    """The columns of COLUMNS, and `line`. Raises CannotRun for a table without path or label, Refused where two columns differ."""
    columns = columns_of(sheet.header(file))
    missing = [key for key in ("path", "label") if not getattr(columns, key)]
    if missing:
        there = ", ".join(columns.names[:20]) + (" …" if len(columns.names) > 20 else "") or "none"
        raise CannotRun(f"{file}: no column {' or '.join(missing)}; it has: {there}; call what is meant so in its first line")
    places = {"path": columns.path, "label": columns.label, **columns.others}
    wanted = {f"{key} {number}": place for key, some in places.items() for number, place in enumerate(some)}
    found = sheet.read(file, wanted)
    for key, some in places.items():
        for number in range(1, len(some)):
            differs = (found[f"{key} 0"].fillna("") != found[f"{key} {number}"].fillna("")).to_numpy()
            if differs.any():
                row = found[differs].iloc[0]
                raise Refused(
                    f"E_CSV {sheet.place(file, row['line'])}: the columns {columns.names[some[0]]!r} and {columns.names[some[number]]!r} "
                    f"differ ({row[f'{key} 0']!r} and {row[f'{key} {number}']!r}); rename all but the one that counts"
                )
    return filled(pd.DataFrame({key: found[f"{key} 0"] for key, some in places.items() if some}).assign(line=found["line"]))


def is_submission(file: Path) -> bool:
    """Whether it has guesses, or shows a competition what they look like: no labels that a person gave."""
    return bool({"submission", "prediction", "predictions", "answers"} & {*words(file.stem)})


def is_picture(name: str) -> bool:
    """Whether a text ends like the name of a picture or video."""
    return bool(lookup.ending(name))


def tables(listing: Listing) -> list[Path]:
    """The tables of a source: the one that was named, those beside the pictures, or wherever they are."""
    found = listing.others(*sheet.ENDINGS)
    if listing.file:
        return found
    found = [file for file in found if not is_submission(file) and not _names_folders(file, listing)]
    return [file for file in found if file.parent == listing.root] or found


def _names_folders(file: Path, listing: Listing) -> bool:
    """Whether a table has a name for each class folder, `0,Stop`, and not a label for each sample: every row has another one."""
    names = columns_of(header_of(file))
    if not (names.by_id and names.label and NAMING & {*words(file.stem)}):
        return False
    folders = {path.rpartition("/")[2] for path in listing.folders}
    with contextlib.suppress(Stop):  # what is wrong with it is told by who reads it
        rows = sheet.read(file, {"id": names.path[0], "name": names.label[0]})
        return len(rows) > 1 and rows["name"].is_unique and bool(rows["id"].isin(folders).all())
    return False


def header_of(file: Path) -> list[str]:
    """The names of a table's columns; none where it is no table that can be read. Many forms ask for them."""
    status = file.stat()
    return _header_at(file, status.st_mtime_ns, status.st_size)


@functools.lru_cache(maxsize=100)
def _header_at(file: Path, changed: int, size: int) -> list[str]:
    try:
        return sheet.header(file)
    except Stop:
        return []


def split_of(name: str) -> str | None:
    """The official split that a file or folder is of by its name: `train_labels`, `jester-v1-validation`."""
    splits = {SPLIT_NAMES[word] for word in words(name) if word in SPLIT_NAMES}
    return splits.pop() if len(splits) == 1 else None


def words(name: str) -> list[str]:
    """The words of a file's name, in lower case: `train_labels`, `trainLabels`."""
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def with_labels(files: Sequence[Path]) -> dict[Path, str | None]:
    """The tables that have the labels, and the split that each is of. Raises CannotRun where more than one could be meant."""
    splits = {file: split_of(file.stem) for file in files}
    if "train" not in splits.values():
        if len(files) > 1:
            raise CannotRun(
                f"{files[0].parent}: several tables have labels; name the one that counts, or say --form class-folders:",
                *map(str, files),
            )
        return dict.fromkeys(files)
    official = {file: split for file, split in splits.items() if split}
    if len(set(official.values())) < len(official):
        raise CannotRun(f"{files[0].parent}: several tables of one split; name the one that counts:", *map(str, official))
    return official if len(official) > 1 else dict.fromkeys(official)


def labelled(files: Sequence[Path]) -> list[Path]:
    """Those that have the columns of paths, or of ids, and of labels."""
    found = ((file, columns_of(header_of(file))) for file in files)
    return [file for file, names in found if names.path and names.label]


def read_all(splits: Mapping[Path, str | None]) -> dict[Path, pd.DataFrame]:
    """The rows of tables, each of the split that is given for it, where it has none of its own."""
    parts = {file: read(file) for file in splits}
    for file, split in splits.items():
        if split:
            parts[file]["split"] = parts[file]["split"].fillna(split)
    return parts


def one_hot(file: Path, path: int, classes: Mapping[int, str]) -> pd.DataFrame:
    """The rows of a table with a column of 0 and 1 for each class, by its place and name; those without a 1 are left out.

    Raises Refused for other values, and for every row that has more than one 1.
    """
    found = sheet.read(file, {"path": path, **{f"class {place}": place for place in classes}})
    cells = found[[f"class {place}" for place in classes]].fillna("0").to_numpy(str)
    ones = np.isin(cells, ("1", "1.0"))
    if (wrong := np.argwhere(~ones & ~np.isin(cells, ("0", "0.0")))).size:
        row, column = wrong[0]
        name = list(classes.values())[column]
        raise Refused(
            f"E_LABEL {sheet.place(file, found['line'][row])}: expected 0 or 1 in {name!r}, as of a column for each class, "
            f"got {str(cells[row, column])!r}; if one column has the labels, call it label"
        )
    names = np.array(list(classes.values()), object)
    several = np.flatnonzero(ones.sum(axis=1) > 1)
    if several.size:
        raise Refused(*(f"E_LABEL {sheet.place(file, found['line'][row])}: {found['path'][row]!r} has several labels "
                        f"({', '.join(names[ones[row]])}); a sample has one here" for row in several))  # fmt: skip
    labelled = found[["path", "line"]].assign(label=pd.array(names[ones.argmax(axis=1)], sheet.TEXT))
    return filled(labelled[ones.any(axis=1)])


def filled(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with all of COLUMNS: what is not there has no values."""
    missing = {name: pd.array([None] * len(frame), sheet.TEXT) for name in COLUMNS if name not in frame}
    return frame.reset_index(drop=True).assign(**missing)
