"""Where a model fails: accuracy on parts of the test split against the rest of it, by whatever is known of a sample."""

from pathlib import PurePosixPath

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from scipy import stats

from components.shared.data import arrays

FEW = 20  # samples; of fewer nothing can be said
MANY = 50  # values of a column (classes aside); each slice that is looked at makes the others harder to prove
SURE = 0.05  # corrected chance below which a slice is called worse


def describe(test: arrays.Split) -> pd.DataFrame:
    """A row a test sample, a column for each way to cut: texts, and numbers in quartiles."""
    rows = test.table().select(["source", "label", "group"]).to_pandas()
    cuts = rows[["label", "group"]].copy()
    # Where files lie, two folders deep: a source within a data set often has a folder of its own.
    cuts["folder"] = ["/".join(PurePosixPath(str(source)).parent.parts[:2]) for source in rows["source"]]
    if (test.folder / arrays.MEASURED).exists():
        measured = pq.read_table(test.folder / arrays.MEASURED).to_pandas()
        measured["size"] = measured["width"].astype(str) + " x " + measured.pop("height").astype(str)
        cuts = cuts.join(measured.drop(columns="width").apply(_quartiles))
    return cuts


def _quartiles(column: pd.Series) -> pd.Series:
    if pd.api.types.is_numeric_dtype(column) and column.nunique() > 4:
        cut = pd.qcut(column, 4, duplicates="drop", precision=4)
        return cut.map(lambda part: f"{part.left:.4g} to {part.right:.4g}").astype(object)
    return column


def slices(cuts: pd.DataFrame, hit: np.ndarray, units: np.ndarray | None) -> tuple[list[dict], int]:
    """A row per slice, what harms most first, and how many were left out because they have fewer than FEW samples.

    Intervals are Wilson's (1927) at 95 %. `p`: how likely so large a difference to the rest is by chance (Fisher's exact test, twice
    the smaller side), corrected for the number of slices by Holm (1979). Harm: the difference times the root of the samples, so that
    a narrow cause stands before the wide slices that hold it; what is worse beyond chance comes first. Samples of one unit count for
    as many as their likeness leaves (design effect: Kish, "Survey Sampling", 1965; Rao and Scott, 1992), but for `group`, where it is
    this very group that is asked about.
    """
    rows, skipped, seen = [], 0, set()
    likeness = _likeness(hit, units)
    for column in cuts:
        codes, values = pd.factorize(cuts[column], sort=True)
        if (partition := pd.factorize(codes)[0].tobytes()) in seen:
            continue  # cuts as another column does
        seen.add(partition)
        known, count = codes >= 0, len(values)
        samples, right = (np.bincount(codes[known], weights, minlength=count) for weights in (None, hit[known]))
        enough = (samples >= FEW) & (samples < len(hit))
        skipped += int((samples < FEW).sum())
        if enough.sum() > MANY and column != "label":
            continue
        alone = units is None or column == "group"
        size = samples if alone else _effective(codes, units, likeness, count)
        whole = len(hit) if alone else _effective(np.zeros(len(hit), int), units, likeness, 1)[0]
        for at in np.flatnonzero(enough):
            accuracy = right[at] / samples[at]
            rest = (hit.sum() - right[at]) / (len(hit) - samples[at])
            low, high = _wilson(accuracy, size[at])
            chance = _fisher(accuracy, size[at], rest, max(whole - size[at], 1))
            rows.append({"column": column, "value": str(values[at]), "samples": int(samples[at]), "accuracy": accuracy,
                         "low": low, "high": high, "difference": accuracy - rest, "p": chance})  # fmt: skip
    order = np.argsort([row["p"] for row in rows], kind="stable")
    least = 0.0
    for rank, at in enumerate(order):
        least = rows[at]["p"] = max(least, min(1.0, rows[at]["p"] * (len(rows) - rank)))
    rows.sort(key=lambda row: (not worse(row), row["difference"] * row["samples"] ** 0.5))
    return [{name: round(float(v), 6) if isinstance(v, float) else v for name, v in row.items()} for row in rows], skipped


def worse(row: dict) -> bool:
    """Whether a slice is worse than the rest beyond chance."""
    return row["p"] < SURE and row["difference"] < 0


def _likeness(hit: np.ndarray, units: np.ndarray | None) -> float:
    """The mean correlation of two samples of one unit, 0 to 1."""
    if units is None or hit.all() or not hit.any():
        return 0.0
    unit = np.unique(units, return_inverse=True)[1]
    off = hit - hit.mean()
    size, sums, squares = (np.bincount(unit, weights) for weights in (None, off, off**2))
    pairs = (size * (size - 1)).sum()
    return float(np.clip((sums**2 - squares).sum() / max(pairs, 1) / (off**2).mean(), 0, 1))


def _effective(codes: np.ndarray, units: np.ndarray, likeness: float, count: int) -> np.ndarray:
    """float64 (count,): how many independent samples those of each value are worth, -1 aside."""
    pairs = pd.DataFrame({"code": codes, "unit": units})[codes >= 0].groupby(["code", "unit"]).size()
    worth = pairs / (1 + (pairs - 1) * likeness)
    return np.bincount(pairs.index.get_level_values("code"), worth, minlength=count)


def _wilson(share: float, count: float) -> tuple[float, float]:
    z = stats.norm.ppf(0.975)
    middle, half = share + z**2 / (2 * count), z * np.sqrt(share * (1 - share) / count + z**2 / (4 * count**2))
    return max(0.0, (middle - half) / (1 + z**2 / count)), min(1.0, (middle + half) / (1 + z**2 / count))


def _fisher(share: float, count: float, rest: float, others: float) -> float:
    count, others = round(count), round(others)
    right, right_of_others = round(share * count), round(rest * others)
    drawn = stats.hypergeom(count + others, right + right_of_others, count)
    return float(min(1.0, 2 * min(drawn.cdf(right), drawn.sf(right - 1))))
