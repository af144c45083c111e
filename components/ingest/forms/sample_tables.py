"""Tables that name samples: a person's own, and those that competitions and tools write, whose splits and ids mean more."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from components.ingest import columns, sheet
from components.ingest.form import COULD, MARKED, Fit, Form, Options
from components.ingest.forms import box_table, label_studio
from components.ingest.listing import Listing
from components.ingest.rows import source_of
from components.ingest.source import SPLIT_NAMES, Source, split_of, words
from components.shared.errors import CannotRun, Stop


def _tables(listing: Listing) -> list[Path]:
    """The table that was named, those beside the pictures, or wherever they are; without guesses and names of folders."""
    found = listing.others(*sheet.ENDINGS)
    if listing.file:
        return found
    found = [file for file in found if not columns.is_submission(file) and not _names_folders(file, listing)]
    return [file for file in found if file.parent == listing.root] or found


def _names_folders(file: Path, listing: Listing) -> bool:
    """Whether a table has a name for each class folder, `0,Stop`, and not a label for each sample: every row has another one."""
    names = columns.of(file)
    if not (names.by_id and names.label and columns.NAMING & {*words(file.stem)}):
        return False
    folders = {path.rpartition("/")[2] for path in listing.folders}
    with contextlib.suppress(Stop):  # what is wrong with it is told by who reads it
        rows = sheet.read(file, {"id": names.path[0], "name": names.label[0]})
        return len(rows) > 1 and rows["name"].is_unique and bool(rows["id"].isin(folders).all())
    return False


# A person's own table.


def _fit_table(listing: Listing) -> Fit | None:
    """A table that was named, or that has paths and labels; or the only one beside pictures of which nothing else tells labels."""
    files = _tables(listing)
    good = columns.labelled(files)
    top = listing.folders[""]
    inside = [folder for path, folder in listing.folders.items() if path]
    alone = len(files) == 1 and (listing.file or not inside or (len(inside) == 1 and inside[0].stills and not top.stills))
    if not (good or alone):
        return None
    file = (good or files)[0]
    names = ", ".join(name.strip() for name in sheet.header_of(file)[:20])
    special = any(fit.strength == MARKED for form in (box_table.FORM, *_MAKERS) if (fit := form.fit(listing)))
    return Fit(COULD if special else MARKED, f"{file.name} has the columns {names or 'of no table that can be read'}")


def _read_table(listing: Listing, options: Options) -> Source:
    files = _tables(listing)
    files = columns.with_labels(columns.labelled(files) or files[:1])
    tables = {file: columns.read(file, split) for file, split in files.items()}
    return source_of(tables, "table", listing, options, folders=any(columns.of(file).answers for file in files))


# Competitions.


def _fit_kaggle(listing: Listing) -> Fit | None:
    """A table with ids and labels, or one with labels beside a submission."""
    files = _with_ids(listing)
    asked = any(columns.is_submission(file) for file in listing.others(".csv"))
    if not files or box_table.FORM.fit(listing) or not (asked or any(columns.of(file).by_id for file in files)):
        return None
    return Fit(MARKED, f"{files[0].name} has the columns {', '.join(sheet.header_of(files[0])[:9])}")


def _with_ids(listing: Listing) -> list[Path]:
    """Tables with labels; where none has some, those with a column of 0 and 1 for each class."""
    files = _tables(listing)
    return columns.labelled(files) or [file for file in files if _is_one_hot(file)]


def _is_one_hot(file: Path) -> bool:
    names = columns.of(file)
    return bool(names.path) and not names.label and len(names.names) > 2 and file.suffix.lower() in (".csv", ".tsv")


def _read_kaggle(listing: Listing, options: Options) -> Source:
    """An id is looked for in the folder of its split first. Numbers get the names that a file has for them."""
    tables = {}
    for file, split in columns.with_labels(_with_ids(listing)).items():
        rows = tables[file] = columns.read_one_hot(file) if _is_one_hot(file) else columns.read(file, split)
        above = _folder(listing, file, split or split_of(file.stem) or "train")
        rows["sought"] = [path if pd.isna(path) or "/" in path else above + path for path in rows["path"]]
    what = "table"
    if found := _names(next(iter(tables)).parent, {label for rows in tables.values() for label in rows["label"].dropna()}):
        what = f"labels by the names in {found[0]}, table"
        for rows in tables.values():
            rows["label"] = rows["label"].map(found[1]).astype(sheet.TEXT)
    return source_of(tables, what, listing, options, folders=True)


def _folder(listing: Listing, file: Path, split: str) -> str:
    """The folder of a split's pictures beside a table, if it is one: `train`, `train_images`."""
    beside = listing.folders[listing.relative(file.parent)].folders
    folders = [name for name in beside if split_of(name) == split]
    return f"{folders[0]}/" if len(folders) == 1 else ""


def _names(root: Path, labels: set[str]) -> tuple[str, dict[str, str]] | None:
    """The file beside the table that has a name for each number, and the names. Raises CannotRun where two files differ."""
    found: dict[str, dict[str, str]] = {}
    for file in sorted(root.glob("*.json")) + sorted(root.glob("*.csv")):
        if labels and file.stat().st_size < 2**20 and {*words(file.stem)} & columns.NAMING:
            names = _pairs(file)
            if all(value.isdigit() for value in names.values()):
                names = {value: name for name, value in names.items()}
            if labels <= set(names) and all(label.isdigit() for label in labels):
                found[file.name] = names
    if len({tuple(names[label] for label in sorted(labels)) for names in found.values()}) > 1:
        raise CannotRun(f"{root}: {' and '.join(sorted(found))} name the classes differently; leave one of them there")
    return next(iter(found.items()), None)


