"""The pairs of samples that show the same: what a split must keep on one side."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared import files
from components.shared.data import manifest as manifests
from components.validate.context import Context

SCHEMA = pa.schema([("one", pa.int64()), ("other", pa.int64()), ("kind", pa.string())])


def write(context: Context, file: Path) -> None:
    """Write every pair, ordered: `one` < `other` (row numbers in the order of `manifest.read`) and its `kind`.

    `near`: near twins among stills; a picture that comes several times is named by its first row. `frames`: clips that share
    at least validate.min_shared_frames of their frames. They do not depend on severities: a split needs them in any case.
    """
    frames = context.shared_frames[["one", "other"]].to_numpy(np.int64)
    both = np.concatenate([context.near.astype(np.int64), frames])
    kind = np.repeat(["near", "frames"], [len(context.near), len(frames)])
    order = np.lexsort([both[:, 1], both[:, 0]])
    with files.whole_file(file) as temporary:
        columns = [both[order, 0], both[order, 1], pa.array(kind[order], pa.string())]
        of = SCHEMA.with_metadata({"data_digest": manifests.data_digest(context.manifest)})
        pq.write_table(pa.table(columns, schema=of), temporary, compression="zstd")
