"""What every form of a source becomes: samples before any of their pictures is read, and what is left out and why."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from components.shared import screen

# What people call the official splits -> what Darkroom calls them.
SPLIT_NAMES = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
    "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip


def words(name: str) -> list[str]:
    """The words of a name, in lower case: `train_labels`, `trainLabels`."""
    return re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name).lower())


def split_of(path: str) -> str | None:
    """The official split that names tell: `train_labels.csv`, `valid/labels`; the last that says one counts."""
    for part in reversed(path.split("/")):
        splits = {SPLIT_NAMES[word] for word in words(part) if word in SPLIT_NAMES}
        if len(splits) == 1:
            return splits.pop()
    return None


@dataclass(slots=True)
class Entry:
    """One sample before its bytes are read: by its files, in the order of frames, or by a function that gives its frames.

    `source` is where it came from, relative to what was ingested; `frames` gives (encoded bytes, relative path) of each frame.
    """

    label: str
    source: str
    files: Sequence[Path] = ()
    frames: Callable[[], Iterable[tuple[bytes, str]]] | None = None
    group: str | None = None
    split: str | None = None
    clip: bool = False  # `frames` gives several


@dataclass
class LeftOut:
    """What is not taken: by code and reason how many of which class, and the first by its path.

    Ten million names would be a gigabyte, so no more than that is kept.
    """

    counts: dict[tuple[str, str], Counter] = field(default_factory=dict)
    first: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, code: str, reason: str, path: str, label: str = "") -> None:
        """Count one more. `reason` is said of many: `files that are no pictures`."""
        self.first.setdefault((code, reason), path)
        self.counts.setdefault((code, reason), Counter())[label] += 1

    def lines(self) -> Iterator[str]:
        """A line for each reason: how many, of which classes, such as which. `1: files that …` is true of one, too."""
        for (code, reason), labels in self.counts.items():
            classes = ", ".join(f"{label} {count:,}" for label, count in labels.most_common(5) if label)
            yield f"{code} {labels.total():,}: {reason}{f' ({classes})' if classes else ''}, such as {self.first[code, reason]!r}"

    def tell(self) -> None:
        """Print them."""
        for line in self.lines():
            print(screen.wrapped(line))


class Source(NamedTuple):
    """What was understood: `what` in words, and the samples.

    `root` is the folder that frames' paths are relative to. Each call of `entries` tells all samples anew, one after another, and
    adds what it leaves out to the LeftOut that it is given; it raises Refused for what is found wrong on the way.
    """

    what: str
    root: Path
    entries: Callable[[LeftOut], Iterator[Entry]]
