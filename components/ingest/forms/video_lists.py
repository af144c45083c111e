"""Class folders of videos with lists of which are for training: UCF101's `trainlist01.txt`, HMDB51's `run_test_split1.txt`."""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from components.ingest.form import MARKED, Fit, Form, Options
from components.ingest.forms import class_folders
from components.ingest.listing import Listing
from components.ingest.motion import VIDEOS
from components.ingest.source import SPLIT_NAMES, Entry, LeftOut, Source
from components.shared.errors import Refused

EXAMPLE = """\
UCF-101/Archery/v_Archery_g01_c01.avi
ucfTrainTestlist/trainlist01.txt   Archery/v_Archery_g08_c01.avi 1"""

_UCF = re.compile(r"(train|test|val)list(\d+)\.txt")
_HMDB = re.compile(r"(.+)_test_split(\d+)\.txt")  # video.avi 1, for training; 2, for the test; 0, for neither


def fit(listing: Listing) -> Fit | None:
    """Lists called as those two call them, and class folders."""
    lists = [file.name for file in listing.others(".txt") if _UCF.fullmatch(file.name) or _HMDB.fullmatch(file.name)]
    return Fit(MARKED, f"{lists[0]} says which videos are for training") if lists and class_folders.fit(listing) else None


def read(listing: Listing, options: Options) -> Source:
    """The class folders' samples with the splits of the first lists, and UCF101's groups: one `g01` of each class is one recording.

    Raises Refused for lists that name none of the samples, and what class folders are refused for.
    """
    lists: defaultdict[str, list[Path]] = defaultdict(list)
    for file in listing.others(".txt"):
        if match := _UCF.fullmatch(file.name) or _HMDB.fullmatch(file.name):
            lists[match[2]].append(file)
    number = min(lists)
    splits = {key: split for file in lists[number] for key, split in _listed(file)}
    used = {listing.relative(file) for file in listing.others(".txt") if file.name == "classInd.txt"}
    used |= {listing.relative(file) for files in lists.values() for file in files}
    plain = class_folders.read(listing, options, used=used)
    what = f"{plain.what}; splits of {lists[number][0].name}"
    if len(lists) > 1:
        what += f", the first of {len(lists)} lists (to take another, leave that alone there)"

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
            raise Refused(f"E_MISSING_FILE {listing.relative(lists[number][0])}: none of the videos that it names is there")

    return Source(what, listing.root, entries)


def _listed(file: Path) -> Iterator[tuple[str, str]]:
    """(class/video, split) of each line; the split of one that is kept out is empty."""
    ucf, hmdb = _UCF.fullmatch(file.name), _HMDB.fullmatch(file.name)
    for number, line in enumerate(file.read_text(errors="replace").splitlines(), 1):
        if not (words := line.split()):
            continue
        if ucf:
            label, slash, name = words[0].replace("\\\\", "/").rpartition("/")
            split = SPLIT_NAMES[ucf[1]]
        else:
            label, slash, name = hmdb[1], "/", line.strip().rpartition(" ")[0].strip()
            split = {"0": "", "1": "train", "2": "test"}.get(words[-1])
        if not (slash and name) or split is None:
            expected = "class/video.avi 1" if ucf else "video.avi 0, 1 or 2"
            raise Refused(f"E_LIST {file} line {number}: expected `{expected}`, got {line[:100]!r}")
        yield _key(label, name), split


def _key(label: str, source: str) -> str:
    """Lists and files of UCF101 differ in case (`HandStandPushups`); frame folders have no ending."""
    name = source.rpartition("/")[2]
    stem, _, ending = name.rpartition(".")
    return f"{label}/{stem if f'.{ending.lower()}' in VIDEOS else name}".lower()


FORM = Form("video-lists", "class folders of videos or of frames, with the lists of UCF101 or HMDB51", EXAMPLE, fit, read)
