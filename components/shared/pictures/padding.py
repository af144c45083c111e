"""Frames of zeros stand for padding in a clip. So a frame that is there is never black all over."""

import numpy as np


def lifted(frames: np.ndarray) -> np.ndarray:
    """uint8 (..., h, w, c), frames that are there: those that are black all over are raised by one level in 255.

    Whatever makes or changes frames of a clip has to end with this.
    """
    black = ~frames.any(axis=(-3, -2, -1))
    return np.where(black[..., None, None, None], np.uint8(1), frames) if black.any() else frames


def padded(frames: np.ndarray, time: int) -> np.ndarray:
    """uint8 (n, h, w, c), n <= time -> (time, h, w, c): a clip as networks take it."""
    return np.concatenate([lifted(frames), np.zeros((time - len(frames), *frames.shape[1:]), np.uint8)])
