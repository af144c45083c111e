"""The tables of the page: rows of columns, each a text or a Cell; None where there is nothing that they could be made of."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from components.shared import files
from components.shared.errors import CannotRun

WORST = 20  # slices of each model, and pairs of classes, that are shown
VAGUE = 0.2  # an interval of a share that is wider tells little
SUSPECTS = 100  # that are listed
SHARE = "{:.2%}"
FIGURES = {  # in this order, with a name where its own does not say it; then come all others
    "accuracy": "", "balanced_accuracy": "", "worst_class_recall": "", "macro_f1": "macro F1", "log_loss": "",
    "expected_calibration_error": "calibration error (ECE)", "uncalibrated_error": "calibration error before temperature",
    "coverage": "truth is in the prediction set", "set_size": "classes in a prediction set", "answered": "share answered",
    "accuracy_answered": "accuracy of what is answered", "mean_corruption_error": "error on damaged pictures",
    "relative": "error that the damage adds", "samples": "test samples",
}  # fmt: skip
SHARES = {"accuracy", "balanced_accuracy", "worst_class_recall", "coverage", "answered", "accuracy_answered",
          "shuffled_frames_accuracy", "mean_corruption_error", "relative"}  # fmt: skip
NUMBERS = {"samples", "accuracy", "low", "high", "difference", "p", "count", "recall"}  # columns of tables
COUNT, LITTLE = "{:,.0f}", 0.0001
Rows = list[dict[str, Any]] | None


class Cell(NamedTuple):
    """A value as it is shown, the number it is sorted by, and what stands small below it."""

    text: str
    number: float | None = None
    note: str = ""


@dataclass
class Side:
    """A model, and the folders that evaluate and stress left of it."""

    name: str
    record: dict  # run.json of train; empty where it is missing
    evaluation: Path
    stress: Path | None

    @cached_property
    def damage(self) -> dict:
        """What stress found; empty where it did not run."""
        return (self.stress and read(self.stress / "stress.json")) or {}

    @cached_property
    def samples(self) -> pd.DataFrame | None:
        """The answer to each test sample, by the sample's id."""
        try:
            table = pd.read_parquet(self.evaluation / "samples.parquet", columns=["id", "label", "predicted", "confidence"])
        except (OSError, ValueError):
            return None
        return table.drop_duplicates("id").set_index("id")


def sides(models: list[Path], evaluations: list[Path], stress: Path | None) -> list[Side]:
    """The models by their architectures, numbered where one comes twice."""
    records = [read(model / "run.json") or {} for model in models]
    kinds = [record.get("tags", {}).get("architecture", model.name) for record, model in zip(records, models, strict=True)]
    names = [f"{kind} {number}" if kinds.count(kind) > 1 else kind for number, kind in enumerate(kinds, 1)]
    folders = [stress and stress / files.as_folder(kind) for kind in kinds]
    return [Side(*one) for one in zip(names, records, evaluations, folders, strict=True)]


def read(file: Path) -> Any:
    """What the file holds; None where it is missing or damaged."""
    try:
        return files.read_json(file)
    except (CannotRun, OSError):
        return None


def cell(value: object, form: str = "", interval: Iterable | None = None) -> Cell:
    """A number with its interval; "–" where there is none."""
    if not isinstance(value, int | float) or value != value:
        return Cell("–")
    form = form or (
        "{:,}" if isinstance(value, int) else "{:z.4f}" if abs(value) < 1 else "{:,.4g}" if abs(value) < 1e4 else "{:,.0f}"
    )
    ends = [end for end in interval or () if end is not None]
    return Cell(form.format(value), value, " to ".join(map(form.format, ends)))


def criteria(rows: Rows) -> Rows:
    """The gate as it was judged, what fails first."""
    marks = {"fails": "✗", "not compared": "–", "passes": "✓"}
    return rows and [
        {
            "verdict": f"{marks[row['verdict']]} {row['verdict']}", "criterion": called(row["criterion"]), "model": row["candidate"],
            "value": _figure(row["criterion"], row["value"], (row["low"], row["high"])),
            "limit": _figure(row["criterion"], row["limit"]), "against": row["compared_with"], "why": row["reason"],
        }
        for row in sorted(rows, key=lambda row: list(marks).index(row["verdict"]))
    ]  # fmt: skip


