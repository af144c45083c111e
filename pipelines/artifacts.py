"""What a step wrote -> what Kubeflow's UI shows of it: figures, the confusion matrix, ROC, a page with pictures."""

import base64
import contextlib
import csv
import html
import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Markdown, Metrics

SHOWN_CLASSES = 60  # rows of the confusion matrix; the table of classes has ten times as many
STYLE = """:root{color-scheme:light dark}body{font:15px/1.5 system-ui,sans-serif;max-width:64rem;margin:2rem auto;padding:0 1rem}
table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:left;border-bottom:1px solid #8884}img{max-width:100%}"""


@contextlib.contextmanager
def show_validation(validation: Dataset, *, report: HTML, findings: Markdown) -> Iterator[None]:
    """Show the findings, also of data that was refused: then they matter most."""
    try:
        yield
    finally:
        folder = Path(validation.path)
        if (folder / "findings.json").exists():
            found = json.loads((folder / "findings.json").read_text(encoding="utf-8"))
            rows = [{"finding": f"{f['code']} ({f['severity']})", "what": f["message"], "what to do": f["fix"]} for f in found]
            rows = rows or [{"finding": "none", "what": "the data passes", "what to do": ""}]
            _write(report, (folder / "report.html").read_text(encoding="utf-8"))
            lines = ["| " + " | ".join(_cell(value) for value in row.values()) + " |" for row in rows]
            _write(findings, "\n".join(["| finding | what | what to do |", "|---|---|---|", *lines]))


def show_evaluation(evaluation: Dataset, *, metrics: Metrics, curves: ClassificationMetrics, report: HTML) -> None:
    """Copy an evaluation's figures into Kubeflow's own artifacts, and its pictures into a page."""
    folder = Path(evaluation.path)
    figures = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    for name, value in figures.items():
        metrics.log_metric(name, value)
    counts = Counter((row["true"], row["predicted"]) for row in _rows(folder / "confusion.csv"))
    classes = _most_confused(counts)
    curves.log_confusion_matrix(classes, [[counts[true, predicted] for predicted in classes] for true in classes])
    points = [row for row in _rows(folder / "roc.csv") if row["class"] == "(micro-average)"]
    columns = ("false_positive_rate", "true_positive_rate", "threshold")
    curves.log_roc_curve(*([float(row[column]) for row in points] for column in columns))
    tables = {"Metrics": [{"metric": name, "value": f"{value:.4g}"} for name, value in figures.items()],
              **_weakest(_rows(folder / "classes.csv"))}  # fmt: skip
    pictures = ("confusion", "roc", "reliability", "mistakes", "explanations")
    _write(report, page("Evaluation", tables, [folder / f"{name}.png" for name in pictures]))
    # An artifact without a file would be lost between steps.
    for artifact in (metrics, curves):
        _write(artifact, json.dumps(artifact.metadata))


def show_registration(registration: Dataset, *, verdict: Markdown) -> None:
    """Say which model was registered, and why."""
    said = json.loads(Path(registration.path).read_text(encoding="utf-8"))
    head = (
        f"**{said['model']}**, version {said['version']}, alias `{said['alias']}`" if said["accepted"] else "**Not registered**"
    )
    _write(verdict, "\n".join([head, "", *(f"- {reason}" for reason in said["reasons"])]))


def page(title: str, tables: dict[str, list[dict]], pictures: list[Path]) -> str:
    """One HTML page that needs no network: whatever names come in are escaped, pictures are in it."""
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for name, rows in tables.items():
        heads = "".join(f"<th>{html.escape(head)}" for head in rows[0])
        lines = ("<tr>" + "".join(f"<td>{html.escape(str(value))}" for value in row.values()) for row in rows)
        parts.append(f"<h2>{html.escape(name)}</h2><table><tr>{heads}{''.join(lines)}</table>")
    for picture in filter(Path.exists, pictures):
        content = base64.b64encode(picture.read_bytes()).decode()
        parts.append(f'<h2>{html.escape(picture.stem)}</h2><img alt="{html.escape(picture.stem)}" '
                     f'src="data:image/png;base64,{content}">')  # fmt: skip
    body = "\n".join(parts)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title><style>{STYLE}</style>{body}'
    )


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


def _cell(text: str) -> str:
    return html.escape(text).replace("|", "\\|").replace("\n", " ")


def _write(artifact: Artifact, text: str) -> None:
    Path(artifact.path).parent.mkdir(parents=True, exist_ok=True)
    Path(artifact.path).write_text(text, encoding="utf-8")
