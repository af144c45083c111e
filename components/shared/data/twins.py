"""Near twins: pictures that are the same to the eye. An index finds candidates, a second look at the pixels decides."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.sparse import csr_array

from components.shared import scratch
from components.shared.data import manifest as manifests

_BITS = 64
_NEIGHBOURS = 48  # in one bucket of the index, how many of those that follow are compared: keeps the work linear
_CHUNK = 1 << 15  # pairs whose pixels are held at once
_BLOCK = 1 << 16  # rows that are looked at at once
_WINDOWS = 50  # of the clips that have a frame, how many of those that follow one are compared with it: keeps the work linear


def near(manifest: Path, rows: np.ndarray, *, bits: int, correlation: float) -> np.ndarray:
    """(m, 2) near twins among these rows of a manifest, int (n,), ascending; the smaller row first, ordered; see `pairs`."""
    if len(rows) < 2:
        return np.empty((0, 2), np.int64)
    # In a file that is mapped, whose pages the system takes back.
    with scratch.folder("twins") as folder:
        thumbnails = scratch.mapped(folder / "levels.npy", (len(rows), manifests.THUMBNAIL))
        hashes = np.empty(len(rows), np.uint64)
        start = filled = 0
        tables = manifests.parts(manifest, ["hash"])
        for (_, table), levels in zip(tables, manifests.read_bytes(manifest, "thumbnail"), strict=True):
            chosen = rows[filled : np.searchsorted(rows, start + len(levels))] - start
            here = slice(filled, filled + len(chosen))
            # Not by way of pandas, which rounds whole numbers where one of them is null.
            hashes[here] = table["hash"].fill_null(0).to_numpy()[chosen]
            thumbnails[here] = levels[chosen]
            scratch.let_go(thumbnails)
            start, filled = start + len(levels), here.stop
        return rows[pairs(hashes, thumbnails, bits=bits, correlation=correlation)]


def shared_frames(digests: pd.Series, *, share: float, sides: np.ndarray) -> pd.DataFrame:
    """Rows `one` < `other` of clips that have at least this share of the shorter one's frames in common, and that `share`.

    `digests`: row -> the digests of a clip's frames; 0 is a frame of one colour, which is no sign of the same recording;
    `sides`: int (n,), the split of each. Clips are compared that follow each other among those that have a frame, and each with
    the first one of every side that has it; what two have in common is counted whole, however many others have it too.
    """
    clip = np.repeat(np.arange(len(digests)), digests.map(len).astype(int))
    frame = np.concatenate([np.empty(0, np.int64), *digests])
    table = pd.DataFrame({"frame": frame, "clip": clip})[frame != 0].drop_duplicates().sort_values(["frame", "clip"])
    number, clip = table["frame"].factorize()[0], table["clip"].to_numpy()
    has = csr_array((np.ones(len(clip), np.int32), (clip, number)), shape=(len(digests), number.max(initial=-1) + 1))
    distinct = has.sum(axis=1)
    found = [pd.DataFrame({"one": [], "other": [], "share": []}, dtype=float)]
    for one, other in _sharing(number, clip, sides):
        for start in range(0, len(one), _CHUNK):
            pair = one[start : start + _CHUNK], other[start : start + _CHUNK]
            common = has[pair[0]].multiply(has[pair[1]]).sum(axis=1) / np.minimum(*(distinct[each] for each in pair))
            kept = common >= share
            found.append(pd.DataFrame({"one": pair[0][kept], "other": pair[1][kept], "share": common[kept]}))
    both = pd.concat(found).drop_duplicates(["one", "other"]).sort_values(["one", "other"], ignore_index=True)
    return both.assign(**{name: digests.index[both[name].astype(int)] for name in ("one", "other")})


def _sharing(frame: np.ndarray, clip: np.ndarray, sides: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Pairs of clips that share a frame, int (m,) both, the smaller first, some at a time; of frames and their clips, both sorted."""
    following = _following(frame)
    for step in range(1, min(_WINDOWS, following.max(initial=0)) + 1):
        at = np.flatnonzero(following >= step)
        yield _once(clip[at], clip[at + step])
    for side in np.unique(sides):
        here = np.flatnonzero(sides[clip] == side)
        frames, first = np.unique(frame[here], return_index=True)
        firsts = np.full(frame.max(initial=-1) + 1, -1)
        firsts[frames] = clip[here[first]]
        first = firsts[frame]
        there = (first >= 0) & (first != clip)
        yield _once(np.minimum(first, clip)[there], np.maximum(first, clip)[there])


