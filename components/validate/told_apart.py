"""Whether two sets of pictures can be told apart: a classifier two-sample test (Lopez-Paz and Oquab, 2017), class by class."""

from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
import pandas as pd
from threadpoolctl import threadpool_limits

from components.validate.discriminants import FOLDS, Sums

_LEAST = 2 * FOLDS  # independent pictures of a class on either side: of fewer nothing is said
_COMMON = 50  # pictures: with fewer of a class, its own difference counts less than what all classes have in common
_ALARM = 0.001  # how often sets that are alike may be taken for different ones


@dataclass(frozen=True)
class Apart:
    """How often, of two pictures of one class, one of each set, a model that has seen neither knows which is which.

    `share`: over all classes, 0.5 is a guess; `chance`: what sets that are alike stay below, but for one time in a thousand;
    `classes`: the same of each class, `share` and `chance` as columns (the latter for all classes at once).
    """

    share: float
    chance: float
    classes: pd.DataFrame


@threadpool_limits.wrap(1, "blas")
def told_apart(features: np.ndarray, labels: np.ndarray, new: np.ndarray, units: np.ndarray) -> Apart | None:
    """Compare two sets; None where no class has enough pictures in both.

    `features` uint8 (n, d); `labels` (n,), any; `new` bool (n,), which set; `units` uint64 (n,): what is not independent (a group,
    a picture that is in both) has the same number, lies in one fold, and counts once.

    In every class the model is the linear discriminant between both sets, its covariance that of all classes. Of pictures that
    it was not fitted on, it ranks those of one class and fold: what is alike has a rank by chance (Mann and Whitney, 1947).
    """
    pictures = pd.DataFrame({"label": labels, "new": new, "unit": units})
    once = pictures.drop_duplicates()
    sizes = pd.crosstab(once["label"], once["new"]).reindex(columns=[False, True], fill_value=0)
    tested = sizes.index[sizes.min(axis=1) >= _LEAST]
    if not len(tested):
        return None
    number = tested.get_indexer(pictures["label"])
    kept = number >= 0
    pictures, number, features = pictures[kept], number[kept], features[kept]
    folds = (pictures["unit"].to_numpy() % FOLDS).astype(int)
    sums = Sums.over([features], 2 * number + pictures["new"].to_numpy(), folds, 2 * len(tested))
    scores = np.empty(len(number))
    for fold in range(FOLDS):
        here = folds == fold
        scores[here] = np.einsum("nd,nd->n", features[here], _directions(sums.without(fold))[number[here]])
    scored = pictures.assign(score=scores, fold=folds).groupby(["label", "fold", "new", "unit"], as_index=False)["score"].mean()
    return _ranked(scored)


def _directions(sums: Sums) -> np.ndarray:
    """(classes, d): along which the new pictures of each class lie further than the old ones; classes are old, new by turns."""
    old, new = sums.counts[::2], sums.counts[1::2]
    weight = (old * new / np.maximum(old + new, 1))[:, None]
    moved = sums.means[1::2] - sums.means[::2]
    common = (weight * moved).sum(axis=0) / max(weight.sum(), 1)
    return np.linalg.solve(sums.within(), ((weight * moved + _COMMON * common) / (weight + _COMMON)).T).T


def _ranked(pictures: pd.DataFrame) -> Apart | None:
    cells = pictures.groupby(["label", "fold"])
    pictures["rank"] = cells["score"].rank().where(pictures["new"], 0)
    cells = cells.agg(ranks=("rank", "sum"), new=("new", "sum"), all=("new", "size"))
    cells["pairs"] = cells["new"] * (cells["all"] - cells["new"])
    cells["above"] = cells["ranks"] - cells["new"] * (cells["new"] + 1) / 2
    # Folds learn from each other, and each pair of them counts twice: double the variance.
    cells["variance"] = 2 * cells["pairs"] * (cells["all"] + 1) / 12
    classes = cells.groupby("label")[["above", "pairs", "variance"]].sum()
    classes = classes[classes["pairs"] > 0]  # groups of both sides may lie in different folds
    if not len(classes):
        return None
    share, spread = classes["above"] / classes["pairs"], np.sqrt(classes["variance"]) / classes["pairs"]
    each = pd.DataFrame({"share": share, "chance": 0.5 + NormalDist().inv_cdf(1 - _ALARM / len(classes)) * spread})
    whole = classes.sum()
    spread = np.sqrt(whole["variance"]) / whole["pairs"]
    return Apart(float(whole["above"] / whole["pairs"]), float(0.5 + NormalDist().inv_cdf(1 - _ALARM) * spread), each)
