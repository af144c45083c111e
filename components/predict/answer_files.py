"""A file of answers, a row a sample: Parquet with what `watch` compares, CSV for spreadsheets, JSONL for programs."""

import contextlib
import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from components.shared import files
from components.shared.errors import CannotRun
from components.shared.models import observed

SCHEMA = pa.schema(
    [
        ("id", pa.string()),  # as of a sample of the data: sha256 of its frames; null where they cannot be read
        ("source", pa.string()),
        ("label", pa.string()),
        ("probability", pa.float32()),
        ("prediction_set", pa.list_(pa.string())),  # surest first
        ("abstained", pa.bool_()),
        ("top", pa.list_(pa.struct([("label", pa.string()), ("probability", pa.float32())]))),
        ("fault", pa.string()),  # why there is no answer, one line
        *observed.COLUMNS,
    ]
)
TEXTS = SCHEMA.names[: -len(observed.COLUMNS)]  # the columns of CSV and JSONL
GROUP = 2**14  # rows
Write = Callable[[pa.Table], None]


@contextlib.contextmanager
def _parquet(file: Path, about: dict) -> Iterator[Write]:
    schema, held = SCHEMA.with_metadata({observed.ABOUT: json.dumps(about)}), []
    with pq.ParquetWriter(file, schema, compression="zstd") as writer:

        def write(table: pa.Table, *, least: int = GROUP) -> None:
            held.append(table.cast(schema))
            if sum(map(len, held)) >= least:
                writer.write_table(pa.concat_tables(held))
                held.clear()

        yield write
        write(SCHEMA.empty_table(), least=0)


@contextlib.contextmanager
def _csv(file: Path, about: dict) -> Iterator[Write]:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, TEXTS, lineterminator="\n")
        writer.writeheader()

        def write(table: pa.Table) -> None:
            for row in table.select(TEXTS).to_pylist():
                plain = {
                    name: json.dumps(value, ensure_ascii=False) if isinstance(value, list) else value
                    for name, value in row.items()
                }
                writer.writerow({name: files.no_formula(value) for name, value in plain.items()})

        yield write


@contextlib.contextmanager
def _jsonl(file: Path, about: dict) -> Iterator[Write]:
    with file.open("w", encoding="utf-8") as stream:
        yield lambda table: stream.writelines(
            json.dumps(row, ensure_ascii=False) + "\n" for row in table.select(TEXTS).to_pylist()
        )


WRITERS = {".parquet": _parquet, ".csv": _csv, ".jsonl": _jsonl}


def writer(output: Path) -> Callable[[Path, dict], contextlib.AbstractContextManager[Write]]:
    """What writes a file that will be called so, by its ending. Raises CannotRun."""
    if output.suffix not in WRITERS:
        raise CannotRun(f"--output {output}: expected a name that ends in {', '.join(WRITERS)}")
    return WRITERS[output.suffix]


def is_answers(file: Path) -> bool:
    """Whether a file of this name holds answers. Raises what reading another file raises."""
    if file.suffix == ".parquet":
        return observed.ABOUT in (pq.read_schema(file).metadata or {})
    with file.open(encoding="utf-8") as stream:
        first = stream.readline(10_000_000)
    return first == ",".join(TEXTS) + "\n" if file.suffix == ".csv" else list(json.loads(first)) == TEXTS
