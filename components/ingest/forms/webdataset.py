"""WebDataset: pictures with their labels in files of the same key beside them, `a.jpg` and `a.cls`, most often inside tars."""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from components.ingest.form import COULD, MARKED, Fit, Form, Options
from components.ingest.listing import Listing, Scan
from components.ingest.record_files import class_list, label_of, splits
from components.ingest.sample_reader import escaped, kind_of
from components.ingest.source import Entry, LeftOut, Source
from components.shared.errors import CannotRun, Refused

_LABELS = ("label", "class", "cls", "category", "class_name", "label_name")  # in a JSON file
_CARRIERS = (".cls", ".json", ".txt")
_LOOKED_AT = 20  # labels of a folder that are looked at to tell the form
_LONGEST = 100  # characters of a label; more is a caption
EXAMPLE = """\
train-000000.tar   1.jpg, 1.cls, 2.jpg, 2.json with a label ...
test-000000.tar"""


def fit(listing: Listing) -> Fit | None:
    """Files of labels beside pictures of the same name; of captions and other text it is no more than possible."""
    if listing.file:
        return None
    found = None
    for path, folder in listing.folders.items():
        if not folder.pictures or not any(name.endswith(_CARRIERS) for name in folder.others):
            continue
        groups = _groups(listing.root / path, listing.scan(listing.root / path))
        for carrier, (name, *_) in itertools.islice(groups.items(), _LOOKED_AT):
            if carrier.endswith(".txt"):
                found = Fit(COULD, f"{carrier} lies beside {name}")
            elif carrier.endswith(".cls") or (carrier and _field(listing.root / path / carrier, Options()) is not None):
                return Fit(MARKED, f"{carrier} lies beside {name} and has its label")
    return found


def read(listing: Listing, options: Options) -> Source:
    """A sample for each picture or video with a label. Raises Refused, CannotRun."""
    folders = [path for path, folder in listing.folders.items() if folder.pictures]
    official = dict.fromkeys(listing.folders) | dict(zip(folders, splits(folders), strict=True))
    classes = class_list(listing)

    def entries(left_out: LeftOut) -> Iterator[Entry]:
        captions, samples = set(), 0
        for path, split in official.items():
            for carrier, entry in _entries(listing, listing.root / path, classes, options, left_out):
                entry.split = split
                samples += 1
                if carrier.endswith(".txt"):
                    captions.add(hash(entry.label))
                yield entry
        if len(captions) > max(20, samples / 2):
            raise CannotRun(f"{listing.root}: its .txt files are captions, not classes: {len(captions):,} different ones of "
                            f"{samples:,} pictures; add a .cls file with the class beside each")  # fmt: skip

    return Source("pictures with their labels in files beside them", listing.root, entries)


def _groups(folder: Path, scan: Scan) -> dict[str, list[str]]:
    """The file of a label, or nothing -> its pictures: a key may have dots, and so may what stands behind it."""
    names, groups = {*scan.files}, defaultdict(list)
    for name in scan.files:
        if kind_of(folder / name):
            keys = dict.fromkeys((name.rpartition(".")[0], name.partition(".")[0]))
            carrier = next((key + ending for key in keys for ending in _CARRIERS if key + ending in names), "")
            groups[carrier].append(name)
    return groups


def _entries(
    listing: Listing, folder: Path, classes: dict[int, str], options: Options, left_out: LeftOut
) -> Iterator[tuple[str, Entry]]:
    """(carrier, sample) of each label with a picture: `a.jpg` rather than `a.mask.png`."""
    scan = listing.scan(folder)
    groups = _groups(folder, scan)
    known = {*groups, *itertools.chain(*groups.values())}
    for name in (name for name in scan.files if name not in known):
        reason = "labels without a picture" if name.endswith(".cls") else "files that are no pictures"
        left_out.add("W_IGNORED", reason, listing.relative(folder / name))
    for carrier, names in groups.items():
        label = _label(folder / carrier, listing, classes, options) if carrier else None
        own = [name for name in names if len(names) == 1 or name.rpartition(".")[0] == carrier.rpartition(".")[0]]
        if label is not None and len(own) != 1:
            what = f"several pictures have the label of {escaped(carrier)} ({', '.join(map(escaped, names[:5]))}); leave one"
            raise Refused(f"E_AMBIGUOUS {escaped(listing.relative(folder / names[0]))}: {what}")
        for name in names:
            path = listing.relative(folder / name)
            if label is None:
                left_out.add("W_UNLABELED", "pictures without a .cls file, or a .json file with a label", path)
            elif name not in own:
                left_out.add("W_IGNORED", "further pictures of a sample, such as masks", path, label)
            else:
                yield carrier, Entry(label, path, [folder / name])


def _label(carrier: Path, listing: Listing, classes: dict[int, str], options: Options) -> str | None:
    where = escaped(listing.relative(carrier))
    if carrier.suffix == ".json":
        return label_of(_field(carrier, options), classes, where)
    text = carrier.read_bytes()[: 5 * _LONGEST]
    label = label_of(text, classes, where)
    if label and (len(label) > _LONGEST or "\n" in label):
        raise CannotRun(f"{where}: expected a class in one line, got {label[:40]!r}, which reads like a caption; "
                        "add a .cls file with the class")  # fmt: skip
    return label


def _field(carrier: Path, options: Options) -> object:
    """What a JSON file says the label is; None where it says nothing."""
    try:
        found = json.loads(carrier.read_bytes())
    except (ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return found if isinstance(found, int) else None
    names = [options.label_field] if options.label_field else _LABELS
    return next((found[name] for name in names if found.get(name) is not None), None)


FORM = Form(
    "webdataset",
    "pictures with labels of the same key beside them (.cls, .json), in tars or not",
    EXAMPLE,
    fit,
    read,
    fields=True,
)
