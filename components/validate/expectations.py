"""What Great Expectations expects of the manifest, see great.py.

Most expectations cover what no check does: identity, sets and ranges of columns, which hold for whatever our own steps write.
Where a check covers the same fault, its finding stands; any other expectation that fails becomes the finding E_EXPECTATION.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from components.shared.data import dataset
from components.validate.config import ValidateConfig

CODE = "E_EXPECTATION"
_MODES = ["1", "L", "LA", "P", "PA", "RGB", "RGBA", "I", "I;16", "I;16B", "I;16L", "I;16N"]


@dataclass(frozen=True)
class Expected:
    """One expectation: `kind` is its class in Great Expectations, `check` the code of the check that covers it."""

    name: str
    kind: str
    options: dict
    check: str = CODE


def _never_null(column: str, check: str = CODE) -> Expected:
    return Expected(f"{column} is given", "ExpectColumnValuesToNotBeNull", {"column": column}, check)


def _always_null(column: str, name: str, check: str = CODE) -> Expected:
    return Expected(name, "ExpectColumnValuesToBeNull", {"column": column}, check)


def _one_of(column: str, values: list[str]) -> Expected:
    name = f"{column} is one of {', '.join(values)}"
    return Expected(name, "ExpectColumnValuesToBeInSet", {"column": column, "value_set": values})


def _between(column: str, low: float, high: float | None = None, *, name: str = "", check: str = CODE) -> Expected:
    name = name or (f"{column} is at least {low:g}" if high is None else f"{column} lies between {low:g} and {high:g}")
    return Expected(name, "ExpectColumnValuesToBeBetween", {"column": column, "min_value": low, "max_value": high}, check)


def expected(limits: ValidateConfig) -> list[Expected]:
    """All expectations but those whose check is off. Levels go from 0 to 255, so their standard deviation is at most 127.5."""
    ratio = limits.max_imbalance_ratio
    all_of_them = [
        Expected("there are samples", "ExpectTableRowCountToBeBetween", {"min_value": 1}, "E_NO_DATA"),
        _always_null("repeated_source", "every sample has a source of its own"),
        *(_never_null(column) for column in ("id", "source", "shard", "frames")),
        _never_null("label", "E_LABEL_EMPTY"),
        _always_null("fault_code", "every sample decodes", "E_UNDECODABLE"),
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
        _between("classes", 2, name="there are at least two classes", check="E_ONE_CLASS"),
        _between("imbalance", 1, ratio, check="W_IMBALANCE",
                 name=f"the largest class has at most {ratio:g} times the training samples of the smallest"),
    ]  # fmt: skip
    return [each for each in all_of_them if limits.severity[each.check] != "off"]


def broken(failed: Mapping[str, str], checks: Collection[str], limits: ValidateConfig) -> str | None:
    """The manifest fails an expectation that no check covers.

    `failed`: name -> what was observed; `checks`: codes of those that found something.
    """
    silent = [
        f"{each.name} ({failed[each.name]})"
        for each in expected(limits)
        if each.name in failed and (each.check == CODE or (limits.severity[each.check] == "error" and each.check not in checks))
    ]
    return "; ".join(silent) or None
