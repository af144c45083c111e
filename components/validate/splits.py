"""Checks across splits: what is learnt from must not be what is tested on, in any disguise."""

import numpy as np
import pandas as pd

from components.validate import found
from components.validate.look import Look


def leakage(look: Look) -> pd.DataFrame:
    """The same picture, or frames of the same recording, in two splits: what is tested on was learnt from."""
    torn = [look.clashes(look.splits), _torn(look, look.shared_frames[["one", "other"]].to_numpy(int))]
    return _across(look, np.concatenate([*torn, _near(look)] if _is_leak(look) else torn))


def near_leakage(look: Look) -> pd.DataFrame:
    """Pictures that look the same in two splits, too few of them to be told as leakage."""
    return found.none() if _is_leak(look) else _across(look, _near(look))


def group_leakage(look: Look) -> pd.DataFrame:
    """A group on two sides of the official split."""
    sides = look.splits.groupby(look.rows["group"]).transform("nunique")
    bad = look.rows[sides > 1]
    return found.rows(
        bad.index, "group " + bad["group"].map(repr) + " is in other splits than " + look.splits[bad.index] + " too"
    )


def duplicate(look: Look) -> pd.DataFrame:
    """The same picture more than once in a split and under one label; the first of them is not counted."""
    key = [look.picture, look.splits, look.labels.fillna("")]
    first = pd.Series(look.rows.index, index=look.rows.index).groupby(key).transform("first")
    again = np.flatnonzero(first != look.rows.index)
    return found.pairs(again, first.to_numpy()[again], lambda row, twin: f"= {look.name(twin)}")


def near_duplicate(look: Look) -> pd.DataFrame:
    """Near twins within a split and under one label; the first of them is not counted."""
    splits, labels = look.splits.to_numpy(object), look.labels.fillna("").to_numpy(object)
    one, other = look.near.T
    same = (splits[one] == splits[other]) & (labels[one] == labels[other])
    return found.pairs(other[same], one[same], lambda row, twin: f"~ {look.name(twin)}")


def overlap(look: Look) -> pd.DataFrame:
    """Clips of one split that share frames: windows of one recording."""
    shared = look.shared_frames
    splits = look.splits.to_numpy(object)
    one, other = shared["one"].to_numpy(int), shared["other"].to_numpy(int)
    same = splits[one] == splits[other]
    share = dict(zip(zip(one, other, strict=True), shared["share"], strict=True))
    return found.pairs(
        other[same], one[same], lambda row, twin: f"{share[twin, row]:.0%} of its frames are in {look.name(twin)}"
    )


def case_twin(look: Look) -> pd.DataFrame:
    """Paths that differ in case alone: one of them is lost on a Mac or on Windows."""
    plain = look.rows["source"].str.normalize("NFC").str.casefold()
    twin = plain.duplicated(keep=False)
    first = pd.Series(look.rows.index, index=look.rows.index).groupby(plain).transform("first")
    rows = np.flatnonzero(twin & (first != look.rows.index))
    return found.pairs(rows, first.to_numpy()[rows], lambda row, other: f"beside {look.rows['source'].iat[other]!r}")


def _across(look: Look, torn: np.ndarray) -> pd.DataFrame:
    """A row for each side of a pair; which is which a person sees by the paths."""
    picture = look.picture.to_numpy()

    def said(row: int, twin: int) -> str:
        return f"{'=' if picture[row] == picture[twin] else '~'} {look.name(twin)}"

    return found.pairs(torn[:, 0], torn[:, 1], said)


def _is_leak(look: Look) -> bool:
    """Whether so many held-back pictures have a near twin elsewhere that results on them are worth nothing."""
    held_back = look.splits.isin(["validation", "test"]).to_numpy()
    seen = np.unique(_near(look)[:, 0])
    return bool(held_back.any() and held_back[seen].sum() / held_back.sum() > look.limits.max_near_leakage)


def _near(look: Look) -> np.ndarray:
    return _torn(look, look.near)


def _torn(look: Look, pairs: np.ndarray) -> np.ndarray:
    """Those pairs that lie in two splits, each both ways round."""
    splits = look.splits.to_numpy(object)
    torn = pairs[splits[pairs[:, 0]] != splits[pairs[:, 1]]]
    return np.concatenate([torn, torn[:, ::-1]])
