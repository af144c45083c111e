"""How far the order of time is used: the same clips with their frames in another order."""

import numpy as np

SEED = 0  # of the shuffle: part of the measure, not of an experiment


def shuffled(clips: np.ndarray) -> np.ndarray:
    """uint8 (n, time, h, w, c) with the frames of each clip in random order; padding (frames of zeros) stays at the end."""
    rng = np.random.default_rng(SEED)
    mixed = np.array(clips)
    for clip in mixed:
        shown = np.flatnonzero(clip.any(axis=(1, 2, 3)))
        clip[shown] = clip[rng.permutation(shown)]
    return mixed
