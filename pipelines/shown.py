"""What a step wrote -> what Kubeflow's UI shows of it."""

import csv
import json
from collections import Counter
from pathlib import Path

from kfp.dsl import ClassificationMetrics, Metrics


def show(evaluation: str, *, metrics: Metrics, confusion: ClassificationMetrics) -> None:
    """Copy an evaluation's figures and its confusion matrix into Kubeflow's artifacts."""
    folder = Path(evaluation)
    for name, value in json.loads((folder / "metrics.json").read_text(encoding="utf-8")).items():
        metrics.log_metric(name, value)
    with (folder / "confusion.csv").open(encoding="utf-8", newline="") as stream:
        counts = Counter((row["true"], row["predicted"]) for row in csv.DictReader(stream))
    classes = sorted({name for pair in counts for name in pair})
    matrix = [[counts[true, predicted] for predicted in classes] for true in classes]
    confusion.log_confusion_matrix(classes, matrix)
    # An artifact without a file would be lost between steps.
    for artifact in (metrics, confusion):
        Path(artifact.path).parent.mkdir(parents=True, exist_ok=True)
        Path(artifact.path).write_text(json.dumps(artifact.metadata), encoding="utf-8")
