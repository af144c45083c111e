"""The figures of an evaluation as tables, for DVC's plots and for whoever wants to go on from them."""

import numpy as np
from sklearn import metrics

POINTS = 200  # of a curve at most; enough to draw it
AVERAGE = "(micro-average)"  # every class against the rest, pooled: the one curve of a whole model


def per_class(labels: np.ndarray, predicted: np.ndarray, classes: list[str], areas: dict[str, float]) -> list[dict]:
    """Precision, recall, F1, samples and area under the ROC curve, a row per class."""
    found = metrics.precision_recall_fscore_support(labels, predicted, labels=range(len(classes)), zero_division=0)
    return [
        {
            "class": name,
            "precision": float(p),
            "recall": float(r),
            "f1": float(f),
            "samples": int(n),
            "roc_auc": areas.get(name),
        }
        for name, p, r, f, n in zip(classes, *found, strict=True)
    ]


def curves(labels: np.ndarray, probabilities: np.ndarray, classes: list[str]) -> tuple[dict[str, list[dict]], dict[str, float]]:
    """ROC and precision-recall, one class against the rest and all of them pooled, and the area under each ROC curve.

    A class that is not in the labels, or is all there is, has no curve.
    """
    tables: dict[str, list[dict]] = {"roc": [], "pr": []}
    areas = {}
    truths = labels[:, None] == np.arange(len(classes))
    pooled = [(AVERAGE, truths.ravel(), probabilities.ravel())]
    for name, truth, confidence in [*zip(classes, truths.T, probabilities.T, strict=True), *pooled]:
        if truth.all() or not truth.any():
            continue
        false, true, thresholds = metrics.roc_curve(truth, confidence)
        if name != AVERAGE:
            areas[name] = float(metrics.auc(false, true))
        precision, recall, _ = metrics.precision_recall_curve(truth, confidence)
        for at in _spread(len(false)):
            # The first threshold is "above all": 1 says as much, and is a number that JSON has.
            row = {"false_positive_rate": false[at], "true_positive_rate": true[at], "threshold": min(thresholds[at], 1)}
            tables["roc"].append({"class": name} | {column: float(value) for column, value in row.items()})
        for at in _spread(len(recall)):
            tables["pr"].append({"class": name, "recall": float(recall[at]), "precision": float(precision[at])})
    return tables, areas


def _spread(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int))


def predictions(samples: list[dict], labels: np.ndarray, probabilities: np.ndarray, classes: list[str]) -> list[dict]:
    """A row per test sample: where it comes from, what it is, what it was taken for and how surely."""
    predicted = probabilities.argmax(1)
    return [
        {
            "source": sample["source"],
            "label": classes[label],
            "predicted": classes[guess],
            "confidence": round(float(row[guess]), 6),
        }
        for sample, label, guess, row in zip(samples, labels, predicted, probabilities, strict=True)
    ]
