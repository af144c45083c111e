"""The manifest: one row per sample with what was measured, a Parquet part per shard, named by the shard's digest."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.shared import dataset
from components.shared.errors import CannotRun

SCHEMA = pa.schema(
    [
        *[dataset.SCHEMA.field(name) for name in dataset.FACTS],
        ("shard", pa.string()),
        ("frames", pa.int32()),
        ("width", pa.int32()),  # pixels, upright, of the first frame
        ("height", pa.int32()),
        ("frame_sizes", pa.int32()),  # how many different sizes the frames of a clip have
        ("mode", pa.string()),
        ("format", pa.string()),
        ("bytes", pa.int64()),
        ("pixels_sha256", pa.string()),  # of the decoded pixels: the same picture saved twice in different ways
        ("brightness", pa.float32()),  # mean over all pixels, 0 black to 255 white
        ("contrast", pa.float32()),  # standard deviation over all pixels
        ("notes", pa.string()),  # warning codes of the decoder, space between
        ("fault_code", pa.string()),  # null for a sample that decodes
        ("fault", pa.string()),
    ]
)


def read(folder: Path):
    """All parts as one pandas DataFrame, ordered by shard and by row. Raises CannotRun when there is no manifest."""
    tables = [pq.read_table(part) for part in _parts(folder)]
    rows = pa.concat_tables(tables).to_pandas()
    return rows.sort_values("shard", kind="stable", ignore_index=True)


def data_digest(folder: Path) -> str:
    """The digest of the data that this manifest describes, as DVC records it."""
    return dataset.data_digest(shard_digests(folder))


def shard_digests(folder: Path) -> dict[str, str]:
    """Name -> md5 of each shard that was measured."""
    return {pq.read_table(part, columns=["shard"])["shard"][0].as_py(): part.stem for part in _parts(folder)}


def _parts(folder: Path) -> list[Path]:
    parts = sorted(folder.glob("*.parquet"))
    if not parts:
        raise CannotRun(f"{folder}: no manifest; `dvc repro measure` makes it")
    return parts
