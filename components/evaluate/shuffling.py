"""How far the order of time is used: the same clips with their frames in another order."""

import numpy as np


def shuffled(clips: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Clips, uint8 (n, time, h, w, c), with the frames of each in random order; padding (frames of zeros) stays where it is."""
    mixed = clips.copy()
    for clip, frames in zip(clips, mixed, strict=True):
        shown = np.flatnonzero(clip.any(axis=(1, 2, 3)))
        frames[shown] = clip[rng.permutation(shown)]
    return mixed
