"""Near twins that no hash finds: crops, zooms, mirror images and edits of one photo. Vectors name candidates, pixels decide."""

import io
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
from PIL import Image

from components.shared import parallel
from components.shared.data.embeddings import Embeddings

LIMIT = 0.82  # of `likeness`; benchmarks/suspects.py says what it finds, and what it takes for a twin that is none
_NEIGHBOURS, _COSINE = 4, 0.75  # of each picture so many are looked at, where they are as near as that
_LOOKED = 100_000  # pairs in all, the nearest: keeps the work within minutes
_PIECE = 8192  # pictures or pairs at once
_USUAL = 100  # pairs of one label, which say how alike pictures of the set are anyway
_LEAST = 40  # pixels of the shorter side: smaller pictures have too few details to tell twins by
_COARSE, _FINE = 32, 96  # pixels of the longer side
_SCALES = 1.08 ** -np.arange(7.0)  # of the one in the other: 1 to 0.63
_MARGIN = 8  # pixels of the coarse picture that the other one may reach beyond it


def near(
    embeddings: Embeddings, previews: Callable[[np.ndarray], pd.Series], rows: np.ndarray, labels: np.ndarray
) -> np.ndarray:
    """(m, 2) near twins among these rows, int (n,), ascending; the smaller first, ordered.

    `previews` gives the encoded pictures of rows; `labels`: int (rows,). The limit rises where any two pictures of a label are
    alike, as forms are, or parts in one fixture: it lies halfway at least from what is usual there to sameness.
    """
    candidates = _candidates(embeddings, rows)
    if not len(candidates):
        return candidates
    shuffled = np.random.default_rng(0).permutation(rows)
    shuffled = shuffled[np.argsort(labels[shuffled], kind="stable")]
    some = np.linspace(0, len(rows) - 2, min(_USUAL, len(rows) - 1)).astype(int)
    usual = np.quantile(_likenesses(np.stack([shuffled[some], shuffled[some + 1]], axis=1), previews), 0.95)
    return candidates[_likenesses(candidates, previews) >= max(LIMIT, (1 + usual) / 2)]


def _candidates(embeddings: Embeddings, rows: np.ndarray) -> np.ndarray:
    wanted = np.zeros(embeddings.rows, bool)
    wanted[rows] = True
    found = [pd.DataFrame({"one": [], "other": [], "cosine": []}).astype({"one": int, "other": int})]
    for start in range(0, len(rows), _PIECE):
        own = rows[start : start + _PIECE]
        others, cosines = embeddings.nearest(embeddings.vectors[own], 1 + _NEIGHBOURS)
        at, place = np.nonzero(wanted[others] & (others != own[:, None]) & (cosines >= _COSINE))
        one, other = own[at], others[at, place]
        found.append(
            pd.DataFrame({"one": np.minimum(one, other), "other": np.maximum(one, other), "cosine": cosines[at, place]})
        )
    pairs = pd.concat(found).drop_duplicates(["one", "other"]).nlargest(_LOOKED, "cosine")
    return pairs.sort_values(["one", "other"])[["one", "other"]].to_numpy(np.int64)


def _likenesses(pairs: np.ndarray, previews: Callable[[np.ndarray], pd.Series]) -> np.ndarray:
    found = []
    with ThreadPoolExecutor(parallel.processors()) as pool:
        for start in range(0, len(pairs), _PIECE):
            few = pairs[start : start + _PIECE]
            encoded = previews(np.unique(few)).to_dict()
            found += pool.map(lambda pair, encoded=encoded: likeness(*(_pixels(encoded[row]) for row in pair)), few.tolist())
    return np.array(found)


def _pixels(preview: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(preview)).convert("RGB"), np.float32)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    """How well the details of two pictures, float32 (h, w, 3), agree where they overlap: -1 to 1; 0 where no place for it is found.

    At a coarse size one is moved over the other, in several sizes and mirrored; from the best place on it is fitted by an affine
    map (Evangelidis and Psarakis, "Parametric Image Alignment Using Enhanced Correlation Coefficient", 2008).
    """
    import cv2

    if min(*one.shape[:2], *other.shape[:2]) < _LEAST:
        return 0.0
    tried = [(large, small[:, ::step]) for large, small in ((one, other), (other, one)) for step in (1, -1)]
    places = [_place(_grey(_resized(large, _COARSE)), _grey(_resized(small, _COARSE))) for large, small in tried]
    best = int(np.argmax([agreement for agreement, _ in places]))
    agreement, (left, top, wide, high) = places[best]
    if agreement < 0.5:
        return 0.0
    large, small = (np.ascontiguousarray(_resized(each, _FINE)) for each in tried[best])
    (height, width), size = large.shape[:2], small.shape[1::-1]
    start = np.array([[wide * width / size[0], 0, left * width], [0, high * height / size[1], top * height]], np.float32)
    enough = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 30, 1e-4)
    try:
        _, fit = cv2.findTransformECC(_grey(small), _grey(large), start, cv2.MOTION_AFFINE, enough, None, 5)
    except cv2.error:  # it does not converge: they have nothing in common
        return 0.0
    moved = cv2.warpAffine(large, fit, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE)
    inside = cv2.warpAffine(np.ones((height, width), np.uint8), fit, size, flags=cv2.INTER_NEAREST | cv2.WARP_INVERSE_MAP) > 0
    if inside.mean() < 0.5:
        return 0.0
    details = [_details(each, 2)[inside].ravel() for each in (moved, small)]
    return float(np.corrcoef(details)[0, 1]) if min(each.std() for each in details) > 0 else 0.0


def _place(large: np.ndarray, small: np.ndarray) -> tuple[float, tuple[float, ...]]:
    """The highest correlation of details, and where: left, top, width and height as shares of the large one's sides."""
    import cv2

    height, width = large.shape
    ground = cv2.copyMakeBorder(_details(large, 1.5), *[_MARGIN] * 4, cv2.BORDER_CONSTANT, value=0)
    fill, best = min(height / small.shape[0], width / small.shape[1]), (-1.0, (0.0, 0.0, 1.0, 1.0))
    for scale in _SCALES:
        size = [max(1, round(scale * fill * side)) for side in small.shape[::-1]]
        scores = cv2.matchTemplate(
            ground, _details(cv2.resize(small, size, interpolation=cv2.INTER_AREA), 1.5), cv2.TM_CCOEFF_NORMED
        )
        top, left = np.unravel_index(scores.argmax(), scores.shape)
        if np.isfinite(scores[top, left]) and scores[top, left] > best[0]:
            place = (left - _MARGIN) / width, (top - _MARGIN) / height, size[0] / width, size[1] / height
            best = float(scores[top, left]), place
    return best


def _resized(picture: np.ndarray, side: int) -> np.ndarray:
    import cv2

    factor = side / max(picture.shape[:2])
    size = [max(1, round(factor * length)) for length in picture.shape[1::-1]]
    return cv2.resize(picture, size, interpolation=cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR)


def _grey(picture: np.ndarray) -> np.ndarray:
    return picture.mean(axis=2)


def _details(picture: np.ndarray, blur: float) -> np.ndarray:
    import cv2

    return picture - cv2.GaussianBlur(picture, (0, 0), blur)
