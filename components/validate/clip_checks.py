"""Checks of clips: are they whole, do they move, and does something give the label away that is no motion."""

import numpy as np
import pandas as pd

from components.validate import finding, picture_checks, suspects
from components.validate.context import Context


def frozen(context: Context) -> pd.DataFrame:
    """Clips in which nothing moves: every frame is the same picture."""
    clips = context.frame_digests[context.decoded[context.is_clip]]
    still = clips[clips.map(lambda digests: len(set(digests)) == 1).astype(bool)]
    return finding.rows(still.index, context.column("frames")[still.index].astype(str) + " frames, all the same")


def odd_length(context: Context) -> pd.DataFrame:
    """Clips much longer or shorter than the others: what is too long is thinned, what is short is padded and masked."""
    frames = context.column("frames")[context.is_clip].astype(float)
    bad = frames[picture_checks.factor(frames) > context.limits.max_odd_length].astype(int)
    return finding.rows(bad.index, bad.astype(str) + f" frames ({picture_checks.spread(frames)})")


def kind_mix(context: Context) -> pd.DataFrame:
    """Single frames among clips, or clips among stills: whichever is rarer."""
    many = context.is_clip.mean() >= 0.5
    return finding.rows(context.is_clip != many, "a single frame among clips" if many else "a clip among stills")


def length_shortcut(context: Context) -> str | None:
    """The number of frames, or of those that repeat another, predicts the label: a network that counts scores better than it deserves."""
    known = context.is_clip & context.labels.notna() & context.decoded
    labels = context.labels[known].astype("str")
    if known.sum() < 2 * suspects.FOLDS or labels.nunique() < 2:
        return None
    frames = context.column("frames")[known]
    distinct = context.frame_digests[labels.index].map(lambda digests: len(set(digests)))
    by_length, by_distinct = _predicted_by(frames, labels), _predicted_by(distinct, labels)
    sizes = labels.value_counts().to_numpy()
    # Without repeats both are the same; of clips filled up to one length only the second tells.
    if by_distinct > by_length:
        accuracy, numbers, what = by_distinct, frames - distinct, "how many frames repeat another one"
        remedy = f"each frame taken once, the shortest clip that moves has {distinct[distinct > 1].min()}"
    else:
        accuracy, numbers, what = by_length, frames, "the number of frames alone"
        remedy = f"the shortest clip has {frames.min()}"
    if accuracy <= suspects.blind(np.full(len(sizes), 1 / len(sizes)), sizes):
        return None
    means = numbers.groupby(labels).mean()
    few, many = means.idxmin(), means.idxmax()
    told = _shortcut(context, accuracy, len(sizes), f"{what} ({few!r} {means[few]:.1f} a clip, {many!r} {means[many]:.1f})")
    return told and f"{told}; {remedy}"


def _predicted_by(numbers: pd.Series, labels: pd.Series) -> float:
    """How often the label that has the largest share of a clip's number is its own, the mean over classes."""
    table = pd.crosstab(labels, numbers).to_numpy()
    sizes = table.sum(axis=1, keepdims=True)
    share = table / sizes
    # The largest share that another class has of a number: the second largest for the class that has the largest itself.
    first, second = np.argmax(share, axis=0), np.partition(share, -2, axis=0)[-2]
    others = np.where(np.arange(len(table))[:, None] == first, second, share.max(axis=0))
    # A clip must not vouch for itself: it is left out of its own class's share.
    own = (table - 1) / np.maximum(sizes - 1, 1)
    right = np.where((table > 0) & (own > others), table, 0).sum(axis=1)
    return float(np.mean(right / sizes[:, 0]))


def frame_shortcut(context: Context) -> str | None:
    """A single frame predicts the label: the order of time need not be learnt."""
    if not context.is_clip.any() or context.opinion is None or not context.opinion.knows:
        return None
    return _shortcut(context, context.opinion.accuracy, len(context.classes), "the middle frame alone, to a linear model,")


def _shortcut(context: Context, accuracy: float, classes: int, what: str) -> str | None:
    """`max_shortcut` is the share of the way from guessing (0) to certainty (1)."""
    gained = (accuracy - 1 / classes) / (1 - 1 / classes)
    if gained <= context.limits.max_shortcut:
        return None
    return f"{what} predicts the label in {accuracy:.0%} of the cases (mean over classes; a guess: {1 / classes:.0%})"
