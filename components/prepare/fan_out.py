"""Decoding spread over machines: each decodes some shards, then the pixels are put in their places."""

from pathlib import Path

import numpy as np

from components.prepare.config import PrepareConfig
from components.prepare.step import create, decode_shards, make_plan
from components.shared import files
from components.shared.data import arrays, dataset
from components.shared.data import manifest as manifests
from components.shared.errors import CannotRun

CHUNK = 1024  # samples that are held in memory at once


def prepare_part(*, data: Path, manifest: Path, verdict: Path, config: PrepareConfig, seed: int, prepared: Path) -> None:
    """Decode the shards that are in `data`: per split their pixels, and the positions that they will have in the whole.

    Raises CannotRun when a shard is not the one that the manifest was measured from.
    """
    plan = make_plan(manifest=manifest, verdict=verdict, config=config, seed=seed)
    shards = sorted(data.glob("*.parquet"))
    measured = manifests.shard_digests(manifest)
    for shard in shards:
        if files.digest(shard, "md5") != measured.get(shard.name):
            raise CannotRun(f"{shard.name}: changed since it was measured; start the run again")
    rows = plan.rows[plan.rows["shard"].isin([shard.name for shard in shards])].copy()
    final = rows["position"].to_numpy()
    rows["position"] = rows.groupby("to").cumcount()
    with files.whole_folder(prepared, kind="prepared") as fresh:
        for name in dataset.SPLITS:
            mine = (rows["to"] == name).to_numpy()
            arrays.create(fresh / name, int(mine.sum()), plan.layout.shape)
            np.save(fresh / name / "positions.npy", final[mine], allow_pickle=False)
        decode_shards(fresh, rows, data=data, config=config)


def gather_arrays(
    *, parts: list[Path], manifest: Path, verdict: Path, config: PrepareConfig, seed: int, prepared: Path
) -> None:
    """Put the pixels in their places, byte for byte what one machine writes. Raises CannotRun when some are missing."""
    plan = make_plan(manifest=manifest, verdict=verdict, config=config, seed=seed)
    with files.whole_folder(prepared, kind="prepared") as fresh:
        create(fresh, plan)
        for name in dataset.SPLITS:
            whole = np.load(fresh / name / "images.npy", mmap_mode="r+")
            found = 0
            for part in parts:
                positions = np.load(part / name / "positions.npy", allow_pickle=False)
                pixels = np.load(part / name / "images.npy", mmap_mode="r", allow_pickle=False)
                for start in range(0, len(positions), CHUNK):
                    whole[positions[start : start + CHUNK]] = pixels[start : start + CHUNK]
                found += len(positions)
            if found != len(whole):
                raise CannotRun(f"{name}: {found:,} samples decoded, expected {len(whole):,}; a part is missing or came twice")
            whole.flush()