def figures(models: list[Side], champion: dict) -> Rows:
    """Metrics with their intervals, and costs, a column a model; last the champion so far."""
    columns = {}
    for side in models:
        found = {name: side.damage[name] for name in ("mean_corruption_error", "relative") if side.damage}
        found |= (read(side.evaluation / "metrics.json") or {}) | (read(side.evaluation / "cost.json") or {})
        intervals = read(side.evaluation / "intervals.json") or {}
        columns[side.name] = {name: _figure(name, value, intervals.get(name)) for name, value in found.items()}
    if champion:
        metrics = {name: _figure(name, value) for name, value in champion.get("metrics", {}).items()}
        columns[f"champion so far: {champion['name']}, version {champion['version']}"] = metrics
    order = list(FIGURES)
    names = sorted({name for column in columns.values() for name in column},
                   key=lambda name: (order.index(name) if name in order else len(order), name))  # fmt: skip
    return [
        {"figure": called(name)} | {title: column.get(name, Cell("–")) for title, column in columns.items()} for name in names
    ] or None


def called(name: str) -> str:
    """A figure in words."""
    return FIGURES.get(name) or name.replace("_", " ").replace("onnx", "ONNX").replace("cpu", "CPU")


def _figure(name: str, value: object, interval: Iterable | None = None) -> Cell:
    return cell(value, SHARE if name in SHARES else "", interval)


def _of_each(models: list[Side], name: str, most: int | None = None) -> Rows:
    """The rows of a table of every evaluation that has it, each headed by the model's name, numbers as numbers."""
    tables = {side.name: side.evaluation / name for side in models if (side.evaluation / name).is_file()}
    rows = [
        {"model": model} | {key: float(value or "nan") if key in NUMBERS else value for key, value in row.items()}
        for model, file in tables.items()
        for row in list(csv.DictReader(io.StringIO(file.read_text(encoding="utf-8"), newline="")))[:most]
    ]
    return rows if tables else None


def slices(models: list[Side], *, vague: bool = False) -> Rows:
    """Slices that are worse than the rest, the worst of each model first; or those of which too little is known, the smallest first."""
    rows = _of_each(models, "slices.csv", None if vague else WORST)
    if rows and not vague:
        rows = [row for row in rows if row["difference"] < 0]
    elif rows:
        rows = sorted((row for row in rows if row["high"] - row["low"] > VAGUE), key=lambda row: row["samples"])
    return rows and [
        {
            "model": row["model"], "slice": f"{row['column']}: {row['value']}", "samples": cell(row["samples"], COUNT),
            "accuracy": cell(row["accuracy"], SHARE, (row["low"], row["high"])),
            "against the rest": cell(row["difference"], "{:+z.2%}"),
            "p, corrected": cell(row["p"], "{:.2g}" if row["p"] >= LITTLE else f"below {LITTLE}"),
        }
        for row in rows
    ]  # fmt: skip


def pairs(models: list[Side]) -> Rows:
    """The classes that each model confuses most."""
    rows = _of_each(models, "pairs.csv", WORST)
    return rows and [
        {"model": row["model"], "is": row["true"], "was taken for": row["predicted"], "times": cell(row["count"], COUNT)}
        for row in rows
    ]


def damages(models: list[Side]) -> Rows:
    """Accuracy at each strength, what hurts most first."""
    found = [(side.name, name, one) for side in models for name, one in side.damage.get("damages", {}).items()]
    return [
        {
            "damage": name, "model": model, **{str(at): cell(share, SHARE) for at, share in enumerate(one["accuracy"], 1)},
            "worst class at 5": cell(one["worst_class_recall"][-1], SHARE), "trained on": "yes" if one["trained_on"] else "no",
        }
        for model, name, one in sorted(found, key=lambda each: sum(each[2]["accuracy"]))
    ] or None  # fmt: skip