def _once(one: np.ndarray, other: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of whole numbers without those that come again, sorted."""
    base = other.max(initial=0) + 1
    return np.divmod(np.unique(one * base + other), base)


def pairs(hashes: np.ndarray, thumbnails: np.ndarray, *, bits: int, correlation: float) -> np.ndarray:
    """(m, 2) positions of near twins, the smaller first, ordered.

    `hashes`: uint64 (n,) perceptual hashes, at most `bits` of which differ; `thumbnails`: uint8 (n, pixels), correlated at
    least that much. Hashes that differ in b bits agree in at least two of b + 2 bands: every choice of two bands is sorted
    once, and only neighbours there are compared (multi-index hashing; Norouzi et al., 2012). No all-pairs comparison.
    """
    pixels, sums, squares = thumbnails.shape[1], *np.empty((2, len(hashes)), np.int32)
    for start in range(0, len(hashes), _BLOCK):
        block, here = thumbnails[start : start + _BLOCK], slice(start, start + _BLOCK)
        sums[here] = block.sum(axis=1, dtype=np.int64)
        squares[here] = pixels * _dot(block, block) - sums[here].astype(np.int64) ** 2
        scratch.let_go(thumbnails)
    found = [np.empty((0, 2), np.int32)]
    for candidates in _chunks(_candidates(hashes, bits)):
        one, other = candidates.T
        product = pixels * _dot(thumbnails[one], thumbnails[other]) - sums[one].astype(np.int64) * sums[other]
        alike = product / np.sqrt(np.maximum(squares[one].astype(float) * squares[other], 1)) >= correlation
        found.append(candidates[alike])
        scratch.let_go(thumbnails)
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _chunks(few: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    """The same pairs, _CHUNK at a time: after each chunk the memory of the pixels is given back, and read again for the next."""
    held, count = [], 0
    for pairs in itertools.chain(few, [None]):
        if pairs is not None:
            held.append(pairs)
            count += len(pairs)
        if count >= _CHUNK or (pairs is None and count):
            together = np.concatenate(held)
            yield from (together[start : start + _CHUNK] for start in range(0, count, _CHUNK))
            held, count = [], 0


def _candidates(hashes: np.ndarray, bits: int) -> Iterator[np.ndarray]:
    bands = _bands(bits + 2)
    by_hash = np.argsort(hashes, kind="stable").astype(np.int32)
    for chosen in itertools.combinations(range(len(bands)), 2):
        key = _key(hashes, [bands[index] for index in chosen])
        order = by_hash[np.argsort(key[by_hash], kind="stable")]
        for start in range(0, len(order), _BLOCK):  # a piece that fits a processor's cache
            rows = order[start : start + _BLOCK + _NEIGHBOURS]
            values, keys = hashes[rows], key[rows]
            longest = np.diff(np.flatnonzero(np.append(True, np.append(keys[1:] != keys[:-1], True)))).max()
            for step in range(1, min(_NEIGHBOURS, longest - 1) + 1):
                differing = values[:-step][:_BLOCK] ^ values[step:][:_BLOCK]
                near = np.flatnonzero(np.bitwise_count(differing) <= bits)
                if len(near):
                    near = near[keys[near] == keys[near + step]]
                    # A pair that agrees in several choices of bands is looked at in the first alone.
                    near = near[_is_first(differing[near], [_mask(band) for band in bands], chosen)]
                    yield np.stack([rows[near], rows[near + step]], axis=1)


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
