"""Checks of labels: missing, misspelt, too rare, contradicted by the same picture, or by what the picture looks like."""

import re
import unicodedata
from collections.abc import Mapping

import numpy as np
import pandas as pd
from rapidfuzz import process
from rapidfuzz.distance import OSA

from components.shared.data import dataset
from components.validate import finding
from components.validate.context import Context

_RARER = 20  # a misspelling is at least so many times rarer than what it is for


def empty(context: Context) -> pd.DataFrame:
    """Samples without a label, or with a word that stands for none."""
    written = context.rows["label"][context.labels.isna()].astype("str").fillna("")
    return finding.rows(written.index, ("label " + written.map(repr)).where(written != "", "no label"))


def unknown(context: Context) -> pd.DataFrame:
    """Labels that look like a slip for a more frequent one: case, spaces, accents' encoding, or a misspelling that is rare."""
    counts, first = context.label_counts, {}
    for label in counts.index:  # the most frequent comes first
        first.setdefault(_plain(label), label)
    slips = _misspelt({plain: int(counts[label]) for plain, label in first.items()}, context.limits.min_class_size)
    meant = {label: first[slips.get(_plain(label), _plain(label))] for label in counts.index}  # a twin of a slip as the slip is
    reasons = {label: f"label {label!r}, did you mean {other!r}?" for label, other in meant.items() if other != label}
    found = _with_label(context, reasons)
    return found.assign(suggested=context.labels[found.index].astype("str").map(meant))


def _plain(label: str) -> str:
    """What twins have in common. A letter in both cases is two classes, as in handwriting."""
    text = " ".join(unicodedata.normalize("NFC", label).split())
    return text if len(text) == 1 else text.casefold()


def _misspelt(counts: dict[str, int], min_class_size: int) -> dict[str, str]:
    """The label that each rare label is probably meant for: the nearest, of equals the most frequent, which come first.

    A class that is large enough to be learnt is meant as it is written: `boat` is no slip of `goat`. Nor are short names (A1,
    A2) or numbers (lot 12, lot 21) that differ on purpose. Distance: letters replaced, left out, added or swapped (optimal
    string alignment), one at most, two from six letters on.
    """
    frequent = [plain for plain, count in counts.items() if count >= _RARER and len(plain) >= 3]
    meant = {}
    for plain in (plain for plain, count in counts.items() if count < min_class_size and len(plain) >= 3):
        for other, distance, _ in process.extract(plain, frequent, scorer=OSA.distance, score_cutoff=2, limit=None):
            short = min(len(plain), len(other)) < 6
            same_digits = re.findall(r"\d", plain) == re.findall(r"\d", other)
            if distance <= (1 if short else 2) and same_digits and counts[other] >= _RARER * counts[plain]:
                meant[plain] = other
                break
    return meant


def one_class(context: Context) -> str | None:
    """Fewer than two classes: nothing to tell apart."""
    count = len(context.classes)
    return None if count >= 2 else f"{count} {'class' if count == 1 else 'classes'}, need at least 2"


def too_small(context: Context) -> pd.DataFrame:
    """Classes with too few samples to split, let alone learn."""
    least = context.limits.min_class_size
    reasons = {label: f"{label!r} {size} < {least}" for label, size in context.label_counts.items() if size < least}
    return _with_label(context, reasons)


def missing(context: Context) -> pd.DataFrame:
    """Classes that one of the official splits does not have."""
    official = [split for split in dataset.SPLITS if split in context.rows["split"].cat.categories]
    present = context.per_split.iloc[:-1].reindex(columns=official, fill_value=0) > 0
    absent = {label: ", ".join(has.index[~has]) for label, has in present[~present.all(axis=1)].iterrows()}
    return _with_label(context, {label: f"{label!r} is missing in {splits}" for label, splits in absent.items()})


def _with_label(context: Context, reasons: Mapping[str, str]) -> pd.DataFrame:
    """The samples that have one of these labels, and its reason."""
    bad = context.labels[context.labels.isin(list(reasons))].astype("str")
    return finding.rows(bad.index, bad.map(reasons))


