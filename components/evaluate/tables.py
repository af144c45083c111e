"""The figures of an evaluation as tables, for DVC's plots and for whoever wants to go on from them."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pyarrow as pa
from sklearn import metrics

POINTS = 200  # of a curve at most; enough to draw it
CURVES = 50  # classes that have curves: of more, those with the smallest area
POOLED = 2**23  # probabilities that are pooled; where there are more, of every second sample, or third ...
AVERAGE = "(micro-average)"  # every class against the rest, pooled: the one curve of a whole model


def per_class(labels: np.ndarray, predicted: np.ndarray, classes: list[str], areas: dict[str, float]) -> list[dict]:
    """Precision, recall, F1, samples and area under the ROC curve, a row per class."""
    found = metrics.precision_recall_fscore_support(labels, predicted, labels=range(len(classes)), zero_division=0)
    columns = zip(classes, *(column.tolist() for column in found), map(areas.get, classes), strict=True)
    return [dict(zip(("class", "precision", "recall", "f1", "samples", "roc_auc"), row, strict=True)) for row in columns]


def curves(
    labels: np.ndarray, probabilities: np.ndarray, classes: list[str]
) -> tuple[dict[str, list[dict]], dict[str, float], dict[str, float]]:
    """ROC and precision-recall, one class against the rest and all of them pooled; the area under each ROC curve; average precision.

    A class that is not in the labels, or is all there is, has no curve. Of many classes the weakest CURVES have one.
    """
    tables: dict[str, list[dict]] = {"roc": [], "pr": []}
    counts = np.bincount(labels, minlength=len(classes))
    defined = np.flatnonzero((counts > 0) & (counts < len(labels)))
    areas = dict(zip(defined.tolist(), _areas(labels, probabilities, defined), strict=True))
    precisions = {}
    for index in sorted(sorted(areas, key=areas.get)[:CURVES]):
        precisions[classes[index]] = _add(tables, classes[index], labels == index, probabilities[:, index])
    if len(classes) > 1 and len(labels):
        every = -(-probabilities.size // POOLED)
        _add(tables, AVERAGE, (labels[::every, None] == range(len(classes))).ravel(), probabilities[::every].ravel())
    return tables, {classes[index]: area for index, area in areas.items()}, precisions


def _add(tables: dict[str, list[dict]], name: str, truth: np.ndarray, confidence: np.ndarray) -> float:
    """Add the two curves. Returns the average precision."""
    false, true, thresholds = metrics.roc_curve(truth, confidence)
    precision, recall, _ = metrics.precision_recall_curve(truth, confidence)
    for at in _spread(len(false)):
        # The first threshold is "above all": 1 says as much, and is a number that JSON has.
        row = {"false_positive_rate": false[at], "true_positive_rate": true[at], "threshold": min(thresholds[at], 1)}
        tables["roc"].append({"class": name} | {column: float(value) for column, value in row.items()})
    for at in _spread(len(recall)):
        tables["pr"].append({"class": name, "recall": float(recall[at]), "precision": float(precision[at])})
    return float(-np.diff(recall) @ precision[:-1])


def _areas(labels: np.ndarray, probabilities: np.ndarray, wanted: np.ndarray) -> Iterator[float]:
    """The area under the ROC curve of each class, by the ranks of its samples among all (Mann and Whitney, 1947)."""
    for start in range(0, len(wanted), 16):  # some classes at a time: the ranks of them all would not fit into memory
        some = wanted[start : start + 16]
        own = labels[:, None] == some
        count, ranks = own.sum(axis=0), pd.DataFrame(probabilities[:, some]).rank().to_numpy()
        yield from (((ranks * own).sum(axis=0) - count * (count + 1) / 2) / (count * (len(labels) - count))).tolist()


def _spread(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int))


def samples(rows: pa.Table, labels: np.ndarray, probabilities: np.ndarray, classes: list[str]) -> pa.Table:
    """A row per test sample, in order: which it is, what it was taken for and how surely, and the probability of its true class."""
    names, predicted, at = np.array(classes, object), probabilities.argmax(1), np.arange(len(labels))
    columns = {
        "id": rows["id"], "source": rows["source"], "label": pa.array(names[labels], pa.string()),
        "predicted": pa.array(names[predicted], pa.string()), "confidence": pa.array(probabilities[at, predicted], pa.float32()),
        "true_probability": pa.array(probabilities[at, labels], pa.float32()), "group": rows["group"],
    }  # fmt: skip
    return pa.table(columns)


def confused(labels: np.ndarray, predicted: np.ndarray) -> list[tuple[int, int, int]]:
    """(true class, class that it was taken for, how often), most often first."""
    mistakes = Counter((a, b) for a, b in zip(labels.tolist(), predicted.tolist(), strict=True) if a != b)
    return [(*pair, count) for pair, count in sorted(mistakes.items(), key=lambda item: (-item[1], item[0]))]
