"""ImageNet's lists as CVAT exports them without pictures: `train.txt` of `picture number`, and the classes in `synsets.txt`."""

import re
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from components.ingest.form import MARKED, Fit, Form, Options
from components.ingest.listing import Listing, head, lines
from components.ingest.rows import source_of
from components.ingest.sheet import TEXT
from components.ingest.source import SPLIT_NAMES, Source
from components.shared.errors import CannotRun, Refused

EXAMPLE = """\
synsets.txt
train.txt          cat_1.jpg 0
images/cat_1.jpg"""

_LINE = re.compile(
    r'(?:"([^"]+)"(\S*)|(\S+))((?: +\d+)*) *\r?$', re.MULTILINE
)  # a name with spaces is quoted, without its ending


def fit(listing: Listing) -> Fit | None:
    """A file of classes, and beside it a list."""
    names = next((file for file in listing.others(".txt") if file.name == "synsets.txt"), None)
    lists = _lists(names) if names else []
    return Fit(MARKED, f"{lists[0].name} beside synsets.txt, as CVAT exports ImageNet") if lists else None


def read(listing: Listing, options: Options) -> Source:
    """The pictures that the lists name, with one class each. Raises Refused with every bad line, CannotRun without pictures."""
    names = next(file for file in listing.others(".txt") if file.name == "synsets.txt")
    if not any(folder.stills for folder in listing.folders.values()):
        raise CannotRun(f"{listing.root}: lists of labels, and no picture; export once more with `Save images`, "
                        "or put the pictures into images/ beside synsets.txt")  # fmt: skip
    classes = [line.strip() for line in lines(names)]
    faults: list[str] = []
    tables = {file: _rows(file, classes, faults) for file in _lists(names)}
    if faults:
        raise Refused(*faults)
    return source_of(tables, "lists of pictures and their classes", listing, options)


def _lists(names: Path) -> list[Path]:
    first = {file: _LINE.match(head(file, 1000).decode(errors="replace")) for file in sorted(names.parent.glob("*.txt"))}
    return [file for file, match in first.items() if file != names and match and match[4]]


def _rows(file: Path, classes: list[str], faults: list[str]) -> pd.DataFrame:
    """The rows of one list; the faults of its lines go into `faults`. Pictures that nobody gave a class are no rows."""

    def read() -> Iterator[tuple[str, str, int]]:
        for number, line in enumerate(lines(file), 1):
            if not line.strip():
                continue
            where, match = f"{file} line {number}", _LINE.fullmatch(line)
            places = [int(place) for place in match[4].split()] if match else []
            if not match:
                faults.append(f"E_LIST {where}: expected `picture.jpg 0`, got {line[:100]!r}")
            elif len(places) > 1:
                faults.append(f"E_LABEL {where}: {len(places)} classes for one picture, expected one; keep the one that counts")
            elif places and places[0] >= len(classes):
                there = f"synsets.txt has {len(classes)} lines (0 to {len(classes) - 1})"
                faults.append(f"E_LABEL {where}: class {places[0]}, but {there}")
            elif places:
                yield (match[3] or match[1] + match[2]), classes[places[0]], number

    found = pd.DataFrame(read(), columns=["path", "label", "line"]).astype({"path": TEXT, "label": TEXT})
    return found.assign(split=pd.array([SPLIT_NAMES.get(file.stem.lower())] * len(found), TEXT))


FORM = Form("imagenet", "CVAT's ImageNet lists of pictures, with their classes in synsets.txt", EXAMPLE, fit, read)
