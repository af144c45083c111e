"""The figures of an evaluation as tables, for DVC's plots and for whoever wants to go on from them."""

from collections.abc import Iterable, Iterator

import numpy as np
from sklearn import metrics

POINTS = 200  # of a curve at most; enough to draw it
CURVES = 50  # classes that have curves: of more, those with the smallest area
POOLED = 2**23  # probabilities that are pooled one by one; more of them by their first bits
AVERAGE = "(micro-average)"  # every class against the rest, pooled: the one curve of a whole model


def per_class(labels: np.ndarray, predicted: np.ndarray, classes: list[str], areas: dict[str, float]) -> list[dict]:
    """Precision, recall, F1, samples and area under the ROC curve, a row per class."""
    found = metrics.precision_recall_fscore_support(labels, predicted, labels=range(len(classes)), zero_division=0)
    columns = zip(classes, *(column.tolist() for column in found), map(areas.get, classes), strict=True)
    return [dict(zip(("class", "precision", "recall", "f1", "samples", "roc_auc"), row, strict=True)) for row in columns]


def curves(labels: np.ndarray, probabilities: np.ndarray, classes: list[str]) -> tuple[dict[str, list[dict]], dict[str, float]]:
    """ROC and precision-recall, one class against the rest and all of them pooled, and the area under each ROC curve.

    A class that is not in the labels, or is all there is, has no curve. Of many classes the weakest CURVES have one.
    """
    tables: dict[str, list[dict]] = {"roc": [], "pr": []}
    counts = np.bincount(labels, minlength=len(classes))
    drawn = np.flatnonzero((counts > 0) & (counts < len(labels)))
    areas = {}
    if len(drawn) > CURVES:
        values = {int(index): area for index, area in _areas(labels, probabilities, drawn)}
        areas = {classes[index]: values[index] for index in drawn}
        drawn = np.sort(sorted(drawn, key=values.__getitem__)[:CURVES])
    for index in drawn:
        false, true = _add(tables, classes[index], labels == index, probabilities[:, index])
        areas.setdefault(classes[index], float(metrics.auc(false, true)))
    if len(classes) > 1 and len(labels):
        _add(tables, AVERAGE, *_pooled(labels, probabilities))
    return tables, areas


def _add(
    tables: dict[str, list[dict]], name: str, truth: np.ndarray, confidence: np.ndarray, weight: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    false, true, thresholds = metrics.roc_curve(truth, confidence, sample_weight=weight)
    precision, recall, _ = metrics.precision_recall_curve(truth, confidence, sample_weight=weight)
    for at in _spread(len(false)):
        # The first threshold is "above all": 1 says as much, and is a number that JSON has.
        row = {"false_positive_rate": false[at], "true_positive_rate": true[at], "threshold": min(thresholds[at], 1)}
        tables["roc"].append({"class": name} | {column: float(value) for column, value in row.items()})
    for at in _spread(len(recall)):
        tables["pr"].append({"class": name, "recall": float(recall[at]), "precision": float(precision[at])})
    return false, true


def _areas(labels: np.ndarray, probabilities: np.ndarray, wanted: np.ndarray) -> Iterator[tuple[int, float]]:
    """The area under the ROC curve of each class: how often a sample of it gets more than one of another class, ties half.

    Mann and Whitney (1947). Some classes at a time: a copy of them all would be as large again.
    """
    for start in range(0, len(wanted), 64):
        some = wanted[start : start + 64]
        for index, column in zip(some, np.ascontiguousarray(probabilities[:, some].T), strict=True):
            own = column[labels == index]
            column.sort()
            # Of all samples below and not above: where own ones meet each other, it is half in all.
            ranks = np.searchsorted(column, own, "left") + np.searchsorted(column, own, "right")
            others = len(column) - len(own)
            yield int(index), float((ranks.sum() / 2 - len(own) ** 2 / 2) / (len(own) * others))


def _pooled(labels: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Truth and probability of every class of every sample; where these are too many, counted by the first 12 bits of each."""
    if probabilities.size <= POOLED:
        return (labels[:, None] == np.arange(probabilities.shape[1])).ravel(), probabilities.ravel(), None
    size = _first_bits(np.ones(1))[0] + 1
    every = np.zeros(size, np.int64)
    batch = max(1, POOLED // probabilities.shape[1])
    for start in range(0, len(labels), batch):
        every += np.bincount(_first_bits(probabilities[start : start + batch]), minlength=size)
    true = np.bincount(_first_bits(probabilities[np.arange(len(labels)), labels]), minlength=size)
    filled = [np.flatnonzero(counts) for counts in (every - true, true)]
    values = (np.concatenate(filled).astype(np.uint32) << 11).view(np.float32)
    return (
        np.repeat([False, True], [len(part) for part in filled]),
        values,
        np.concatenate([(every - true)[filled[0]], true[filled[1]]]),
    )


def _first_bits(values: np.ndarray) -> np.ndarray:
    """8 bits of exponent and 12 of mantissa: whole numbers in the order of the values, from 0 to 1."""
    return np.minimum(values, 1).astype(np.float32).view(np.uint32).ravel() >> 11


def _spread(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(count, POINTS)).round().astype(int))


def predictions(sources: Iterable[str], labels: np.ndarray, probabilities: np.ndarray, classes: list[str]) -> Iterator[dict]:
    """A row per test sample: where it comes from, what it is, what it was taken for and how surely."""
    for source, label, row in zip(sources, labels, probabilities, strict=True):
        guess = int(row.argmax())
        yield {
            "source": source,
            "label": classes[label],
            "predicted": classes[guess],
            "confidence": round(float(row[guess]), 6),
        }
