"""Rows of tables -> samples: each row held against the files that lie there, all bad ones told together."""

import contextlib
import functools
import itertools
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from natsort import index_natsorted

from components.ingest.form import Options
from components.ingest.levels import levels
from components.ingest.listing import Listing
from components.ingest.lookup import look_up, walk
from components.ingest.sample_reader import LONG_CLIP, kind_of
from components.ingest.sheet import TEXT, place, spoken
from components.ingest.source import SPLIT_NAMES, Entry, LeftOut, Source
from components.shared.errors import CannotRun, Refused, Stop

COLUMNS = ("path", "label", "group", "split", "clip", "frame")  # and `line`, where a row stands in its file


def _joined(tables: Mapping[Path, pd.DataFrame], root: Path) -> pd.DataFrame:
    """The rows of several tables as one, with what is looked for below `root`: the path from the folder of its table on.

    A form that knows better puts a column `sought` into its rows.
    """
    parts = []
    for number, (file, rows) in enumerate(tables.items()):
        above = os.path.relpath(file.parent, root)
        sought = bare = rows["sought"] if "sought" in rows else rows["path"]
        if above != ".":
            sought = [path if pd.isna(path) or path.startswith("/") else f"{above}/{path}" for path in bare]
        parts.append(rows.assign(sought=pd.array(sought, TEXT), bare=bare, table=number))
    return pd.concat(parts, ignore_index=True)


def source_of(
    tables: Mapping[Path, pd.DataFrame], what: str, listing: Listing, options: Options, *, folders: bool = False
) -> Source:
    """The samples of tables whose rows have the columns of COLUMNS, of which only path and label are needed in each row.

    Paths begin in the table's folder and stay inside the source; with `folders` one may lead to a folder, a clip of the pictures
    in it. Rows with the same `clip` are its frames, in the order of `frame`. A clip of more than LONG_CLIP frames is refused,
    unless `options.kind` says that it is one. Raises Refused with every bad row, CannotRun where class folders hold more.
    """
    files, root = list(tables), listing.root
    rows = _joined(tables, root)
    if rows.empty:
        raise Refused(f"E_NO_DATA {files[0]}: no rows")
    rows["asked"] = rows["split"].str.strip().str.lower()
    rows["split"] = rows["asked"].map(SPLIT_NAMES).astype(TEXT)
    rows["path"], rows["sought"] = rows["path"].fillna(""), rows["sought"].fillna("")
    rows["label"] = rows["label"].str.strip(" \t")
    plain = [_plain(path, root, os.path.exists if folders else os.path.isfile) for path in rows["sought"]]
    unfound = {path for path, found in zip(rows["sought"], plain, strict=True) if path and not found and not _leaves(path)}
    meant = look_up(root, unfound, folders=folders) if unfound else {}
    lost = {path for path in unfound if not meant.get(path)}
    if lost and (rows["sought"] != rows["bare"]).any():
        meant |= _anywhere(rows[rows["sought"].isin(lost)], files, listing, folders=folders)
    alike = [path in unfound and len(meant.get(path, ())) == 1 for path in rows["sought"]]
    found = (meant[path][0] if like else found or None for path, found, like in zip(rows["sought"], plain, alike, strict=True))
    rows["file"] = pd.array(list(found), dtype=TEXT)
    if faults := list(_faults(rows, files, meant, os.path.realpath(root))):
        raise Refused(*faults)
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
        counts = (
            len(pictures(root / name, listing)) if (root / name).is_dir() else size
            for name, size in zip(names, sizes, strict=True)
        )
        sizes = np.fromiter(counts, int)
        if (empty := np.flatnonzero(sizes == 0)).size:
            raise Refused(*(f"E_SEQ_EMPTY {names[code]}: a clip without frames" for code in empty))
    if options.kind != "clips" and (long := np.flatnonzero(sizes > LONG_CLIP)).size:
        raise Refused(*(f"E_AMBIGUOUS {files[0]}: clip {names[code]!r} has {sizes[code]:,} frames; is that so? "
                        "--kind clips thins it evenly to --max-frames" for code in long))  # fmt: skip
    in_order = rows.iloc[np.argsort(codes, kind="stable")]
    named = {hash(path) for path in rows["file"]}
    example = next(itertools.compress(rows["path"], alike), "")

    def entries(left_out: LeftOut) -> Iterator[Entry]:
        for _ in range(sum(alike)):
            left_out.add(
                "W_PATH", "paths or ids are written otherwise than their files (folder, case, ending) and were found", example
            )
        _leave_out_unlabelled(root, named, left_out)
        for name, frames in itertools.groupby(in_order.itertuples(), key=lambda row: row.sample):
            frames = list(frames)
            order = index_natsorted(row.order for row in frames) if len(frames) > 1 else [0]  # it takes its time to begin
            paths = [root / frames[index].file for index in order]
            if folders and paths[0].is_dir():
                paths = pictures(paths[0], listing)
            group, split = (None if pd.isna(value) else value for value in (frames[0].group, frames[0].split))
            yield Entry(frames[0].label, name, paths, group=group, split=split)

    return Source(f"{what} {', '.join(f'{listing.relative(file)}{spoken(file)}' for file in files)}", root, entries)


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
                others[of.label] += max(0, folder.stills + folder.videos - named[path].total())
    classes = len(+others)
    if classes > 1 and others.total() > len(rows):
        what = f"{files[0]} names {len(rows):,} samples; {others.total():,} other pictures lie in {classes:,} class folders"
        raise CannotRun(
            f"{listing.root}: can be read in 2 ways; choose one, or write a table of all:",
            f"  --form {options.unasked}: what the table names, without the others ({what})",
            "  --form class-folders: a folder per class, without the table",
        )


