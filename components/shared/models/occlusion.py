"""Where a network looks: occlusion (Zeiler and Fergus, 2014), which needs nothing but predictions and so fits both networks."""

from collections.abc import Callable

import numpy as np

from components.shared.pictures.padding import lifted

HELD = 64 * 2**20  # bytes of pictures that are predicted at once


def occlusion(predict: Callable, image: np.ndarray, label: int, *, cells: int = 7) -> np.ndarray:
    """How far the probability of `label` falls when a patch is hidden, per cell: float (cells, cells), 0 where it does not.

    `image` is uint8 (h, w, c) or (time, h, w, c); a patch covers two by two cells, takes the picture's mean colour, and hides
    the same place in every frame. Padding stays padding, and no frame becomes it. `predict`: uint8 (n, ...) -> probabilities
    (n, classes).
    """
    height, width = image.shape[-3:-1]
    shown = image.any(axis=(-3, -2, -1)) if image.ndim == 4 else ...
    frames = image[shown]
    mean = frames.mean(axis=tuple(range(image.ndim - 1))).astype(np.uint8) if frames.size else 0
    rows, columns = borders(height, cells), borders(width, cells)

    def hidden(cell: int) -> np.ndarray:
        row, column = divmod(cell, cells)
        top, bottom = rows[max(row - 1, 0)], rows[min(row + 2, cells)]
        left, right = columns[max(column - 1, 0)], columns[min(column + 2, cells)]
        covered = frames.copy()
        covered[..., top:bottom, left:right, :] = mean
        changed = image.copy()
        changed[shown] = lifted(covered) if image.ndim == 4 else covered
        return changed

    few, total = max(1, HELD // image.nbytes), 1 + cells * cells  # the first one is whole
    probabilities = [
        predict(np.stack([hidden(cell - 1) if cell else image for cell in range(start, min(start + few, total))]))[:, label]
        for start in range(0, total, few)
    ]
    whole, *without = np.concatenate(probabilities)
    return np.maximum(whole - np.array(without), 0).reshape(cells, cells)


def borders(side: int, cells: int) -> np.ndarray:
    """Where the cells of a side begin, in pixels, and at last where it ends: int (cells + 1,)."""
    return np.linspace(0, side, cells + 1).round().astype(int)
