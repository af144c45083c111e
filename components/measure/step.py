"""data/ -> the manifest: every frame decoded once, a row per sample, a part per shard kept by the shard's digest."""

import functools
import itertools
import posixpath
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from blake3 import blake3

from components.measure import frame_order, signature, statistics
from components.measure.config import MeasureConfig
from components.shared import destination, files, parallel, scratch, screen
from components.shared.data import dataset
from components.shared.data.dataset import Sample
from components.shared.data.manifest import SCHEMA
from components.shared.data.parts import Parts, code_of
from components.shared.data.remote import Shards
from components.shared.errors import CannotRun
from components.shared.pictures import decode, encode, faces, formats, metadata
from components.shared.pictures.formats import Undecodable
from components.shared.store import open_store

BATCH = 256  # samples whose figures are computed and written at once
CACHED = 2**17  # pixels that are computed on at once
PIECE = 2**24  # bytes of a shard that one process measures at a time, where its pictures are large


def measure(
    *,
    data: Annotated[str, "the folder of shards, or a DVC remote that holds them"],
    config: MeasureConfig,
    manifest: Annotated[Path, "the folder of parts to bring up to date"],
    digest: Annotated[str, "which data, as data.dvc records it; a remote needs it"] = "",
) -> None:
    """Measure what is new. A part whose shard is still there is kept as it is, so that a new shard costs only itself.

    With a store, what was measured there before by whomever is not measured again. A frame that does not decode is a row with
    its reason, not a crash.
    """
    shards = Shards(data, digest)
    destination.check_folder(manifest, kind="manifest", inputs=[Path(data)] if shards.here else [])
    part = {name: f"{shards.md5(name)}.parquet" for name in shards.names}
    if len(set(part.values())) < len(part):
        raise CannotRun(f"{data}: two shards with the same content; delete one of them")
    kept = parts(shards, config)
    new = kept.missing() if kept else [name for name in part if not _is_current(manifest / part[name], name, config)]
    with files.whole_folder(manifest, kind="manifest") as fresh:
        if kept:
            faults = sum(kept.make(new))
            for name in part:
                kept.get(name, fresh / part[name])
        else:
            for name in part.keys() - set(new):
                dataset.keep_shard(manifest / part[name], fresh / part[name])
            lots = ({shard: fresh / part[shard.name] for shard in few} for few in shards.few(new))
            faults = sum(_measure_new(lot, config) for lot in lots)
    print(f"{manifest}: {screen.number(len(new), 'shard')} measured, {len(part) - len(new)} kept; "
          f"{screen.number(faults, 'new sample does', 'new samples do')} not decode")  # fmt: skip


def parts(shards: Shards, config: MeasureConfig) -> Parts | None:
    """What is kept of these shards; None without a store."""
    store = open_store()
    return store and Parts(store, "measure", shards, _measured_by(config), functools.partial(_measure_new, config=config))


