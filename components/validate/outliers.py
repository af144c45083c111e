"""What is odd in a set is odd beside the others: a limit alone does not know night scenes from dark slips among daylight."""

import pandas as pd

_RARE = 0.05  # share of the set: what more of it has is how the set looks, and no slip
_FAR = 3.5  # robust standard deviations from the median (Iglewicz and Hoaglin, "How to Detect and Handle Outliers", 1993)


def unlike_most(values: pd.Series, beyond: pd.Series, *, low: bool) -> pd.Series:
    """Of the rows `beyond` a limit those that are unlike the set: few are, or this one lies far from the median.

    `values`: float (n,), null where there is none; `beyond`: bool (n,); `low`: whether the limit is a lowest one. Far is measured
    by the median distance from the median, so that up to half of the set may be slips.
    """
    if beyond.sum() <= _RARE * values.notna().sum():
        return beyond
    median = values.median()
    distance = median - values if low else values - median
    spread = max(1.4826 * distance.abs().median(), 0.05 * abs(median))
    return beyond & (distance > _FAR * spread)
