"""The manifest: one row per sample with what was measured, a Parquet part per shard, named by the shard's digest."""

import contextlib
import itertools
import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.data import dataset
from components.shared.errors import CannotRun

_NO_LABEL = {"", "nan", "null"}  # what programs write where there is nothing
_PERHAPS = {"none", "n/a", "na", "?"}  # what people write there; and the name of a class of what is none of the others
_CLASS = 10  # samples under such a name that make it a class: a slip is rare, and with fewer a class is not learnt anyway
THUMBNAIL, FEATURES = 16 * 16, 160  # bytes
_SORTED = 1 << 20  # keys at once
SCHEMA = pa.schema(
    [
        *[dataset.SCHEMA.field(name) for name in dataset.FACTS],
        ("shard", pa.string()),
        ("frames", pa.int32()),
        ("width", pa.int32()),  # pixels, upright, of the first frame
        ("height", pa.int32()),
        ("frame_sizes", pa.int32()),  # how many different sizes the frames of a clip have
        ("mode", pa.string()),
        ("format", pa.string()),
        ("bytes", pa.int64()),
        ("pixels_digest", pa.string()),  # 128 bits of BLAKE3 of the decoded pixels, however they were saved
        # Of a clip, its middle frame is what the following columns are about. Levels go from 0 black to 255 white.
        ("brightness", pa.float32()),  # mean level
        ("contrast", pa.float32()),  # standard deviation of the levels
        ("dark_level", pa.float32()),  # 5 % of the pixels are as dark or darker
        ("bright_level", pa.float32()),  # 99 % of the pixels are as dark or darker
        ("common", pa.float32()),  # share of the most frequent level
        ("entropy", pa.float32()),  # bits per pixel
        ("sharpness", pa.float32()),  # 0 blurred to 1 sharp
        ("red", pa.float32()),  # mean level of each colour
        ("green", pa.float32()),
        ("blue", pa.float32()),
        ("hash", pa.uint64()),  # perceptual: near twins differ in few bits
        ("thumbnail", pa.binary(THUMBNAIL)),  # 16 x 16 grey levels
        ("features", pa.binary(FEATURES)),  # gradients and colours, for a cheap model of the labels
        ("preview", pa.binary()),  # JPEG, 96 pixels at most, for people
        ("faces", pa.int32()),  # null where nobody counted (measure.faces)
        # Of a clip, its frames: null for a still.
        ("frame_digests", pa.list_(pa.field("element", pa.int64()))),  # 64 bits of the pixels, 0 for a frame of one colour
        ("frame_gap", pa.string()),  # the first number that the frames' names leave out
        ("frame_twin", pa.string()),  # the first number that comes twice
        ("trailing", pa.int64()),  # bytes behind the pictures' ends
        ("notes", pa.string()),  # warning codes of the decoder, space between
        ("fault_code", pa.string()),  # null for a sample that decodes
        ("fault", pa.string()),
    ]
)


def parts(folder: Path, columns: list[str]) -> Iterator[tuple[str, pa.Table]]:
    """The name of each shard and some columns of its rows, by shard and by row, one part in memory at a time.

    Raises CannotRun when there is no manifest, or a part cannot be read.
    """
    for shard, part in _parts(folder):
        yield shard, _read(part, columns)


def frame(tables: Iterable[pa.Table], few: Collection[str]):
    """Tables as one pandas DataFrame; `few`, texts that many rows have in common, become categories, in order."""
    encoded = []
    for table in tables:
        for name in few:
            table = table.set_column(table.schema.get_field_index(name), name, table[name].dictionary_encode())
        encoded.append(table)
    whole = pa.concat_tables(encoded).unify_dictionaries()
    del encoded, table
    rows = whole.to_pandas(split_blocks=True, self_destruct=True)
    for name in few:
        rows[name] = rows[name].cat.reorder_categories(rows[name].cat.categories.sort_values())
    return rows


def column(folder: Path, name: str):
    """One column as a pandas Series, in the order of `parts`; texts as categories, see `frame`."""
    return frame((table for _, table in parts(folder, [name])), [name] if SCHEMA.field(name).type == pa.string() else [])[name]