def _pairs(file: Path) -> dict[str, str]:
    """Numbers and names as an object in JSON, or as a table of two columns; nothing for anything else."""
    with contextlib.suppress(ValueError, Stop):
        if file.suffix == ".json":
            value = json.loads(file.read_text("utf-8"))
            return {str(key): str(name) for key, name in value.items()} if isinstance(value, dict) else {}
        if len(sheet.header_of(file)) == 2:
            rows = sheet.read(file, {"key": 0, "name": 1}).dropna()
            return dict(zip(rows["key"], rows["name"], strict=True))
    return {}


# Hugging Face's image folders.


def _fit_hugging_face(listing: Listing) -> Fit | None:
    """Tables of that name with the column `file_name`; without labels they are captions, and folders may have the labels."""
    files = _metadata(listing)
    labelled = all(columns.of(file).label for file in files)
    why = f"{', '.join(map(listing.relative, files[:3]))} with file_name"
    return Fit(MARKED if labelled else COULD, why) if files else None


def _metadata(listing: Listing) -> list[Path]:
    files = listing.others("metadata.csv", "metadata.jsonl", "metadata.parquet")
    return [file for file in files if file.stem == "metadata" and "file_name" in sheet.header_of(file)]


def _read_hugging_face(listing: Listing, options: Options) -> Source:
    """The split is what a folder above the table or the picture says."""
    tables = {file: columns.read(file) for file in _metadata(listing)}
    for file, rows in tables.items():
        paths = [(Path(listing.relative(file)).parent / path).parts[:-1] for path in rows["path"].fillna("")]
        splits = [next((SPLIT_NAMES[part.lower()] for part in parts if part.lower() in SPLIT_NAMES), None) for parts in paths]
        if None not in splits:
            rows["split"] = splits
    return source_of(tables, "Hugging Face's metadata", listing, options)


# Jester's lists, without names of columns.


def _lists(listing: Listing) -> list[Path]:
    """Tables whose first line is a row: it begins with a number, or with the name of a picture or of a folder that is there."""
    folders = {path.rpartition("/")[2] for path in listing.folders} | {*listing.folders[""].folders}
    found = []
    for file in _tables(listing):
        first = sheet.header_of(file) if file.suffix.lower() in (".csv", ".tsv") else []
        named = columns.columns_of(first).path  # a folder may be called `image`, as the column is
        if len(first) == 2 and not named and (first[0].isdigit() or first[0] in folders or columns.is_picture(first[0])):
            found.append(file)
    return found


def _read_jester(listing: Listing, options: Options) -> Source:
    tables = {}
    for file, split in columns.with_labels(_lists(listing)).items():
        tables[file] = sheet.read(file, {"path": 0, "label": 1}, ["id", "label"]).assign(split=split)
    return source_of(tables, "lists without names of columns", listing, options, folders=True)


# Roboflow's export for several classes a picture.


def _read_roboflow(listing: Listing, options: Options) -> Source:
    """The rows that have one class. Raises Refused with all that have several, CannotRun for an export of masks."""
    tables = {}
    for file in listing.others("_classes.csv"):
        if not (names := columns.columns_of(sheet.header(file))).path:
            raise CannotRun(
                f"{file}: has {', '.join(names.names)}, which is of masks, not of classes; export it as classification"
            )
        tables[file] = columns.read_one_hot(file).assign(split=split_of(file.parent.name))
    return source_of(tables, "Roboflow's tables", listing, options)


def _marked(find: Callable[[Listing], list[Path]], why: str) -> Callable[[Listing], Fit | None]:
    return lambda listing: Fit(MARKED, f"{listing.relative(files[0])} {why}") if (files := find(listing)) else None


KAGGLE = Form(
    "kaggle", "a competition: a table of ids and labels, folders of pictures beside it",
    """\
train.csv                     id,label
train/00a1.jpg
test/00b2.jpg                 not labelled: left out
sample_submission.csv
label_num_to_disease_map.json  {"0": "Rust", …}: names of the numbers""",
    _fit_kaggle, _read_kaggle,
)  # fmt: skip
HUGGING_FACE = Form(
    "hugging-face", "Hugging Face: an image folder with metadata.csv, .jsonl or .parquet",
    """\
train/metadata.jsonl   {"file_name": "1.jpg", "label": "cat"}
train/1.jpg
test/metadata.jsonl""",
    _fit_hugging_face, _read_hugging_face,
)  # fmt: skip
JESTER = Form(
    "jester", "Jester: lists of id;label without names of columns, a folder of frames per id",
    """\
jester-v1-train.csv        34870;Drumming Fingers
jester-v1-validation.csv
34870/00001.jpg""",
    _marked(_lists, "begins with a row, not with names of columns"), _read_jester,
)  # fmt: skip
ROBOFLOW = Form(
    "roboflow", "Roboflow: _classes.csv beside the pictures of each split",
    """\
train/_classes.csv    filename, cat, dog
train/1.jpg
valid/_classes.csv""",
    _marked(lambda listing: listing.others("_classes.csv"), "has a name that only Roboflow gives"), _read_roboflow,
)  # fmt: skip
_MAKERS = (KAGGLE, HUGGING_FACE, JESTER, ROBOFLOW, label_studio.FORM)  # tables of which more is known
TABLE = Form(
    "table", "a CSV, JSON Lines or Parquet table: path, label, and optionally group, split, clip, frame",
    """\
labels.csv         path,label,split
pictures/1.jpg""",
    _fit_table, _read_table,
)  # fmt: skip
FORMS = (TABLE, *_MAKERS)
