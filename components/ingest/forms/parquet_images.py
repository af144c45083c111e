"""Parquet files with the pictures in them, as Hugging Face's `datasets` writes them: a struct of `bytes` and `path` a row."""

import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from components.ingest.form import HELD, Fit, Form, Options
from components.ingest.listing import Listing
from components.ingest.record_files import class_list, ending_of, label_of, leave_out_others, path_of, splits
from components.ingest.source import Entry, LeftOut, Source
from components.shared import supervise
from components.shared.data import dataset
from components.shared.errors import CannotRun, Refused
from components.shared.screen import number

_PICTURES = ("image", "img", "picture", "photo", "jpg", "png")
_LABELS = ("label", "labels", "class", "category", "target", "class_name", "class_id")
_HELD = 16  # pictures that are read at once
EXAMPLE = """\
data/train-00000-of-00002.parquet   image {bytes, path}, label
data/test-00000-of-00001.parquet"""


class _Table(NamedTuple):
    """One file, and which of its columns count."""

    file: Path
    picture: str
    fields: dict[str, pa.DataType]  # of the column's struct; of plain bytes none
    label: str
    classes: dict[int, str]

    @property
    def bytes(self) -> str:
        """The column of the bytes themselves."""
        return f"{self.picture}.bytes" if self.fields else self.picture


def fit(listing: Listing) -> Fit | None:
    """Parquet files of which the first has a column of pictures."""
    for file in listing.others(".parquet")[:1]:
        schema = _schema(file)
        if schema is not None and _is_shard(schema):
            return Fit(HELD, f"{file.name} is a shard that Darkroom wrote")
        if schema is not None and (columns := _pictures(schema)):
            return Fit(HELD, f"{file.name} has pictures in its column {columns[0]}")
    return None


def read(listing: Listing, options: Options) -> Source:
    """The rows of all files. Raises Refused, CannotRun where the columns do not say which is the label."""
    tables = [_table(file, listing, options) for file in listing.every(lambda name: name.lower().endswith(".parquet"))]
    names = [listing.relative(table.file) for table in tables]
    official = splits(names)

    def entries(left_out: LeftOut) -> Iterator[Entry]:
        leave_out_others(listing, [table.file for table in tables], left_out)
        for table, name, split in zip(tables, names, official, strict=True):
            yield from _entries(table, name, split, left_out)

    rows = sum(pq.read_metadata(table.file).num_rows for table in tables)
    return Source(
        f"{number(rows, 'row')} of {number(len(tables), 'Parquet file')}, labels in {tables[0].label}", listing.root, entries
    )


def _schema(file: Path) -> pa.Schema | None:
    supervise.reads(file.name)
    try:
        return pq.read_schema(file)
    except (pa.ArrowException, OSError, ValueError):
        return None


def _is_shard(schema: pa.Schema) -> bool:
    return "frames" in schema.names and set(dataset.FACTS) < set(schema.names)


def _pictures(schema: pa.Schema) -> list[str]:
    """The columns with pictures: structs as `datasets` writes them, or plain bytes under such a name; the likeliest first."""
    features = _features(schema)
    found = []
    for field in schema:
        kind, named = field.type, field.name.lower() in _PICTURES or features.get(field.name, {}).get("_type") == "Image"
        is_struct = pa.types.is_struct(kind) and {"bytes", "path"} & {inner.name for inner in kind}
        if is_struct or (named and (pa.types.is_binary(kind) or pa.types.is_large_binary(kind))):
            found.append(field.name)
    return sorted(found, key=lambda name: _PICTURES.index(name.lower()) if name.lower() in _PICTURES else len(_PICTURES))