def firsts(keys: np.ndarray) -> np.ndarray:
    """int32 (n,): the first row that has the same key, of uint64 keys that are spread evenly.

    They are sorted a share at a time: the room that sorting takes does not grow with n.
    """
    first, shares = np.arange(len(keys), dtype=np.int32), 1 + len(keys) // _SORTED
    of = ((keys >> np.uint64(48)) * np.uint64(shares) >> np.uint64(16)).astype(np.uint16)
    for share in range(shares):
        rows = np.flatnonzero(of == share).astype(np.int32)
        rows = rows[np.argsort(keys[rows], kind="stable")]
        new = np.append(True, keys[rows[1:]] != keys[rows[:-1]])[: len(rows)]
        first[rows] = rows[new][np.cumsum(new) - 1]
    return first


def labels(rows):
    """The label of each row as a pandas Series, null where there is none, or a word that stands for none.

    `nan` and `null` are never labels; `none`, `NA`, `n/a` and `?` are, in any case of letters, from 10 samples on.
    """
    written = rows["label"]
    none = written.isna() | written.isin(no_labels(written.value_counts()))
    return written.where(~none, None) if none.any() else written


def no_labels(counts) -> list[str]:
    """What stands for no label, of a pandas Series of how often each is written; see `labels`."""
    words = {label: str(label).strip().casefold() for label in counts.index}
    sizes = counts.groupby(words).sum()
    return [label for label, word in words.items() if word in _NO_LABEL or (word in _PERHAPS and sizes[word] < _CLASS)]


def starts(folder: Path) -> list[tuple[int, Path]]:
    """The first row of each part, in the order of `parts`, and behind them the number of rows in all; see `some`."""
    parts = [part for _, part in _parts(folder)]
    sizes = [pq.read_metadata(part).num_rows for part in parts]
    return [*zip(itertools.accumulate([0, *sizes[:-1]]), parts, strict=True), (sum(sizes), folder)]


def some(starts: list[tuple[int, Path]], rows: Sequence[int], columns: list[str]):
    """These columns of some rows, numbered and named as `parts` has them, in any order: a pandas DataFrame."""
    wanted, back = np.unique(np.asarray(rows, np.int64), return_inverse=True)
    tables = [pa.schema([SCHEMA.field(name) for name in columns]).empty_table()]
    for (start, part), (end, _) in itertools.pairwise(starts):
        here = wanted[np.searchsorted(wanted, start) : np.searchsorted(wanted, end)]
        if len(here):
            tables.append(_read(part, columns).take(pa.array(here - start)).cast(tables[0].schema))
    return pa.concat_tables(tables).take(pa.array(back)).to_pandas().set_axis(rows)


def read_bytes(folder: Path, column: str) -> Iterator[np.ndarray]:
    """`thumbnail` or `features`, a part at a time in the order of `parts`: uint8 (rows, length), zeros where null."""
    length = SCHEMA.field(column).type.byte_width
    for _, table in parts(folder, [column]):
        values = table[column].combine_chunks()
        filled = values.fill_null(bytes(length))
        yield np.frombuffer(filled.buffers()[1], np.uint8)[filled.offset * length :][: len(filled) * length].reshape(-1, length)


def data_digest(folder: Path) -> str:
    """The digest of the data that this manifest describes, as DVC records it."""
    return dataset.data_digest(shard_digests(folder))


def knobs(folder: Path) -> dict:
    """The knobs that the manifest was measured with."""
    return json.loads(measured_by(folder)[1])


def measured_by(folder: Path) -> tuple[str, str]:
    """What decided the content of a manifest: a digest of the code, and the knobs as JSON."""
    code, brace, text = _stamp(_parts(folder)[0][1], b"measured_by").partition("{")
    return code.strip(), brace + text


def shard_digests(folder: Path) -> dict[str, str]:
    """Name -> md5 of each shard that was measured."""
    return {shard: part.stem for shard, part in _parts(folder)}


def _parts(folder: Path) -> list[tuple[str, Path]]:
    """The parts by the names of their shards. Raises CannotRun."""
    parts = sorted((_stamp(part, b"shard"), part) for part in folder.glob("*.parquet"))
    if not parts:
        raise CannotRun(f"{folder}: no manifest; `dvc repro measure` makes it")
    return parts


def _stamp(part: Path, name: bytes) -> str:
    with _readable(part):
        return pq.read_schema(part).metadata[name].decode()


def _read(part: Path, columns: list[str]) -> pa.Table:
    with _readable(part), pq.ParquetFile(part) as file:  # what `read_table` prepares takes longer than to read one column
        return file.read(columns, use_threads=False).select(columns)


def _readable(part: Path) -> contextlib.AbstractContextManager:
    return dataset.readable(part, what="a part of a manifest", remedy="delete it and run `dvc repro measure`")
