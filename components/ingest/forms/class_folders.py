"""A folder per class, at any depth, with official splits above or inside.

The tree is walked anew for each use, one folder in memory at a time: ten million files take no more memory than the largest
folder's names.
"""

from collections import Counter, defaultdict
from collections.abc import Container, Iterator
from pathlib import PurePosixPath
from unicodedata import normalize

from components.ingest.form import COULD, FITS, Fit, Form, Options
from components.ingest.levels import Levels, Place, levels
from components.ingest.listing import Listing
from components.ingest.sample_reader import DOCUMENTS, LONG_CLIP, escaped
from components.ingest.source import Entry, LeftOut, Source
from components.shared.errors import CannotRun, Refused
from components.shared.screen import number

EXAMPLE = """\
train/cat/1.jpg
train/dog/1.jpg
test/cat/2.jpg

PetImages/Cat/1.jpg

UCF-101/Archery/v_Archery_g01_c01.avi
walk/clip1/frame1.jpg"""

_UNLABELLED = "no_label"  # CVAT's folder of pictures that nobody gave a class
_DATA = (".csv", ".tsv", ".json", ".jsonl", ".xml", ".cls", ".mat", ".txt", ".xlsx", ".xls")  # what labels come in
_WORDS = ("readme", "licen", "copying", "changelog", "note", "about", "info")  # how a text for people to read begins


def fit(listing: Listing) -> Fit | None:
    """Pictures, or folders of pictures, in folders below the root."""
    if listing.file or not any(path and folder.pictures for path, folder in listing.folders.items()):
        return None
    beside = listing.folders[""].pictures
    return Fit(COULD if beside else FITS, "pictures lie in folders" + (f", {beside:,} beside them" if beside else ""))


def read(listing: Listing, options: Options, *, used: Container[str] = ()) -> Source:
    """A sample for each picture, video, or folder of frames; files in `used` are not told as left out. Raises Refused, CannotRun."""
    found = levels(listing, options)
    places = {path: place for path in listing.folders if (place := found.place(path))}
    _refuse_lost_classes(listing, places)
    if not options.label_level:
        _refuse_a_lone_class(listing, places)

    def entries(left_out: LeftOut) -> Iterator[Entry]:
        _tell_names(places, left_out)
        faults: list[str] = []
        for path in listing.folders:
            place = places.get(path)
            if place is None or normalize("NFC", place.label).lower() == _UNLABELLED:
                _leave_out(listing, path, found, place, left_out, used)
            else:
                yield from _samples(listing, path, place, found.clips, options, left_out, faults)
        if faults:
            raise Refused(*faults)

    return Source(found.what, listing.root, entries)


def _samples(
    listing: Listing, path: str, place: Place, clips: bool, options: Options, left_out: LeftOut, faults: list[str]
) -> Iterator[Entry]:
    """The samples of one folder. Below a class folder its stills are frames of one clip, if `clips`."""
    label, folder, empty = normalize("NFC", place.label), listing.folders[path], True
    frames = []
    for file, kind in listing.files(path):
        empty = False
        if not kind:
            _leave_file(file, label, left_out)
        elif kind == "still" and clips and place.inside:
            frames.append(listing.root / file)
        else:
            yield Entry(label, file, [listing.root / file], split=place.split)
    if options.kind != "clips" and len(frames) > LONG_CLIP:
        faults.append(f"E_AMBIGUOUS {escaped(path)}: a clip of {len(frames):,} pictures, or more stills? say --kind stills, "
                      "or --kind clips, which thins such a clip evenly to --max-frames")  # fmt: skip
    elif frames:
        yield Entry(label, path, frames, split=place.split)
    elif not (folder.folders or folder.pictures):
        if clips and place.inside:
            faults.append(f"E_SEQ_EMPTY {escaped(path)}: a clip without frames")
        elif empty:
            left_out.add("W_EMPTY", "empty folders", path, label)


def _leave_out(
    listing: Listing, path: str, found: Levels, place: Place | None, left_out: LeftOut, used: Container[str]
) -> None:
    """The files of a folder that is of no class."""
    reason = next((found.left[left] for left in found.left if f"{path}/".startswith(f"{left}/")), None)
    reason = reason or ("pictures without a label" if place else "pictures beside the class folders")
    for file, kind in listing.files(path):
        if kind:
            left_out.add("W_UNLABELED", reason, file)
        elif file not in used:
            _leave_file(file, "", left_out)


def _leave_file(path: str, label: str, left_out: LeftOut) -> None:
    ending = PurePosixPath(path).suffix.lower()
    left_out.add("W_IGNORED", f"files that are no pictures{f' ({escaped(ending)})' if ending else ''}", path, label)


def _refuse_lost_classes(listing: Listing, places: dict[str, Place]) -> None:
    """A class must not vanish in silence because none of its files can be read. Raises Refused with each."""
    others: defaultdict[str, list[str]] = defaultdict(list)
    there = set()
    for path, place in places.items():
        folder = listing.folders[path]
        if folder.pictures:
            there.add(place.label)
        others[place.label] += [f"{path}/{name}" for name in folder.others]
    lost = []
    for label in others.keys() - there:
        endings = Counter(PurePosixPath(file).suffix.lower() for file in others[label])
        if set(endings) - {"", *DOCUMENTS}:
            names = ", ".join(f"{count:,} {escaped(ending) or 'without ending'}" for ending, count in endings.most_common(3))
            lost.append(f"E_CLASS_LOST {escaped(label)}: {number(endings.total(), 'file')}, none of them a picture that is read "
                        f"({names}), such as {escaped(others[label][0])}; save them as PNG or JPEG, or move the folder out")  # fmt: skip
    if lost:
        raise Refused(*sorted(lost))


def _refuse_a_lone_class(listing: Listing, places: dict[str, Place]) -> None:
    """Of `images/` with `export.json` beside it the labels are in that file, whatever form it has. Raises CannotRun."""
    label, *others = {place.label for path, place in places.items() if listing.folders[path].pictures}
    data = (file for file in listing.others(*_DATA) if not file.name.lower().startswith(_WORDS))
    if not others and (files := [listing.relative(file) for file in data]):
        names = ", ".join(map(escaped, files[:3])) + (" …" if len(files) > 3 else "")
        raise CannotRun(f"{listing.root}: all pictures lie in one folder, {escaped(label)}, and none of the files beside them that "
                        f"could have the labels is read ({names}); put each class into a folder of its own, or write a table with the "
                        "columns path and label; if it is one class, move these files out")  # fmt: skip


def _tell_names(places: dict[str, Place], left_out: LeftOut) -> None:
    """Class folders whose names look the same: those that differ in Unicode's form alone are one class, those in case stay two."""
    written: defaultdict[str, set[str]] = defaultdict(set)
    for place in places.values():
        written[normalize("NFC", place.label).casefold()].add(place.label)
    for names in written.values():
        forms = Counter(normalize("NFC", name) for name in names)
        for name, count in forms.items():
            if count > 1:
                left_out.add("W_SAME_NAME", "names of class folders in two forms of Unicode, taken as one class", name)
        if len(forms) > 1:
            left_out.add("W_CASE", "names of classes that differ in case alone, kept apart; rename one if they are one",
                         " and ".join(sorted(forms)))  # fmt: skip


FORM = Form("class-folders", "a folder per class of pictures, of videos, or of folders of frames", EXAMPLE, fit, read)
