"""Knobs: one section of params.yaml -> a checked, frozen model. The values stand in params.yaml alone, never in code."""

from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator

from components.shared.errors import CannotRun


class Section(BaseModel):
    """The knobs of one step. Unknown keys are refused; a whole float counts as an integer (Kubeflow sends `3.0` for 3)."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_booleans_for_numbers(cls, values: Any) -> Any:
        # Pydantic takes `true` for 1: in a file that people edit by hand it is a slip.
        for name, field in cls.model_fields.items():
            if isinstance(values, dict) and isinstance(values.get(name), bool) and field.annotation in (int, float):
                raise ValueError(f"{name}: expected a number, got {str(values[name]).lower()}")
        return values


SectionT = TypeVar("SectionT", bound=Section)


def read_params(file: Path) -> dict:
    """The whole of params.yaml. Raises CannotRun when it is missing or no YAML mapping, with the line."""
    try:
        params = yaml.safe_load(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CannotRun(f"{file}: no such file; run from the project's folder or name it with --params") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f" line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or "it is no UTF-8 text"
        raise CannotRun(f"{file}{line}: not valid YAML ({reason})") from None
    if not isinstance(params, dict):
        raise CannotRun(f"{file}: expected a section per step, got {type(params).__name__}")
    return params


def section_of(params: dict, path: str, *, file: Path) -> dict:
    """The section at a dotted path such as `train.cnn`."""
    values: Any = params
    for depth, key in enumerate(path.split(".")):
        if not isinstance(values, dict) or key not in values:
            known = ", ".join(values) if isinstance(values, dict) else "nothing"
            above = ".".join(path.split(".")[:depth]) or "the top"
            raise CannotRun(f"{file}: no section {path}; {above} holds: {known}")
        values = values[key]
    return values


def override(params: dict, change: str, *, file: Path) -> None:
    """Apply one `train.cnn.epochs=3` to the whole params in place. Raises CannotRun for a knob that is not there."""
    path, found, text = change.partition("=")
    above, _, knob = path.rpartition(".")
    section = section_of(params, above, file=file) if above else params
    if not found or not isinstance(section, dict) or knob not in section:
        known = ", ".join(section) if isinstance(section, dict) else "nothing"
        raise CannotRun(f"--set {change}: expected KNOB=VALUE with a knob of {file}; {above or 'the top'} holds: {known}")
    section[knob] = yaml.safe_load(text)


def parse(model: type[SectionT], values: Any, *, path: str) -> SectionT:
    """Check one section. Raises CannotRun with a line per fault: `train.cnn.epochs: expected ..., got ...`."""
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise CannotRun(*(_explain(fault, path, model) for fault in error.errors())) from None


def _explain(fault: dict, path: str, model: type[Section]) -> str:
    where = ".".join([path, *(str(part) for part in fault["loc"])])
    got = fault["input"]
    match fault["type"]:
        case "extra_forbidden":
            return f"{where}: unknown knob; {path} has: {', '.join(model.model_fields)}"
        case "missing":
            return f"{where}: missing; every knob stands in params.yaml"
        case "value_error":
            return f"{path}.{fault['ctx']['error']}" if not fault["loc"] else f"{where}: {fault['ctx']['error']}, got {got!r}"
    expected = fault["msg"].removeprefix("Input should be ").replace("greater than or equal to", "at least")
    expected = expected.replace("less than or equal to", "at most")
    if "at " in expected or "than" in expected:
        kind = model.model_fields[str(fault["loc"][0])].annotation
        expected = {int: "an integer of ", float: "a number of "}.get(kind, "") + expected
    return f"{where}: expected {expected}, got {got!r}"
