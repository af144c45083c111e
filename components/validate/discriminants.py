"""Linear discriminants (Fisher, 1936) out of fold: all they need are sums, and those of all folds but one are a subtraction."""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

FOLDS = 5
_SHRINKAGE = 0.01  # of the covariance towards a sphere: few samples do not fill its dimensions


@dataclass
class Sums:
    """Per fold: samples of each class, their features added up, and the features' products."""

    counts: np.ndarray  # (folds, classes)
    totals: np.ndarray  # (folds, classes, d)
    products: np.ndarray  # (folds, d, d)

    @classmethod
    def over(cls, parts: Iterable[np.ndarray], labels: np.ndarray, folds: np.ndarray, classes: int) -> "Sums":
        """The sums of features, uint8 (rows, d), a part at a time; `labels` int (n,), -1 for a row that is left out; `folds` int (n,)."""
        sums, start = None, 0
        for features in parts:
            if sums is None:
                d = features.shape[1]
                sums = cls(np.zeros((FOLDS, classes)), np.zeros((FOLDS, classes, d)), np.zeros((FOLDS, d, d)))
            here = slice(start, start + len(features))
            for fold in range(FOLDS):
                mine = (folds[here] == fold) & (labels[here] >= 0)
                own, wide = labels[here][mine], features[mine].astype(np.float64)
                sums.counts[fold] += np.bincount(own, minlength=classes)
                sums.totals[fold] += (
                    csr_array((np.ones(len(own)), (own, np.arange(len(own)))), shape=(classes, len(own))) @ wide
                )
                sums.products[fold] += wide.T @ wide
            start = here.stop
        return sums

    def without(self, fold: int) -> "Sums":
        """The sums of all other folds."""
        return Sums(*(whole.sum(axis=0) - whole[fold] for whole in (self.counts, self.totals, self.products)))

    @property
    def means(self) -> np.ndarray:
        """Of each class, zeros for one without samples: (classes, d)."""
        return self.totals / np.maximum(self.counts, 1)[:, None]

    def within(self) -> np.ndarray:
        """The covariance (d, d) of the features within the classes, shrunk towards a sphere."""
        means = self.means
        within = (self.products - (means * self.counts[:, None]).T @ means) / max(self.counts.sum(), 1)
        d = len(within)
        return within + np.eye(d) * (_SHRINKAGE * np.trace(within) / d + 1e-3)

    def discriminants(self) -> tuple[np.ndarray, np.ndarray]:
        """Weights (d, classes) and bias (classes,); a class without samples is never named."""
        means = self.means
        weights = np.linalg.solve(self.within(), means.T)
        with np.errstate(divide="ignore"):
            prior = np.log(self.counts / max(self.counts.sum(), 1))
        return weights, np.maximum(prior, -1e9) - 0.5 * (means.T * weights).sum(axis=0)
