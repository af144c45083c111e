"""What a picture looks like in a few bytes: to find near twins, and labels that do not fit. The same on every machine."""

import functools

import numpy as np

from components.shared.data.manifest import FEATURES, THUMBNAIL

_SIDE = 32  # pixels, of the square that all signatures are made from
_CELLS, _DIRECTIONS = 4, 8
_BOUNDS = np.tan(np.pi / _DIRECTIONS * (np.arange(_DIRECTIONS // 2) + 0.5))  # between neighbouring directions
_CELL_OF = np.arange(_SIDE) // (_SIDE // _CELLS)
_BINS = _CELLS * _CELLS * _DIRECTIONS
_PLACES = ((_CELL_OF[:, None] * _CELLS + _CELL_OF) * _DIRECTIONS).astype(np.uint8)  # of each pixel's cell in the histogram
# Cosines in whole numbers: products of whole numbers below 2^53 are exact in float64, in whatever order they are added.
_COSINES = np.rint(4096 * np.cos(np.pi * np.arange(8)[:, None] * (2 * np.arange(_SIDE) + 1) / (2 * _SIDE)))


def squares(grey: np.ndarray) -> np.ndarray:
    """uint8 (n, h, w) -> (n, 32, 32): bilinear and antialiased, the ratio of the sides given up."""
    down, across = _weights(grey.shape[1]), _weights(grey.shape[2])
    whole = down @ (grey.reshape(-1, grey.shape[2]).astype(np.float64) @ across.T).reshape(-1, grey.shape[1], _SIDE)
    return ((whole + 2**23) * 2.0**-24).astype(np.uint8)  # a power of two: exact


@functools.cache
def _weights(length: int) -> np.ndarray:
    """(32, length) whole numbers, each row 4096 in all: a triangle as wide as the pixels that fall on one of ours."""
    scale = length / _SIDE
    centres = (np.arange(_SIDE)[:, None] + 0.5) * scale - 0.5
    share = np.maximum(0, 1 - np.abs(np.arange(length) - centres) / max(scale, 1))
    weights = np.rint(4096 * share / share.sum(axis=1, keepdims=True))
    weights[np.arange(_SIDE), weights.argmax(axis=1)] += 4096 - weights.sum(axis=1)
    return weights


def of(grey: np.ndarray, colours: np.ndarray) -> dict[str, np.ndarray]:
    """Of uint8 (n, h, w) and (n, 4, 4, 3): `hash` uint64 (n,), `thumbnail` and `features` uint8 (n, THUMBNAIL | FEATURES)."""
    small_squares = squares(grey)
    pairs = np.add(small_squares[:, ::2], small_squares[:, 1::2], dtype=np.uint16)
    small = pairs[:, :, ::2] + pairs[:, :, 1::2]
    return {
        "hash": perceptual_hash(small_squares),
        "thumbnail": ((small + 2) // 4).astype(np.uint8).reshape(-1, THUMBNAIL),
        "features": np.concatenate([_gradients(small_squares), _chroma(colours)], axis=1).reshape(-1, FEATURES),
    }


def perceptual_hash(pixels: np.ndarray) -> np.ndarray:
    """64 bits for each of uint8 (n, 32, 32): which of the lowest frequencies are above their median (pHash; Zauner, 2010).

    Saved again, resized, a little brighter or noisier, a picture keeps all but a few of them.
    """
    frequencies = _COSINES @ pixels.astype(np.float64) @ _COSINES.T
    lowest = frequencies.reshape(-1, 64)
    bits = lowest > np.median(lowest[:, 1:], axis=1, keepdims=True)
    bits[:, 0] = False  # brightness: no part of what a picture shows
    return np.packbits(bits, axis=1).view(">u8")[:, 0].astype(np.uint64)


def _gradients(pixels: np.ndarray) -> np.ndarray:
    """Histograms of oriented gradients (Dalal and Triggs, 2005): 4 x 4 cells, 8 directions; square roots, uint8 (n, 128)."""
    pixels = pixels.astype(np.float32)
    across, down = np.zeros_like(pixels), np.zeros_like(pixels)
    np.subtract(pixels[:, :, 2:], pixels[:, :, :-2], out=across[:, :, 1:-1])
    np.subtract(pixels[:, 2:], pixels[:, :-2], out=down[:, 1:-1])
    strength = np.sqrt(across * across + down * down)
    # Which eighth of the half circle: counted within the quarter, and mirrored for the other one.
    opposite = ((across < 0) != (down < 0)).view(np.int8)
    across, down = np.abs(across), np.abs(down)
    eighth = sum((down > across * np.float32(bound)).view(np.int8) for bound in _BOUNDS)
    direction = ((eighth ^ -opposite) + opposite) & (_DIRECTIONS - 1)  # negated where opposite, by two's complement
    slot = (_PLACES + direction.view(np.uint8)) + np.arange(0, _BINS * len(pixels), _BINS)[:, None, None]
    flat = np.bincount(slot.ravel(), weights=strength.ravel(), minlength=_BINS * len(pixels)).reshape(-1, _BINS)
    length = np.sqrt(np.square(flat).sum(axis=1, keepdims=True)) + 1
    return np.rint(255 * np.sqrt(flat / length)).astype(np.uint8)


def _chroma(colours: np.ndarray) -> np.ndarray:
    """Red and blue against green, 128 where they are equal: uint8 (n, 32)."""
    wide = colours.astype(np.int16)
    difference = ((wide[..., ::2] - wide[..., 1:2]) >> 1) + 128
    return difference.reshape(len(colours), -1).astype(np.uint8)
