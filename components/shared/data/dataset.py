"""The data folder: Parquet shards of samples with their original bytes. Layout and meaning of a shard, in one place."""

import contextlib
import hashlib
import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import pyarrow.parquet as pq

from components.shared import files
from components.shared.errors import CannotRun, Refused

SCHEMA = pa.schema(
    [
        pa.field("id", pa.string(), nullable=False),  # sha256 of the frames' sha256
        pa.field("label", pa.string()),
        pa.field("group", pa.string()),
        pa.field("split", pa.string()),
        pa.field("source", pa.string(), nullable=False),  # relative path the sample came from
        pa.field("frames", pa.list_(pa.struct([("bytes", pa.binary()), ("path", pa.string())])), nullable=False),
    ]
)
GROUP = 64 * 2**20  # bytes of frames in a row group
HELD = 16 * 2**20  # bytes that a reader turns into samples at once
SPLITS = ("train", "validation", "test")
FACTS = ["id", "label", "group", "split", "source"]  # what a sample is, without its bytes


@dataclass(frozen=True)
class Sample:
    """One thing to recognise: a still (one frame) or a clip (frames in order)."""

    label: str | None
    source: str
    frames: Sequence[tuple[bytes, str]]  # (encoded bytes, relative path) in order
    group: str | None = None
    split: str | None = None

    @property
    def id(self) -> str:
        """sha256 over the frames: the same picture has the same id wherever it lies."""
        if len(self.frames) == 1:
            return hashlib.sha256(self.frames[0][0]).hexdigest()
        return hashlib.sha256(b"".join(hashlib.sha256(data).digest() for data, _ in self.frames)).hexdigest()

    @property
    def size(self) -> int:
        """Bytes of all frames."""
        return sum(len(data) for data, _ in self.frames)


def write_shard(samples: list[Sample], file: Path) -> None:
    """Deterministic: the same samples in the same order are the same bytes."""
    with (
        files.whole_file(file) as temporary,
        pq.ParquetWriter(temporary, SCHEMA, compression="zstd", use_dictionary=["label", "split", "group"]) as writer,
    ):
        for group in _groups(samples):
            rows = {name: [getattr(sample, name) for sample in group] for name in FACTS}
            rows["frames"] = [[{"bytes": data, "path": path} for data, path in sample.frames] for sample in group]
            writer.write_table(pa.table(rows, schema=SCHEMA))


def _groups(samples: list[Sample]) -> Iterator[list[Sample]]:
    """What a reader holds at once: 1,024 samples, or GROUP bytes, or a single sample that is larger."""
    group, size = [], 0
    for sample in samples:
        if group and (len(group) == 1024 or size + sample.size > GROUP):
            yield group
            group, size = [], 0
        group.append(sample)
        size += sample.size
    yield group


def write_tree(sample: Sample, folder: Path) -> None:
    """Write a sample's frames under their original paths. Raises Refused for a path that leads out, CannotRun for one that is taken."""
    for content, path in sample.frames:
        target = folder / path
        # Shards come from elsewhere too: a path in one must not lead out of the folder.
        if not target.resolve().is_relative_to(folder.resolve()):
            raise Refused(f"E_PATH_OUTSIDE {sample.source!r}: {path!r} leaves the folder")
        if target.exists():
            raise CannotRun(f"{path!r} stands in two samples; export one data set at a time")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)


def keep_shard(old: Path, new: Path) -> None:
    """Put a file that stays as it is into the folder that replaces its own, without copying it where that can be."""
    try:
        new.hardlink_to(old)
    except OSError:  # another file system, or one without links
        shutil.copyfile(old, new)


def shards(data: Path) -> list[Path]:
    """All shards, by name. Raises CannotRun when there are none."""
    if not data.is_dir():
        raise CannotRun(f"{data}: no such folder; `darkroom ingest SOURCE {data}` makes it")
    found = sorted(data.glob("*.parquet"))
    if not found:
        raise CannotRun(f"{data}: holds no shards; `darkroom ingest SOURCE {data}` makes them")
    return found


