"""Near twins: pictures that are the same to the eye. An index finds candidates, a second look at the pixels decides."""

import itertools
from collections.abc import Iterator

import numpy as np

_BITS = 64
_NEIGHBOURS = 48  # in one bucket of the index, how many of those that follow are compared: keeps the work linear
_CHUNK = 1 << 16  # pairs whose pixels are held at once


def pairs(hashes: np.ndarray, thumbnails: np.ndarray, *, bits: int, correlation: float) -> np.ndarray:
    """(m, 2) positions of near twins, the smaller first, ordered.

    `hashes`: uint64 (n,) perceptual hashes, at most `bits` of which differ; `thumbnails`: uint8 (n, pixels), correlated at
    least that much. Hashes that differ in b bits agree in at least two of b + 2 bands: every choice of two bands is sorted
    once, and only neighbours there are compared (multi-index hashing; Norouzi et al., 2012). No all-pairs comparison.
    """
    found = [
        pair[_correlated(thumbnails, pair) >= correlation]
        for candidates in _candidates(hashes, bits)
        for pair in np.array_split(candidates, range(_CHUNK, len(candidates), _CHUNK))
    ]
    whole = np.sort(np.concatenate([*found, np.empty((0, 2), np.intp)]), axis=1)
    return np.unique(whole, axis=0)


def _candidates(hashes: np.ndarray, bits: int) -> Iterator[np.ndarray]:
    bands = _bands(bits + 2)
    for chosen in itertools.combinations(range(len(bands)), 2):
        mask = bands[chosen[0]] | bands[chosen[1]]
        key = hashes & mask
        order = np.lexsort((hashes, key))
        key, values = key[order], hashes[order]
        alive = np.arange(len(order))
        for step in range(1, _NEIGHBOURS + 1):
            alive = alive[alive + step < len(order)]
            alive = alive[key[alive] == key[alive + step]]
            if not len(alive):
                break
            differing = values[alive] ^ values[alive + step]
            # A pair that agrees in several choices of bands is looked at in the first alone.
            near = alive[(np.bitwise_count(differing) <= bits) & _is_first(differing, bands, chosen)]
            if len(near):
                yield np.stack([order[near], order[near + step]], axis=1)


def _bands(count: int) -> list[np.uint64]:
    edges = np.linspace(0, _BITS, count + 1).astype(int).tolist()
    return [np.uint64((1 << high) - (1 << low)) for low, high in itertools.pairwise(edges)]


def _is_first(differing: np.ndarray, bands: list[np.uint64], chosen: tuple[int, int]) -> np.ndarray:
    earlier = [index for index in range(chosen[1]) if index not in chosen]
    return np.all([(differing & bands[index]) != 0 for index in earlier], axis=0) if earlier else np.ones(len(differing), bool)


def _correlated(thumbnails: np.ndarray, pair: np.ndarray) -> np.ndarray:
    """Pearson's correlation of the pixels of each pair; whole-number sums, so that it is the same everywhere."""
    one, other = (thumbnails[pair[:, side]].astype(np.int64) for side in (0, 1))
    count = thumbnails.shape[1]
    sums = one.sum(axis=1), other.sum(axis=1)
    squares = [count * np.einsum("ij,ij->i", side, side) - total**2 for side, total in zip((one, other), sums, strict=True)]
    product = count * np.einsum("ij,ij->i", one, other) - sums[0] * sums[1]
    return product / np.sqrt(np.maximum(squares[0].astype(float) * squares[1], 1))
