"""YOLO's text files of boxes, one per picture, as Ultralytics, Darknet, CVAT, Roboflow and Label Studio write them."""

import math
import re
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from components.ingest import boxes
from components.ingest.boxes import Box, Export, Marked
from components.ingest.listing import Listing, first_like, head, lines
from components.ingest.sample_reader import STILLS
from components.ingest.source import SPLIT_NAMES, split_of
from components.shared import yaml_reader
from components.shared.errors import CannotRun

_MOST = 200  # files whose first line is read
_ROW = re.compile(rb"\A\d+([ \t]+-?([01]|[01]?\.\d+|\d(\.\d+)?e-\d+)){4}([ \t]+[-+.e\d]+)*[ \t\r]*(\n|\Z)")
_SETTINGS = re.compile(rb"^(names|train|val)\s*:", re.MULTILINE)
_SLACK = 0.01  # what tools round beyond the picture's edge


def _find(listing: Listing) -> str:
    """Text files whose first line is a class and at least four fractions; or settings that name classes and pictures."""
    texts = listing.others(".txt")
    # Those that lie deeper first: at the top are lists and remarks.
    if file := first_like(sorted(texts, key=lambda file: -len(file.parts)), _ROW, most=_MOST):
        return f"{listing.relative(file)} holds boxes as YOLO writes them"
    for file in listing.others(".yaml", ".yml") if texts else ():
        keys = set(_SETTINGS.findall(head(file, 2**16)))
        if b"names" in keys and len(keys) > 1:
            return f"{listing.relative(file)} names classes and pictures as YOLO does"
    return ""


def _marked(export: Export) -> Iterator[Marked]:
    """The split is that of data.yaml, the folder, or a list (train.txt). Raises CannotRun."""
    listing, known = export.listing, _configuration(export.listing)
    names, lists = _names(listing, known), _lists(export)
    for file in listing.every(lambda name: name.endswith(".txt")):
        path = listing.relative(file)
        if picture := export.find(file.stem, boxes.near(path.rpartition("/")[0], "images")):
            found = list(_boxes(file, path, names, "kpt_shape" in known, export.faults))
            yield Marked(picture, found, split=_split(listing.relative(picture), known, lists), fractions=True)
        elif _ROW.search(head(file, 2000)):
            export.faults.append(f"E_MISSING_FILE {path}: no picture of that name lies beside it or in a folder images")


def _configuration(listing: Listing) -> dict:
    """What data.yaml says. Raises CannotRun."""
    read = {file: yaml_reader.read(file, missing="") for file in listing.others(".yaml", ".yml")}
    found = {file: content for file, content in read.items() if isinstance(content, dict) and content.get("names")}
    if len({repr(content["names"]) for content in found.values()}) > 1:
        raise CannotRun(f"{' and '.join(map(str, found))}: different names of classes; leave one of them there")
    return next(iter(found.values()), {})


def _names(listing: Listing, known: dict) -> dict[int, str]:
    """Number -> name of the classes. Raises CannotRun where nothing tells them."""
    names = known.get("names")
    if not names:
        files = listing.every(lambda name: name.endswith(".names") or name in ("classes.txt", "_darknet.labels"))
        if not (file := next(files, None)):
            way_out = "add a data.yaml with `names`, obj.names or classes.txt"
            raise CannotRun(f"{listing.root}: its boxes name classes by numbers; {way_out}")
        names = lines(file)
    try:
        numbered = names.items() if isinstance(names, dict) else enumerate(names)
        return {int(str(number)): str(name).strip() for number, name in numbered}
    except (TypeError, ValueError):
        raise CannotRun(f"{listing.root}: `names` of its data.yaml are not a list of names, or number: name") from None


def _lists(export: Export) -> dict[str, str]:
    """Name of a picture, with its folder's where that stands there -> split, of the lists train.txt, valid.txt and test.txt."""
    found: dict[str, str] = {}
    for file in export.listing.others(".txt"):
        split = SPLIT_NAMES.get(file.stem.lower())
        for line in lines(file) if split else ():
            path = PurePosixPath(line.strip().replace("\\", "/"))
            name = "/".join(path.parts[-2:])
            if path.suffix.lower() in STILLS and found.setdefault(name, split) != split:
                where = export.listing.relative(file)
                export.faults.append(f"E_LABEL_CONFLICT {where}: {name!r} is in the list of {found[name]} too")
    return found


def _split(path: str, known: dict, lists: dict[str, str]) -> str | None:
    """The split of a picture: `train: images/a` in data.yaml, else what its folders are called, else a list."""
    parts = PurePosixPath(path).parts
    told = set()
    for word in ("train", "val", "test"):
        for folder in [known.get(word)] if isinstance(known.get(word), str) else known.get(word) or ():
            wanted = tuple(part for part in PurePosixPath(str(folder)).parts if part not in ("..", ".", "/"))
            if wanted and any(parts[start : start + len(wanted)] == wanted for start in range(len(parts) - 1)):
                told.add(SPLIT_NAMES[word])
    if len(told) == 1:
        return told.pop()
    return split_of("/".join(parts[:-1])) or lists.get("/".join(parts[-2:])) or lists.get(parts[-1])


def _boxes(file: Path, path: str, names: dict[int, str], with_points: bool, faults: list[str]) -> Iterator[Box]:
    """A box per line: centre, width and height, then perhaps key points; or an outline, of which the box that holds it."""
    for line, row in enumerate(lines(file), 1):
        where = f"{path} line {line}"
        try:
            numbers = list(map(float, row.split()))
        except ValueError:
            numbers = [math.nan]
        if not numbers:
            continue
        is_box = len(numbers) == 5 or (with_points and len(numbers) > 5)
        place, values = numbers[0], numbers[1:5] if is_box else numbers[1:]
        if not (is_box or (len(numbers) >= 7 and len(numbers) % 2)):
            expected = "expected a class and 4 numbers, or a class and the points of an outline"
            faults.append(f"E_BOX {where}: {expected}, got {row[:60]!r}")
        elif place not in names:
            faults.append(f"E_LABEL {where}: class {place:g} is not among the {len(names)} names")
        elif not all(-_SLACK <= value <= 1 + _SLACK for value in values):
            faults.append(f"E_BOX {where}: expected fractions of the picture, from 0 to 1, got {row[:60]!r}")
        elif is_box:
            x, y, width, height = values
            yield Box(names[int(place)], (x - width / 2, y - height / 2, x + width / 2, y + height / 2))
        else:
            across, down = values[::2], values[1::2]
            yield Box(names[int(place)], (min(across), min(down), max(across), max(down)))


FORM = boxes.form(
    "yolo", "a YOLO export",
    """\
data.yaml            names: [cat, dog]
images/train/1.jpg
labels/train/1.txt   1 0.5 0.5 0.2 0.3""",
    _find, _marked,
)  # fmt: skip