def is_shard(file: Path) -> bool:
    """Whether a file is a shard, by its columns: a person's own table is not. Raises what reading another file raises."""
    return pq.read_schema(file).names == SCHEMA.names


def read_facts(shard: Path) -> pa.Table:
    """Everything about a shard's samples but the pictures: cheap, since Parquet is stored by column."""
    with readable(shard):
        return pq.read_table(shard, columns=FACTS)


def count(shard: Path) -> int:
    """How many samples a shard holds."""
    with readable(shard):
        return pq.read_metadata(shard).num_rows


def read_samples(shard: Path) -> Iterator[Sample]:
    """The samples of one shard in order, a row group in memory at a time."""
    return (sample for _, sample in read_stored(shard))


def read_stored(shard: Path, rows: range | None = None) -> Iterator[tuple[str, Sample]]:
    """The same with the id that each was stored under, of some rows alone where they are named."""
    with readable(shard), pq.ParquetFile(shard) as file:
        rows, end = range(file.metadata.num_rows) if rows is None else rows, 0
        for group in range(file.num_row_groups):
            about = file.metadata.row_group(group)
            start, end = end, end + about.num_rows
            if start >= rows.stop or end <= rows.start:
                continue
            few = max(1, min(256, HELD * about.num_rows // max(about.total_byte_size, 1)))
            batches = file.iter_batches(batch_size=few, row_groups=[group])
            samples = (sample for batch in batches for sample in _samples(batch))
            yield from itertools.islice(samples, max(rows.start - start, 0), rows.stop - start)


def _samples(batch: pa.RecordBatch) -> Iterator[tuple[str, Sample]]:
    large = batch.nbytes > 2 * HELD
    for number, row in enumerate((batch.select(FACTS) if large else batch).to_pylist()):
        stored = Frames(batch["frames"][number].values) if large else ((one["bytes"], one["path"]) for one in row["frames"])
        frames = stored if large else tuple(stored)
        yield row["id"], Sample(row["label"], row["source"], frames, row["group"], row["split"])


class Frames(Sequence):
    """(encoded bytes, relative path) of each frame of a large clip, copied out of the shard's memory one at a time."""

    def __init__(self, stored: pa.StructArray) -> None:
        self.stored = stored

    def __len__(self) -> int:
        return len(self.stored)

    def __getitem__(self, index: int) -> tuple[bytes, str]:
        frame = self.stored[index].as_py()
        return frame["bytes"], frame["path"]


def digest(data: Annotated[Path, "the folder of shards"]) -> None:
    """Print the digest of a folder of shards. Raises CannotRun when there are none, or other files of that ending."""
    for shard in shards(data):
        with readable(shard):
            if not is_shard(shard):
                raise CannotRun(f"{shard}: is a table of something else; `darkroom ingest` makes shards")
    print(data_digest({shard.name: files.digest(shard, "md5") for shard in shards(data)}))


def data_digest(shard_digests: dict[str, str]) -> str:
    """Name -> md5 of each shard in, the digest of the whole folder out.

    It is the one that DVC records for a folder (md5 over the sorted list of md5 and relative path), so that a model's
    lineage, `data.dvc` and a pipeline's cache key all say the same thing.
    """
    entries = [{"md5": md5, "relpath": name} for name, md5 in sorted(shard_digests.items())]
    return hashlib.md5(json.dumps(entries, sort_keys=True).encode(), usedforsecurity=False).hexdigest() + ".dir"


@contextlib.contextmanager
def readable(
    file: Path, *, what: str = "a shard that can be read", remedy: str = "`dvc checkout` restores it"
) -> Iterator[None]:
    """Turns a damaged or foreign Parquet file into one line that names it. Raises CannotRun."""
    try:
        yield
    except (pa.ArrowException, OSError, KeyError, TypeError) as error:  # TypeError: a schema without metadata
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CannotRun(f"{file}: not {what} ({reason}); {remedy}") from None
