"""data/ -> the manifest: every frame decoded once, a row per sample, a part per shard kept by the shard's digest."""

import hashlib
from pathlib import Path
from typing import Annotated

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared import dataset, files, images, parallel
from components.shared.dataset import Sample
from components.shared.errors import CannotRun
from components.shared.images import Picture, Undecodable, decode
from components.shared.manifest import SCHEMA


def measure(
    *,
    data: Annotated[Path, "the folder of shards"],
    manifest: Annotated[Path, "the folder of parts to bring up to date"],
) -> None:
    """Measure what is new. A part whose shard is still there is kept as it is, so that a new shard costs only itself.

    A frame that does not decode is a row with its reason, not a crash.
    """
    shards = dataset.shards(data)
    digests = {shard: files.digest(shard, "md5") for shard in shards}
    if len(set(digests.values())) < len(shards):
        raise CannotRun(f"{data}: two shards with the same content; delete one of them")
    new = [shard for shard in shards if not _is_current(manifest / f"{digests[shard]}.parquet", shard.name)]
    with files.whole_folder(manifest) as fresh:
        for shard in set(shards) - set(new):
            part = f"{digests[shard]}.parquet"
            (fresh / part).write_bytes((manifest / part).read_bytes())
        work = [(shard, fresh / f"{digests[shard]}.parquet") for shard in new]
        weights = [dataset.count(shard) for shard in new]
        faults = sum(count for _, count in parallel.each(measure_shard, work, weights=weights, name="measure"))
    print(f"{manifest}: {len(new)} shards measured, {len(shards) - len(new)} kept, {faults} new samples do not decode")


def measure_shard(shard: Path, part: Path) -> int:
    """Measure one shard into one part of the manifest; returns how many samples do not decode."""
    rows = [_row(sample, shard.name) for sample in dataset.read_samples(shard)]
    pq.write_table(pa.Table.from_pylist(rows, schema=_stamped()), part, compression="zstd")
    return sum("fault" in row for row in rows)


def _stamped() -> pa.Schema:
    """The manifest's schema with what decides its content: another decoder or another measure makes old parts outdated."""
    code = b"".join(Path(file).read_bytes() for file in (__file__, images.__file__))
    return SCHEMA.with_metadata({"measured_by": f"{hashlib.sha256(code).hexdigest()} Pillow {PIL.__version__}"})


def _is_current(part: Path, shard: str) -> bool:
    """Whether a part is there, was measured as today, and is of a shard of this name (a digest covers the content alone)."""
    try:
        return (
            pq.read_schema(part).equals(_stamped(), check_metadata=True)
            and pq.read_table(part, columns=["shard"])["shard"][0].as_py() == shard
        )
    except (OSError, pa.ArrowException, IndexError):
        return False


def _row(sample: Sample, shard: str) -> dict:
    row = {name: getattr(sample, name) for name in dataset.FACTS}
    row |= {"shard": shard, "frames": len(sample.frames), "bytes": sample.size}
    pictures: list[Picture] = []
    for content, path in sample.frames:
        try:
            pictures.append(decode(content))
        except Undecodable as fault:
            frame = f" (frame {path})" if len(sample.frames) > 1 else ""
            return row | {"fault_code": fault.code, "fault": fault.reason + frame}
    if not pictures:
        return row | {"fault_code": "E_SEQ_EMPTY", "fault": "a clip without frames"}
    first = pictures[0]
    total = sum(picture.pixels.size for picture in pictures)
    # Whole-number sums are exact and fast; the mean and deviation follow from them.
    mean = sum(int(picture.pixels.sum(dtype=np.int64)) for picture in pictures) / total
    square = sum(float(np.square(picture.pixels, dtype=np.uint16).sum(dtype=np.int64)) for picture in pictures) / total
    pixels = hashlib.sha256()
    for picture in pictures:
        pixels.update(repr(picture.pixels.shape).encode())
        pixels.update(np.ascontiguousarray(picture.pixels))
    return row | {
        "width": first.width,
        "height": first.height,
        "frame_sizes": len({(picture.width, picture.height) for picture in pictures}),
        "mode": first.mode,
        "format": first.format,
        "pixels_sha256": pixels.hexdigest(),
        "brightness": mean,
        "contrast": max(0.0, square - mean * mean) ** 0.5,
        "notes": " ".join(sorted({note for picture in pictures for note in picture.notes})),
    }
