"""How many samples that are held back have a twin elsewhere: counted anew after the draw, whatever the draw went by."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.data import manifest as manifests
from components.shared.data import twins
from components.shared.data.dataset import SPLITS
from components.shared.errors import CannotRun


def leaking(manifest: Path, key: np.ndarray, split: np.ndarray, limits: dict) -> dict[str, dict[str, int]]:
    """For validation and test, how many of their samples look like, or share frames with, one of each other side.

    `key`: uint64 (n,), equal for equal pictures; `split`: int (n,), an index of SPLITS, -1 for rows of no side; both in the
    order of `manifest.read`. `limits`: the knobs of validate, which say what looks the same.
    """
    picture = manifests.firsts(key)
    clip = (manifests.column(manifest, "frames") > 1).to_numpy()
    decoded = manifests.column(manifest, "fault_code").isna().to_numpy()
    shows = (manifests.column(manifest, "contrast") >= limits["min_contrast"]).to_numpy()
    once = np.flatnonzero((picture == np.arange(len(key), dtype=np.int32)) & decoded & shows & ~clip)
    near = twins.near(manifest, once, bits=limits["near_bits"], correlation=limits["near_correlation"])
    digests = manifests.some(manifests.starts(manifest), np.flatnonzero(decoded & clip), ["frame_digests"])["frame_digests"]
    shared = twins.shared_frames(digests, share=limits["min_shared_frames"], sides=split[digests.index])
    # On which sides each picture is, and on which its twins are, a bit a side.
    own, others = np.zeros((2, len(key)), np.uint8)
    for number in range(len(SPLITS)):
        own[picture[split == number]] |= np.uint8(1 << number)
    both = picture[np.concatenate([near, shared[["one", "other"]].to_numpy(int)])]
    for one, other in (both.T, both.T[::-1]):
        np.bitwise_or.at(others, one, own[other])
    around = (own | others)[picture]

    def count(name: str, other: str) -> int:
        return int(((around & np.uint8(1 << SPLITS.index(other))) > 0)[split == SPLITS.index(name)].sum())

    return {name: {other: count(name, other) for other in SPLITS if other != name} for name in ("validation", "test")}


def read_pairs(file: Path, count: int, data_digest: str) -> np.ndarray:
    """int64 (m, 2): the rows that validate found to look the same or to share frames, of a manifest with `count` rows.

    Raises CannotRun when the file is missing, damaged, or about other data.
    """
    try:
        table = pq.read_table(file, columns=["one", "other"])
        of = (table.schema.metadata or {}).get(b"data_digest", b"none").decode()
        found = np.stack([table[name].to_numpy().astype(np.int64) for name in ("one", "other")], axis=1)
    except FileNotFoundError:
        raise CannotRun(f"{file}: no such file; `dvc repro validate` makes it") from None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise CannotRun(f"{file}: no readable pairs ({str(error).splitlines()[0]}); `dvc repro -f validate` makes it") from None
    if of != data_digest:
        raise CannotRun(f"{file}: is about other data ({of}, expected {data_digest}); `dvc repro -f validate` makes it anew")
    if len(found) and (found.min() < 0 or found.max() >= count):
        raise CannotRun(f"{file}: expected rows 0 to {count - 1:,}, got {found.max():,}; `dvc repro -f validate` makes it anew")
    return found
