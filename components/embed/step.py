"""Manifest and data/ -> a vector per sample: near where samples look alike; an index to search by, and a map of the data."""

import contextlib
import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.embed import gather
from components.embed import network as networks
from components.embed.config import EmbedConfig
from components.embed.network import Network
from components.shared import destination, files, scratch
from components.shared.data import dataset
from components.shared.data import embeddings as form
from components.shared.data import manifest as manifests
from components.shared.data.parts import Parts, key
from components.shared.data.remote import Shards
from components.shared.progress_bar import progress_bar
from components.shared.screen import number
from components.shared.store import open_store

GROUP = 4096  # samples of a part that are written and read at once
PART = pa.schema([("features", pa.binary())])  # float16, a row a sample, null where nothing decodes


def embed(
    *,
    data: Annotated[str, "the folder of shards, or a DVC remote that holds them"],
    manifest: Annotated[Path, "what measure wrote"],
    config: EmbedConfig,
    embeddings: Annotated[Path, "folder for vectors, index, samples and map"],
    digest: Annotated[str, "which data, as data.dvc records it; a remote needs it"] = "",
    model: Annotated[Path | None, "what train wrote: features of that network, instead of the pretrained one"] = None,
) -> None:
    """Show every new sample to a network. What it says of a shard is kept, so that a new shard costs only itself.

    With a store, what was said there before to whomever is not asked again. Where the knob `network` is none, nothing is done.
    Raises CannotRun when data and manifest do not belong together.
    """
    network = networks.chosen(config, model)
    inputs = [manifest, *([model] if model else []), *([Path(data)] if Path(data).exists() else [])]
    destination.check_folder(embeddings, kind="embeddings", inputs=inputs)
    measured = manifests.shard_digests(manifest)
    if network is None:
        with files.whole_folder(embeddings, kind="embeddings") as fresh:
            _write_about(fresh, None)
        print(f"{embeddings}: none, as the knob embed.network says")
        return
    shards = Shards(data, digest)
    shards.refuse_other_than(measured, contents=True)
    sizes = {name: len(table) for name, table in manifests.parts(manifest, ["fault_code"])}
    kept = _parts(shards, network)
    new = kept.missing() if kept else [name for name in shards.names if not _is_whole(embeddings, shards, name, network)]
    with progress_bar(total=sum(sizes[name] for name in new), name="embed") as bar:
        for name in new:  # one by one: each is kept as soon as it is done
            if kept:
                _parts(shards, network, bar).make([name])
            else:
                _make_at_home(embeddings, shards, name, network, bar)
    with files.whole_folder(embeddings, kind="embeddings") as fresh:
        if not kept:
            _carry(embeddings, fresh, [_place(shards, name, network) for name in shards.names])
        read = functools.partial(_features, shards, sizes, network, fresh, kept)
        vectors, there = gather.write(fresh, manifest, read, config.dimensions)
        _write_about(fresh, network, side=config.side, frames=config.frames, rows=len(vectors), dimensions=vectors.shape[1],
                     data_digest=manifests.data_digest(manifest))  # fmt: skip
    kept_shards, without = len(shards.names) - len(new), int((~there).sum())
    print(f"{embeddings}: {number(len(new), 'shard')} embedded, {kept_shards} kept, "
          f"{number(without, 'sample has', 'samples have')} no vector; {embeddings}/{form.MAP} shows them")  # fmt: skip


def parts(shards: Shards, config: EmbedConfig) -> Parts | None:
    """What is kept of these shards; None without a store, and where nothing is embedded."""
    network = networks.chosen(config)
    return network and _parts(shards, network)


def _parts(shards: Shards, network: Network, bar=None) -> Parts | None:
    store = open_store()
    return store and Parts(
        store, "embed", shards, network.decided_by, functools.partial(embed_shards, network=network, bar=bar)
    )


def embed_shards(parts: dict[Path, Path], network: Network, bar=None) -> None:
    """The features of all samples of each shard, in their order, into its part; null for what does not decode."""
    bar = contextlib.nullcontext(bar) if bar else progress_bar(total=sum(map(dataset.count, parts)), name="embed")
    with bar as bar:
        for shard, part in parts.items():
            found = network.features(dataset.read_samples(shard))
            with pq.ParquetWriter(part, PART, compression="none", use_dictionary=False, write_page_checksum=True) as writer:
                while few := list(itertools.islice(found, GROUP)):
                    rows = [None if each is None else each.astype(np.float16).tobytes() for each in few]
                    writer.write_table(pa.table([rows], schema=PART))
                    bar.update(len(few))


def _make_at_home(embeddings: Path, shards: Shards, name: str, network: Network, bar) -> None:
    """Put the features of a shard beside what is there: a kill costs what is done of one shard."""
    with files.whole_folder(embeddings, kind="embeddings") as fresh:
        there = [str(path.relative_to(embeddings)) for path in embeddings.rglob("*") if path.is_file()]
        _carry(embeddings, fresh, [path for path in there if path not in (destination.MARKER, _place(shards, name, network))])
        for few in shards.few([name]):
            embed_shards({few[0]: fresh / _place(shards, name, network)}, network, bar)


def _place(shards: Shards, name: str, network: Network) -> str:
    return f"{form.PARTS}/{key(shards, name, network.decided_by)}.parquet"


def _carry(old: Path, new: Path, names: list[str]) -> None:
    (new / form.PARTS).mkdir()
    for name in names:
        dataset.keep_shard(old / name, new / name)


def _is_whole(embeddings: Path, shards: Shards, name: str, network: Network) -> bool:
    """Whether the features of a shard are kept here, every byte as it was written."""
    part = embeddings / _place(shards, name, network)
    try:
        for _ in gather.pieces(part):
            pass
    except (OSError, pa.ArrowException):
        return False
    return True


def _features(shards: Shards, sizes: dict[str, int], network: Network, fresh: Path, kept: Parts | None) -> Iterator[tuple]:
    """Rows and features of all samples that have some, piece by piece, wherever they are kept."""
    start = 0
    for name in shards.names:
        with scratch.folder("parts") as folder:
            part = folder / "part" if kept else fresh / _place(shards, name, network)
            if kept:
                kept.get(name, part)
            yield from ((start + rows, features) for rows, features in gather.pieces(part))
        start += sizes[name]


def _write_about(fresh: Path, network: Network | None, **facts: object) -> None:
    names = {"network": network.name, "sha256": network.sha256, "model": network.model} if network else {}
    files.write_json(fresh / form.ABOUT, form.EMPTY | names | facts)
