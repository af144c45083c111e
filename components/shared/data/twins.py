"""Near twins: pictures that are the same to the eye. An index finds candidates, a second look at the pixels decides."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from components.shared import scratch
from components.shared.data import manifest as manifests

_BITS = 64
_NEIGHBOURS = 48  # in one bucket of the index, how many of those that follow are compared: keeps the work linear
_CHUNK = 1 << 16  # pairs whose pixels are held at once
_WINDOWS = 50  # clips that follow in the order of rows, with which a clip is compared for a frame: keeps the work linear


def near(manifest: Path, rows: np.ndarray, hashes: np.ndarray, *, bits: int, correlation: float) -> np.ndarray:
    """(m, 2) near twins among these rows of a manifest, the smaller row first, ordered; see `pairs`.

    `rows`: int (n,), ascending, numbered as in `manifest.read`; `hashes`: uint64 (n,).
    """
    if len(rows) < 2:
        return np.empty((0, 2), np.int64)
    # In a file that is mapped, whose pages the system may take back.
    with scratch.folder("twins") as folder:
        thumbnails, start, filled = scratch.mapped(folder / "levels.npy", (len(rows), manifests.THUMBNAIL)), 0, 0
        for part in manifests.read_bytes(manifest, "thumbnail"):
            chosen = rows[filled : np.searchsorted(rows, start + len(part))] - start
            thumbnails[filled : filled + len(chosen)] = part[chosen]
            start, filled = start + len(part), filled + len(chosen)
        return rows[pairs(hashes, thumbnails, bits=bits, correlation=correlation)]


def shared_frames(digests: pd.Series, *, share: float) -> pd.DataFrame:
    """Rows `one` < `other` of clips that have at least this share of the shorter one's frames in common, and that `share`.

    `digests`: row -> the digests of a clip's frames; 0 is a frame of one colour, which is no sign of the same recording.
    """
    frames = digests.explode().astype("int64") if len(digests) else pd.Series(dtype="int64")
    frames = frames[frames != 0]
    table = pd.DataFrame({"row": frames.index, "frame": frames.to_numpy()}).drop_duplicates()
    table = table.sort_values(["frame", "row"])
    both = _neighbours(table["frame"].to_numpy(), table["row"].to_numpy())
    both = both.groupby(["row", "row_other"]).size().rename("frames").reset_index()
    distinct = digests.map(lambda values: len({value for value in values if value}))
    shorter = np.minimum(both["row"].map(distinct), both["row_other"].map(distinct)).astype(float)
    both["share"] = both["frames"] / shorter if len(both) else pd.Series(dtype=float)
    both = both.rename(columns={"row": "one", "row_other": "other"})
    return both[both["share"] >= share].reset_index(drop=True)


def pairs(hashes: np.ndarray, thumbnails: np.ndarray, *, bits: int, correlation: float) -> np.ndarray:
    """(m, 2) positions of near twins, the smaller first, ordered.

    `hashes`: uint64 (n,) perceptual hashes, at most `bits` of which differ; `thumbnails`: uint8 (n, pixels), correlated at
    least that much. Hashes that differ in b bits agree in at least two of b + 2 bands: every choice of two bands is sorted
    once, and only neighbours there are compared (multi-index hashing; Norouzi et al., 2012). No all-pairs comparison.
    """
    sums = thumbnails.sum(axis=1, dtype=np.int64)
    squares = thumbnails.shape[1] * _dot(thumbnails, thumbnails) - sums**2
    found = [np.empty((0, 2), np.intp)]
    for candidates in _candidates(hashes, bits):
        for start in range(0, len(candidates), _CHUNK):
            one, other = candidates[start : start + _CHUNK].T
            product = thumbnails.shape[1] * _dot(thumbnails[one], thumbnails[other]) - sums[one] * sums[other]
            alike = product / np.sqrt(np.maximum(squares[one].astype(float) * squares[other], 1)) >= correlation
            found.append(candidates[start : start + _CHUNK][alike])
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _neighbours(frame: np.ndarray, row: np.ndarray) -> pd.DataFrame:
    """`row` < `row_other` for each frame that two rows share, of sorted frames and rows.

    Windows of one recording follow each other. Of a title that all clips have, there are few such pairs for each.
    """
    following, pairs_of = _following(frame), []
    for step in range(1, _WINDOWS + 1):
        at = np.flatnonzero(following >= step)
        if not len(at):
            break
        pairs_of.append(np.stack([row[at], row[at + step]], axis=1))
    found = np.concatenate([np.empty((0, 2), np.int64), *pairs_of])
    return pd.DataFrame({"row": found[:, 0], "row_other": found[:, 1]})


def _candidates(hashes: np.ndarray, bits: int) -> Iterator[np.ndarray]:
    bands = _bands(bits + 2)
    by_hash = np.argsort(hashes, kind="stable").astype(np.int32)
    for chosen in itertools.combinations(range(len(bands)), 2):
        key = _key(hashes[by_hash], [bands[index] for index in chosen])
        within = np.argsort(key, kind="stable")
        order = by_hash[within]
        values, following = hashes[order], _following(key[within])
        alive = np.arange(len(order), dtype=np.int32)
        for step in range(1, _NEIGHBOURS + 1):
            alive = alive[following[alive] >= step]
            if not len(alive):
                break
            near = alive[np.bitwise_count(values[alive] ^ values[alive + step]) <= bits]
            # A pair that agrees in several choices of bands is looked at in the first alone.
            near = near[_is_first(values[near] ^ values[near + step], [_mask(band) for band in bands], chosen)]
            if len(near):
                yield np.stack([order[near], order[near + step]], axis=1)


def _following(key: np.ndarray) -> np.ndarray:
    """How many of the same key come after each, in a sorted array."""
    last = np.flatnonzero(np.append(key[1:] != key[:-1], True))
    return np.repeat(last.astype(np.int32), np.diff(last, prepend=-1)) - np.arange(len(key), dtype=np.int32)


def _bands(count: int) -> list[tuple[int, int]]:
    """(lowest bit, bit after the highest) of each."""
    return list(itertools.pairwise(np.linspace(0, _BITS, count + 1).astype(int).tolist()))


def _mask(band: tuple[int, int]) -> np.uint64:
    low, high = band
    return np.uint64((1 << high) - (1 << low))


def _key(hashes: np.ndarray, bands: list[tuple[int, int]]) -> np.ndarray:
    """The bits of these bands side by side; in 16 bits, where they fit, since those are sorted by their digits, in linear time."""
    key = np.zeros(len(hashes), np.uint64)
    for low, high in bands:
        key = (key << np.uint64(high - low)) | ((hashes & _mask((low, high))) >> np.uint64(low))
    return key.astype(np.uint16) if sum(high - low for low, high in bands) <= 16 else key


def _is_first(differing: np.ndarray, masks: list[np.uint64], chosen: tuple[int, int]) -> np.ndarray:
    earlier = [masks[index] for index in range(chosen[1]) if index not in chosen]
    return np.all([(differing & mask) != 0 for mask in earlier], axis=0) if earlier else np.ones(len(differing), bool)


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """int64 (n,): products of the rows. Exact in float32 up to 257 pixels, as sums are whole numbers below 2**24."""
    return np.einsum("ij,ij->i", one, other, dtype=np.float32, casting="unsafe").astype(np.int64)
