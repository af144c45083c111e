"""What models of the checks see of a picture: a pretrained network's features where `embed` wrote some, else gradients and colours."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from components.shared.data import embeddings as form
from components.shared.data import manifest as manifests
from components.shared.data.embeddings import Embeddings
from components.shared.errors import CannotRun

COLUMNS = {"features": manifests.FEATURES, "thumbnail": manifests.THUMBNAIL}  # of the manifest, and their bytes
LENGTH = manifests.FEATURES + manifests.THUMBNAIL // 4
_PIECE = 8192  # rows at once


def pretrained(folder: Path | None, manifest: Path) -> Embeddings | None:
    """What `embed` wrote of this very data; None where there is nothing, or where its network has learnt these labels.

    Raises CannotRun when it is about other data, or damaged.
    """
    made = form.read(folder) if folder else None
    if made and made.model:
        print(f"{folder}: by a network that was trained on these labels ({made.model}), and would agree with them: not used")
        return None
    digest, rows = manifests.data_digest(manifest), manifests.starts(manifest)[-1][0]
    if made and (made.data_digest, made.rows) != (digest, rows):
        raise CannotRun(
            f"{folder}: about other data ({made.rows:,} samples of {made.data_digest}, expected {rows:,} of {digest}); "
            "`dvc repro embed` makes it anew"
        )
    return made


def made_by(embeddings: Embeddings | None, manifest: Path) -> str:
    """What made the features: those of two makes are not to be compared."""
    if embeddings is None:
        return manifests.measured_by(manifest)[0]
    return f"{embeddings.network} {embeddings.sha256} {embeddings.side} {embeddings.frames}"


def read(embeddings: Embeddings | None, manifest: Path) -> Iterator[np.ndarray]:
    """The features of all samples, uint8 (rows, d), some rows at a time; the same for all that do not decode."""
    if embeddings:
        for start in range(0, embeddings.rows, _PIECE):
            yield embeddings.levels[start : start + _PIECE]
    else:
        for columns in zip(*(manifests.read_bytes(manifest, name) for name in COLUMNS), strict=True):
            yield of(*columns)


def of(gradients: np.ndarray, thumbnails: np.ndarray) -> np.ndarray:
    """Gradients and colours, and the thumbnail at half its size: of uint8 (n, FEATURES) and (n, THUMBNAIL), uint8 (n, LENGTH)."""
    rows = thumbnails.reshape(-1, 8, 2, 16)
    pairs = np.add(rows[:, :, 0], rows[:, :, 1], dtype=np.uint16)
    small = (pairs[:, :, ::2] + pairs[:, :, 1::2]) // 4
    return np.concatenate([gradients, small.astype(np.uint8).reshape(len(gradients), manifests.THUMBNAIL // 4)], axis=1)
