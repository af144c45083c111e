"""Damaged records: nothing but our own errors, or whole pictures with labels."""

import io
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from test_fuzz_sources import FEW, MUTATIONS, mutated, some_lines

from components.shared.errors import Stop
from forms.conftest import read_all
from forms.test_tfrecord import framed, slim

PICTURES = [b"\x89PNG\r\n\x1a\n" + bytes(range(20 + row)) for row in range(6)]


def parquet() -> bytes:
    stream = io.BytesIO()
    images = pa.array([{"bytes": content, "path": f"{row}.png"} for row, content in enumerate(PICTURES)])
    pq.write_table(pa.table({"image": images, "label": ["a", "b"] * 3}), stream, row_group_size=4)
    return stream.getvalue()


PARQUET, RECORDS = parquet(), framed([slim(row, row % 2, b"ab"[row % 2 : row % 2 + 1]) for row in range(4)])


@pytest.fixture(scope="module")
def place():
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def taken(place: Path, name: str, content: bytes) -> int | None:
    """How many samples a file gives; nothing where it is refused in words."""
    shutil.rmtree(place / "s", ignore_errors=True)
    (place / "s").mkdir()
    (place / "s" / name).write_bytes(content)
    try:
        return len(read_all(place / "s"))
    except Stop as stop:
        some_lines(stop)
        return None


@FEW
@given(MUTATIONS)
def test_a_damaged_parquet_is_refused_or_read(place, mutations):
    assert taken(place, "a.parquet", mutated(PARQUET, mutations)) in (None, *range(7))


@pytest.mark.parametrize(("at", "bit"), [(399, 1), (521, 128), (603, 128), (753, 128)])
def test_a_label_that_is_no_text_and_a_column_cut_short_are_refused(place, at, bit):
    content = bytearray(PARQUET)
    content[at] ^= bit
    assert taken(place, "a.parquet", bytes(content)) is None


def test_a_file_that_ends_the_process_that_reads_it_is_named(tmp_path):
    content = bytearray(PARQUET)
    content[679] ^= 4  # Arrow ends the process: `terminate called after throwing an instance of …`
    (tmp_path / "a.parquet").write_bytes(content)
    command = [sys.executable, "-m", "components", "ingest", tmp_path / "a.parquet", tmp_path / "data"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines()[-1] == (
        "ingest: ended by the system (SIGABRT), as happens when memory runs out; free some memory, or give it more; "
        "or 'a.parquet', which it read last, is damaged: save it anew, or move it out"
    )
    assert not (tmp_path / "data").exists()


@FEW
@given(MUTATIONS)
def test_a_damaged_tfrecord_is_refused_or_gives_the_records_before_its_end(place, mutations):
    content = mutated(RECORDS, mutations)
    assert taken(place, "a.tfrecord", content) in (None, *range(content.count(b"image/encoded") + 1))
