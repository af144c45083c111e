"""What a check returns: a row per faulty sample, with its reason."""

from collections.abc import Callable

import numpy as np
import pandas as pd

COLUMNS = ["reason", "other", "suggested", "code"]


def rows(faulty: pd.Index | pd.Series, reason: pd.Series | str, **others: pd.Series | np.ndarray) -> pd.DataFrame:
    """A row per faulty sample, given by number or as a mask over all, with its reason.

    `other`: number of the sample it clashes with; `suggested`: the label that it probably should have; `code`: the finding
    it belongs to, where a check has several. Pass only the faulty rows' values: texts for a million others cost seconds.
    """
    index = faulty.index[faulty.to_numpy(bool)] if isinstance(faulty, pd.Series) else faulty
    return pd.DataFrame({"reason": reason, **others}, index=index).reindex(columns=COLUMNS).astype(object)


def none() -> pd.DataFrame:
    """Nothing found."""
    return rows(pd.Index([], dtype=int), "")


def pairs(one: np.ndarray, other: np.ndarray, reason: Callable[[int, int], str]) -> pd.DataFrame:
    """A row for `one` of each pair, with `other` beside it; of several pairs of a sample, the first."""
    numbers, first = np.unique(one, return_index=True)
    others = other[first]
    said = [reason(row, twin) for row, twin in zip(numbers, others, strict=True)]
    return rows(pd.Index(numbers, dtype=int), pd.Series(said, index=numbers, dtype=object), other=others)
