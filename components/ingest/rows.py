"""Rows of tables -> samples: each row held against the files that lie there, all bad ones told together."""

import contextlib
import functools
import itertools
import json
import os
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from natsort import index_natsorted

from components.ingest.form import Options
from components.ingest.levels import levels
from components.ingest.listing import Listing
from components.ingest.lookup import leaves, look_up, plain, walk
from components.ingest.sample_reader import LONG_CLIP, kind_of
from components.ingest.sheet import TEXT, place, spoken
from components.ingest.source import SPLIT_NAMES, Entry, LeftOut, Source
from components.shared.errors import CannotRun, Refused, Stop

COLUMNS = ("path", "label", "group", "split", "clip", "frame", "fault", "sought")


def source_of(
    tables: Mapping[Path, pd.DataFrame], what: str, listing: Listing, options: Options, *, folders: bool = False
) -> Source:
    """The samples of tables whose rows have some of COLUMNS, of which only path and label are needed, and `line`.

    Paths begin in the table's folder and stay inside the source; with `folders` one may lead to a folder, a clip of the pictures
    in it; a form that knows better where a file lies says it in `sought`. Rows with the same `clip` are its frames, in the order
    of `frame`. A row with a `fault` and no label is left out. A clip of more than LONG_CLIP frames is refused, unless
    `options.kind` says that it is one. Raises Refused with every bad row, CannotRun where class folders hold more.
    """
    files, root = list(tables), listing.root
    rows = pd.concat(
        [_found(table, file, listing, folders).assign(table=number) for number, (file, table) in enumerate(tables.items())],
        ignore_index=True,
    )
    named = {hash(path) for path in rows["file"]}
    unanswered = rows["label"].isna() & rows["fault"].notna()
    faults, rows = rows["path"][unanswered], rows[~unanswered].reset_index(drop=True)
    if rows.empty:
        raise Refused(f"E_NO_DATA {files[0]}: no rows{', but of faults' if len(faults) else ''}")
    rows["asked"] = rows["split"].str.strip().str.lower()
    rows["split"] = rows["asked"].map(SPLIT_NAMES).astype(TEXT)
    rows["label"] = rows["label"].str.strip(" \t")
    if wrong := list(_faults(rows, files, os.path.realpath(root))):
        raise Refused(*wrong)
    _refuse_the_smaller_part(rows, files, listing, options)
    rows["order"] = (rows["frame"] if rows["frame"].notna().any() else rows["file"]).fillna("")
    rows["sample"] = rows["clip"].fillna(rows["file"])
    codes, names = pd.factorize(rows["sample"])
    for column in ("label", "split", "group"):
        mixed = rows[column].groupby(codes).nunique(dropna=False) > 1
        if mixed.any():
            raise Refused(*(f"E_LABEL_CONFLICT {files[0]}: clip {name!r} has two {column}s" for name in names[mixed]))
    sizes = np.bincount(codes)
    if folders:
        sizes = [len(_pictures(name, listing)) if (root / name).is_dir() else size
                 for name, size in zip(names, sizes, strict=True)]  # fmt: skip
    sizes = pd.Series(sizes, names)
    if empty := [f"E_SEQ_EMPTY {name}: a clip without frames" for name in sizes.index[sizes == 0]]:
        raise Refused(*empty)
    if options.kind != "clips" and (long := sizes[sizes > LONG_CLIP]).size:
        raise Refused(*(f"E_AMBIGUOUS {files[0]}: clip {name!r} has {size:,} frames; is that so? "
                        "--kind clips thins it evenly to --max-frames" for name, size in long.items()))  # fmt: skip
    in_order = rows.iloc[np.argsort(codes, kind="stable")]
    otherwise = rows["path"][rows["otherwise"]]

    def entries(left_out: LeftOut) -> Iterator[Entry]:
        for _ in otherwise:
            reason = "paths or ids are written otherwise than their files (folder, case, ending) and were found"
            left_out.add("W_PATH", reason, otherwise.iloc[0])
        for path in faults:
            left_out.add("W_UNLABELED", "rows with a fault and no label, of pictures that predict could not answer", path)
        _leave_out_unlabelled(root, named, left_out)
        for name, frames in itertools.groupby(in_order.itertuples(), key=lambda row: row.sample):
            frames = list(frames)
            order = index_natsorted(row.order for row in frames) if len(frames) > 1 else [0]  # it takes its time to begin
            paths = [root / frames[index].file for index in order]
            if folders and paths[0].is_dir():
                paths = _pictures(frames[0].file, listing)
            group, split = (None if pd.isna(value) else value for value in (frames[0].group, frames[0].split))
            yield Entry(frames[0].label, name, paths, group=group, split=split)

    return Source(f"{what} {', '.join(f'{listing.relative(file)}{spoken(file)}' for file in files)}", root, entries)


