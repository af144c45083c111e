"""What a step wrote -> what Kubeflow's UI shows of it: figures, the confusion matrix, ROC, a page with pictures."""

import csv
import html
import json
import re
import shutil
from collections import Counter
from pathlib import Path

from kfp.dsl import HTML, Artifact, ClassificationMetrics, Markdown, Metrics

SHOWN_CLASSES = 60  # rows of the confusion matrix; the table of classes has ten times as many


def show_validation(folder: Path, report: HTML, findings: Markdown) -> str:
    """Show the findings, also of data that was refused: then they matter most. Returns the first error, and what mends it."""
    found = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
    rows = [{"finding": f"{f['code']} ({f['severity']})", "what": f["message"], "what to do": f["fix"]} for f in found]
    rows = rows or [{"finding": "none", "what": "the data passes", "what to do": ""}]
    _write(report, (folder / "report.html").read_text(encoding="utf-8"))
    lines = ["| " + " | ".join(_cell(value) for value in row.values()) + " |" for row in rows]
    _write(findings, "\n".join(["| finding | what | what to do |", "|---|---|---|", *lines]))
    errors = [f"{f['code']}: {f['message']}; {f['fix']}" for f in found if f["severity"] == "error"]
    more = f" (and {len(errors) - 1} more errors, in the artifact findings)" if len(errors) > 1 else ""
    return " ".join(errors[0].split())[:1000] + more if errors else ""


def show_evaluation(folder: Path, metrics: Metrics, curves: ClassificationMetrics, report: HTML) -> None:
    """Copy an evaluation's figures into Kubeflow's own artifacts, and its pictures into a page."""
    from components.shared.page import render

    figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    for name, value in figures.items():
        metrics.log_metric(name, value)
    counts = Counter((row["true"], row["predicted"]) for row in _rows(folder / "confusion.csv"))
    classes = _most_confused(counts)
    curves.log_confusion_matrix(classes, [[counts[true, predicted] for predicted in classes] for true in classes])
    points = [row for row in _rows(folder / "roc.csv") if row["class"] == "(micro-average)"]
    columns = ("false_positive_rate", "true_positive_rate", "threshold")
    curves.log_roc_curve(*([float(row[column]) for row in points] for column in columns))
    classes = [{name: _short(value) for name, value in row.items()} for row in _rows(folder / "classes.csv")]
    tables = {"Metrics": [{"metric": name, "value": f"{value:.4g}"} for name, value in figures.items()], **_weakest(classes)}
    names = ("confusion", "pairs", "roc", "reliability", "mistakes", "explanations", "time", "features")
    pictures = {name: (folder / f"{name}.png").read_bytes() for name in names if (folder / f"{name}.png").exists()}
    _write(report, render.tables("Evaluation", tables, pictures))
    # An artifact without a file would be lost between steps.
    for artifact in (metrics, curves):
        _write(artifact, json.dumps(artifact.metadata))


def show_stress(folder: Path, damages: HTML) -> None:
    """Show what each damage costs each architecture, and what it looks like."""
    from components.shared.page import render

    tables, pictures = {}, {}
    for file in sorted(folder.glob("*/stress.json")):
        outcome = json.loads(file.read_text(encoding="utf-8"))
        tables[f"{file.parent.name}: mean corruption error {outcome['mean_corruption_error']:.4f}"] = [
            {"damage": name, "trained on": "yes" if each["trained_on"] else "",
             **{f"strength {strength}": f"{value:.4g}" for strength, value in enumerate(each["accuracy"], 1)}}
            for name, each in outcome["damages"].items()
        ]  # fmt: skip
        pictures |= {f"{file.parent.name}-{name}": (file.parent / f"{name}.png").read_bytes() for name in ("curves", "damages")}
    _write(damages, render.tables("Damage", tables, pictures))


def show_registration(registration: Path, verdict: Markdown, page: HTML) -> None:
    """Say which model was registered, and why, by which criteria; the page is what `register` wrote beside it."""
    outcome = json.loads(registration.read_text(encoding="utf-8"))
    head = "**Not registered**"
    if outcome["accepted"]:
        head = f"**{_cell(outcome['model'])}**, version {outcome['version']}, alias {_cell(outcome['alias'])}"
    table = ["| criterion | model | value | limit | verdict |", "|---|---|---|---|---|"]
    for row in outcome["criteria"]:
        value = "" if row["value"] is None else f"{row['value']:.4g}"
        cells = (row["criterion"], row["candidate"], value, f"{row['limit']:g}", row["verdict"])
        table.append(f"| {' | '.join(map(_cell, cells))} |")
    _write(verdict, "\n".join([head, "", *(f"- {_cell(reason)}" for reason in outcome["reasons"]), "", *table]))
    shutil.copy(f"{page.path}.folder/index.html", page.path)


# Step -> what makes of its output what the UI shows, and returns why the output was refused.
SHOW = {"validate": show_validation, "evaluate": show_evaluation, "stress": show_stress, "register": show_registration}


def _most_confused(counts: Counter) -> list[str]:
    """The classes that Kubeflow's table shows: it has a cell per pair, and draws all of them."""
    mistakes = Counter(dict.fromkeys(sorted({name for pair in counts for name in pair}), 0))
    for (true, predicted), count in counts.items():
        if true != predicted:
            mistakes.update({true: count, predicted: count})
    return sorted(name for name, _ in mistakes.most_common(SHOWN_CLASSES))


def _weakest(rows: list[dict]) -> dict[str, list[dict]]:
    if len(rows) <= 10 * SHOWN_CLASSES:
        return {"Classes": rows}
    rows = sorted(rows, key=lambda row: float(row["recall"]))[: 10 * SHOWN_CLASSES]
    return {f"The {len(rows)} classes of the lowest recall": rows}


def _rows(file: Path) -> list[dict]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def _short(text: str) -> str:
    """A number in four digits, so that a table is no wider than its frame; other text as it is."""
    try:
        return f"{float(text):.4g}" if "." in text else text
    except ValueError:
        return text


def _cell(text: str) -> str:
    """Text that stays text in Markdown: neither a tag, nor a link, nor another cell."""
    return re.sub(r"([\\`*\[\]|])", r"\\\1", html.escape(" ".join(text.splitlines())))


def _write(artifact: Artifact, text: str) -> None:
    Path(artifact.path).parent.mkdir(parents=True, exist_ok=True)
    Path(artifact.path).write_text(text, encoding="utf-8")
