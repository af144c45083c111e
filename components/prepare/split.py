"""Which sample goes where: stratified by label, seeded, and never a group (or pictures that look the same) on two sides."""

import hashlib

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from components.prepare.config import PrepareConfig
from components.shared import screen
from components.shared.data.dataset import SPLITS
from components.shared.data.manifest import firsts
from components.shared.errors import Refused


def assign(rows: pd.DataFrame, unit: np.ndarray, config: PrepareConfig) -> np.ndarray:
    """The split of each row, an index of SPLITS: int8 (n,); -1 for an official split of another name.

    `rows`: label, group and split (None where there is none), and `key`, uint64, of its picture. `unit`: int (n,), see `units`.
    Official splits are kept. What they lack is taken out of the training part: fractions are of all samples where there
    is no official split, and of the training part where there is one. Raises Refused when it cannot be done.
    """
    train = SPLITS.index("train")
    split = np.where(rows["split"].isna(), np.int8(train), pd.Categorical(rows["split"], SPLITS).codes)
    _refuse_torn_groups(rows, split)
    official = set(rows["split"].dropna().unique())
    # What has a twin in an official split stays in training: drawn, it would be a twin across two sides that are held back.
    tied = np.isin(unit, unit[split != train])
    if (tied & (split == train)).any():
        print(f"prepare: {screen.number((tied & (split == train)).sum(), 'training sample')} together with some of an official split: "
              "kept in training")  # fmt: skip
    for name, fraction in (("test", config.test_fraction), ("validation", config.validation_fraction)):
        if name in official:
            continue
        if name == "validation" and "test" not in official:
            fraction /= 1 - config.test_fraction  # of all samples, so that the two knobs mean the same
        # Where few units of a class can move, the first draw leaves the second one its part of them.
        later = config.validation_fraction if name == "test" and "validation" not in official else 0.0
        part = fraction / (fraction + later)
        drawn = _drawn(rows, unit, split == train, ~tied, name=name, fraction=fraction, part=part, seed=config.split_seed)
        split[drawn] = SPLITS.index(name)
    _refuse_missing_classes(rows, split, unit)
    return split


def units(key: np.ndarray, group: pd.Series, together: np.ndarray) -> np.ndarray:
    """int (n,): rows with the same number belong together: by a group, a picture or a pair, directly or through others.

    `key`: uint64 (n,), equal for equal pictures; `group`: None where there is none; `together`: int (m, 2), pairs of rows.
    """
    links = [together.astype(np.int32).T]
    groups = pd.factorize(group)[0]
    for codes, known in ((key, np.arange(len(key), dtype=np.int32)), (groups, np.flatnonzero(groups >= 0))):
        first = known[firsts(codes[known].astype(np.uint64))]
        again = first != known
        links.append(np.stack([known[again], first[again]]))
    source, target = np.concatenate(links, axis=1)
    graph = coo_array((np.ones(len(source), bool), (source, target)), shape=(len(key), len(key)))
    return connected_components(graph, directed=False)[1]


