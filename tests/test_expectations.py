"""Great Expectations judges the manifest itself: what it finds wrong is never silent, whoever else is."""

import json
import os
import signal

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import MEASURE, by_code

from components.ingest.step import ingest
from components.measure.step import measure
from components.shared.errors import CannotRun, Refused
from components.validate import expectations, great
from components.validate.config import ValidateConfig
from components.validate.step import validate


@pytest.fixture
def judged(stills, tmp_path, knobs):
    """`judged(column=(row, value), ...)`: change cells of a good manifest; returns findings, summary, refused or not."""
    ingest(str(stills), tmp_path / "data")
    measure(data=tmp_path / "data", config=knobs(type(MEASURE), "measure"), manifest=tmp_path / "m")
    (part,) = (tmp_path / "m").glob("*.parquet")

    def judge(severity=(), changes=(), **cells):
        table = pq.read_table(part)
        for column, (row, value) in cells.items():
            values = table[column].to_pylist()
            values[row] = value
            table = table.set_column(table.schema.get_field_index(column), table.schema.field(column),
                                     pa.array(values, table.schema.field(column).type))  # fmt: skip
        pq.write_table(table, part)
        severities = {**knobs(ValidateConfig, "validate").severity, **dict(severity)}
        config = knobs(ValidateConfig, "validate", severity=severities, **dict(changes))
        try:
            validate(manifest=tmp_path / "m", config=config, validation=tmp_path / "v")
            refused = False
        except Refused:
            refused = True
        return by_code(tmp_path / "v/findings.json"), json.loads((tmp_path / "v/summary.json").read_text()), refused

    return judge


BROKEN = {
    "source": (1, "bar/0.png", "every sample has a source of its own (not so for 2 of 90: 'bar/0.png')"),
    "brightness": (3, 255.5, "brightness lies between 0 and 255 (not so for 1 of 90: '255.5')"),
    "contrast": (3, 127.6, "contrast lies between 0 and 127.5"),
    "entropy": (3, 8.5, "entropy lies between 0 and 8"),
    "sharpness": (3, -0.5, "sharpness lies between 0 and 1"),
    "common": (3, 1.5, "common lies between 0 and 1"),
    "width": (3, 0, "width is at least 1"),
    "frames": (3, 0, "frames is at least 1"),
    "bytes": (3, -1, "bytes is at least 0"),
    "split": (3, "dev", "split is one of train, validation, test (not so for 1 of 90: 'dev')"),
    "mode": (3, "CMYK", "mode is one of 1, L, LA"),
    "format": (3, "GIF", "format is one of PNG, JPEG, MPO"),
}


@pytest.mark.parametrize("column", BROKEN)
def test_what_no_check_looks_at_is_a_finding_of_its_own_and_refuses_the_data(judged, column):
    row, value, message = BROKEN[column]
    findings, summary, refused = judged(**{column: (row, value)})
    assert refused
    assert not summary["passed"]
    assert findings["E_EXPECTATION"]["severity"] == "error"
    assert message in findings["E_EXPECTATION"]["message"]
    assert findings["E_EXPECTATION"]["fix"]
    assert summary["expectations"]["failed"]


def test_where_a_check_says_the_same_its_finding_stands_alone(judged):
    findings, summary, refused = judged(label=(3, None))
    assert refused
    assert "E_EXPECTATION" not in findings
    assert findings["E_LABEL_EMPTY"]["count"] == 1
    assert summary["expectations"]["failed"] == {"label is given": "not so for 1 of 90"}


def test_the_knobs_of_the_checks_are_those_of_the_expectations(judged):
    findings, summary, _ = judged(changes={"max_imbalance_ratio": 1.0}, label=(3, "box"))
    assert findings["W_IMBALANCE"]["severity"] == "warning"
    assert "E_EXPECTATION" not in findings
    (name,) = summary["expectations"]["failed"]
    assert name == "the largest class has at most 1 times the training samples of the smallest"


def test_their_severity_is_a_knob_and_what_is_off_is_not_expected(judged):
    findings, summary, refused = judged(severity={"E_EXPECTATION": "warning"}, mode=(3, "CMYK"))
    assert (findings["E_EXPECTATION"]["severity"], refused) == ("warning", False)
    everything = summary["expectations"]["evaluated"]
    findings, summary, refused = judged(severity={"E_EXPECTATION": "off"})
    assert (findings, refused) == ({}, False)
    assert summary["expectations"]["evaluated"] < everything


def test_a_critical_one_that_fails_while_its_check_is_silent_is_not_silent(knobs):
    limits = knobs(ValidateConfig, "validate")
    judged = [
        expectations.Judged("label is given", "E_LABEL_EMPTY", "not so for 1 of 9"),
        expectations.Judged("others", "E_EXPECTATION", ""),
    ]
    assert expectations.broken(judged, {"E_LABEL_EMPTY"}, limits) is None
    assert expectations.broken(judged, {"W_DARK"}, limits) == "label is given (not so for 1 of 9)"


def test_when_its_process_is_killed_the_step_says_so_and_the_next_run_ends_well(judged):
    judged()
    (pid,) = great.process()._processes
    os.kill(pid, signal.SIGKILL)
    with pytest.raises(CannotRun, match="Great Expectations' process was killed, perhaps for want of memory; run it again"):
        judged()
    assert judged()[2] is False


def test_a_manifest_in_pieces_is_judged_as_one_is_in_one(drawn, tmp_path, knobs, monkeypatch):
    drawn(tmp_path / "m", 140_000, ["a", "b"])
    for part, code in zip(sorted((tmp_path / "m").glob("*.parquet")), ("PNG", "GIF", "PNG"), strict=True):
        table = pq.read_table(part)
        for column, cells in {"source": {7: "same <b>.png"}, "width": {5: 0}, "label": {1: None}, "format": {3: code}}.items():
            values = table[column].to_pylist()
            values = [cells.get(row, value) for row, value in enumerate(values)]
            field = table.schema.field(column)
            table = table.set_column(table.schema.get_field_index(column), field, pa.array(values, field.type))
        pq.write_table(table, part)
    limits = knobs(ValidateConfig, "validate")
    great.load()
    whole = great.evaluate(tmp_path / "m", limits, tmp_path / "whole")
    monkeypatch.setattr(great, "_PIECE", 70_000)
    assert great.evaluate(tmp_path / "m", limits, tmp_path / "pieces") == whole
    failed = {each.name: each.failed for each in whole}
    assert failed["every sample has a source of its own"] == r"not so for 3 of 140,000: 'same \\x3cb\\x3e.png'"
    assert failed["width is at least 1"] == "not so for 3 of 140,000: '0'"


def test_great_expectations_gets_the_numbers_that_it_compares_a_column_at_a_time(drawn, tmp_path):
    drawn(tmp_path / "m", 20, ["a", "b"])
    (rows,) = great._pieces(tmp_path / "m", ["source", "label", "frames", "contrast", "bytes"])
    numbers = {name: kind for name, kind in rows.dtypes.items() if kind.kind in "iuf"}
    assert {"frames", "contrast", "bytes", "classes", "imbalance"} <= numbers.keys()
    assert all(kind in (int, float) for kind in numbers.values())
