"""How sure a figure is: 95 % percentile intervals by the bootstrap (Efron, "Bootstrap Methods: Another Look at the Jackknife", 1979).

Figures of the confusion table depend on counts alone: one multinomial draw over its occupied cells is one resample. Samples of one
unit (a person, a recording) err together, so units are drawn whole (Field and Welsh, "Bootstrapping Clustered Data", 2007). Of more
than BLOCKS things to draw from, random blocks of them are drawn: as wide, and the work stays the same for a million samples.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from scipy import sparse

BLOCKS = 1000  # the width of an interval is known to some 2 %
FEWEST = 5  # units; how much fewer would differ from others nobody can tell
HELD = 2**20  # numbers of one array that are held at once
RECALLS = 2**23  # draws x classes, float32: of many classes fewer draws are kept for the recall of each
ENDS = (0.025, 0.975)


@dataclass(frozen=True)
class Difference:
    """After minus before, and its 95 % interval."""

    value: float
    low: float
    high: float


def units(samples: pa.Table) -> np.ndarray | None:
    """int (n,): which samples belong together, by `unit` of `samples.parquet`; None where each stands alone."""
    unit = samples["unit"].to_numpy()
    alone = np.isnan(unit) | (unit < 0) if unit.dtype.kind == "f" else unit < 0
    unit = np.where(alone, -1 - np.arange(len(unit)), unit).astype(np.int64)
    return unit if len(np.unique(unit)) < len(unit) else None


def intervals(
    labels: np.ndarray, predicted: np.ndarray, classes: int, *, units: np.ndarray | None = None, seed: int = 0, draws: int = 10_000
) -> dict[str, tuple[float, float]]:  # fmt: skip
    """Low and high of accuracy, balanced_accuracy, macro_f1 and worst_class_recall, as `scores` defines them.

    `labels`, `predicted`: int (n,), below `classes`; `units`: int or text (n,), equal for samples that belong together.
    The interval of worst_class_recall lies somewhat low: the least of resampled recalls is below the least recall. Where all is
    right no resample shows a mistake, and the low end is that of Clopper and Pearson (1934).
    """
    (found,), _ = _drawn(labels, [predicted], classes, units, seed, draws)
    ends = {metric: _ends(values) for metric, values in found.items()}
    if not np.array_equal(labels, predicted):
        return ends
    unit = np.arange(len(labels)) if units is None else np.unique(units, return_inverse=True)[1]
    sizes = np.unique(np.unique(np.stack([labels, unit]), axis=1)[0], return_counts=True)[1]  # units in each class
    worst = _flawless(sizes.min())
    mean = 1 - (1 - worst) / len(sizes)  # one class may be as bad
    lows = {"accuracy": _flawless(unit.max() + 1), "balanced_accuracy": mean, "macro_f1": mean, "worst_class_recall": worst}
    return {metric: (round(low, 6), 1.0) for metric, low in lows.items()}


def paired(
    labels: np.ndarray, before: np.ndarray, after: np.ndarray, classes: int, *,
    units: np.ndarray | None = None, seed: int = 0, draws: int = 10_000,
) -> dict[str, Difference]:  # fmt: skip
    """Two models on the same samples: the difference of each metric of `intervals`, and `recall:<index>` of each class present.

    Of fewer than FEWEST units the intervals are all that is possible, -1 to 1.
    """
    (old, new), (recall, changed) = _drawn(labels, [before, after], classes, units, seed, draws)
    (was,), _ = _drawn(labels, [before], classes, None, seed, 0)
    (now,), _ = _drawn(labels, [after], classes, None, seed, 0)
    found = {metric: _difference(now[metric][0] - was[metric][0], new[metric] - old[metric]) for metric in old}
    for column, index in enumerate(np.unique(labels)):
        own = labels == index
        value = (after[own] == index).mean() - (before[own] == index).mean()
        found[f"recall:{index}"] = _difference(value, changed[:, column] - recall[:, column])
    return {name: Difference(one.value, -1.0, 1.0) for name, one in found.items()} if _are_few(units) else found


def of_confidence(
    hit: np.ndarray, confidence: np.ndarray, loss: np.ndarray, covered: np.ndarray, *,
    bins: int, units: np.ndarray | None = None, seed: int = 0, draws: int = 10_000,
) -> dict[str, tuple[float, float]]:  # fmt: skip
    """Low and high of expected_calibration_error, log_loss and coverage, of what each sample adds to them: all (n,).

    A resample's calibration error is larger than the samples' own, by chance alone; so its interval is moved back by as much (the
    bootstrap's estimate of bias: Efron and Tibshirani, "An Introduction to the Bootstrap", 1993). Of fewer than FEWEST units there is none.
    """
    if _are_few(units):
        return {}
    rng = np.random.default_rng(seed)
    gaps = np.zeros((len(hit), bins))
    gaps[np.arange(len(hit)), np.minimum((confidence * bins).astype(int), bins - 1)] = hit - confidence.astype(np.float64)
    block = _blocks(np.arange(len(hit)) if units is None else units, rng)
    of_block = sparse.csr_array((np.ones(len(hit)), (block, np.arange(len(hit)))))
    sums = of_block @ np.column_stack([gaps, loss, covered, np.ones(len(hit))])
    drawn = np.concatenate(list(_resampled(sums, np.ones(len(sums), int), rng, draws)))
    count = drawn[:, -1]
    errors = np.abs(drawn[:, :bins]).sum(1) / count
    bias = np.median(errors) - np.abs(gaps.sum(0)).sum() / len(hit)
    values = {"expected_calibration_error": np.maximum(errors - bias, 0), "log_loss": drawn[:, -3] / count,
              "coverage": drawn[:, -2] / count}  # fmt: skip
    ends = {metric: _ends(value) for metric, value in values.items()}
    if covered.all():
        ends["coverage"] = (round(_flawless(len(hit) if units is None else len(np.unique(units))), 6), 1.0)
    return ends


def _are_few(units: np.ndarray | None) -> bool:
    return units is not None and len(np.unique(units)) < FEWEST


def _drawn(labels, models, classes, units, seed, draws) -> tuple[list[dict[str, np.ndarray]], list[np.ndarray]]:
    """For each model: each metric, float64 (draws,), and recalls, float32 (draws or fewer, classes present).

    No draws: the figures of the samples themselves, (1,).
    """
    rng = np.random.default_rng(seed)
    present = np.unique(labels)
    joint, sides = (labels, *models), (classes,) * (1 + len(models))
    cells, cell, counts = np.unique(np.ravel_multi_index(joint, sides), return_inverse=True, return_counts=True)
    if not draws:
        every = iter([counts[None]])
    elif units is None and len(counts) <= BLOCKS:
        every = _resampled(sparse.eye_array(len(counts), format="csr"), counts, rng, draws)
    else:
        block = _blocks(np.arange(len(labels)) if units is None else units, rng)
        content = sparse.csr_array((np.ones(len(labels)), (block, cell)))
        every = _resampled(content, np.ones(content.shape[0], int), rng, draws)
    # Columns: the classes present. A cell counts for its true class, and for the class that it was taken for.
    rows = np.unravel_index(cells, sides)
    true, *told = (_indicator(row, present) for row in rows)
    right = [true.multiply((row == rows[0])[:, None]).tocsr() for row in rows[1:]]
    found, recalls = [[] for _ in models], [[] for _ in models]
    for drawn in every:
        actual = drawn @ true
        actual[actual == 0] = np.nan  # a class that was not drawn counts for nothing
        for figures, kept, said, hits in zip(found, recalls, told, right, strict=True):
            hits = drawn @ hits
            recall = hits / actual
            f1 = 2 * hits / (actual + drawn @ said)
            figures.append((hits.sum(1) / drawn.sum(1), np.nanmean(recall, 1), np.nanmean(f1, 1), np.nanmin(recall, 1)))
            if sum(map(len, kept)) * len(present) < RECALLS:
                kept.append(recall.astype(np.float32))
    names = ("accuracy", "balanced_accuracy", "macro_f1", "worst_class_recall")
    columns = [dict(zip(names, np.concatenate(figures, axis=1), strict=True)) for figures in found]
    return columns, [np.concatenate(kept) for kept in recalls]


def _indicator(values: np.ndarray, names: np.ndarray) -> sparse.csr_array:
    """float64 (values, names): 1 where they are equal; `names` sorted."""
    column = np.searchsorted(names, values).clip(max=len(names) - 1)
    same = names[column] == values
    return sparse.csr_array((same.astype(np.float64), (np.arange(len(values)), column)), shape=(len(values), len(names)))


def _blocks(units: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """int (n,): the number of each sample's unit, or of the block that the unit lies in, where there are more than BLOCKS."""
    names, unit = np.unique(units, return_inverse=True)
    return rng.permutation(len(names))[unit] % BLOCKS


def _resampled(content, copies: np.ndarray, rng: np.random.Generator, draws: int) -> Iterator[np.ndarray]:
    """As many rows as there are copies of rows, drawn with replacement and summed: float64 (some draws, columns), piece by piece."""
    at_once = max(1, HELD // max(content.shape))
    for start in range(0, draws, at_once):
        times = rng.multinomial(copies.sum(), copies / copies.sum(), size=min(at_once, draws - start))
        yield times.astype(np.float64) @ content


def _flawless(count: int) -> float:
    """The lowest share of right ones with which so many are all right in 2.5 % of cases."""
    return float(ENDS[0] ** (1 / count))


def _ends(values: np.ndarray) -> tuple[float, float]:
    low, high = np.nanquantile(values, ENDS).round(6).tolist()
    return low, high


def _difference(value: float, drawn: np.ndarray) -> Difference:
    drawn = drawn[~np.isnan(drawn)]
    return Difference(float(value), *_ends(drawn))
