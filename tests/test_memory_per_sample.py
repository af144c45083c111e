"""What validate and prepare hold of a sample, in bytes: so that ten million of them fit a machine."""

import json
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import ROOT

from components.shared.data import manifest as manifests
from components.validate.config import ValidateConfig
from components.validate.context import Context

PEAKS = """
import contextlib, io, json, resource, sys
from pathlib import Path
from components.prepare import plan
from components.prepare.config import PrepareConfig
from components.shared import config
from components.validate import checks, class_balance, drift, items
from components.validate.config import ValidateConfig
from components.validate.context import Context
from components.shared.data import manifest as manifests

def validate(manifest, folder):
    context = Context.read(manifest, ValidateConfig(**params["validate"]))
    checks.run(context, list)
    class_balance.chart(context, folder / "classes.png")
    items.write_pairs(context, folder / "pairs.parquet")
    class_balance.facts(context), drift.figures(context)
    about = {"passed": True, "data_digest": manifests.data_digest(manifest), "knobs": {"validate": params["validate"]}}
    (folder / "summary.json").write_text(json.dumps(about))

def prepare(manifest, folder):
    plan.make(manifest=manifest, verdict=folder / "summary.json", pairs=folder / "pairs.parquet",
              config=PrepareConfig(**params["prepare"]), folder=folder)

params, tmp = config.read_params(Path("params.yaml")), Path(sys.argv[1])
peaks = {"validate": [], "prepare": []}
for size in ("few", "many"):  # a process's peak only rises: the few come first
    (tmp / f"of {size}").mkdir()
    for step in (validate, prepare):
        with contextlib.redirect_stdout(io.StringIO()):
            step(tmp / size, tmp / f"of {size}")
        peaks[step.__name__].append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
print(json.dumps(peaks))
"""


@pytest.mark.slow
def test_memory_hardly_grows_with_the_samples(tmp_path, drawn, monkeypatch):
    monkeypatch.setitem(drawn.__globals__, "PART", 8000)  # what is read at once, whatever there is
    for name, rows in {"few": 40_000, "many": 160_000}.items():
        drawn(tmp_path / name, rows, 10)
    child = subprocess.run([sys.executable, "-c", PEAKS, tmp_path], capture_output=True, text=True, cwd=ROOT)
    assert child.returncode == 0, child.stderr
    peaks = json.loads(child.stdout)
    for step, most in {"validate": 600, "prepare": 350}.items():
        # Bytes: of so few samples the most is what allocators keep. From a million to three it was 62 and 89.
        assert np.diff(peaks[step]) / 120_000 < most, (step, peaks)


def test_a_file_that_does_not_decode_changes_no_hash(tmp_path, drawn, knobs):
    drawn(tmp_path / "m", 3, ["a", "b"])
    (part,) = (tmp_path / "m").glob("*.parquet")
    table = pq.read_table(part)
    far = 1 << 63 | 1 << 20
    cells = {"hash": [far, far ^ 127, None], "thumbnail": [table["thumbnail"][0].as_py()] * 2 + [None],
             "fault_code": [None, None, "E_TRUNCATED"]}  # fmt: skip
    for column, values in cells.items():  # seven bits apart, one more than near; as float64 they would be the same
        field = table.schema.field(column)
        table = table.set_column(table.schema.get_field_index(column), field, pa.array(values, field.type))
    pq.write_table(table, part)
    limits = knobs(ValidateConfig, "validate", near_bits=6)
    assert len(Context.read(tmp_path / "m", limits).near) == 0


def test_the_first_row_of_each_key_is_found_however_the_work_is_cut(monkeypatch):
    rng = np.random.default_rng(0)
    keys = rng.integers(0, 2**64, 300, dtype=np.uint64)[rng.integers(0, 300, 1000)]
    keys[:3] = 0, 2**64 - 1, 0
    expected = [keys.tolist().index(key) for key in keys.tolist()]
    for at_once in (7, 100, 1 << 20):
        monkeypatch.setattr(manifests, "_SORTED", at_once)
        assert manifests.firsts(keys).tolist() == expected
    assert manifests.firsts(keys[:0]).tolist() == []
