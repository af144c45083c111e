"""Checks of clips: are they whole, do they move, and does something give the label away that is no motion."""

import numpy as np
import pandas as pd

from components.validate import found, suspects
from components.validate.look import Look


def size(look: Look) -> pd.DataFrame:
    """Clips whose frames differ in size."""
    sizes = look.rows["frame_sizes"]
    bad = sizes[sizes > 1].astype(int)
    return found.rows(bad.index, bad.astype(str) + " sizes of frames")


def gap(look: Look) -> pd.DataFrame:
    """Clips whose frames' numbers leave one out."""
    missing = look.rows["frame_gap"].dropna()
    return found.rows(missing.index, missing.astype(str) + " is missing")


def twin(look: Look) -> pd.DataFrame:
    """Clips in which a frame's number comes twice."""
    twice = look.rows["frame_twin"].dropna()
    return found.rows(twice.index, twice.astype(str) + " comes twice")


def frozen(look: Look) -> pd.DataFrame:
    """Clips in which nothing moves: every frame is the same picture."""
    clips = look.rows.loc[look.is_clip & look.decoded, ["frames", "frame_digests"]]
    still = clips[clips["frame_digests"].map(lambda digests: len(set(digests)) == 1).astype(bool)]
    return found.rows(still.index, still["frames"].astype(str) + " frames, all the same")


def odd_length(look: Look) -> pd.DataFrame:
    """Clips much longer or shorter than the others: what is too long is thinned, what is short is padded and masked."""
    frames = look.rows.loc[look.is_clip, "frames"].astype(float)
    bad = frames[np.exp(np.abs(np.log(frames / frames.median()))) > look.limits.max_odd_length].astype(int)
    if bad.empty:
        return found.none()
    low, middle, high = (f"{value:.0f}" for value in (frames.min(), frames.median(), frames.max()))
    return found.rows(bad.index, bad.astype(str) + f" frames (min {low}, median {middle}, max {high})")


def kind_mix(look: Look) -> pd.DataFrame:
    """Single frames among clips, or clips among stills: whichever is rarer."""
    clips = look.is_clip
    if clips.mean() >= 0.5:
        return found.rows(~clips, "a single frame among clips")
    return found.rows(clips, "a clip among stills")


def length_shortcut(look: Look) -> str | None:
    """The number of frames that differ tells the label: a network that counts them looks better than it is."""
    known = look.is_clip & look.labels.notna()
    if known.sum() < 2 * suspects.FOLDS or look.labels[known].nunique() < 2:
        return None
    # A clip that was filled up to a length by repeating frames is as long as what differs in it.
    lengths = look.rows.loc[known, "frame_digests"].map(lambda digests: 0 if digests is None else len(set(digests)))
    table = pd.crosstab(look.labels[known], lengths).to_numpy()
    sizes = table.sum(axis=1, keepdims=True)
    share = table / sizes
    right = np.zeros(len(table))
    for label, counts in enumerate(table):
        # A clip must not vouch for itself: it is left out of its own class's share.
        own = (counts - 1) / max(sizes[label, 0] - 1, 1)
        right[label] = counts[(counts > 0) & (own > np.delete(share, label, axis=0).max(axis=0))].sum()
    return _shortcut(look, float(np.mean(right / sizes[:, 0])), len(table), "the number of frames alone")


def frame_shortcut(look: Look) -> str | None:
    """A single frame tells the label already: the order of time is not what is learnt."""
    if not look.is_clip.any() or look.opinion is None:
        return None
    return _shortcut(look, look.opinion.accuracy, len(look.classes), "the middle frame alone, to a linear model,")


def _shortcut(look: Look, accuracy: float, classes: int, what: str) -> str | None:
    """`max_shortcut` is the share of the way from guessing (0) to certainty (1)."""
    gained = (accuracy - 1 / classes) / (1 - 1 / classes)
    if gained <= look.limits.max_shortcut:
        return None
    return f"{what} tells the label in {accuracy:.0%} of the cases (mean over classes; a guess: {1 / classes:.0%})"
