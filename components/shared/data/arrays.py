"""Prepared pictures: uint8 arrays on disk that can be memory-mapped, with labels, samples and the class list.

A folder per split: `images.npy` (n, height, width, channels), or (n, time, height, width, channels) for clips, where a frame
of zeros is padding; `labels.npy` (n,) int32; `samples.parquet` (id, source, label, group, picture, unit), a row per sample in
order. `picture` is the digest of the decoded pixels: the same for a picture that was saved anew. Samples of one `unit` belong
together: by a group, or as near twins of each other; its number says nothing outside of these arrays.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared import files, scratch
from components.shared.errors import CannotRun

MEASURED = "measured.parquet"  # beside the test split: some columns of the manifest, a row per sample in order
_ROW_GROUP = 1 << 17  # samples
SAMPLES = pa.schema([*((name, pa.string()) for name in ("id", "source", "label", "group", "picture")), ("unit", pa.int64())])


@dataclass(frozen=True)
class Layout:
    """What all splits of a prepared data set share."""

    classes: list[str]
    shape: tuple[int, ...]  # of one sample
    data_digest: str
    knobs: dict = field(default_factory=dict)  # step -> its knobs, of all steps that these arrays went through
    preprocessing: dict = field(
        default_factory=dict
    )  # how encoded frames became these pixels; see shared/pictures/preprocessing

    @property
    def is_clip(self) -> bool:
        """Whether a sample has a time axis."""
        return len(self.shape) == 4

    def write(self, folder: Path) -> None:
        """Write `layout.json`."""
        files.write_json(folder / "layout.json", asdict(self))

    @classmethod
    def read(cls, folder: Path) -> "Layout":
        """Read `layout.json`. Raises CannotRun when it is missing or damaged."""
        names = ("classes", "shape", "data_digest", "knobs", "preprocessing")
        content = files.read_json(folder / "layout.json", *names)
        return cls(**{name: content[name] for name in names} | {"shape": tuple(content["shape"])})

    def difference(self, other: "Layout") -> str | None:
        """What sets two data sets apart, knobs that only one of them has left aside; None when they belong together."""
        for name, one, two in (
            ("classes", self.classes, other.classes),
            ("shape", self.shape, other.shape),
            ("data", self.data_digest, other.data_digest),
            *((f"knobs of {step}", self.knobs[step], other.knobs[step]) for step in self.knobs if step in other.knobs),
        ):
            if one != two:
                return name
        return None


@dataclass(frozen=True)
class Split:
    """One split. `images` is mapped, not read: uint8, see the module; `labels` index the class list."""

    images: np.ndarray
    labels: np.ndarray
    folder: Path

    def __len__(self) -> int:
        return len(self.labels)

    def samples(self) -> list[dict]:
        """Id, source, label, group and picture of each sample, in order."""
        return self.table().to_pylist()

    def table(self) -> pa.Table:
        """The same as Arrow holds it: a million dicts would be a gigabyte."""
        return pq.read_table(self.folder / "samples.parquet")

    def digest(self) -> str:
        """Over pixels and labels: a training goes on from a checkpoint only with the very same arrays."""
        return "-".join(files.digest(self.folder / name) for name in ("images.npy", "labels.npy"))

    def content_digest(self) -> str:
        """Over which samples with which labels, whatever their size in pixels: what two models may be compared on."""
        table = self.table()
        named = sorted(
            f"{id} {label}" for id, label in zip(*(table[name].to_pylist() for name in ("id", "label")), strict=True)
        )
        return hashlib.sha256("\n".join(named).encode()).hexdigest()


def load(folder: Path, layout: Layout | None = None) -> Split:
    """Map the arrays of one split.

    Raises CannotRun when they are missing, cut short or do not belong together, nor to the `layout`.
    """
    try:
        images = np.load(folder / "images.npy", mmap_mode="r", allow_pickle=False)
        labels = np.load(folder / "labels.npy", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CannotRun(f"{folder}: no usable arrays ({error}); `dvc repro` makes them") from None
    whole = len(images) == len(labels) and images.dtype == np.uint8
    known = not len(labels) or not layout or 0 <= labels.min() <= labels.max() < len(layout.classes)
    if not (whole and known) or (layout and images.shape[1:] != layout.shape):
        expected = f", expected {layout.shape} and {len(layout.classes)} classes" if layout else ""
        raise CannotRun(
            f"{folder}: {len(images)} {images.dtype} images of {images.shape[1:]} but {len(labels)} labels up to "
            f"{labels.max(initial=0)}{expected}; `dvc repro -f` makes them anew"
        )
    return Split(images, labels, folder)


def create(folder: Path, count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Make `images.npy` in its final size, to be filled piece by piece; see `scratch.mapped`."""
    folder.mkdir(parents=True, exist_ok=True)
    return scratch.mapped(folder / "images.npy", (count, *shape))


def describe(folder: Path, labels: np.ndarray, samples: list[dict] | Iterable[pa.Table]) -> None:
    """Write labels and samples beside the images: a list of dicts, or tables that are held one at a time.

    How the tables are cut changes no byte.
    """
    np.save(folder / "labels.npy", labels.astype(np.int32), allow_pickle=False)
    tables = [pa.Table.from_pylist(samples, schema=SAMPLES)] if isinstance(samples, list) else samples
    held = SAMPLES.empty_table()
    with pq.ParquetWriter(folder / "samples.parquet", SAMPLES, compression="zstd") as writer:
        for table in tables:
            held = pa.concat_tables([held, table.cast(SAMPLES)])
            while len(held) >= _ROW_GROUP:
                writer.write_table(held[:_ROW_GROUP].combine_chunks())
                held = held[_ROW_GROUP:]
        writer.write_table(held.combine_chunks())
