"""Decoding spread over machines: what needs the whole is planned once, each machine decodes some shards, all is put together."""

import shutil
from pathlib import Path

import numpy as np

from components.prepare import plan
from components.prepare.config import PrepareConfig
from components.prepare.step import decode_shards
from components.shared import files
from components.shared.data import arrays
from components.shared.data.dataset import SPLITS
from components.shared.errors import CannotRun

CHUNK = 1024  # samples that are held in memory at once


def plan_arrays(*, manifest: Path, verdict: Path, pairs: Path, config: PrepareConfig, planned: Path) -> None:
    """Split the data and give each sample its place. So the machines that decode need no manifest. Raises as `prepare` does."""
    with files.whole_folder(planned, kind="plan") as fresh:
        plan.make(manifest=manifest, verdict=verdict, pairs=pairs, config=config, folder=fresh).write(fresh)


def prepare_part(*, data: Path, planned: Path, config: PrepareConfig, prepared: Path) -> None:
    """Decode the shards that are in `data`: per split their pixels, and the positions that they will have in the whole.

    Raises CannotRun when a shard is not the one that the manifest was measured from.
    """
    made = plan.Plan.read(planned)
    if made.layout.knobs["prepare"] != config.model_dump():
        raise CannotRun(f"{planned}: was planned with other knobs of prepare; start the run again")
    here = {shard.name for shard in data.glob("*.parquet")}
    if unknown := here - made.shards.keys():
        raise CannotRun(f"{min(unknown)}: was not measured; start the run again")
    names = made.places["shard"].combine_chunks()
    places = made.places.filter(np.isin(names.dictionary.to_pylist(), list(here))[names.indices.to_numpy()])
    split, final = places["split"].to_numpy(), places["position"].to_numpy()
    own = np.empty(len(places), np.int64)
    with files.whole_folder(prepared, kind="prepared") as fresh:
        made.layout.write(fresh)
        for number, name in enumerate(SPLITS):
            mine = split == number
            own[mine] = np.arange(mine.sum())
            arrays.create(fresh / name, int(mine.sum()), made.layout.shape)
            np.save(fresh / name / "positions.npy", final[mine], allow_pickle=False)
        column = places.column_names.index("position")
        decode_shards(fresh, places.set_column(column, "position", [own]), shards=made.shards, data=data, config=config)


def gather_arrays(*, parts: list[Path], planned: Path, prepared: Path) -> None:
    """Put the pixels in their places, byte for byte what one machine writes.

    Raises CannotRun when parts are missing, came twice, or are of another plan.
    """
    made = plan.Plan.read(planned)
    for part in parts:
        if what := made.layout.difference(arrays.Layout.read(part)):
            raise CannotRun(f"{part}: was decoded for another run (other {what}); start the run again")
    with files.whole_folder(prepared, kind="prepared") as fresh:
        for name in ("layout.json", plan.SPLIT):
            shutil.copyfile(planned / name, fresh / name)
        for name in SPLITS:
            shutil.copytree(planned / name, fresh / name)
            whole = arrays.create(fresh / name, made.count(name), made.layout.shape)
            filled = np.zeros(len(whole), np.uint8)
            for part in parts:
                positions = np.load(part / name / "positions.npy", allow_pickle=False)
                pixels = np.load(part / name / "images.npy", mmap_mode="r", allow_pickle=False)
                if len(positions) != len(pixels) or (len(positions) and positions.max() >= len(whole)):
                    raise CannotRun(f"{part / name}: positions and pixels do not belong together; start the run again")
                filled[positions] += 1
                for start in range(0, len(positions), CHUNK):
                    whole[positions[start : start + CHUNK]] = pixels[start : start + CHUNK]
            if (filled != 1).any():
                missing, twice = (filled == 0).sum(), (filled > 1).sum()
                raise CannotRun(f"{name}: {missing:,} of {len(whole):,} samples were not decoded, {twice:,} came twice; a part is "
                                "missing or came twice")  # fmt: skip
            whole.flush()
