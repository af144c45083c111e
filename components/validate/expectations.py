"""What Great Expectations expects of the manifest, see great.py.

Most expectations cover what no check does: identity, sets and ranges of columns, which hold for whatever our own steps write.
Where a check covers the same fault, its finding stands; any other expectation that fails becomes the finding E_EXPECTATION.
"""

from collections.abc import Collection
from dataclasses import dataclass

from components.shared.data import dataset
from components.validate.config import ValidateConfig

CODE = "E_EXPECTATION"
_SEVERITIES = {"error": "critical", "warning": "warning", "info": "info"}  # our word -> Great Expectations'
_SETS = {
    "split": list(dataset.SPLITS),
    "mode": ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "I", "I;16", "I;16B", "I;16L", "I;16N"],
    "format": ["PNG", "JPEG", "MPO"],
}
_AT_LEAST = {"frames": 1, "width": 1, "height": 1, "frame_sizes": 1, "bytes": 0, "trailing": 0, "faces": 0}
# From 0; a standard deviation of levels from 0 to 255 is at most half their range.
_AT_MOST = {"brightness": 255, "dark_level": 255, "bright_level": 255, "red": 255, "green": 255, "blue": 255,
            "contrast": 127.5, "common": 1, "entropy": 8, "sharpness": 1}  # fmt: skip


@dataclass(frozen=True)
class Judged:
    """One expectation. `check`: code of the check that covers it; `failed`: what was observed instead, empty when it holds."""

    name: str
    check: str
    failed: str


def expected(limits: ValidateConfig) -> list:
    """All expectations as Great Expectations' objects but those whose check is off; `meta` says name and check of each."""
    import great_expectations.expectations as kinds

    null, given, between = (
        kinds.ExpectColumnValuesToBeNull,
        kinds.ExpectColumnValuesToNotBeNull,
        kinds.ExpectColumnValuesToBeBetween,
    )
    ratio = limits.max_imbalance_ratio
    balanced = f"the largest class has at most {ratio:g} times the training samples of the smallest"
    table = [
        ("there are samples", "E_NO_DATA", kinds.ExpectTableRowCountToBeBetween, {"min_value": 1}),
        ("every sample has a source of its own", CODE, null, {"column": "repeated_source"}),
        *((f"{column} is given", CODE, given, {"column": column}) for column in ("id", "source", "shard", "frames")),
        ("label is given", "E_LABEL_EMPTY", given, {"column": "label"}),
        ("every sample decodes", "E_UNDECODABLE", null, {"column": "fault_code"}),
        *((f"{column} is one of {', '.join(values)}", CODE, kinds.ExpectColumnValuesToBeInSet, {"column": column, "value_set": values})
          for column, values in _SETS.items()),
        *((f"{column} is at least {low}", CODE, between, {"column": column, "min_value": low}) for column, low in _AT_LEAST.items()),
        *((f"{column} lies between 0 and {high:g}", CODE, between, {"column": column, "min_value": 0, "max_value": high})
          for column, high in _AT_MOST.items()),
        ("there are at least two classes", "E_ONE_CLASS", between, {"column": "classes", "min_value": 2}),
        (balanced, "W_IMBALANCE", between, {"column": "imbalance", "min_value": 1, "max_value": ratio}),
    ]  # fmt: skip
    return [
        kind(**options, severity=_SEVERITIES[limits.severity[check]], description=name, meta={"name": name, "check": check})
        for name, check, kind, options in table
        if limits.severity[check] != "off"
    ]


def broken(judged: Collection[Judged], found: Collection[str], limits: ValidateConfig) -> str | None:
    """The manifest fails an expectation that no check covers.

    `found`: codes of the checks that found something; where one that should stop the run did not, it covers nothing.
    """
    silent = [
        f"{each.name} ({each.failed})"
        for each in judged
        if each.failed and (each.check == CODE or (limits.severity[each.check] == "error" and each.check not in found))
    ]
    return "; ".join(silent) or None
