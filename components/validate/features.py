"""What models of the checks see of a picture: the one place that would read a pretrained network's vectors instead."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.shared.data import manifest as manifests

COLUMNS = {"features": manifests.FEATURES, "thumbnail": manifests.THUMBNAIL}  # of the manifest, and their bytes
LENGTH = manifests.FEATURES + manifests.THUMBNAIL // 4


def read(manifest: Path) -> Iterator[np.ndarray]:
    """The features of all samples, uint8 (rows, LENGTH), a part of the manifest at a time; zeros for what does not decode."""
    for columns in zip(*(manifests.read_bytes(manifest, name) for name in COLUMNS), strict=True):
        yield of(*columns)


def of(gradients: np.ndarray, thumbnails: np.ndarray) -> np.ndarray:
    """Gradients and colours, and the thumbnail at half its size: of uint8 (n, FEATURES) and (n, THUMBNAIL), uint8 (n, LENGTH)."""
    rows = thumbnails.reshape(-1, 8, 2, 16)
    pairs = np.add(rows[:, :, 0], rows[:, :, 1], dtype=np.uint16)
    small = (pairs[:, :, ::2] + pairs[:, :, 1::2]) // 4
    return np.concatenate([gradients, small.astype(np.uint8).reshape(len(gradients), manifests.THUMBNAIL // 4)], axis=1)