def _measure_new(parts: dict[Path, Path], config: MeasureConfig) -> int:
    """Measure each shard into its part, piece by piece over all processors; returns how many samples do not decode.

    A part is put together as soon as its pieces are there, while others are still being measured.
    """
    sizes = {shard: dataset.count(shard) for shard in parts}
    # So small that no processor waits long for the last piece, and no smaller.
    size = BATCH * min(max(sum(sizes.values()) // (32 * parallel.processors() * BATCH), 1), 4)
    with scratch.folder() as folder:
        work = [
            (shard, range(start, min(start + few, count)), config, folder / f"{number}-{start}.arrow")
            for number, (shard, count) in enumerate(sizes.items())
            for few in (min(size, max(1, PIECE * count // shard.stat().st_size)),)
            for start in range(0, max(count, 1), few)
        ]
        faults, missing = 0, Counter(shard for shard, *_ in work)
        for index, count in parallel.each(measure_rows, work, weights=[len(rows) for _, rows, *_ in work], name="measure"):
            shard = work[index][0]
            faults += count
            missing[shard] -= 1
            if not missing[shard]:
                _put_together([piece for other, _, _, piece in work if other == shard], parts[shard])
    return faults


def measure_rows(shard: Path, rows: range, config: MeasureConfig, piece: Path) -> int:
    """Measure these rows of a shard into a piece of its part, a file of Arrow's; returns how many do not decode."""
    schema = _stamped(shard.name, config)
    faults = 0
    with pa.ipc.new_file(piece, schema) as writer:
        samples = dataset.read_stored(shard, rows)
        while measured := _measured(itertools.islice(samples, BATCH), shard.name, config):
            writer.write_table(pa.Table.from_pylist(measured, schema=schema))
            faults += sum("fault" in row for row in measured)
    return faults


def _put_together(pieces: list[Path], part: Path) -> None:
    """One row group, since what is read of a part is whole columns; its bytes do not depend on how it was cut."""
    table = pa.concat_tables(pa.ipc.open_file(piece).read_all() for piece in pieces)
    pq.write_table(table.combine_chunks(), part, compression="zstd")
    for piece in pieces:
        piece.unlink()


def _stamped(shard: str, config: MeasureConfig) -> pa.Schema:
    """The manifest's schema with what decides its content: another decoder or another measure makes old parts outdated."""
    return SCHEMA.with_metadata({"measured_by": _measured_by(config), "shard": shard})


def _measured_by(config: MeasureConfig) -> str:
    modules = (decode, encode, formats, metadata, faces, statistics, signature, frame_order)
    return f"{code_of(sys.modules[__name__], *modules)} {config.model_dump_json()}"


def _is_current(part: Path, shard: str, config: MeasureConfig) -> bool:
    """Whether a part is there, was measured as today, and is of a shard of this name (a digest covers the content alone)."""
    try:
        return pq.read_schema(part).equals(_stamped(shard, config), check_metadata=True)
    except (OSError, pa.ArrowException):
        return False


def _measured(batch: Iterable[tuple[str, Sample]], shard: str, config: MeasureConfig) -> list[dict]:
    """A row per sample: one by one what decoding tells, then all at once what is computed from pixels.

    No more than one sample is held in its full size.
    """
    rows, decoded = [], []
    for stored, sample in batch:
        row, frame = _row(stored, sample, config)
        rows.append(row | {"shard": shard})
        if frame is not None:
            decoded.append((rows[-1], frame))
    # Pictures of one size are one array, as long as that fits into a processor's cache.
    by_size: dict[tuple, list] = {}
    for row, (grey, colours) in decoded:
        by_size.setdefault(grey.shape, []).append((row, grey, colours))
    for (height, width), same in by_size.items():
        size = max(1, CACHED // (height * width))
        for start in range(0, len(same), size):
            few, grey, colours = zip(*same[start : start + size], strict=True)
            grey, colours = np.stack(grey), np.stack(colours)
            columns = statistics.of(grey) | signature.of(grey, colours)
            mean = np.where(colours.any(axis=(1, 2, 3))[:, None], colours.mean(axis=(1, 2)), columns["brightness"][:, None])
            columns |= {name: mean[:, index] for index, name in enumerate(("red", "green", "blue"))}
            _fill(few, columns)
    return rows


def _fill(rows: Sequence[dict], columns: dict[str, np.ndarray]) -> None:
    for name, values in columns.items():
        plain = [value.tobytes() for value in values] if values.ndim > 1 else values.tolist()
        for row, value in zip(rows, plain, strict=True):
            row[name] = value


def _row(stored: str, sample: Sample, config: MeasureConfig) -> tuple[dict, tuple[np.ndarray, np.ndarray] | None]:
    """What decoding tells, and the frame that stands for the sample (see statistics.reduced); none when it has a fault."""
    row = {name: getattr(sample, name) for name in dataset.FACTS}
    row |= {"id": stored, "frames": len(sample.frames), "bytes": sample.size}
    clip = len(sample.frames) > 1
    if sample.id != stored:
        return row | {"fault_code": "E_HASH", "fault": "its bytes are not those that were ingested; ingest it again"}, None
    if not sample.frames:
        return row | {"fault_code": "E_SEQ_EMPTY", "fault": "a clip without frames"}, None
    whole, digests, sizes, notes, trailing = blake3(), [], set(), set(), 0
    middle = len(sample.frames) // 2
    for index, (content, path) in enumerate(sample.frames):
        try:
            picture = decode.decode(content, thorough=True, max_pixels=int(config.max_megapixels * 1e6))
        except Undecodable as fault:
            frame = f" (frame {path})" if clip else ""
            return row | {"fault_code": fault.code, "fault": fault.reason + frame}, None
        pixels = np.ascontiguousarray(picture.pixels)
        digest = blake3(repr(pixels.shape).encode() + b"\n")
        digest.update(pixels.ravel())
        whole.update(digest.digest())
        sizes.add((picture.width, picture.height))
        notes.update(picture.notes, ["W_EXTENSION"] if _is_misnamed(path, picture.format) else [])
        trailing += picture.trailing
        if clip:
            flat = pixels.reshape(-1, pixels.shape[2])
            blank = bool((flat == flat[0]).all())
            digests.append(0 if blank else int.from_bytes(digest.digest()[:8], signed=True))
        if index == middle:
            grey, colours, small = statistics.reduced(picture)
            shown = grey, colours
            row["preview"] = encode.preview(content, picture, small)
        if config.faces:
            row["faces"] = row.get("faces", 0) + len(faces.find(pixels))
        if index == 0:
            row |= {"width": picture.width, "height": picture.height, "mode": picture.mode, "format": picture.format}
    row |= {"frame_sizes": len(sizes), "pixels_digest": whole.hexdigest(length=16)}
    row |= {"notes": " ".join(sorted(notes)), "trailing": trailing}
    if clip:
        row |= {"frame_digests": digests} | frame_order.order([path for _, path in sample.frames])
    return row, shown


def _is_misnamed(path: str, form: str) -> bool:
    named = {".png": "PNG", ".apng": "PNG", ".jpg": "JPEG", ".jpeg": "JPEG"}.get(posixpath.splitext(path)[1].lower())
    return named not in (None, form)