def _drawn(
    rows: pd.DataFrame,
    unit: np.ndarray,
    pool: np.ndarray,
    free: np.ndarray,
    *,
    name: str,
    fraction: float,
    part: float,
    seed: int,
):
    """Positions of about `fraction` of the `pool`: of each class that share, units whole, those alone that are `free`.

    Units are drawn in the order of a hash of what they hold, of the seed and of the split's name. So adding pictures hardly
    moves the others: what a model was trained on does not turn up in the next version's test split, where it would flatter
    that model. And no two seeds or splits have draws that depend on each other.
    """
    positions = np.flatnonzero(pool).astype(np.int32)
    labels = pd.Categorical(rows["label"])
    codes, classes = labels.codes[positions], labels.categories
    there = np.zeros(unit.max() + 1, bool)
    there[unit[positions]] = True
    of = (np.cumsum(there, dtype=np.int32) - 1)[unit[positions]]
    size = np.bincount(of)
    # A unit is filed under its most frequent label, and known by the smallest of its keys.
    label = np.empty(len(size), codes.dtype)
    label[of] = codes
    several = size[of] > 1
    pairs, counts = np.unique(of[several].astype(np.int64) * len(classes) + codes[several], return_counts=True)
    frequent = pairs[np.lexsort((-counts, pairs // len(classes)))]
    numbers, first = np.unique(frequent // len(classes), return_index=True)
    label[numbers] = frequent[first] % len(classes)
    key = np.full(len(size), np.iinfo(np.uint64).max, np.uint64)
    np.minimum.at(key, of, _keys(rows)[positions])
    salt = hashlib.blake2b(f"{seed} {name}".encode(), digest_size=32).digest()
    hashes = bytearray()  # an object for each at once would be a hundred bytes
    for one in key:
        hashes += hashlib.blake2b(one.tobytes(), key=salt, digest_size=8).digest()
    order = np.lexsort((np.frombuffer(hashes, "<u8"), label))
    can_move = np.ones(len(size), bool)
    can_move[of[~free[positions]]] = False
    chosen, stay = np.zeros(len(size), bool), []
    for members in np.split(order, np.flatnonzero(np.diff(label[order])) + 1):
        quota = size[members].sum() * fraction
        movable = members[can_move[members]]
        taken = _filled(movable, size, quota, part * size[movable][size[movable] <= quota].sum())
        chosen[taken] = True
        too_large = members[(size[members] > max(quota, 1)) & ~chosen[members]]
        stay += [(int(size[one]), classes[label[one]]) for one in too_large]
    if stay:
        largest, of_class = max(stay)
        print(f"prepare: {name}: {screen.number(len(stay), 'set')} of samples that belong together, larger than the class's share, kept "
              f"in training (the largest: {screen.number(largest, 'sample')}, most of them {of_class!r})")  # fmt: skip
    return positions[chosen[of]]


def _filled(members: np.ndarray, size: np.ndarray, quota: float, most: float) -> list[int]:
    """The first units, in their order, that fill a class's quota; one that would pass it by more than half of itself stays.

    A unit larger than the quota stays, too: it would be the whole of its class there. Where all are that large, the smallest
    one goes, if that leaves at least half of the class. `most`: what the small ones may give, so that another draw finds some.
    """
    share = min(quota, most)
    taken, chosen = 0, []
    for one in members[size[members] <= quota]:
        if taken + size[one] / 2 <= share:
            chosen.append(one)
            taken += size[one]
        elif share - taken < 0.5:
            break
    if not chosen and quota >= 0.5 and len(members):
        smallest = members[size[members].argmin()]
        chosen = [smallest] if 2 * size[smallest] <= size[members].sum() else []
    return chosen


def _keys(rows: pd.DataFrame) -> np.ndarray:
    """uint64 (n,): of the group, or of the picture where there is none."""
    codes, groups = pd.factorize(rows["group"])
    hashes = [hashlib.blake2b(str(group).encode(), digest_size=8).digest() for group in groups]
    of_group = np.frombuffer(b"".join(hashes), "<u8")
    return np.where(codes >= 0, of_group[codes] if len(groups) else 0, rows["key"].to_numpy(np.uint64))


def _refuse_torn_groups(rows: pd.DataFrame, split: np.ndarray) -> None:
    """Only an official split can tear a group apart: ours takes units whole."""
    grouped = rows["group"].notna().to_numpy()
    sides = pd.Series(split[grouped]).groupby(rows["group"][grouped].reset_index(drop=True), observed=True).nunique()
    faults = [
        f"E_GROUP_LEAKAGE prepare: group {name!r} is on two sides of the official split; move it into one"
        for name in sides[sides > 1].index[:20]
    ]
    if faults:
        raise Refused(*faults)


def _refuse_missing_classes(rows: pd.DataFrame, split: np.ndarray, unit: np.ndarray) -> None:
    labels = pd.Categorical(rows["label"])
    present = [np.bincount(labels.codes[split == number], minlength=len(labels.categories)) for number in range(len(SPLITS))]
    missing = [(labels.categories[label], SPLITS[number]) for label, number in np.argwhere(np.stack(present, axis=1) == 0)]
    if not missing:
        return
    apart = units(rows["key"].to_numpy(), rows["group"], np.empty((0, 2), int))
    faults = []
    for label, name in missing[:20]:
        of_class = (rows["label"] == label).to_numpy()
        whole, alone = (len(np.unique(number[of_class])) for number in (unit, apart))
        fix = "add pictures or groups of it"
        if whole < alone:
            fix = (f"they are {screen.number(whole, 'set')} of samples that look the same or share frames: add others, or set "
                   "prepare.keep_alike_together to false")  # fmt: skip
        faults.append(f"E_CLASS_MISSING prepare: class {label!r} has no sample in {name} ({of_class.sum():,} in all); {fix}")
    raise Refused(*faults)
