"""Figures that say whether a picture shows anything: light, contrast, information, sharpness. Vectorised over pictures."""

import numpy as np
from PIL import Image

SIDE = 256  # pixels: larger pictures are measured at a whole fraction of their size, no longer than this
_GREY = np.zeros((4, 4, 3), np.uint8)
_WINDOW = 9  # pixels, of the blur that sharpness is told by


def reduced(pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """uint8 (h, w, 1|3) -> grey (h', w'), its sides at most SIDE, and its colours as (4, 4, 3); both uint8.

    A grey picture's colours are zeros.
    """
    factor = -(-max(pixels.shape) // SIDE)
    if pixels.shape[2] == 1:
        grey = pixels[:, :, 0]
        return (np.asarray(Image.fromarray(grey).reduce(factor)) if factor > 1 else grey), _GREY
    image = Image.fromarray(pixels)
    image = image.reduce(factor) if factor > 1 else image
    return np.asarray(image.convert("L")), np.asarray(image.resize((4, 4), Image.Resampling.BOX))


def of(grey: np.ndarray) -> dict[str, np.ndarray]:
    """A column of n float32 per measure, of uint8 (n, h, w).

    `brightness`, `contrast`: mean and standard deviation, 0 to 255. `dark_level`, `bright_level`: the levels that 5 % and
    99 % of the pixels do not pass. `common`: share of the most frequent level. `entropy`: bits per pixel (Shannon, 1948).
    `sharpness`: see `sharpness`.
    """
    count = len(grey)
    flat = grey.reshape(count, -1)
    offsets = np.arange(count, dtype=np.intp)[:, None] * 256
    histogram = np.bincount((flat + offsets).ravel(), minlength=count * 256).reshape(count, 256)
    levels = np.arange(256)
    share = histogram / flat.shape[1]
    mean = share @ levels
    reached = share.cumsum(axis=1)
    measures = {
        "brightness": mean,
        "contrast": np.sqrt(np.maximum(share @ levels**2 - mean**2, 0)),
        "dark_level": (reached >= 0.05).argmax(axis=1),
        "bright_level": (reached >= 0.99).argmax(axis=1),
        "common": share.max(axis=1),
        "entropy": -(share * np.log2(np.where(histogram > 0, share, 1))).sum(axis=1),
        "sharpness": sharpness(grey),
    }
    return {name: values.astype(np.float32) for name, values in measures.items()}


def sharpness(grey: np.ndarray) -> np.ndarray:
    """0 blurred to 1 sharp, of uint8 (n, h, w): how much of the steps between neighbours a blur takes away.

    What is blurred already has little to lose. The worse of the two directions counts; 1 where there are no steps at all.
    After Crete et al., "The blur effect" (2007), turned round; in whole numbers, so that it is the same everywhere.
    """
    pixels = grey.astype(np.int32)
    kept = []
    for axis in (1, 2):
        lines = np.moveaxis(pixels, axis, -1)
        half = _WINDOW // 2
        padded = np.concatenate([lines[..., half:0:-1], lines, lines[..., -2 : -half - 2 : -1]], axis=-1)
        sums = np.concatenate([np.zeros_like(padded[..., :1]), padded.cumsum(axis=-1, dtype=np.int32)], axis=-1)
        blurred = sums[..., _WINDOW:] - sums[..., :-_WINDOW]
        steps = np.abs(np.diff(lines)) * _WINDOW
        lost = np.maximum(steps - np.abs(np.diff(blurred)), 0).sum(axis=(1, 2), dtype=np.int64)
        total = steps.sum(axis=(1, 2), dtype=np.int64)
        kept.append(np.where(total > 0, lost / np.maximum(total, 1), 1.0))
    return np.minimum(*kept)
