"""The validated data -> uint8 arrays per split: decoded once, in parallel, upright, resized by one rule."""

import functools
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa

from components.prepare import plan
from components.prepare.config import PrepareConfig
from components.shared import destination, files, parallel, scratch
from components.shared.data import arrays, dataset, seen
from components.shared.data.dataset import Sample
from components.shared.data.parts import Parts, code_of
from components.shared.data.remote import Shards
from components.shared.errors import CannotRun
from components.shared.pictures import decode, fit, formats, metadata
from components.shared.pictures.formats import Undecodable
from components.shared.store import open_store

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
        _refuse_other_shards(shards, made.shards, contents=kept is not None)
        for name in dataset.SPLITS:
            arrays.create(fresh / name, made.count(name), made.layout.shape)
        places = _by_shard(made.places)
        if kept:
            kept.make(kept.missing())
            _each(place, [(kept, name, mine, config, fresh) for name, mine in places.items()])
        else:
            for few in shards.few(places):
                _each(fill, [(shard, made.shards[shard.name], places[shard.name], config, fresh) for shard in few])


def parts(shards: Shards, config: PrepareConfig) -> Parts | None:
    """What is kept of these shards, in no split's order; None without a store."""
    store = open_store()
    knobs = config.model_dump_json(include={"height", "width", "channels", "resize", "max_frames"})
    decided_by = f"{code_of(sys.modules[__name__], decode, fit, formats, metadata)} {knobs}"
    return store and Parts(store, "prepare", shards, decided_by, functools.partial(_decode_all, config=config))


def _by_shard(places: pa.Table) -> dict[str, dict[str, np.ndarray]]:
    """The places of each shard's samples (see Plan), column by column."""
    names = places["shard"].combine_chunks()
    order = np.argsort(names.indices.to_numpy(), kind="stable")
    of_shard = names.indices.to_numpy()[order]
    columns = {name: places[name].to_numpy()[order] for name in ("row", "key", "split", "position")}
    by_shard = {}
    for number, name in enumerate(names.dictionary.to_pylist()):
        mine = slice(*np.searchsorted(of_shard, [number, number + 1]))
        if mine.start < mine.stop:
            by_shard[name] = {column: values[mine] for column, values in columns.items()}
    return by_shard


def _each(work, items: list[tuple]) -> None:
    for _ in parallel.each(work, items, weights=[len(places["row"]) for _, _, places, *_ in items], name="prepare"):
        pass


def _refuse_other_shards(shards: Shards, measured: dict[str, str], *, contents: bool) -> None:
    """Raise CannotRun when there is a shard that was not measured, or lacks one that was, or has changed since then."""
    here = set(shards.names)
    changed = {name for name in here & set(measured) if shards.md5(name) != measured[name]} if contents else set()
    for names, what in (
        (here - set(measured), "was not measured"),
        (set(measured) - here, "was measured, and is not there any more"),
        (changed, "changed since it was measured"),
    ):
        if names:
            where = Path(shards.data) / min(names) if shards.here else min(names)
            raise CannotRun(f"{where}: {what}; `dvc repro measure` brings manifest and data together")


def fill(shard: Path, md5: str, places: dict[str, np.ndarray], config: PrepareConfig, prepared: Path) -> None:
    """Decode one shard and write each sample to its (split, position): the same arrays, whoever does which shard.

    Samples are found by their row, and known by their id; the shard by its digest. Raises CannotRun for another one.
    """
    stale = f"{shard}: changed since it was measured; `dvc repro measure` brings manifest and data together"
    if not shard.is_file() or files.digest(shard, "md5") != md5:
        raise CannotRun(stale)
    keys = dict(zip(places["row"].tolist(), places["key"], strict=True))  # of one shard alone

    def decoded() -> Iterable[tuple[int, np.ndarray]]:
        for row, (id, sample) in enumerate(dataset.read_stored(shard)):
            if row in keys:
                if seen.digests("id", [id])[0] != keys[row]:
                    raise CannotRun(stale)
                yield row, _frames(sample, config)

    _write(decoded(), places, prepared, stale)


def place(kept: Parts, name: str, places: dict[str, np.ndarray], config: PrepareConfig, prepared: Path) -> None:
    """The same out of the store, where the shard's pixels are decoded already."""
    stale = f"{name}: does not decode as it was measured; run measure and prepare with the same code"
    shape = (-1, config.height, config.width, config.channels)
    with scratch.folder("parts") as folder:
        kept.get(name, folder / "part")
        with pa.memory_map(str(folder / "part")) as source, pa.ipc.open_file(source) as part:
            batches = (part.get_batch(number)["pixels"] for number in range(part.num_record_batches))
            rows = enumerate(pixels for batch in batches for pixels in batch)
            decoded = (
                (row, np.frombuffer(pixels.as_buffer(), np.uint8).reshape(shape)) for row, pixels in rows if pixels.is_valid
            )
            _write(decoded, places, prepared, stale)


def _write(decoded: Iterable[tuple[int, np.ndarray]], places: dict[str, np.ndarray], prepared: Path, stale: str) -> None:
    """Write (row, frames) to their places, those that have one. Raises CannotRun when one is missing."""
    images = {
        number: np.load(prepared / dataset.SPLITS[number] / "images.npy", mmap_mode="r+")
        for number in np.unique(places["split"])
    }
    at = {int(row): index for index, row in enumerate(places["row"])}
    for row, frames in decoded:
        index = at.pop(row, None)
        if index is None:
            continue
        pixels, position = images[places["split"][index]], places["position"][index]
        if pixels.ndim == 4:
            pixels[position] = frames[0]
        else:
            pixels[position, : len(frames)] = arrays.lifted(
                frames
            )  # a short clip leaves its last places zero, which is padding
    if at:
        raise CannotRun(stale)
    for pixels in images.values():
        pixels.flush()


def _decode_all(results: dict[Path, Path], config: PrepareConfig) -> None:
    weights = [dataset.count(shard) for shard in results]
    for _ in parallel.each(decode_shard, [(*item, config) for item in results.items()], weights=weights, name="prepare"):
        pass


def decode_shard(shard: Path, part: Path, config: PrepareConfig) -> None:
    """Decode all samples of a shard, in their order, into a file of Arrow's. What does not decode is null."""
    largest = config.max_frames * config.height * config.width * config.channels
    with pa.ipc.new_file(part, _PART, options=pa.ipc.IpcWriteOptions(compression="zstd")) as writer:
        held: list[bytes | None] = []

        def write() -> None:
            writer.write_batch(pa.record_batch([pa.array(held, pa.large_binary())], schema=_PART))
            held.clear()

        for sample in dataset.read_samples(shard):
            try:
                held.append(_frames(sample, config).tobytes() if sample.frames else None)
            except Undecodable:
                held.append(None)
            if len(held) * largest > HELD:
                write()
        write()


def _frames(sample: Sample, config: PrepareConfig) -> np.ndarray:
    """uint8 (frames, height, width, channels). A clip that is too long is thinned evenly."""
    most = min(len(sample.frames), config.max_frames)
    chosen = np.linspace(0, len(sample.frames) - 1, most).round().astype(int)
    return np.stack([_resized(sample.frames[time][0], config) for time in chosen])


def _resized(frame: bytes, config: PrepareConfig) -> np.ndarray:
    # Which sizes are welcome was measure's to say.
    picture = decode.decode(frame, at_least=max(config.height, config.width), max_pixels=decode.LARGEST)
    return fit.fit(picture.pixels, height=config.height, width=config.width, channels=config.channels, rule=config.resize)
