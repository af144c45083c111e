"""What Great Expectations expects of the manifest, and the process in which it judges: it loads while the checks run.

Most expectations cover what no check does: identity, sets and ranges of columns, which hold for whatever our own steps write.
Where a check covers the same fault, its finding stands; any other expectation that fails becomes the finding E_EXPECTATION.
"""

import functools
import multiprocessing
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from components.shared import supervise
from components.shared.data import dataset
from components.shared.errors import CannotRun
from components.validate import great
from components.validate.config import ValidateConfig

CODE = "E_EXPECTATION"
_SEVERITIES = {"error": "critical", "warning": "warning", "info": "info"}  # our word -> Great Expectations'
_MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "I", "I;16", "I;16B", "I;16L", "I;16N"]


@dataclass(frozen=True)
class Expected:
    """One expectation: `kind` is its class in Great Expectations or in `ratio.py`, `check` the code of the check that covers it."""

    name: str
    kind: str
    options: dict
    check: str = CODE


@dataclass(frozen=True)
class Outcome:
    """`evaluated`: names of all expectations; `failed`: name -> what was observed; `critical`: names of those that must hold."""

    evaluated: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    critical: list[str] = field(default_factory=list)


def _never_null(column: str, check: str = CODE) -> Expected:
    return Expected(f"{column} is given", "ExpectColumnValuesToNotBeNull", {"column": column}, check)


def _one_of(column: str, values: list[str]) -> Expected:
    name = f"{column} is one of {', '.join(values)}"
    return Expected(name, "ExpectColumnValuesToBeInSet", {"column": column, "value_set": values})


def _between(column: str, low: float, high: float | None = None) -> Expected:
    name = f"{column} is at least {low:g}" if high is None else f"{column} lies between {low:g} and {high:g}"
    return Expected(name, "ExpectColumnValuesToBeBetween", {"column": column, "min_value": low, "max_value": high})


def expected(limits: ValidateConfig) -> list[Expected]:
    """All expectations. Levels go from 0 to 255, so their standard deviation is at most 127.5."""
    unique = "ExpectColumnValuesToBeUnique"
    both = {"column_list": ["shard", "source"]}
    return [
        Expected("there are samples", "ExpectTableRowCountToBeBetween", {"min_value": 1}, "E_NO_DATA"),
        Expected("every sample of a shard has a source of its own", "ExpectCompoundColumnsToBeUnique", both),
        Expected("every sample has a source of its own", unique, {"column": "source"}),
        *(_never_null(column) for column in ("id", "source", "shard", "frames")),
        _never_null("label", "E_LABEL_EMPTY"),
        Expected("every sample decodes", "ExpectColumnValuesToBeNull", {"column": "fault_code"}, "E_UNDECODABLE"),
        _one_of("split", list(dataset.SPLITS)),
        _one_of("mode", _MODES),
        _one_of("format", ["PNG", "JPEG", "MPO"]),
        *(_between(column, 1) for column in ("frames", "width", "height", "frame_sizes")),
        *(_between(column, 0) for column in ("bytes", "trailing", "faces")),
        *(_between(column, 0, 255) for column in ("brightness", "dark_level", "bright_level", "red", "green", "blue")),
        _between("contrast", 0, 127.5),
        _between("common", 0, 1),
        _between("entropy", 0, 8),
        _between("sharpness", 0, 1),
        Expected("there are at least two classes", "ExpectColumnUniqueValueCountToBeBetween",
                 {"column": "label", "min_value": 2}, "E_ONE_CLASS"),
        Expected(f"the largest class has at most {limits.max_imbalance_ratio:g} times the training samples of the smallest",
                 "ExpectColumnClassRatioToBeAtMost", {"column": "training_label", "max_ratio": limits.max_imbalance_ratio},
                 "W_IMBALANCE"),
    ]  # fmt: skip


def broken(outcome: Outcome, checks: Collection[str], limits: ValidateConfig) -> str | None:
    """The manifest fails an expectation that no check covers."""
    covered_by = {each.name: each.check for each in expected(limits)}
    silent = [
        f"{name} ({observed})"
        for name, observed in outcome.failed.items()
        if covered_by[name] == CODE or (name in outcome.critical and covered_by[name] not in checks)
    ]
    return "; ".join(silent) or None


def start() -> None:
    """Begin to load it, if that has not been done, and do not wait."""
    with _alive():
        _process()


def judge(manifest: Path, limits: ValidateConfig, docs: Path) -> Callable[[], Outcome]:
    """Begin to judge the manifest, and do not wait; what is returned waits for the outcome and for Data Docs in `docs`.

    The severity of an expectation is that of its check; where that is off, it is not expected.
    """
    wanted = [(each, limits.severity[each.check]) for each in expected(limits) if limits.severity[each.check] != "off"]
    suite = [
        {"kind": each.kind, "options": each.options, "severity": _SEVERITIES[severity], "name": each.name}
        for each, severity in wanted
    ]
    with _alive():
        verdict: Future = _process().submit(great.judge, manifest.absolute(), suite, docs.absolute())

    def outcome() -> Outcome:
        with _alive():
            failed = verdict.result()
        critical = [each.name for each, severity in wanted if severity == "error"]
        return Outcome([each.name for each, _ in wanted], failed, critical)

    return outcome


@functools.cache
def _process() -> ProcessPoolExecutor:
    # Spawned, not forked: Arrow runs threads that do not survive a fork.
    pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"), initializer=supervise.end_with_parent)
    pool.submit(great.load)
    return pool


@contextmanager
def _alive() -> Iterator[None]:
    try:
        yield
    except BrokenProcessPool:
        _process.cache_clear()
        raise CannotRun("validate: Great Expectations' process was killed, perhaps for want of memory; run it again") from None
