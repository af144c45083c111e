"""Which sample goes where: stratified by label, seeded, and never a group (or a picture that came twice) on two sides."""

import hashlib

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from components.shared.errors import Refused


def assign(rows: pd.DataFrame, *, validation_fraction: float, test_fraction: float, seed: int) -> np.ndarray:
    """The split of each row of the manifest: `train`, `validation` or `test`.

    Official splits are kept. What they lack is taken out of the training part: fractions are of all samples where there
    is no official split, and of the training part where there is one. Raises Refused when it cannot be done.
    """
    split = rows["split"].fillna("train").to_numpy(dtype=object, copy=True)
    _refuse_torn_groups(rows, split)
    official = set(rows["split"].dropna())
    if "test" not in official:
        split[_share(rows, split == "train", test_fraction, seed)] = "test"
    if "validation" not in official:
        # Of all samples without official splits, so that the two knobs mean the same.
        fraction = validation_fraction if "test" in official else validation_fraction / (1 - test_fraction)
        split[_share(rows, split == "train", fraction, seed + 1)] = "validation"
    _refuse_missing_classes(rows, split)
    return split


def units(rows: pd.DataFrame) -> np.ndarray:
    """A number per row; rows with the same number share a group or a picture, directly or through others."""
    nodes = np.arange(len(rows))
    links = []
    picture = rows["pixels_digest"].fillna(rows["id"])
    for key in (picture, rows["group"]):
        known = key.notna().to_numpy()
        codes = pd.factorize(key[known])[0]
        first = nodes[known][np.unique(codes, return_index=True)[1]] if known.any() else nodes[:0]
        links.append((nodes[known], first[codes] if known.any() else first))
    source, target = (np.concatenate(side) for side in zip(*links, strict=True))
    graph = coo_array((np.ones(len(source)), (source, target)), shape=(len(rows), len(rows)))
    return connected_components(graph, directed=False)[1]


def _share(rows: pd.DataFrame, candidates: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Positions of about `fraction` of the candidates: of each class that share, units whole.

    Units are drawn in the order of a hash of what they hold. So adding pictures hardly moves the others: what a model was
    trained on does not turn up in the next version's test split, where it would flatter that model.
    """
    positions = np.flatnonzero(candidates)
    part = rows.iloc[positions]
    picture = part["pixels_digest"].fillna(part["id"])
    # A unit is filed under its most frequent label, and known by the smallest of its keys.
    members = pd.DataFrame({"unit": units(part), "label": part["label"], "key": part["group"].fillna(picture)})
    by_unit = members.groupby("unit")
    table = pd.DataFrame({"key": by_unit["key"].min(), "size": by_unit.size()})
    frequent = members.groupby(["unit", "label"]).size().sort_values(ascending=False, kind="stable").reset_index("label")
    table["label"] = frequent.loc[~frequent.index.duplicated(), "label"]
    table["draw"] = [hashlib.blake2b(f"{seed} {key}".encode(), digest_size=8).hexdigest() for key in table["key"]]
    table = table.sort_values("draw", kind="stable")
    # Each class gives units until it has given its share; a unit that would pass it by more than half of itself stays.
    reached = table.groupby("label")["size"].cumsum() - table["size"] / 2
    quota = table.groupby("label")["size"].transform("sum") * fraction
    return positions[members["unit"].isin(table.index[reached <= quota]).to_numpy()]


def _refuse_torn_groups(rows: pd.DataFrame, split: np.ndarray) -> None:
    """Only an official split can tear a group apart: ours takes units whole."""
    sides = pd.Series(split).groupby(rows["group"].to_numpy()).nunique()
    faults = [
        f"E_GROUP_LEAKAGE prepare: group {name!r} is on two sides of the official split; move it into one"
        for name in sides[sides > 1].index[:20]
    ]
    if faults:
        raise Refused(*faults)


def _refuse_missing_classes(rows: pd.DataFrame, split: np.ndarray) -> None:
    table = pd.crosstab(rows["label"], split).reindex(columns=["train", "validation", "test"], fill_value=0)
    faults = [
        f"E_CLASS_MISSING prepare: class {label!r} has no sample in {name} ({counts.sum()} in all); add pictures or groups of it"
        for label, counts in table.iterrows()
        for name in table.columns[counts == 0]
    ]
    if faults:
        raise Refused(*faults)
