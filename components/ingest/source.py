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
class Source:
    """What was found: `kind` in words, how many samples, and the samples themselves, made one after another."""

    kind: str
    count: int
    samples: Callable[[], Iterator[Sample]]
    ignored: list[str] = field(default_factory=list)  # files passed over, by relative path
    unlabelled: list[str] = field(default_factory=list)  # pictures that lie there but that no row of a table names
