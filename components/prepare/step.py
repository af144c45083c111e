"""The validated data -> uint8 arrays per split: decoded once, in parallel, upright, resized by one rule."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa

from components.prepare import plan
from components.prepare.config import PrepareConfig
from components.shared import destination, files, parallel
from components.shared.data import arrays, dataset, seen
from components.shared.errors import CannotRun
from components.shared.pictures.decode import LARGEST, decode
from components.shared.pictures.fit import fit


def prepare(
    *,
    data: Annotated[Path, "the folder of shards"],
    manifest: Annotated[Path, "what measure wrote"],
    verdict: Annotated[Path, "summary.json of validate: nothing is prepared that did not pass"],
    pairs: Annotated[Path, "pairs.parquet of validate: what a split keeps together"],
    config: PrepareConfig,
    prepared: Annotated[Path, "folder for the arrays"],
) -> None:
    """Split, decode and resize. Raises Refused when the data did not pass or cannot be split, CannotRun on stale inputs."""
    destination.check_folder(prepared, kind="prepared", inputs=[data, manifest, verdict, pairs])
    with files.whole_folder(prepared, kind="prepared") as fresh:
        made = plan.make(manifest=manifest, verdict=verdict, pairs=pairs, config=config, folder=fresh)
        refuse_other_shards(data, made.shards)
        for name in dataset.SPLITS:
            arrays.create(fresh / name, made.count(name), made.layout.shape)
        decode_shards(fresh, made.places, shards=made.shards, data=data, config=config)


def decode_shards(prepared: Path, places: pa.Table, *, shards: dict[str, str], data: Path, config: PrepareConfig) -> None:
    """Fill in the pixels of these places (see Plan), shard by shard over all processors.

    Raises CannotRun when the shards in `data` are not those that were measured.
    """
    names = places["shard"].combine_chunks()
    order = np.argsort(names.indices.to_numpy(), kind="stable")
    of_shard = names.indices.to_numpy()[order]
    columns = {name: places[name].to_numpy()[order] for name in ("row", "key", "split", "position")}
    work, weights = [], []
    for number, name in enumerate(names.dictionary.to_pylist()):
        mine = slice(*np.searchsorted(of_shard, [number, number + 1]))
        if mine.start < mine.stop:
            part = {column: values[mine] for column, values in columns.items()}
            work.append((data / name, shards[name], part, config, prepared))
            weights.append(mine.stop - mine.start)
    for _ in parallel.each(fill, work, weights=weights, name="prepare"):
        pass


def refuse_other_shards(data: Path, shards: Collection[str]) -> None:
    """Raise CannotRun when the folder has a shard that was not measured, or lacks one that was."""
    here = {shard.name for shard in dataset.shards(data)}
    for names, what in (
        (here - set(shards), "was not measured"),
        (set(shards) - here, "was measured, and is not there any more"),
    ):
        if names:
            raise CannotRun(f"{data / min(names)}: {what}; `dvc repro measure` brings manifest and data together")


def fill(shard: Path, md5: str, places: dict[str, np.ndarray], config: PrepareConfig, prepared: Path) -> None:
    """Decode one shard and write each sample to its (split, position): the same arrays, whoever does which shard.

    Samples are found by their row, and known by their id; the shard by its digest. Raises CannotRun for another one.
    """
    stale = f"{shard}: changed since it was measured; `dvc repro measure` brings manifest and data together"
    if not shard.is_file() or files.digest(shard, "md5") != md5:
        raise CannotRun(stale)
    images = {
        number: np.load(prepared / dataset.SPLITS[number] / "images.npy", mmap_mode="r+")
        for number in np.unique(places["split"])
    }
    at = {int(row): index for index, row in enumerate(places["row"])}  # of one shard alone
    for row, (id, sample) in enumerate(dataset.read_stored(shard)):
        index = at.pop(row, None)
        if index is None:
            continue
        if seen.digests("id", [id])[0] != places["key"][index]:
            raise CannotRun(stale)
        pixels, position = images[places["split"][index]], places["position"][index]
        frames = sample.frames
        if pixels.ndim == 4:
            pixels[position] = _resized(frames[0][0], config)
        else:
            # A clip that is too long is thinned evenly; a short one leaves its last places zero, which is padding.
            chosen = np.linspace(0, len(frames) - 1, min(len(frames), pixels.shape[1])).round().astype(int)
            shown = np.stack([_resized(frames[time][0], config) for time in chosen])
            pixels[position, : len(chosen)] = arrays.lifted(shown)
    if at:
        raise CannotRun(stale)
    for pixels in images.values():
        pixels.flush()


def _resized(frame: bytes, config: PrepareConfig) -> np.ndarray:
    # Which sizes are welcome was measure's to say.
    picture = decode(frame, at_least=max(config.height, config.width), max_pixels=LARGEST)
    return fit(picture.pixels, height=config.height, width=config.width, channels=config.channels, rule=config.resize)
