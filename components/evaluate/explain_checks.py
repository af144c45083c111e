"""Whether an explanation tells something of the network: two checks that a picture of edges, too, can be put to."""

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
from scipy import stats

from components.shared.models.occlusion import borders

SIDE = 7  # cells of a picture, each way
SHARES = np.arange(1, 8) / 8  # of the cells that are removed
RANDOM = 3  # random orders to compare with
SHUFFLED = 3  # layers from the last one on
SEEDS = 3  # of shuffles, each for its share of the pictures: one alone may be alike by chance
MOST_ALIKE = 0.5  # correlation of the maps before and after the weights are shuffled
DEVIATIONS = 2  # standard errors by which a check has to be passed


def grid(shape: tuple[int, ...]) -> np.ndarray:
    """The cell of each pixel, int (h, w) or (time, h, w), the same in all frames, for arrays of (h, w, c) or (time, h, w, c)."""
    rows, columns = (np.repeat(np.arange(SIDE), np.diff(borders(side, SIDE))) for side in shape[-3:-1])
    return np.broadcast_to(rows[:, None] * SIDE + columns, shape[:-1])


def time(shape: tuple[int, ...], steps: int) -> np.ndarray:
    """The step of time of each pixel: frames of a clip, or so many bands of rows of a still."""
    of = np.arange(shape[0]) * steps // shape[0]
    return np.broadcast_to(of.reshape(-1, *[1] * (len(shape) - 2)), shape[:-1])


def per_cell(maps: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The mean of each map over each cell, (n, ...) -> (n, cells); 0 for cells without a pixel."""
    count = cells.max() + 1
    pixels = np.maximum(np.bincount(cells.ravel(), minlength=count), 1)
    return np.stack([np.bincount(cells.ravel(), weights=each.ravel(), minlength=count) / pixels for each in maps])


def shown(image: np.ndarray) -> np.ndarray:
    """Which frames of a clip are no padding; a still is."""
    return image.any(axis=(-3, -2, -1))


def plain(image: np.ndarray) -> np.ndarray:
    """The same picture of its mean colour alone, uint8; padding stays padding."""
    blank, there = np.zeros_like(image), shown(image)
    if there.any():
        # At least 1: a frame of zeros would be padding.
        blank[there] = np.maximum(image[there].reshape(-1, image.shape[-1]).mean(0), 1)
    return blank


def check(predict: Callable, images: np.ndarray, labels: np.ndarray, cells: np.ndarray, before: dict, after: dict) -> dict:
    """What explanations.json says of each method, from what it found relevant before and after the weights were shuffled.

    `predict`: uint8 (n, ...) -> probabilities; `before` and `after`: method -> float (n, cells). A method is trusted where both
    checks are passed by DEVIATIONS standard errors: it falls faster than random orders, and the maps do not stay alike.
    """
    rng, methods = np.random.default_rng(0), list(before.values())  # part of the measure, not of an experiment: no knob
    orders = np.stack([*methods, *rng.random((RANDOM, *methods[0].shape))], axis=1)
    areas = np.array([deletion(predict, *of, cells) for of in zip(images, labels, orders, strict=True)]).T
    random, found = areas[len(before) :].mean(0), {}
    for name, area in zip(before, areas, strict=False):
        alike = similarity(before[name], after[name])
        found[name] = {
            "deletion": round(float(area.mean()), 4),
            "random_order": round(float(random.mean()), 4),
            "similarity": round(float(alike.mean()), 4) if len(alike) else None,
            "pictures": len(area),
            "trusted": bool(_bound(random - area, -DEVIATIONS) > 0 and _bound(alike, DEVIATIONS) < MOST_ALIKE),
        }
    return found


def deletion(predict: Callable, image: np.ndarray, label: int, relevance: np.ndarray, cells: np.ndarray) -> np.ndarray:
    """The area under the probability of the label as cells are removed, most relevant ones first (Petsiuk et al., "RISE", 2018).

    `relevance` (orders, cells) -> float (orders,); lower is better. A cell that is removed takes the picture's mean colour. The
    ends, which are the same in any order, are not counted.
    """
    there, blank, changed = np.unique(cells[shown(image)]), plain(image), []
    for each in relevance:
        order = there[np.argsort(-each[there], kind="stable")]
        for share in SHARES:
            gone = np.isin(cells, order[: round(share * len(order))])
            changed.append(np.where(gone[..., None], blank, image))
    return predict(np.stack(changed))[:, label].reshape(len(relevance), -1).mean(1)


@contextlib.contextmanager
def shuffled(layers: list, seed: int) -> Iterator[None]:
    """The weights of the last layers in random order, and then as they were.

    For the randomisation test (Adebayo et al., "Sanity Checks for Saliency Maps", 2018).
    """
    rng, last = np.random.default_rng(seed), layers[-SHUFFLED:]
    before = [layer.get_weights() for layer in last]
    try:
        for layer, weights in zip(last, before, strict=True):
            layer.set_weights([rng.permutation(weight.ravel()).reshape(weight.shape) for weight in weights])
        yield
    finally:
        for layer, weights in zip(last, before, strict=True):
            layer.set_weights(weights)


def similarity(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Spearman's rank correlation of each map (n, cells) with that of the shuffled network; 0 where that one is empty.

    Maps that are empty beforehand are left out.
    """
    pairs = [(one, other) for one, other in zip(before, after, strict=True) if np.ptp(one)]
    return np.array([stats.spearmanr(one, other).statistic if np.ptp(other) else 0.0 for one, other in pairs])


def _bound(values: np.ndarray, deviations: float) -> float:
    """A mean that many standard errors away; no number, above and below nothing, where there are fewer than two values."""
    return values.mean() + deviations * values.std(ddof=1) / len(values) ** 0.5 if len(values) > 1 else np.nan
