"""From the features of all shards to the files that people and steps use: vectors, index, samples, map."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.embed import map_page, points, reduction
from components.shared.data import embeddings as form
from components.shared.data import manifest as manifests

SEED = 0  # of the map: part of the measure, no knob


def write(folder: Path, manifest: Path, read: reduction.Read, dimensions: int) -> tuple[np.ndarray, np.ndarray]:
    """Write everything but `embeddings.json`; returns the vectors, mapped, and which rows of the manifest have one, bool (rows,).

    `read` gives the rows that have features, and these, in pieces.
    """
    facts = ["id", "source", "label", "split"]
    rows = manifests.frame((table for _, table in manifests.parts(manifest, ["label", "fault_code"])), ["label", "fault_code"])
    # A fault may be in a frame of a clip that the network was not shown.
    vectors, there = reduction.project(read, rows["fault_code"].isna().to_numpy(), dimensions, folder)
    reduction.index(vectors, there, folder)
    labels = manifests.labels(rows).cat.codes.to_numpy().astype(np.int64)
    described = points.describe(np.asarray(vectors, np.float32), labels, SEED)
    known = pa.concat_tables(table for _, table in manifests.parts(manifest, facts))
    columns = []
    for field in list(form.SCHEMA)[len(facts) :]:
        values = described[field.name]
        said = there & (values >= 0) if field.name == "label_next" else there
        columns.append(pa.array(values, field.type, mask=~said))
    samples = pa.table([*known.columns, *columns], schema=form.SCHEMA)
    pq.write_table(samples, folder / form.SAMPLES, compression="zstd")
    previews = (preview for _, table in manifests.parts(manifest, ["preview"]) for preview in table["preview"].to_pylist())
    map_page.write(folder / form.MAP, samples, previews, "Map of the data")
    return vectors, there


def pieces(part: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows (n,) and features float16 (n, features) of a part; rows without features are left out. Raises ArrowException, OSError."""
    start = 0
    with pq.ParquetFile(part, page_checksum_verification=True) as file:
        for batch in file.iter_batches(reduction.PIECE):
            column = batch.column(0)
            numbers = np.flatnonzero(column.is_valid().to_numpy(zero_copy_only=False))
            if len(numbers):
                whole = b"".join(column.drop_null().to_pylist())
                yield start + numbers, np.frombuffer(whole, np.float16).reshape(len(numbers), -1)
            start += len(batch)