def _features(schema: pa.Schema) -> dict[str, dict]:
    """What `datasets` says of the columns."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {name: feature for name, feature in features.items() if isinstance(feature, dict)}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _table(file: Path, listing: Listing, options: Options) -> _Table:
    schema = _schema(file)
    if schema is None:
        raise CannotRun(f"{file}: not a Parquet file that can be read; get it again")
    if _is_shard(schema):
        way_out = "use its folder as data/, or `darkroom export` it and ingest the tree"
        raise CannotRun(f"{file}: is a shard that Darkroom wrote; {way_out}")
    found = _pictures(schema)
    if not found:
        raise CannotRun(f"{file}: no column of pictures, as other files beside it have; it has: {', '.join(schema.names)}")
    if len(found) > 1 and found[0].lower() not in _PICTURES:
        raise CannotRun(f"{file}: several columns of pictures ({', '.join(found)}); rename the one that is meant to image")
    label, classes = _label(schema, file, options)
    column = schema.field(found[0]).type
    fields = {field.name: field.type for field in column} if pa.types.is_struct(column) else {}
    table = _Table(file, found[0], fields, label, classes or class_list(listing))
    if missing := _without_bytes(table):
        raise Refused(f"E_MISSING_FILE {file}: {number(missing, 'row has', 'rows have')} no bytes in {table.picture}, at most the path "
                      "of a picture that lies elsewhere; save it with the pictures in it, or ingest the folder of pictures")  # fmt: skip
    return table


def _label(schema: pa.Schema, file: Path, options: Options) -> tuple[str, dict[int, str]]:
    """The column of the label, and what its numbers stand for."""
    features = _features(schema)
    named = {name: feature["names"] for name, feature in features.items()
             if feature.get("_type") == "ClassLabel" and isinstance(feature.get("names"), list) and name in schema.names}  # fmt: skip
    found = [*named] or [name for name in schema.names if name.lower() in _LABELS]
    if options.label_field:
        found = [options.label_field] if options.label_field in schema.names else []
    elif "label" in found:
        found = ["label"]
    if len(found) != 1:
        what = f"several columns of labels ({', '.join(found)})" if found else f"no column {options.label_field or 'label'}"
        raise CannotRun(f"{file}: {what}; it has: {', '.join(schema.names)}; --label-field NAME says which")
    names = named.get(found[0], [])
    if len(set(names)) < len(names):
        raise Refused(f"E_LABEL {file}: the names of {found[0]} hold one twice; its classes would become one")
    return found[0], {number: str(name) for number, name in enumerate(names)}


def _without_bytes(table: _Table) -> int:
    """How many rows have no picture, as far as the file itself says so."""
    metadata = pq.read_metadata(table.file)
    if table.fields and "bytes" not in table.fields:
        return metadata.num_rows
    groups = map(metadata.row_group, range(metadata.num_row_groups))
    try:
        columns = [group.column(place) for group in groups for place in range(group.num_columns)]
        ours = [column.statistics for column in columns if column.path_in_schema == table.bytes]
    except UnicodeDecodeError as error:
        raise CannotRun(f"{table.file}: cannot be read (the name of a column: {error}); get it again") from None
    return sum(statistics.null_count or 0 for statistics in ours if statistics)


def _entries(table: _Table, name: str, split: str | None, left_out: LeftOut) -> Iterator[Entry]:
    pictures, ending = _Pictures(table), ""
    named = table.fields.get("path") in (pa.string(), pa.large_string())
    paths = _values(table.file, f"{table.picture}.path", 4096) if named else itertools.repeat(None)
    for row, (value, path) in enumerate(zip(_values(table.file, table.label, 4096), paths, strict=False)):
        label, path = label_of(value, table.classes, f"{table.file} row {row}"), path and path["path"]
        if label is None:
            left_out.add("W_UNLABELED", "rows without a label", f"{name} row {row}")
            continue
        # All pictures of a file are most likely of one kind: of those without a name the first says which.
        ending = ending if path or ending else ending_of(pictures.at(row))
        source = path_of(name, row, path or ending, label=label, split=split)
        yield Entry(label, source, frames=lambda row=row, source=source: [(pictures.at(row), source)], split=split)


def _values(file: Path, column: str, rows: int) -> Iterator[object]:
    """The values of one column, or of one field of a struct, of which so many are in memory at once."""
    supervise.reads(file.name)
    try:
        with pq.ParquetFile(file, pre_buffer=False, buffer_size=2**20) as content:
            for batch in content.iter_batches(batch_size=rows, columns=[column]):
                batch.validate(full=True)  # text that is no UTF-8
                yield from batch.column(0).to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise CannotRun(f"{file}: cannot be read ({str(error).splitlines()[0]}); get it again") from None


class _Pictures:
    """The bytes of a file's pictures, which are asked for in their order: a few, or a page of the file, are in memory at once."""

    def __init__(self, table: _Table) -> None:
        self.table, self.rows = table, enumerate(_values(table.file, table.bytes, _HELD))
        self.row, self.value = -1, None

    def at(self, row: int) -> bytes:
        """The bytes of a row's picture, or of the same once more. Raises Refused where it has none."""
        while self.row < row:
            self.row, self.value = next(self.rows, (row, None))
        content = self.value and self.value["bytes"] if self.table.fields else self.value
        if not content:
            raise Refused(f"E_MISSING_FILE {self.table.file} row {row}: has no picture in it; leave the row out")
        return content


FORM = Form("parquet", "Parquet files with the pictures in them, as Hugging Face has them", EXAMPLE, fit, read, fields=True)
