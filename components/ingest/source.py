"""What every kind of source becomes: a description and a stream of samples."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from components.shared.data.dataset import Sample

# What people call the official splits -> what Darkroom calls them.
SPLIT_NAMES = {
    "train": "train", "training": "train", "validation": "validation", "valid": "validation", "val": "validation",
    "dev": "validation", "test": "test", "testing": "test",
}  # fmt: skip


@dataclass
class Passed:
    """Files that were passed over: how many, and the first by its relative path. Ten million names would be a gigabyte."""

    count: int = 0
    first: str = ""

    def add(self, path: str) -> None:
        """Count one more."""
        self.first = self.first if self.count else path
        self.count += 1


@dataclass
class Source:
    """What was found: `kind` in words, how many samples, and the samples themselves, made one after another."""

    kind: str
    count: int
    samples: Callable[[], Iterator[Sample]]
    ignored: Passed = field(default_factory=Passed)  # hidden, or nothing that is read
    thinned: Passed = field(default_factory=Passed)  # clips of which not every picture was taken, known when all are read
    unlabelled: Passed = field(default_factory=Passed)  # pictures that lie there but that no row of a table names