def _found(rows: pd.DataFrame, table: Path, listing: Listing, folders: bool) -> pd.DataFrame:
    """All of COLUMNS, and `file`, the path below the root of what is meant, if that is plain; `meant`, what else it can mean, and
    `otherwise`, whether it is written otherwise than its file.
    """
    missing = {name: pd.array([None] * len(rows), TEXT) for name in COLUMNS if name not in rows}
    rows = rows.assign(**missing)
    rows["path"] = rows["path"].fillna("")
    sought, folder, root = rows["sought"].fillna(rows["path"]), listing.relative(table.parent), listing.root
    joined = [f"{folder}/{path}" if folder and not path.startswith("/") else path for path in sought]
    there = os.path.exists if folders else os.path.isfile
    files = [plain(path, root, there) for path in joined]
    every = zip(joined, sought, files, strict=True)
    lost = {path: bare for path, bare, file in every if bare and not file and not leaves(path)}
    meant = look_up(root, lost, folders=folders) if lost else {}
    if lost := {path: bare for path, bare in lost.items() if path not in meant}:
        # Anywhere in the table's folder, or in the source where that folder has no pictures.
        inside = (path for path, each in listing.folders.items() if each.pictures)
        base = folder if any(f"{path}/".startswith(f"{folder}/") for path in inside) else ""
        anywhere = look_up(root, {*lost.values()}, below=base, folders=folders)
        meant |= {path: anywhere.get(bare, ()) for path, bare in lost.items()}
    meant = [() if file else meant.get(path, ()) for path, file in zip(joined, files, strict=True)]
    otherwise = [len(some) == 1 for some in meant]
    files = [file or (some[0] if alike else None) for file, some, alike in zip(files, meant, otherwise, strict=True)]
    return rows.assign(file=pd.array(files, TEXT), meant=meant, otherwise=otherwise)


def _pictures(folder: str, listing: Listing) -> list[Path]:
    """The pictures in a folder, in the order of their numbers."""
    return [listing.root / path for path, kind in listing.files(folder) if kind == "still"]


def _leave_out_unlabelled(root: Path, named: set[int], left_out: LeftOut) -> None:
    """The pictures below the root that are not named, by their relative path or by their folder's; names are known by their hash."""
    for path, is_folder in walk(root):
        known = is_folder or hash(path) in named or hash(path.rpartition("/")[0]) in named
        if not known and kind_of(root / path) == "still":
            left_out.add("W_UNLABELED", "pictures without a label in the table", path)


def _refuse_the_smaller_part(rows: pd.DataFrame, files: list[Path], listing: Listing, options: Options) -> None:
    """Beside `train/CLASS/` a table may be of `test/` alone: where it names fewer than class folders hold beside, that is asked."""
    if not options.unasked or listing.pictures <= 2 * len(rows) or rows["file"].isin(listing.folders).any():
        return  # where it names folders, the others are clips, too, and no classes
    named, others = defaultdict(Counter), Counter[str]()
    for path, label in zip(rows["file"], rows["label"], strict=True):
        named[path.rpartition("/")[0]][label] += 1
    with contextlib.suppress(Stop):  # no class folders
        found = levels(listing, options)
        for path, folder in listing.folders.items():
            if of := found.place(path):
                if {*named[path]} - {of.label}:  # by the table these folders are no classes
                    return
                others[of.label] += max(0, folder.pictures - named[path].total())
    classes = len(+others)
    if classes > 1 and others.total() > len(rows):
        what = f"{files[0]} names {len(rows):,} samples; {others.total():,} other pictures lie in {classes:,} class folders"
        raise CannotRun(
            f"{listing.root}: can be read in 2 ways; choose one, or write a table of all:",
            f"  --form {options.unasked}: what the table names, without the others ({what})",
            "  --form class-folders: a folder per class, without the table",
        )


def _faults(rows: pd.DataFrame, files: list[Path], root: str) -> Iterator[str]:
    folder_inside = functools.cache(lambda folder: f"{os.path.realpath(folder)}/".startswith(root.rstrip("/") + "/"))
    firsts = rows.groupby("file", dropna=False)[["line", "table", "label"]].transform("first")
    for row, first in zip(rows.itertuples(), firsts.itertuples(), strict=True):
        where = place(files[row.table], row.line)
        if not row.path:
            yield f"E_MISSING_FILE {where}: no path"
            continue
        if pd.isna(row.label):
            yield f"E_LABEL_EMPTY {where}: {row.path!r} has no label"
        elif _is_json(row.label):
            yield f"E_LABEL {where}: {row.path!r} has several labels ({row.label}); a sample has one here, keep the one that counts"
        if pd.notna(row.asked) and pd.isna(row.split):
            yield f"E_SPLIT {where}: expected train, validation or test, got {row.asked!r}"
        if pd.isna(row.file):
            yield _unfound(row.path, where, row.meant)
        elif not folder_inside(file if os.path.islink(file := f"{root}/{row.file}") else file.rpartition("/")[0]):  # noqa: PTH114
            yield f"E_PATH_OUTSIDE {where}: {row.path!r} leads out of the source"
        elif (first.table, first.line) != (row.table, row.line):
            there = place(files[first.table], first.line).removeprefix(f"{files[row.table]} ")
            differs = pd.notna(row.label) and row.label != first.label
            other = f", but as {first.label!r} and not {row.label!r}" if differs else ""
            yield f"E_DUPLICATE_ROW {where}: {row.path!r} stands in {there} too{other}"


def _is_json(label: str) -> bool:
    """Whether a label is what a tool writes for several of them."""
    try:
        return label[:1] in ("[", "{") and isinstance(json.loads(label), list | dict)
    except (ValueError, RecursionError):
        return False


def _unfound(path: str, where: str, meant: Sequence[str]) -> str:
    if meant:
        ways = " or ".join(repr(each) for each in meant[:3]) + (" …" if len(meant) > 3 else "")
        return f"E_AMBIGUOUS {where}: {path!r} can mean {ways}; write its whole path"
    if leaves(path) or path.startswith("/"):
        return f"E_PATH_OUTSIDE {where}: {path!r} leads out of the source, and no file in it has that name; ingest a folder that holds both"
    return f"E_MISSING_FILE {where}: {path!r} does not exist"