def explanations(models: list[Side]) -> Rows:
    """The checks of each method."""
    found = [(side.name, *one) for side in models for one in (read(side.evaluation / "explanations.json") or {}).items()]
    return [
        {"model": model, "method": called(method)}
        | {called(name): ("yes" if value else "no") if isinstance(value, bool) else cell(value) for name, value in one.items()}
        for model, method, one in found
    ] or None  # fmt: skip


def findings(found: Rows, models: list[Side]) -> Rows:
    """What validate found, and how often each model is wrong on the test samples that it concerns."""
    return found and [
        {"finding": finding["code"], "severity": finding["severity"], "what": finding["message"]}
        | {f"{side.name} wrong": _wrong(side.samples, finding) for side in models if side.samples is not None}
        for finding in found
    ]  # fmt: skip


def _wrong(samples: pd.DataFrame, finding: dict) -> Cell:
    some = samples[samples.index.isin({item["id"] for item in finding["items"]})]
    if some.empty:
        return Cell("–", None, "none in the test split")
    wrong = some["label"] != some["predicted"]
    return cell(float(wrong.mean()), "{:.0%}")._replace(note=f"{wrong.sum():,} of {len(some):,} in the test split")


def suspects(found: Rows, models: list[Side]) -> Rows:
    """Test samples whose label validate doubts and a model contradicts; those that a model is surest of first."""
    asked = {side.name: side.samples for side in models if side.samples is not None}
    if found is None or not asked:
        return None
    rows = []
    for item in (item for finding in found for item in finding["items"] if item.get("suggested")):
        answers = {name: samples.loc[item["id"]] for name, samples in asked.items() if item["id"] in samples.index}
        surest = max((one["confidence"] for one in answers.values() if one["label"] != one["predicted"]), default=None)
        said = {f"{name} says": f"{one['predicted']} ({one['confidence']:.0%})" for name, one in answers.items()}
        if surest is not None:
            row = {"sample": item["source"], "label": item["label"], "validate suggests": item["suggested"]}
            rows.append((surest, row | said))
    return [row for _, row in sorted(rows, key=lambda each: -each[0])[:SUSPECTS]]


def classes(models: list[Side]) -> Rows:
    """How much each class was trained on, and how well it is known; the worst first."""
    splits = next((split["splits"] for side in models if (split := read(side.evaluation / "split.json"))), {})
    trained, rows = splits.get("train", {}).get("classes", {}), {}
    for row in _of_each(models, "classes.csv") or []:
        known = {"class": row["class"], "in training": cell(trained.get(row["class"])), "in test": cell(row["samples"], COUNT)}
        rows.setdefault(row["class"], known)[f"recall, {row['model']}"] = cell(row["recall"], SHARE)
    return (
        sorted(rows.values(), key=lambda row: min(value.number or 0 for name, value in row.items() if "recall, " in name))
        or None
    )


def made(models: list[Side]) -> Rows:
    """Code, data, and what the training took."""
    facts = ("name", "training_id", "data_digest", "training_samples", "parameters", "steps", "training_seconds")
    return _beside(
        {side.name: side.record.get("tags", {}) | {name: side.record.get(name) for name in facts} for side in models}
    )


def knobs(models: list[Side]) -> Rows:
    """Every knob by its dotted name, those first in which the models differ."""
    nested = {side.name: pd.json_normalize(side.record.get("knobs", {})).astype(object) for side in models}
    rows = _beside({name: table.to_dict("records")[0] for name, table in nested.items()})
    return rows and sorted(rows, key=lambda row: len({*list(row.values())[1:]}) < min(2, len(models)))


def _beside(columns: dict[str, dict]) -> Rows:
    names = dict.fromkeys(name for column in columns.values() for name in column)
    return [{"what": name} | {model: str(column.get(name, "–")) for model, column in columns.items()} for name in names] or None
