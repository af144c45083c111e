"""Checks across splits: what is learnt from must not be what is tested on, in any disguise."""

import numpy as np
import pandas as pd

from components.validate import finding
from components.validate.context import Context


def leakage(context: Context) -> pd.DataFrame:
    """The same picture, or frames of the same recording, in two splits: what is tested on was learnt from."""
    torn = [context.clashes(context.splits), _torn(context, context.shared_frames[["one", "other"]].to_numpy(int))]
    return _across(context, np.concatenate([*torn, _near(context)] if _is_leak(context) else torn))


def near_leakage(context: Context) -> pd.DataFrame:
    """Pictures that look the same in two splits, too few of them to be told as leakage."""
    return finding.none() if _is_leak(context) else _across(context, _near(context))


def group_leakage(context: Context) -> pd.DataFrame:
    """A group on two sides of the official split."""
    sides = context.splits.groupby(context.rows["group"]).transform("nunique")
    bad = context.rows[sides > 1]
    return finding.rows(
        bad.index, "group " + bad["group"].map(repr) + " is in other splits than " + context.splits[bad.index] + " too"
    )


def duplicate(context: Context) -> pd.DataFrame:
    """The same picture more than once in a split and under one label; the first of them is not counted."""
    key = [context.picture, context.splits, context.labels.fillna("")]
    first = pd.Series(context.rows.index, index=context.rows.index).groupby(key).transform("first")
    again = np.flatnonzero(first != context.rows.index)
    return finding.pairs(again, first.to_numpy()[again], lambda row, twin: f"= {context.name(twin)}")


def near_duplicate(context: Context) -> pd.DataFrame:
    """Near twins within a split and under one label; the first of them is not counted."""
    splits, labels = context.splits.to_numpy(object), context.labels.fillna("").to_numpy(object)
    one, other = context.near.T
    same = (splits[one] == splits[other]) & (labels[one] == labels[other])
    return finding.pairs(other[same], one[same], lambda row, twin: f"~ {context.name(twin)}")


def overlap(context: Context) -> pd.DataFrame:
    """Clips of one split that share frames: windows of one recording."""
    shared = context.shared_frames
    splits = context.splits.to_numpy(object)
    one, other = shared["one"].to_numpy(int), shared["other"].to_numpy(int)
    same = splits[one] == splits[other]
    share = dict(zip(zip(one, other, strict=True), shared["share"], strict=True))
    return finding.pairs(
        other[same], one[same], lambda row, twin: f"{share[twin, row]:.0%} of its frames are in {context.name(twin)}"
    )


def case_twin(context: Context) -> pd.DataFrame:
    """Paths that differ in case alone: one of them is lost on a Mac or on Windows."""
    plain = context.rows["source"].str.normalize("NFC").str.casefold()
    twin = plain.duplicated(keep=False)
    first = pd.Series(context.rows.index, index=context.rows.index).groupby(plain).transform("first")
    rows = np.flatnonzero(twin & (first != context.rows.index))
    return finding.pairs(rows, first.to_numpy()[rows], lambda row, other: f"beside {context.rows['source'].iat[other]!r}")


def _across(context: Context, torn: np.ndarray) -> pd.DataFrame:
    """A row for each side of a pair; which is which a person sees by the paths."""
    picture = context.picture.to_numpy()

    def said(row: int, twin: int) -> str:
        return f"{'=' if picture[row] == picture[twin] else '~'} {context.name(twin)}"

    return finding.pairs(torn[:, 0], torn[:, 1], said)


def _is_leak(context: Context) -> bool:
    """Whether so many held-back pictures have a near twin elsewhere that results on them are worth nothing."""
    held_back = context.splits.isin(["validation", "test"]).to_numpy()
    seen = np.unique(_near(context)[:, 0])
    return bool(held_back.any() and held_back[seen].sum() / held_back.sum() > context.limits.max_near_leakage)


def _near(context: Context) -> np.ndarray:
    return _torn(context, context.near)


def _torn(context: Context, pairs: np.ndarray) -> np.ndarray:
    """Those pairs that lie in two splits, each both ways round."""
    splits = context.splits.to_numpy(object)
    torn = pairs[splits[pairs[:, 0]] != splits[pairs[:, 1]]]
    return np.concatenate([torn, torn[:, ::-1]])
