"""Knobs: one section of params.yaml -> a checked, frozen model. The values stand in params.yaml alone, never in code."""

import json
import os
import reprlib
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from components.shared import yaml_reader
from components.shared.errors import CannotRun, did_you_mean

# The knobs of a whole pipeline run, from params.yaml, or a name that its caller gives it: it groups the runs in MLflow.
PIPELINE_RUN = "DARKROOM_PIPELINE_RUN"
IMAGE = "DARKROOM_IMAGE"  # the variable with the image that the steps run in


class Section(BaseModel):
    """The knobs of one step. Unknown keys are refused, and so are values of another type: `true` is no 1, and 3.0 no 3."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False, strict=True)

    def check(self) -> None:
        """Raise CannotRun for what the values of single knobs do not tell; it may take a second."""


SectionT = TypeVar("SectionT", bound=Section)


def read_params(file: Path) -> dict:
    """The whole of params.yaml, as DVC reads it. Raises CannotRun when it is missing or no YAML mapping, with the line."""
    params = yaml_reader.read(file, missing="run from the project's folder or name it with --params")
    if not isinstance(params, dict):
        raise CannotRun(f"{file}: expected a section per step, got {shorten(params)}")
    return params


def only(params: dict, known: set[str], *, file: Path) -> None:
    """Refuse what is neither one of the `known` dotted paths nor above one. Raises CannotRun with a line per key."""
    tops = {path.split(".")[0] for path in known}
    paths = [str(key) for key in params if key not in tops]
    for top in tops - known:
        if isinstance(params.get(top), dict):
            paths += [f"{top}.{key}" for key in params[top] if f"{top}.{key}" not in known]
    if paths:
        raise CannotRun(
            *(
                f"{file}: {shorten(path)[1:-1]}: unknown; {did_you_mean(path, known)}known are: {', '.join(sorted(known))}"
                for path in paths
            )
        )


def seed_of(params: dict, *, file: Path) -> int:
    """The seed of every random choice: a whole number that fits into 32 bits. Raises CannotRun."""
    if "seed" not in params:
        raise CannotRun(f"{file}: seed: missing; expected a whole number at the top, such as seed: 7")
    return checked_seed(params["seed"], where=f"{file}: seed")


def checked_seed(value: Any, *, where: str = "seed") -> int:
    """The seed when it is one. Raises CannotRun."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < 2**32:
        raise CannotRun(f"{where}: expected a whole number from 0 to {2**32 - 1}, got {shorten(value)}")
    return value


def as_text(params: dict) -> str:
    """All knobs as one line of JSON: what a pipeline run is known by. Raises CannotRun."""
    try:
        return json.dumps(params, separators=(",", ":"), default=str)
    except (TypeError, ValueError):  # keys that are no texts, integers of more than 4,300 digits
        raise CannotRun("the knobs hold what JSON cannot; `darkroom knobs` says where") from None


def of_pipeline_run() -> dict:
    """The knobs of the pipeline run that this process belongs to; empty where they are not known (on a cluster, or under a name)."""
    try:
        params = json.loads(os.environ.get(PIPELINE_RUN, ""))
    except ValueError:
        return {}
    return params if isinstance(params, dict) else {}


def pipeline_run_name() -> str:
    """The name of this pipeline run, on a cluster Kubeflow's id; none at home, where the knobs stand in its place."""
    return "" if of_pipeline_run() else os.environ.get(PIPELINE_RUN, "")


def section_of(params: dict, path: str, *, file: Path) -> Any:
    """The section at a dotted path such as `train.cnn`. Raises CannotRun, with what is there, when it is not."""
    values: Any = params
    for depth, key in enumerate(path.split(".")):
        if not isinstance(values, dict) or key not in values:
            above = ".".join(path.split(".")[:depth]) or "the top"
            hint = did_you_mean(key, map(str, values if isinstance(values, dict) else ()))
            raise CannotRun(f"{file}: no section {shorten(path)[1:-1]}; {hint}{above} holds: {_names(values)}")
        values = values[key]
    return values


def override(params: dict, change: str, *, file: Path) -> None:
    """Apply one `train.cnn.epochs=3` to the whole params in place. Raises CannotRun for a knob that is not there.

    A section that an alias repeats elsewhere is changed at the named place alone, as `dvc exp run -S` does it.
    """
    path, equals, text = change.partition("=")
    above, _, knob = path.rpartition(".")
    section = section_of(params, above, file=file) if above else params
    if not equals or not isinstance(section, dict) or knob not in section:
        hint = did_you_mean(knob, map(str, section if isinstance(section, dict) else ()))
        raise CannotRun(f"--set {shorten(change)[1:-1]}: expected KNOB=VALUE with a knob of {file}; "
                        f"{hint}{above or 'the top'} holds: {_names(section)}")  # fmt: skip
    section = params
    for key in above.split(".") if above else ():
        section[key] = dict(section[key])
        section = section[key]
    section[knob] = yaml_reader.parse(text, where=f"--set {shorten(change)[1:-1]}")


def parse(model: type[SectionT], values: Any, *, path: str) -> SectionT:
    """Check one section. Raises CannotRun with a line per fault: `train.cnn.epochs: expected ..., got ...`."""
    if not isinstance(values, dict):
        raise CannotRun(f"{path}: expected a section of knobs (NAME: VALUE lines), got {shorten(values)}")
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise CannotRun(*(_explain(fault, path, model) for fault in error.errors())) from None


def value(kind: Any, text: str) -> Any:
    """A text of the command line as `kind`, which may be annotated with bounds. Raises ValueError with what was expected."""
    try:
        return TypeAdapter(kind).validate_python(text)
    except ValidationError as error:
        fault = error.errors()[0]
        base = get_args(kind)[0] if get_origin(kind) is Annotated else kind
        raise ValueError(f"expected {_expected(fault['msg'], base)}, got {text[:80]!r}") from None


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 80
_SHORT.maxlevel = _SHORT.maxdict = _SHORT.maxlist = 3


def shorten(value: Any) -> str:
    """A value as Python writes it, in one line of a length that a message can bear."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # Python refuses to write an integer of more than 4,300 digits
        return "a number of thousands of digits"


def _names(section: Any) -> str:
    return ", ".join(str(key) for key in section) if section and isinstance(section, dict) else "nothing"


def _explain(fault: dict, path: str, model: type[Section]) -> str:
    where = ".".join([path, *(str(part)[:80] for part in fault["loc"])])
    got = shorten(fault["input"])
    match fault["type"]:
        case "extra_forbidden":
            hint = did_you_mean(str(fault["loc"][-1]), model.model_fields)
            return f"{where}: unknown knob; {hint}{path} has: {', '.join(model.model_fields)}"
        case "missing":
            return f"{where}: missing; every knob stands in params.yaml"
        case "invalid_key":
            return f"{where}: unknown knob; expected a name"
        case "value_error":
            return f"{path}.{fault['ctx']['error']}" if not fault["loc"] else f"{where}: {fault['ctx']['error']}, got {got}"
    knob = model.model_fields.get(str(fault["loc"][0])) if fault["loc"] else None
    return f"{where}: expected {_expected(fault['msg'], knob.annotation if knob else None)}, got {got}"


def _expected(message: str, kind: Any) -> str:
    """What pydantic expected, in our words."""
    expected = message.removeprefix("Input should be ").replace("greater than or equal to", "at least")
    expected = expected.replace("less than or equal to", "at most").partition(", unable to parse")[0]
    if "at " in expected or "than" in expected:
        expected = {int: "an integer of ", float: "a number of "}.get(kind, "") + expected
    return expected
