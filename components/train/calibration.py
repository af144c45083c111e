"""How sure the network may be: one number, fitted on validation data, by which its outputs are divided."""

import numpy as np

_CANDIDATES = 1.02 ** np.arange(-80, 81)  # a fifth to five times
_FOLDS = 5


def fit(logits: np.ndarray, labels: np.ndarray) -> tuple[float, bool]:
    """The temperature: the divisor of least log loss (Guo et al., "On Calibration of Modern Neural Networks", 2017); 1.0 changes nothing.

    `logits` (sides, n, classes): of the picture, and of its mirror image where there is one; `labels` (n,). Returns also whether
    the mean of both sides has the lower loss than the first side alone, each at its own temperature. It is 1.0 unless a divisor
    that is fitted without a fifth of the samples lowers the loss of that fifth, on the whole of them (cross-validation).
    """
    fold = _folds(labels)
    loss = np.array([
        [np.bincount(fold, losses(logits[:sides] / divisor, labels), minlength=_FOLDS) for divisor in _CANDIDATES]
        for sides in range(1, 1 + len(logits))
    ])  # fmt: skip
    sides, best = np.unravel_index(loss.sum(-1).argmin(), loss.shape[:2])
    of_folds = loss[sides]  # (candidates, folds)
    chosen = (of_folds.sum(-1, keepdims=True) - of_folds).argmin(0)  # without each fold
    held_out, unchanged = of_folds[chosen, range(_FOLDS)].sum(), of_folds[len(_CANDIDATES) // 2].sum()
    return (float(_CANDIDATES[best]) if held_out < unchanged else 1.0), bool(sides)


def _folds(labels: np.ndarray) -> np.ndarray:
    """int (n,): the fold of each sample, by chance, each class spread evenly over all."""
    fold = np.empty(len(labels), int)
    fold[np.lexsort((np.random.default_rng(0).random(len(labels)), labels))] = np.arange(len(labels)) % _FOLDS
    return fold


def losses(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """(n,): surprise of the averaged probabilities at the true labels."""
    return -np.log(np.maximum(averaged(logits)[np.arange(len(labels)), labels], 1e-12))


def averaged(logits: np.ndarray) -> np.ndarray:
    """(sides, n, classes) -> (n, classes): the mean of the probabilities of all sides."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return (powers / powers.sum(axis=-1, keepdims=True)).mean(axis=0)
