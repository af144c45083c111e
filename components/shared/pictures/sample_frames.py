"""The frames of a sample as pixels of one size: what a network is shown, whoever asks."""

import numpy as np

from components.shared.data.dataset import Sample
from components.shared.pictures import decode, fit


def pixels(
    sample: Sample, *, height: int, width: int, channels: int, resize: str, max_frames: int, max_pixels: int
) -> np.ndarray | None:
    """uint8 (frames, height, width, channels). A clip that is too long is thinned evenly; None for one without frames.

    Raises Undecodable.
    """
    if not sample.frames:
        return None
    most = min(len(sample.frames), max_frames)
    chosen = np.linspace(0, len(sample.frames) - 1, most).round().astype(int)
    decoded = (decode.decode(sample.frames[time][0], at_least=max(height, width), max_pixels=max_pixels) for time in chosen)
    return np.stack([fit.fit(each.pixels, height=height, width=width, channels=channels, rule=resize) for each in decoded])
