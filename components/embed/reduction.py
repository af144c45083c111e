"""From a network's features to vectors that are small enough to search through: principal components, and an index of them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from components.shared import files, scratch
from components.shared.data import embeddings
from components.shared.progress_bar import progress_bar

FITTED = 20_000  # rows that the directions are found in; more change them by no more than noise
PIECE = 8192  # rows at once

Read = Callable[[], Iterator[tuple[np.ndarray, np.ndarray]]]  # -> rows (n,), features float16 (n, features), piece by piece


def project(read: Read, usable: np.ndarray, dimensions: int, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Write the directions of most variance and every vector along them; returns the vectors, mapped, and which rows have one.

    `usable`, bool (rows,): the rows that may have one; `read`, which is asked twice: those that have features, and these. Not whitened:
    the first directions tell most.
    """
    from threadpoolctl import threadpool_limits

    with threadpool_limits(1):  # sums depend on the number of threads, and so would the vectors
        projection, there = _directions(_some(read, usable, dimensions), dimensions), np.zeros(len(usable), bool)
        np.save(folder / embeddings.PROJECTION, projection, allow_pickle=False)
        vectors = scratch.mapped(folder / embeddings.VECTORS, (len(usable), len(projection) - 1), "float16")
        levels = scratch.mapped(folder / embeddings.LEVELS, (len(usable), embeddings.WIDTH), "uint8")
        for rows, features in read():
            there[rows] = usable[rows]
            rows, features = rows[usable[rows]], features[usable[rows]]
            vectors[rows], levels[rows] = embeddings.projected(features, projection), embeddings.levels(features)
    vectors.flush()
    levels.flush()
    return vectors, there


def _some(read: Read, usable: np.ndarray, dimensions: int) -> np.ndarray:
    """float32 (n, features) of FITTED rows at most, drawn by a fixed seed: part of the measure, no knob."""
    rows = np.flatnonzero(usable)
    drawn = np.zeros(len(usable), bool)
    drawn[np.random.default_rng(0).choice(rows, min(FITTED, len(rows)), replace=False)] = True
    found = [features[drawn[rows]].astype(np.float32) for rows, features in read()]
    return np.concatenate(found or [np.zeros((0, dimensions), np.float32)])


def _directions(features: np.ndarray, dimensions: int) -> np.ndarray:
    """float32 (1 + d, features): the mean, and the principal components; no more of them than there are rows."""
    from sklearn.decomposition import PCA

    if len(features) < 2:  # nothing varies
        return np.concatenate([np.zeros((1, features.shape[1])), np.eye(dimensions, features.shape[1])]).astype(np.float32)
    found = PCA(min(dimensions, *features.shape), svd_solver="covariance_eigh").fit(features)
    return np.concatenate([found.mean_[None], found.components_]).astype(np.float32)


def index(vectors: np.ndarray, there: np.ndarray, folder: Path) -> None:
    """Write an index of the rows that are `there` by cosine (Malkov and Yashunin, 2018), by one thread: so it is the same each time."""
    from usearch.index import Index

    made = Index(ndim=vectors.shape[1], metric="cos", dtype="f16", expansion_add=64)
    rows = np.flatnonzero(there)
    with progress_bar(total=len(rows), name="index") as bar:
        for start in range(0, len(rows), PIECE):
            few = rows[start : start + PIECE]
            made.add(few.astype(np.uint64), vectors[few], threads=1)
            bar.update(len(few))
    with files.room(folder, needed=made.serialized_length):
        made.save(folder / embeddings.INDEX)
