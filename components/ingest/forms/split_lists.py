"""Class folders with lists of what is for training: UCF101's `trainlist01.txt`, HMDB51's `run_test_split1.txt`, Food-101's `train.txt`."""

import itertools
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from components.ingest.form import MARKED, Fit, Form, Options
from components.ingest.forms import class_folders
from components.ingest.listing import Listing, head, lines
from components.ingest.motion import VIDEOS
from components.ingest.sample_reader import STILLS
from components.ingest.source import SPLIT_NAMES, Entry, LeftOut, Source
from components.shared.errors import Refused

EXAMPLE = """\
UCF-101/Archery/v_Archery_g01_c01.avi
ucfTrainTestlist/trainlist01.txt   Archery/v_Archery_g08_c01.avi 1"""

_LIST = re.compile(rf"({'|'.join(SPLIT_NAMES)})(?:list)?(\d*)\.txt")
_HMDB = re.compile(r"(.+)_test_split(\d+)\.txt")  # video.avi 1, for training; 2, for the test; 0, for neither


def fit(listing: Listing) -> Fit | None:
    """Lists called as those call them, of samples in folders that are there."""
    lists = _lists(listing) if class_folders.fit(listing) else []
    return Fit(MARKED, f"{lists[0][1].name} says which samples are of which split") if lists else None


def _lists(listing: Listing) -> list[tuple[str, Path]]:
    """The number of each list, and the list; `train.txt` alone may be anything, so its first line has to name a class folder."""
    found = []
    folders = {path.rpartition("/")[2].lower() for path in listing.folders}
    for file in listing.others(".txt"):
        if match := _HMDB.fullmatch(file.name):
            found.append((match[2], file))
        elif match := _LIST.fullmatch(file.name):
            first = head(file, 1000).decode(errors="replace").partition("\n")[0].replace("\\", "/").split(" ")[0].split("/")
            if "list" in file.name or (len(first) == 2 and first[0].lower() in folders):
                found.append((match[2], file))
    return found


def read(listing: Listing, options: Options) -> Source:
    """The class folders' samples with the splits of the first lists, and UCF101's groups: one `g01` of each class is one recording.

    Raises Refused for lists that name none of the samples, and what class folders are refused for.
    """
    lists: defaultdict[str, list[Path]] = defaultdict(list)
    for number, file in _lists(listing):
        lists[number].append(file)
    number = min(lists)
    splits = {key: split for file in lists[number] for key, split in _listed(file)}
    used = [*itertools.chain(*lists.values()), *listing.others("classind.txt")]
    plain = class_folders.read(listing, options, used={*map(listing.relative, used)})
    names = [file.name for file in lists[number]]
    what = f"{plain.what}; splits by {', '.join(names[:2])}{' …' if len(names) > 2 else ''}"
    if len(lists) > 1:
        what += f", the first of {len(lists)} ways to split (for another, move the other lists away)"

    def entries(left_out: LeftOut) -> Iterator[Entry]:
        found = set()
        for entry in plain.entries(left_out):
            key = _key(entry.label, entry.source)
            found.add(key)
            if not (split := splits.get(key)):
                reason = "samples that the lists keep out" if key in splits else "samples that the lists do not name"
                left_out.add("W_UNLISTED", reason, entry.source, entry.label)
                continue
            entry.split = split
            if match := re.search(r"_g(\d+)_c\d+", entry.source):
                entry.group = f"{entry.label} g{match[1]}"
            yield entry
        for key in sorted(set(splits) - found):
            left_out.add("W_MISSING", "samples that the lists name are not there", key)
        if not found & set(splits):
            raise Refused(f"E_MISSING_FILE {listing.relative(lists[number][0])}: nothing that it names is there")

    return Source(what, listing.root, entries)


def _listed(file: Path) -> Iterator[tuple[str, str]]:
    """(class/video, split) of each line; the split of one that is kept out is empty."""
    hmdb = _HMDB.fullmatch(file.name)
    for number, line in enumerate(lines(file), 1):
        if not (words := line.split()):
            continue
        if hmdb:
            label, name = hmdb[1], line.strip().rpartition(" ")[0].strip()
            split = {"0": "", "1": "train", "2": "test"}.get(words[-1])
        else:
            label, _, name = words[0].replace("\\", "/").rpartition("/")
            split = SPLIT_NAMES[_LIST.fullmatch(file.name)[1]]
        if not (label and name) or split is None:
            expected = "video.avi 0, 1 or 2" if hmdb else "class/video.avi 1"
            raise Refused(f"E_LIST {file} line {number}: expected `{expected}`, got {line[:100]!r}")
        yield _key(label, name), split


def _key(label: str, source: str) -> str:
    """Lists and files of UCF101 differ in case (`HandStandPushups`); frame folders have no ending."""
    name = source.rpartition("/")[2]
    stem, _, ending = name.rpartition(".")
    return f"{label}/{stem if f'.{ending.lower()}' in {*VIDEOS, *STILLS} else name}".lower()


FORM = Form("split-lists", "class folders with lists of splits, as UCF101, HMDB51 and Food-101 have them", EXAMPLE, fit, read)