def _anywhere(lost: pd.DataFrame, files: list[Path], listing: Listing, *, folders: bool) -> dict[str, list[str]]:
    """What paths can mean that do not begin in their table's folder: what lies anywhere below it; outside where it has no pictures."""
    found = look_up(listing.root, set(lost["bare"]), folders=folders)
    above = [f"{listing.relative(file.parent)}/" for file in files]
    full = [f"{path}/" for path, folder in listing.folders.items() if folder.stills or folder.videos]
    begins = ["" if not any(path.startswith(start) for path in full) else start for start in above]
    return {
        row.sought: [path for path in found.get(row.bare, []) if path.startswith(begins[row.table])]
        for row in lost.itertuples()
    }


def pictures(folder: Path, listing: Listing) -> list[Path]:
    """The pictures in a folder, in the order of their numbers."""
    return [folder / name for name in listing.scan(folder).files if kind_of(folder / name) == "still"]


def _plain(path: str, root: Path, there: Callable[[str], bool]) -> str:
    """A path of a table relative to the source, if something lies there as it stands; else nothing."""
    if path.startswith("/"):
        path = os.path.relpath(path, os.path.abspath(root))  # noqa: PTH100 (links stay as they are)
    path = os.path.normpath(path)
    return "" if path == "." or _leaves(path) or "\0" in path or not there(f"{root}/{path}") else path


def _leaves(path: str) -> bool:
    """Whether a relative path leads above where it begins; no file is looked for by such a one."""
    return os.path.normpath(path).split("/")[0] == ".."


def _leave_out_unlabelled(root: Path, named: set[int], left_out: LeftOut) -> None:
    """The pictures below the root that are not named, by their relative path or by their folder's; names are known by their hash."""
    for path, is_folder in walk(root):
        known = is_folder or hash(path) in named or hash(path.rpartition("/")[0]) in named
        if not known and kind_of(root / path) == "still":
            left_out.add("W_UNLABELED", "pictures without a label in the table", path)


def _faults(rows: pd.DataFrame, files: list[Path], meant: Mapping[str, list[str]], root: str) -> Iterator[str]:
    folder_inside = functools.cache(lambda folder: f"{os.path.realpath(folder)}/".startswith(root.rstrip("/") + "/"))

    def inside(path: str) -> bool:
        return folder_inside(path if os.path.islink(path) else path.rpartition("/")[0])  # noqa: PTH114 (millions of names)

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
            yield _unfound(row.path, where, meant.get(row.sought, []))
        elif not inside(f"{root}/{row.file}"):
            yield f"E_PATH_OUTSIDE {where}: {row.path!r} leads out of the source"
        elif (first.table, first.line) != (row.table, row.line):
            there = place(files[first.table], first.line)
            there = there.removeprefix(f"{files[row.table]} ")
            other = (
                f", but as {first.label!r} and not {row.label!r}" if pd.notna(row.label) and row.label != first.label else ""
            )
            yield f"E_DUPLICATE_ROW {where}: {row.path!r} stands in {there} too{other}"


def _is_json(label: str) -> bool:
    """Whether a label is what a tool writes for several of them."""
    try:
        return label[:1] in ("[", "{") and isinstance(json.loads(label), list | dict)
    except (ValueError, RecursionError):
        return False


def _unfound(path: str, where: str, meant: list[str]) -> str:
    if meant:
        ways = " or ".join(repr(each) for each in meant[:3]) + (" …" if len(meant) > 3 else "")
        return f"E_AMBIGUOUS {where}: {path!r} can mean {ways}; write its whole path"
    if _leaves(path) or path.startswith("/"):
        return f"E_PATH_OUTSIDE {where}: {path!r} leads out of the source, and no file in it has that name; ingest a folder that holds both"
    return f"E_MISSING_FILE {where}: {path!r} does not exist"
