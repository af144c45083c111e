"""The validated data -> uint8 arrays per split: decoded once, in parallel, upright, resized by one rule."""

import functools
import itertools
import sys
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa

from components.prepare import plan
from components.prepare.config import PrepareConfig
from components.shared import destination, files, parallel, scratch
from components.shared.data import arrays, dataset
from components.shared.data.parts import Parts, code_of
from components.shared.data.remote import Shards, stale
from components.shared.pictures import decode, fit, formats, metadata, preprocessing
from components.shared.pictures.formats import Undecodable
from components.shared.pictures.preprocessing import Preprocessing
from components.shared.store import open_store

Places = tuple[np.ndarray, np.ndarray]  # of the samples of a shard; see `Plan.of`
SIZE = {"height", "width", "channels", "resize", "max_frames"}  # the knobs that decide the pixels of a sample
HELD = 2**24  # bytes of decoded pixels that are held before they are written
_PART = pa.schema([("pixels", pa.large_binary())])  # of each sample of a shard, in order; null where nothing decodes


def prepare(
    *,
    data: Annotated[str, "the folder of shards, or a DVC remote that holds them"],
    manifest: Annotated[Path, "what measure wrote"],
    verdict: Annotated[Path, "summary.json of validate: nothing is prepared that did not pass"],
    pairs: Annotated[Path, "pairs.parquet of validate: what a split keeps together"],
    config: PrepareConfig,
    prepared: Annotated[Path, "folder for the arrays"],
    digest: Annotated[str, "which data, as data.dvc records it; a remote needs it"] = "",
) -> None:
    """Split, decode and resize. With a store, what was decoded to this size before is not decoded again, whatever the split is.

    Raises Refused when the data did not pass or cannot be split, CannotRun on stale inputs.
    """
    shards = Shards(data, digest)
    inputs = [manifest, verdict, pairs, *([Path(data)] if shards.here else [])]
    destination.check_folder(prepared, kind="prepared", inputs=inputs)
    with files.whole_folder(prepared, kind="prepared") as fresh:
        made = plan.make(manifest=manifest, verdict=verdict, pairs=pairs, config=config, folder=fresh)
        kept = parts(shards, config)
        shards.refuse_other_than(made.shards, contents=kept is not None)
        for number, name in enumerate(dataset.SPLITS):
            arrays.create(fresh / name, int((made.split == number).sum()), made.layout.shape)
        if kept:
            kept.make(kept.missing())
            _each(place, [(kept, name, made.of(name), made.way, fresh) for name in shards.names])
        else:
            for few in shards.few(shards.names):
                _each(fill, [(shard, made.shards[shard.name], made.of(shard.name), config, made.way, fresh) for shard in few])


def parts(shards: Shards, config: PrepareConfig) -> Parts | None:
    """What is kept of these shards, in no split's order; None without a store."""
    store = open_store()
    modules = (sys.modules[__name__], decode, fit, formats, metadata, preprocessing)
    decided_by = f"{code_of(*modules)} {config.model_dump_json(include=SIZE)}"
    return store and Parts(store, "prepare", shards, decided_by, functools.partial(_decode_all, config=config))


def _each(work: Callable, items: list[tuple]) -> None:
    for _ in parallel.each(work, items, weights=[len(split) for _, _, (split, _), *_ in items], name="prepare"):
        pass


def fill(shard: Path, md5: str, places: Places, config: PrepareConfig, way: Preprocessing, prepared: Path) -> None:
    """Decode one shard and write each sample to its place (see Plan): the same arrays, whoever does which shard.

    Raises CannotRun for another shard than the one that was measured.
    """
    if not shard.is_file() or files.digest(shard, "md5") != md5:
        raise stale(shard)
    _write(_decoded(shard, config), shard, places, way, prepared)


def place(kept: Parts, name: str, places: Places, way: Preprocessing, prepared: Path) -> None:
    """The same out of the store, where the shard's pixels are decoded already."""
    shape = (-1, way.height, way.width, way.channels)
    with scratch.folder("parts") as folder:
        kept.get(name, folder / "part")
        with pa.memory_map(str(folder / "part")) as source, pa.ipc.open_file(source) as part:
            batches = (part.get_batch(number)["pixels"] for number in range(part.num_record_batches))
            values = (value.as_buffer() for batch in batches for value in batch)
            decoded = (None if value is None else np.frombuffer(value, np.uint8).reshape(shape) for value in values)
            _write(decoded, name, places, way, prepared)


def _write(decoded: Iterable[np.ndarray | None], shard: Path | str, places: Places, way: Preprocessing, prepared: Path) -> None:
    """Write the frames of each sample to its place. Raises CannotRun when samples are not those that have places."""
    images = [np.load(prepared / name / "images.npy", mmap_mode="r+") for name in dataset.SPLITS]
    for frames, side, place in itertools.zip_longest(decoded, *(each.tolist() for each in places)):
        if side is None or (side >= 0 and frames is None):
            raise stale(shard)
        if side >= 0:
            images[side][place] = way.whole(frames)
    for pixels in images:
        pixels.flush()


def _decode_all(results: dict[Path, Path], config: PrepareConfig) -> None:
    weights = [dataset.count(shard) for shard in results]
    for _ in parallel.each(decode_shard, [(*item, config) for item in results.items()], weights=weights, name="prepare"):
        pass


def decode_shard(shard: Path, part: Path, config: PrepareConfig) -> None:
    """Decode all samples of a shard, in their order, into a file of Arrow's. What does not decode is null."""
    at_once = 1 + HELD // (config.max_frames * config.height * config.width * config.channels)
    decoded = _decoded(shard, config)
    with pa.ipc.new_file(part, _PART, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        while few := list(itertools.islice(decoded, at_once)):
            pixels = pa.array([None if frames is None else frames.tobytes() for frames in few], pa.large_binary())
            writer.write_batch(pa.record_batch([pixels], schema=_PART))


def _decoded(shard: Path, config: PrepareConfig) -> Iterator[np.ndarray | None]:
    """The frames of each sample, see `Preprocessing.frames`; None for one that does not decode."""
    way = Preprocessing(config.height, config.width, config.channels, config.resize)
    for sample in dataset.read_samples(shard):
        encoded = [content for content, _ in sample.frames]
        try:  # which sizes are welcome was measure's to say
            yield way.frames(encoded, most=config.max_frames, max_pixels=decode.LARGEST) if encoded else None
        except Undecodable:
            yield None
