"""Labels that look wrong to a cheap model that never saw them: linear discriminants, out of fold, then confident learning."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from threadpoolctl import threadpool_limits

FOLDS = 5
_SHRINKAGE = 0.01  # of the covariance towards a sphere: few samples do not fill its dimensions


@dataclass(frozen=True)
class Opinion:
    """What the model says of each sample.

    `trust`: probability of its own label; `best`: the most probable class; `accuracy`: share of labels it agrees with, the
    mean over classes; `suspect`: whether confident learning counts the label as an error.
    """

    trust: np.ndarray
    best: np.ndarray
    accuracy: float
    suspect: np.ndarray


def opinion(read: Callable[[], Iterable[np.ndarray]], labels: np.ndarray, folds: np.ndarray, classes: int) -> Opinion:
    """Judge every label by a model that was fitted without its fold.

    `read` gives the features, uint8 (rows, d), a part at a time, and is called twice; `labels` int (n,), -1 for a sample
    that has none or does not decode; `folds` int (n,), 0 to FOLDS - 1.

    The model is linear discriminant analysis (Fisher, 1936): all it needs are sums, and those of all folds but one are a
    subtraction. Levels are whole numbers, so the sums are exact. A label is a suspect when another class is more probable
    than that class is on average for its own samples, and its own is not (Northcutt et al., "Confident Learning", 2021).
    """
    known = labels >= 0
    # Many small products: threads of their own would only wait for each other, several times longer on a busy machine.
    with threadpool_limits(1, "blas"):
        scores = _scores(read, labels, folds, classes)
    probability = _softmax(scores / _temperature(scores[known], labels[known]))
    own = np.zeros(len(labels), np.float32)
    own[known] = probability[known, labels[known]]
    best = scores.argmax(axis=1)
    there = [known & (labels == label) for label in range(classes)]
    usual = np.array([own[mask].mean() if mask.any() else np.inf for mask in there])
    confident = np.where(probability >= usual, probability, -1)
    named = confident.argmax(axis=1)
    suspect = known & (confident.max(axis=1) >= 0) & (named != labels)
    recalls = [float((best[mask] == label).mean()) for label, mask in enumerate(there) if mask.any()]
    return Opinion(own, best, float(np.mean(recalls)) if recalls else 0.0, suspect)


def _scores(read: Callable[[], Iterable[np.ndarray]], labels: np.ndarray, folds: np.ndarray, classes: int) -> np.ndarray:
    """float32 (n, classes): discriminants of every sample by the model of the other folds."""
    sums = _Sums.over(_parts(read(), labels, folds), classes)
    scores = np.zeros((len(labels), classes), np.float32)
    models = [sums.without(fold).discriminants() for fold in range(FOLDS)]
    start = 0
    for features in read():
        here = slice(start, start + len(features))
        for fold, (weights, bias) in enumerate(models):
            mine = folds[here] == fold
            scores[here][mine] = features[mine].astype(np.float64) @ weights + bias
        start += len(features)
    return scores


def _temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """What makes out-of-fold scores honest probabilities: the one of least log loss (Guo et al., 2017), within a factor of 1.25.

    Discriminants are far too sure of themselves: features that belong together are counted as if each spoke for itself.
    """
    step = max(1, len(labels) // 20_000)
    scores, labels = scores[::step], labels[::step]
    candidates = 1.25 ** np.arange(0, 21)
    losses = []
    for temperature in candidates:
        right = _softmax(scores / temperature)[np.arange(len(labels)), labels]
        losses.append(-np.log(np.maximum(right, 1e-12)).mean())
    return float(candidates[int(np.argmin(losses))])


def _softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@dataclass
class _Sums:
    """Per fold: samples of each class, their features added up, and the features' products."""

    counts: np.ndarray  # (folds, classes)
    totals: np.ndarray  # (folds, classes, d)
    products: np.ndarray  # (folds, d, d)

    @classmethod
    def over(cls, parts: Iterator[tuple[np.ndarray, np.ndarray, int]], classes: int) -> "_Sums":
        sums = None
        for features, labels, fold in parts:
            if sums is None:
                d = features.shape[1]
                sums = cls(np.zeros((FOLDS, classes)), np.zeros((FOLDS, classes, d)), np.zeros((FOLDS, d, d)))
            sums.counts[fold] += np.bincount(labels, minlength=classes)
            wide = features.astype(np.float64)
            members = (labels == np.arange(classes)[:, None]).astype(np.float64)
            sums.totals[fold] += members @ wide
            sums.products[fold] += wide.T @ wide
        return sums

    def without(self, fold: int) -> "_Sums":
        return _Sums(*(whole.sum(axis=0) - whole[fold] for whole in (self.counts, self.totals, self.products)))

    def discriminants(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights (d, classes) and bias (classes,); a class without samples is never named."""
        samples = max(self.counts.sum(), 1)
        means = self.totals / np.maximum(self.counts, 1)[:, None]
        within = (self.products - (means * self.counts[:, None]).T @ means) / samples
        d = len(within)
        within += np.eye(d) * (_SHRINKAGE * np.trace(within) / d + 1e-3)
        weights = np.linalg.solve(within, means.T)
        with np.errstate(divide="ignore"):
            prior = np.log(self.counts / samples)
        return weights, np.maximum(prior, -1e9) - 0.5 * (means.T * weights).sum(axis=0)


def _parts(read: Iterable[np.ndarray], labels: np.ndarray, folds: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray, int]]:
    start = 0
    for features in read:
        here = slice(start, start + len(features))
        for fold in range(FOLDS):
            mine = (folds[here] == fold) & (labels[here] >= 0)
            yield features[mine], labels[here][mine], fold
        start += len(features)
