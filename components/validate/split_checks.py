"""Checks across splits: what is learnt from must not be what is tested on, in any disguise."""

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from components.shared.data import dataset
from components.shared.data import manifest as manifests
from components.validate import finding
from components.validate.context import Context


def leakage(context: Context) -> pd.DataFrame:
    """The same picture, or frames of the same recording, in two splits: what is tested on was learnt from."""
    torn = [context.clashes(context.splits), _torn(context, context.shared_frames[["one", "other"]].to_numpy(int))]
    return _across(context, np.concatenate([*torn, _near(context)] if _is_leak(context) else torn))


def near_leakage(context: Context) -> pd.DataFrame:
    """Pictures that look the same in two splits, too few of them to count as leakage."""
    return finding.none() if _is_leak(context) else _across(context, _near(context))


def group_leakage(context: Context) -> pd.DataFrame:
    """A group on two sides of the official split; `suggested` is the split that has most of it."""
    groups = context.column("group").dropna()
    number = pd.Series(context.split_number[groups.index], groups.index)
    bad = groups[number.groupby(groups, observed=True).transform("nunique") > 1].astype("str")
    splits = context.splits[bad.index].astype("str")
    sizes = pd.crosstab(bad, splits).reindex(columns=list(dataset.SPLITS), fill_value=0)
    largest = bad.map(sizes.idxmax(axis=1)) if len(bad) else splits
    reason = "group " + bad.map(repr) + " is in other splits than " + splits + " too"
    return finding.rows(bad.index, reason, action=np.where(largest == splits, "", "move"), suggested=largest)


def duplicate(context: Context) -> pd.DataFrame:
    """The same picture more than once in a split and under one label; the first of them is not counted."""
    copies = np.flatnonzero(context.repeated)
    key = [numbers[copies] for numbers in (context.picture, context.split_number, context.label_number)]
    first = pd.Series(copies).groupby(key).transform("first").to_numpy()
    again = first != copies
    return finding.pairs(copies[again], first[again], lambda _, twins: "= " + context.names(twins))


def near_duplicate(context: Context) -> pd.DataFrame:
    """Near twins within a split and under one label; one is counted only if it is like an earlier one that is not."""
    splits, labels = context.split_number, context.label_number
    one, other = context.near.T
    same = (splits[one] == splits[other]) & (labels[one] == labels[other])
    rows, stays = redundant(context.near[same])
    return finding.pairs(rows, stays, lambda _, twins: "~ " + context.names(twins))


def overlap(context: Context) -> pd.DataFrame:
    """Clips of one split that share frames, windows of one recording; counted as near twins are."""
    shared = context.shared_frames
    splits = context.split_number
    pairs = shared[["one", "other"]].to_numpy(int)
    same = splits[pairs[:, 0]] == splits[pairs[:, 1]]
    rows, stays = redundant(pairs[same])
    share = shared.set_index(["one", "other"])["share"]

    def reason(rows: np.ndarray, twins: np.ndarray) -> np.ndarray:
        shares = share.reindex(pd.MultiIndex.from_arrays([twins, rows]))
        return np.array([f"{value:.0%} of its frames are in " for value in shares], object) + context.names(twins)

    return finding.pairs(rows, stays, reason)


def case_twin(context: Context) -> pd.DataFrame:
    """Paths that differ in case alone: one of them is lost on a Mac or on Windows."""
    numbers = []
    for _, table in manifests.parts(context.manifest, ["source"]):
        plain = pc.utf8_lower(pc.utf8_normalize(table["source"], form="NFC"))
        numbers.append(pd.util.hash_array(plain.to_numpy(), categorize=False))
    first = manifests.firsts(np.concatenate(numbers))
    rows = np.flatnonzero(first != np.arange(len(first), dtype=np.int32))
    return finding.pairs(rows, first[rows], lambda _, twins: "beside " + context.some(twins, "source")["source"].map(repr))


def redundant(pairs: np.ndarray, rank: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The samples to drop so that of no pair both stay, ascending, and the one that stays in place of each: int (k,) both.

    `pairs`: int (m, 2); `rank`: int (n,); the one of lower rank has the right to stay, of equals the first. Greedy, in the
    order of ranks: a sample goes only for one that stays. So of a chain A ~ B ~ C, where A is unlike C, B alone goes.
    """
    count = pairs.max(initial=-1) + 1
    rank = np.zeros(count, np.int8) if rank is None else rank
    one, other = np.sort(pairs, axis=1).T
    swapped = rank[other] < rank[one]
    first, second = np.where(swapped, other, one), np.where(swapped, one, other)
    in_turn = np.lexsort([second, rank[second], first, rank[first]])
    gone, kept_for = bytearray(count), np.full(count, -1, np.int32)
    for start in range(0, len(in_turn), 1 << 16):  # Python's numbers are large: a part at a time
        part = in_turn[start : start + (1 << 16)]
        for stays, goes in zip(first[part].tolist(), second[part].tolist(), strict=True):
            if not gone[stays] and not gone[goes]:
                gone[goes] = 1
                kept_for[goes] = stays
    going = np.flatnonzero(kept_for >= 0)
    return going, kept_for[going]


def _across(context: Context, torn: np.ndarray) -> pd.DataFrame:
    """A row for each side of a pair. Of two that are the same, the one goes that is learnt from, or tuned on."""
    if not len(torn):
        return finding.none()
    picture = context.picture

    def reason(rows: np.ndarray, twins: np.ndarray) -> np.ndarray:
        return np.where(picture[rows] == picture[twins], "= ", "~ ").astype(object) + context.names(twins)

    order = {split: order for order, split in enumerate(("", *dataset.SPLITS[::-1]))}
    learnt_from = np.array([order.get(split, 0) for split in context.splits.cat.categories])[context.split_number]
    goes, stays = redundant(torn, learnt_from)
    both = np.concatenate([np.stack([goes, stays], axis=1), torn])  # of several pairs of a sample, the first counts
    action = np.repeat(["drop", ""], [len(goes), len(torn)])
    return finding.pairs(both[:, 0], both[:, 1], reason, action=action)


def _is_leak(context: Context) -> bool:
    """Whether so many held-back pictures have a near twin elsewhere that results on them are worth nothing."""
    held_back = context.splits.isin(["validation", "test"]).to_numpy()
    seen = np.unique(_near(context)[:, 0])
    return bool(held_back.any() and held_back[seen].sum() / held_back.sum() > context.limits.max_near_leakage)


def _near(context: Context) -> np.ndarray:
    return _torn(context, context.near)


def _torn(context: Context, pairs: np.ndarray) -> np.ndarray:
    """Those pairs that lie in two splits, each both ways round."""
    splits = context.split_number
    torn = pairs[splits[pairs[:, 0]] != splits[pairs[:, 1]]]
    return np.concatenate([torn, torn[:, ::-1]])
