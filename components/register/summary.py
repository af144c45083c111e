"""The closing words of a run: CNN against LSTM as a table, the verdict, what to type next."""

from pathlib import Path
from typing import Annotated

from components.shared import files
from components.shared.errors import CannotRun, Refused

_ROWS = (
    ("accuracy", "metrics", "accuracy", "{:.2%}"),
    ("balanced accuracy", "metrics", "balanced_accuracy", "{:.2%}"),
    ("macro F1", "metrics", "macro_f1", "{:.4f}"),
    ("worst class recall", "metrics", "worst_class_recall", "{:.2%}"),
    ("calibration error (ECE)", "metrics", "expected_calibration_error", "{:.4f}"),
    ("with a twin in training", "twins", "train", "{:,}"),
    ("size, MiB", "cost", "model_mebibytes", "{:.2f}"),
    ("training, s", "cost", "training_seconds", "{:.0f}"),
    ("prediction, ms a sample", "cost", "prediction_milliseconds", "{:.3f}"),
)


def summary(
    registration: Annotated[Path, "what register wrote: outputs/registration.json"],
    *,
    explain: Annotated[
        bool, "show each criterion of the gate instead, with value, interval, limit, verdict and reason"
    ] = False,
) -> None:
    """Show the models side by side on the test split, the verdict, and what to type next.

    Raises Refused when the verdict is of an earlier run than what lies beside it: a failed run leaves the old one in its place.
    """
    verdict = files.read_json(registration, "candidates", "model", "version", "accepted", "reasons")
    if newer := _newer(verdict, registration.parent):
        raise Refused(f"{registration}: is the verdict of an earlier run: {newer}; it says nothing of the present data and models. "
                      "`dvc repro` goes on where the last run stopped")  # fmt: skip
    if explain:
        print(criteria(verdict.get("criteria", [])))
        return
    print(closing(verdict, registration))


def closing(verdict: dict, registration: Path) -> str:
    """The models side by side on the test split, the verdict, and what to type next: paths as they stand beside `registration`."""
    candidates = verdict["candidates"]
    width = max(14, *(len(candidate["name"]) + 2 for candidate in candidates))
    samples = _cell("{:,}", candidates[0]["metrics"].get("samples"))
    rows = [(f"{samples} test samples", [candidate["name"] for candidate in candidates])]
    rows += [
        (name, [_cell(form, candidate.get(part, {}).get(key)) for candidate in candidates]) for name, part, key, form in _ROWS
    ]
    rows.append(("registered as version", [candidate["version"] or "-" for candidate in candidates]))
    lines = ["", *(f"{name:26}" + "".join(f"{cell:>{width}}" for cell in cells) for name, cells in rows), ""]
    lines.append(f"champion of `{verdict['model']}`: version {verdict['version']}" if verdict["accepted"]
                 else f"`{verdict['model']}`: no new champion")  # fmt: skip
    reasons = [*verdict["reasons"], *(r for c in candidates if not c["version"] for r in c["reasons"])]
    lines += [f"  {reason}" for reason in reasons]
    lines += ["", "why:", f"  darkroom summary {registration} --explain", "next:"]
    if verdict["accepted"]:
        champion = f"models:/{verdict['model']}@champion"
        lines.append(f"  darkroom serve {champion:26} ask it: a page on this machine, HTTP for programs")
        lines.append(
            f"  darkroom predict {champion} FOLDER --output answers.parquet    a row a picture, for `darkroom watch`, too"
        )
    lines.append("  make ui                                   compare the runs in MLflow")
    evaluations = registration.parent / "evaluation"
    if evaluations.is_dir():  # as DVC lays them out, and not a runner of pipelines
        lines.append(f"  ls {f'{evaluations}/*/':38} confusion, calibration, worst mistakes, where the network looked")
        lines.append("  edit params.yaml, then dvc repro          only what a knob touches runs again")
        lines.append("  darkroom ingest FOLDER data --replace && dvc add data && make run      your own pictures")
    return "\n".join(lines)


def criteria(rows: list[dict]) -> str:
    """The table of the gate, aligned; below a row that compares with the champion, or does not pass, its reason."""
    lines = [("criterion", "model", "value", "95% interval", "limit", "against", "verdict")]
    for row in rows:
        interval = "-" if row["low"] is None else f"{row['low']:.4f} to {row['high']:.4f}"
        lines.append((row["criterion"], row["candidate"], _cell("{:.4f}", row["value"]), interval, f"{row['limit']:g}",
                      row["compared_with"], row["verdict"]))  # fmt: skip
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    table = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]
    told = ["", *(f"\n    {row['reason']}" if row["compared_with"] == "champion" or row["verdict"] != "passes" else ""
                  for row in rows)]  # fmt: skip
    return "\n".join(map(str.__add__, table, told))


def _cell(form: str, value: float | None) -> str:
    return "-" if value is None else form.format(value)


def _newer(verdict: dict, outputs: Path) -> str:
    """What a later run left in the folder of the outputs, in words; nothing when the verdict is of the last run."""
    validation = _read(outputs / "validation/summary.json")
    if validation and not validation.get("passed", True):
        return "since then data did not pass validation (see outputs/validation/report.html)"
    if validation and validation.get("data_digest") != verdict.get("data_digest"):
        return "since then other data was validated"
    if (outputs / "models").is_dir():
        present = {(_read(file) or {}).get("training_id") for file in (outputs / "models").glob("*/run.json")}
        if missing := [row["name"] for row in verdict["candidates"] if row.get("training_id") not in present]:
            return f"since then {' and '.join(missing)} was trained anew, or is gone"
    return ""


def _read(file: Path) -> dict | None:
    try:
        return files.read_json(file)
    except CannotRun:
        return None
