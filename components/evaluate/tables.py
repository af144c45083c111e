"""The figures of an evaluation as tables, for DVC's plots and for whoever wants to go on from them."""

import numpy as np
from sklearn import metrics

POINTS = 200  # of a curve at most; enough to draw it


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
    """ROC and precision-recall, one class against the rest, and the area under each ROC curve.

    A class that is not in the labels, or is all there is, has no curve.
    """
    tables: dict[str, list[dict]] = {"roc": [], "pr": []}
    areas = {}
    for index, name in enumerate(classes):
        truth = labels == index
        if truth.all() or not truth.any():
            continue
        false, true, _ = metrics.roc_curve(truth, probabilities[:, index])
        areas[name] = float(metrics.auc(false, true))
        precision, recall, _ = metrics.precision_recall_curve(truth, probabilities[:, index])
        for key, (x, y), columns in (
            ("roc", (false, true), ("false_positive_rate", "true_positive_rate")),
            ("pr", (recall, precision), ("recall", "precision")),
        ):
            for at in np.unique(np.linspace(0, len(x) - 1, min(len(x), POINTS)).round().astype(int)):
                tables[key].append({"class": name, columns[0]: float(x[at]), columns[1]: float(y[at])})
    return tables, areas


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
