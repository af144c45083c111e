"""How far the order of time is used: the same clips with their frames in another order."""

import numpy as np

SEED = 0  # of the shuffle: part of the measure, not of an experiment


class Shuffled:
    """Clips, uint8 (n, time, h, w, c), with the frames of each in random order; padding (frames of zeros) stays where it is.

    What is asked for is shuffled, `clips[start:stop]`: they may be mapped files that do not fit into memory.
    """

    def __init__(self, clips: np.ndarray) -> None:
        rng = np.random.default_rng(SEED)
        self.clips, self.orders = clips, np.tile(np.arange(clips.shape[1]), (len(clips), 1))
        for clip, order in zip(clips, self.orders, strict=True):
            shown = np.flatnonzero(clip.any(axis=(1, 2, 3)))
            order[shown] = rng.permutation(shown)

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, some: slice) -> np.ndarray:
        return np.take_along_axis(self.clips[some], self.orders[some][..., None, None, None], axis=1)
