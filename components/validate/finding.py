"""What a check returns: a table with a row per faulty sample, numbered as in the manifest."""

from collections.abc import Callable

import numpy as np
import pandas as pd

# `other`: number of the sample that it clashes with, -1 for none. `action`: what `darkroom fix` does with this very sample, where
# that differs from its check's (empty: nothing; `keep`: nothing, unless a person names it). `suggested`: the label or split that
# it should have. `code`: the finding that it belongs to, where a check has several.
COLUMNS = {"reason": "str", "other": "int64", "action": "str", "suggested": "str", "code": "str"}


def rows(faulty: pd.Index | pd.Series, reason: pd.Series | np.ndarray | str, **others: pd.Series | np.ndarray) -> pd.DataFrame:
    """A row per faulty sample, given by number or as a mask over all, with its reason and what COLUMNS names.

    Pass the values of the faulty rows only: texts for a million others cost seconds.
    """
    index = faulty.index[faulty.to_numpy(bool)] if isinstance(faulty, pd.Series) else faulty
    table = pd.DataFrame({"reason": reason, **others}, index=index).reindex(columns=list(COLUMNS))
    return table.fillna({"other": -1}).astype(COLUMNS)


def none() -> pd.DataFrame:
    """Nothing is at fault."""
    return rows(pd.Index([], dtype=int), "")


def pairs(one: np.ndarray, other: np.ndarray, reason: Callable[[np.ndarray, np.ndarray], pd.Series], **others) -> pd.DataFrame:
    """A row for `one` of each pair, with `other` beside it; of several pairs of a sample, the first.

    `reason` gets both sides at once, int (m,), and returns the m texts. `others` are columns for each pair, see COLUMNS.
    """
    numbers, first = np.unique(one, return_index=True)
    twins = other[first]
    texts = np.asarray(reason(numbers, twins), object)
    return rows(pd.Index(numbers, dtype=int), texts, other=twins, **{name: column[first] for name, column in others.items()})


def redundant(pairs: np.ndarray, rank: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The samples to drop so that of no pair both stay, ascending, and the one that stays in place of each: int (k,) both.

    `pairs`: int (m, 2); `rank`: int (n,); the one of lower rank has the right to stay, of equals the first. Greedy, in the
    order of ranks: a sample goes only for one that stays. So of a chain A ~ B ~ C, where A is unlike C, B alone goes.
    """
    names, number = np.unique(pairs, return_inverse=True)
    number = number.reshape(-1, 2)
    order = np.lexsort([names, rank[names] if rank is not None else names])
    place = np.empty(len(names), np.int64)
    place[order] = np.arange(len(names))
    first, second = np.sort(place[number], axis=1).T
    in_turn = np.lexsort([first, second])
    kept_for = np.full(len(names), -1, np.int64)
    gone = bytearray(len(names))
    for start in range(0, len(in_turn), 1 << 16):  # Python's numbers are large: a part at a time
        part = in_turn[start : start + (1 << 16)]
        for stays, goes in zip(first[part].tolist(), second[part].tolist(), strict=True):
            if not gone[stays] and not gone[goes]:
                gone[goes] = 1
                kept_for[goes] = stays
    going = np.flatnonzero(kept_for >= 0)
    going = going[np.argsort(names[order[going]])]
    return names[order[going]], names[order[kept_for[going]]]