def conflict(context: Context) -> pd.DataFrame:
    """The same picture, pixel for pixel, with two labels; `suggested` is the one that fix keeps.

    It is the label that most copies have, else the one that a simple model finds more probable, else that of the first path.
    """
    torn = context.clashes(context.labels)
    if not len(torn):
        return finding.none()
    copies = context.some(np.unique(torn[:, 0]), "source")
    labels = context.labels.iloc[copies.index].astype("str")
    copies = copies.assign(picture=context.picture[copies.index], label=labels, probable=0.0)
    copies["copies"] = copies.groupby(["picture", "label"])["source"].transform("size")
    most = copies["copies"] == copies.groupby("picture")["copies"].transform("max")
    tied = copies[most].groupby("picture")["label"].nunique() > 1
    if tied.any() and context.opinion is not None and context.opinion.knows:
        trust = pd.Series(context.opinion.trust[copies.index], copies.index)
        unjudged = trust.isna().groupby(copies["picture"]).transform("any")  # a side that was not judged has not lost
        copies["probable"] = trust.where(~unjudged, 0.0)
    sides = copies.groupby(["picture", "label"], as_index=False).agg({"copies": "first", "probable": "max", "source": "min"})
    sides = sides.sort_values(["picture", "copies", "probable", "source"], ascending=[True, False, False, True])
    best, second = (sides.groupby("picture").nth(place).set_index("picture") for place in (0, 1))
    more, likelier = best["copies"] > second["copies"], best["probable"] > second["probable"]
    why = pd.Series(np.where(more, "most copies", np.where(likelier, "more probable", "first path")), best.index)
    keeps = copies["picture"].map(best["label"])
    stays = copies["label"] == keeps
    # The copy to keep beside each that goes: the one that is held back furthest, since that one is dropped for no other's sake.
    order = {split: number for number, split in enumerate(dataset.SPLITS)}
    held_back = context.splits[copies.index].astype("str").map(order).fillna(len(order))
    kept = (
        copies[stays]
        .assign(row=copies.index[stays], held_back=held_back)
        .sort_values("held_back", ascending=False, kind="stable")
    )
    goes = copies[~stays]
    kept_for = goes["picture"].map(kept.groupby("picture")["row"].first())
    pairs = np.concatenate([np.stack([goes.index, kept_for], axis=1), torn[np.isin(torn[:, 0], copies.index[stays])]])
    outcome = "; fix keeps " + keeps.map(repr) + " (" + copies["picture"].map(why) + ")"

    def reason(rows: np.ndarray, twins: np.ndarray) -> np.ndarray:
        return _clash(context, rows, twins, "=") + outcome.loc[rows].to_numpy(object)

    action = np.where(np.isin(pairs[:, 0], goes.index), "drop", "keep")
    return finding.pairs(pairs[:, 0], pairs[:, 1], reason, action=action, suggested=keeps.loc[pairs[:, 0]].to_numpy(object))


def near_conflict(context: Context) -> pd.DataFrame:
    """Pictures that look the same, with two labels."""
    one, other = context.near.T
    labels = context.label_number
    clash = (labels[one] != labels[other]) & (labels[one] >= 0) & (labels[other] >= 0)
    both = np.concatenate([context.near[clash], context.near[clash][:, ::-1]])
    return finding.pairs(both[:, 0], both[:, 1], lambda rows, twins: _clash(context, rows, twins, "~"))


def _clash(context: Context, rows: np.ndarray, twins: np.ndarray, sign: str) -> np.ndarray:
    own, others = (context.labels.iloc[each].astype("str").map(repr).to_numpy(object) for each in (rows, twins))
    return own + f" {sign} " + context.names(twins) + " " + others


def _chance(share: float) -> str:
    return f"{100 * share:.2f}%" if share >= 0.0001 else "under 0.01%"


def suspect(context: Context) -> pd.DataFrame:
    """Labels to which a simple model, fitted without them, gives a very low probability; the lowest first."""
    opinion = context.opinion
    if opinion is None or not opinion.knows:
        return finding.none()
    positions = np.flatnonzero(opinion.suspect & (opinion.trust < context.limits.max_label_trust))
    positions = positions[np.argsort(opinion.trust[positions], kind="stable")]
    names = np.array(context.classes, object)[opinion.best[positions]]
    labels = context.labels.iloc[positions].to_numpy(object)
    reasons = [
        f"label {label!r}, looks like {name!r} (chance that {label!r} is right: {_chance(trust)})"
        for label, name, trust in zip(labels, names, opinion.trust[positions], strict=True)
    ]
    return finding.rows(pd.Index(positions), np.array(reasons, object), suggested=names)
