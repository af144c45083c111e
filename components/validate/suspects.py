"""Labels that look wrong to a simple model that was fitted without them: linear discriminants, out of fold, then confident learning."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

from components.validate.discriminants import FOLDS, Sums

_CELLS = 1 << 22  # samples x classes that are held at once
_WORK = 2e9  # and that are computed at all: of more, a share of the samples is judged


@dataclass(frozen=True)
class Opinion:
    """The judgement of the model on each sample.

    `trust`: probability of its own label; `best`: the most probable class; `accuracy`: share of labels it agrees with, the
    mean over classes; `guess`: the highest accuracy that naming classes blindly reaches, but for one time in a thousand;
    `suspect`: whether confident learning counts the label as an error; `judged`: how many samples were, in all; `trust` of the
    others is NaN.
    """

    trust: np.ndarray
    best: np.ndarray
    accuracy: float
    guess: float
    suspect: np.ndarray
    judged: int

    @property
    def knows(self) -> bool:
        """Whether the model has learnt anything: if not, what it finds odd is noise."""
        return self.accuracy > self.guess


@threadpool_limits.wrap(1, "blas")  # many small products: threads would only wait for each other, and take several times longer
def opinion(
    read: Callable[[], Iterable[np.ndarray]],
    labels: np.ndarray,
    folds: np.ndarray,
    classes: int,
    units: np.ndarray | None = None,
) -> Opinion:
    """Judge every label by a model that was fitted without its fold.

    `read` gives the features, uint8 (rows, d), a part at a time, and is called up to three times; `labels` int (n,), -1 for a
    sample that has none or does not decode; `folds` int (n,), 0 to FOLDS - 1; `units` int (classes,): how many independent
    samples each class has, where groups make them fewer.

    The model is linear discriminant analysis (Fisher, 1936): all it needs are sums, and those of all folds but one are a
    subtraction. Levels are whole numbers, so the sums are exact. A label is a suspect when another class is more probable
    than that class is on average for its own samples, and its own is not (Northcutt et al., "Confident Learning", 2021).
    Memory grows with samples and with classes, not with their product; so does time from _WORK cells on, where the model is
    fitted on all samples and judges the same share of every class, drawn at random (seeded).
    """
    judged = _judged(labels, classes)
    known = np.zeros(len(labels), bool)
    known[judged] = labels[judged] >= 0
    sums = Sums.over(read(), labels, folds, classes)
    models = _Models(read, folds, [sums.without(fold).discriminants() for fold in range(FOLDS)])
    temperature = _temperature(models, np.flatnonzero(known), labels)
    own, top = np.full(len(labels), np.nan, np.float32), np.zeros(len(labels), np.float32)
    best = np.zeros(len(labels), np.int32)
    for rows, scores in models.scores(judged):
        best[rows] = scores.argmax(axis=1)
        probability = _softmax(scores / temperature)
        number = np.arange(len(rows))
        own[rows] = np.where(known[rows], probability[number, labels[rows]], 0)
        top[rows] = probability[number, best[rows]]
    sizes = np.bincount(labels[known], minlength=classes)
    with np.errstate(invalid="ignore", divide="ignore"):
        usual = np.bincount(labels[known], own[known], minlength=classes) / sizes
        recalls = np.bincount(labels[known], best[known] == labels[known], minlength=classes) / sizes
    usual = np.where(sizes > 0, usual, np.inf).astype(np.float32)
    # The most probable class, where it is as probable as usual; of the others the most probable one that is.
    suspect = known & (top >= usual[best]) & (best != labels)
    for rows, scores in models.scores(np.flatnonzero(known & (top < usual[best]))):
        probability = _softmax(scores / temperature)
        probability[probability < usual] = -1
        named = probability.argmax(axis=1)
        suspect[rows] = (probability[np.arange(len(rows)), named] >= 0) & (named != labels[rows])
    there = sizes > 0
    accuracy = float(recalls[there].mean()) if there.any() else 0.0
    named = np.bincount(best[known], minlength=classes) / max(known.sum(), 1)
    guess = blind(named[there], (sizes if units is None else np.minimum(sizes, units))[there])
    return Opinion(own, best, accuracy, guess, suspect, len(judged))


def blind(named: np.ndarray, units: np.ndarray) -> float:
    """The mean recall that a model which knows nothing stays below, 999 times of 1,000.

    `named`: the share of samples that it gives to each class; `units`: independent samples of each class; (classes,) both. Of a
    class of n it is right about the share q that it gives to it anyway, give or take sqrt(q (1 - q) / n). Folds learn from each
    other, and each pair of them counts twice: double the variance.
    """
    variance = 2 * (named * (1 - named) / units).sum() / max(len(units), 1) ** 2
    return float(1 / max(len(units), 1) + 3.09 * np.sqrt(variance))


def _judged(labels: np.ndarray, classes: int) -> np.ndarray:
    """The rows that are judged, ascending: all, or of each class the share that _WORK allows."""
    share = _WORK / max(len(labels) * classes, 1)
    if share >= 1:
        return np.arange(len(labels), dtype=np.int32)
    order = np.lexsort([np.random.default_rng(0).random(len(labels), np.float32), labels])
    sizes = np.unique(labels, return_counts=True)[1]
    rank = np.arange(len(order)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    return np.sort(order[rank < np.ceil(share * np.repeat(sizes, sizes))])


@dataclass(frozen=True)
class _Models:
    """Weights (d, classes) and bias (classes,) for each fold, fitted on the others, and the features that they judge."""

    read: Callable[[], Iterable[np.ndarray]]
    folds: np.ndarray
    fitted: list[tuple[np.ndarray, np.ndarray]]

    @property
    def classes(self) -> int:
        return len(self.fitted[0][1])

    def scores(self, rows: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Some of these rows (ascending) and their discriminants, float32 (m, classes), by the model of the other folds; until all are."""
        at_once = max(1, _CELLS // max(self.fitted[0][0].shape))
        start = 0
        for features in self.read() if len(rows) else ():
            here = rows[np.searchsorted(rows, start) : np.searchsorted(rows, start + len(features))]
            for first in range(0, len(here), at_once):
                part = here[first : first + at_once]
                scores = np.empty((len(part), self.classes), np.float32)
                for fold, (weights, bias) in enumerate(self.fitted):
                    mine = self.folds[part] == fold
                    scores[mine] = features[part[mine] - start].astype(np.float64) @ weights + bias
                yield part, scores
            start += len(features)


def _temperature(models: _Models, known: np.ndarray, labels: np.ndarray) -> float:
    """What makes out-of-fold scores honest probabilities: the one of least log loss (Guo et al., 2017), within a factor of 1.25.

    Discriminants are overconfident: they count correlated features as if each were independent evidence.
    """
    candidates = 1.25 ** np.arange(0, 21)
    losses = np.zeros(len(candidates))
    for rows, scores in models.scores(known[:: max(1, len(known) // _fitted(models.classes))]):
        for index, temperature in enumerate(candidates):
            right = _softmax(scores / temperature)[np.arange(len(rows)), labels[rows]]
            losses[index] -= np.log(np.maximum(right, 1e-12)).sum(dtype=np.float64)
    return float(candidates[int(np.argmin(losses))])


def _fitted(classes: int) -> int:
    """How many samples are enough to fit one number on."""
    return min(20_000, max(1, 2 * _CELLS // classes))


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)
