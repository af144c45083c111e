"""Checks of labels: missing, misspelt, too rare, contradicted by the same picture, or by what the picture looks like."""

import difflib
import unicodedata

import numpy as np
import pandas as pd

from components.validate import finding
from components.validate.context import Context


def empty(context: Context) -> pd.DataFrame:
    """Samples without a label, or with a word that stands for none."""
    written = context.rows.loc[context.labels.isna(), "label"].fillna("")
    return finding.rows(written.index, ("label " + written.map(repr)).where(written != "", "no label"))


def unknown(context: Context) -> pd.DataFrame:
    """Labels that look like a slip for a more frequent one: case, spaces, accents' encoding, a letter or two."""
    counts = context.labels.value_counts()
    meant: dict[str, str] = {}
    plain = {label: unicodedata.normalize("NFC", label).strip().casefold() for label in counts.index}
    known: dict[str, str] = {}
    for label in counts.index:  # the most frequent comes first
        # A misspelling is rare beside what it is for; short names (A1, A2) differ by a letter on purpose.
        close = [
            other for other in difflib.get_close_matches(plain[label], known, n=1, cutoff=0.6)
            if _is_slip(plain[label], other) and counts[label] * 20 <= counts[known[other]]
        ]  # fmt: skip
        if plain[label] in known:
            meant[label] = known[plain[label]]
        elif close:
            meant[label] = known[close[0]]
        else:
            known[plain[label]] = label
    said = {label: f"label {label!r}, did you mean {other!r}?" for label, other in meant.items()}
    bad = context.labels[context.labels.isin(list(meant))]
    return finding.rows(bad.index, bad.map(said), suggested=bad.map(meant))


def one_class(context: Context) -> str | None:
    """Fewer than two classes: nothing to tell apart."""
    count = len(context.classes)
    return None if count >= 2 else f"{count} {'class' if count == 1 else 'classes'}, need at least 2"


def too_small(context: Context) -> pd.DataFrame:
    """Classes with too few samples to split, let alone learn."""
    least = context.limits.min_class_size
    said = {label: f"{label!r} {size} < {least}" for label, size in context.labels.value_counts().items() if size < least}
    bad = context.labels[context.labels.isin(list(said))]
    return finding.rows(bad.index, bad.map(said))


def missing(context: Context) -> pd.DataFrame:
    """Classes that one of the official splits does not have."""
    if not context.official:
        return finding.none()
    there = pd.crosstab(context.labels, context.splits) > 0
    absent = {label: ", ".join(split for split in context.official if not row[split]) for label, row in there.iterrows()}
    said = {label: f"{label!r} is missing in {splits}" for label, splits in absent.items() if splits}
    bad = context.labels[context.labels.isin(list(said))]
    return finding.rows(bad.index, bad.map(said))


def conflict(context: Context) -> pd.DataFrame:
    """The same picture, pixel for pixel, with two labels."""
    torn = context.clashes(context.labels)
    return finding.pairs(torn[:, 0], torn[:, 1], lambda row, twin: _says(context, row, twin, "="))


def near_conflict(context: Context) -> pd.DataFrame:
    """Pictures that look the same, with two labels."""
    one, other = context.near.T
    labels = context.labels.to_numpy(object)
    clash = np.array(
        [a is not None and b is not None and a != b for a, b in zip(labels[one], labels[other], strict=True)], bool
    )
    both = np.concatenate([context.near[clash], context.near[clash][:, ::-1]])
    return finding.pairs(both[:, 0], both[:, 1], lambda row, twin: _says(context, row, twin, "~"))


def suspect(context: Context) -> pd.DataFrame:
    """Labels that a cheap model, which never saw them, is sure are wrong; the surest first."""
    opinion = context.opinion
    if opinion is None:
        return finding.none()
    positions = np.flatnonzero(opinion.suspect & (opinion.trust < context.limits.max_label_trust))
    positions = positions[np.argsort(opinion.trust[positions], kind="stable")]
    names = np.array(context.classes, object)[opinion.best[positions]]
    labels = context.labels.to_numpy(object)[positions]
    reasons = [
        f"label {label!r}, looks like {name!r} ({label!r} at {trust:.0e})"
        for label, name, trust in zip(labels, names, opinion.trust[positions], strict=True)
    ]
    return finding.rows(pd.Index(positions), pd.Series(reasons, index=positions, dtype=object), suggested=names)


def _is_slip(one: str, other: str) -> bool:
    """At most two letters replaced, left out, added or swapped, in words of at least three, and no difference in digits."""
    matcher = difflib.SequenceMatcher(None, one, other, autojunk=False)
    edits = max(len(one), len(other)) - sum(block.size for block in matcher.get_matching_blocks())
    digits = [character for character in one if character.isdigit()] == [c for c in other if c.isdigit()]
    return min(len(one), len(other)) >= 3 and edits <= (1 if len(one) < 6 else 2) + (sorted(one) == sorted(other)) and digits


def _says(context: Context, row: int, twin: int, sign: str) -> str:
    return f"{context.labels.iat[row]!r} {sign} {context.name(twin)} {context.labels.iat[twin]!r}"
