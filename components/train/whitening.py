"""A first layer that is computed, not learnt: patches of the training pictures, made uncorrelated."""

import math

import numpy as np

from components.shared.data.arrays import Split

NAME = "whiten"  # of the layer
PICTURES, PATCHES = 2000, 500_000  # that are looked at, at the most
_LEAST = 1e-2  # added to each variance: what hardly varies is noise, and must not be blown up


def fill(model, train: Split, *, seed: int) -> None:
    """Set the frozen convolution `whiten` of a network, if it has one, from training pictures.

    Its filters are the eigenvectors of the patches' covariance that carry most, scaled to unit variance, each with both signs,
    since a rectifier follows (Jordan, "94% on CIFAR-10 in 3.29 Seconds", 2024).
    """
    layer = next((layer for layer in model.layers if layer.name == NAME), None)
    if layer is None:
        return
    height, width, channels, filters = layer.kernel.shape
    chosen = np.sort(np.random.default_rng(seed).choice(len(train), min(PICTURES, len(train)), replace=False))
    # Of large pictures and long clips fewer places: what is held is bounded by PATCHES, not by their size.
    stride = max(2, math.ceil(math.sqrt(len(chosen) * math.prod(train.images.shape[1:-1]) / PATCHES)))
    patches = np.concatenate([_patches(train.images[index], (height, width), stride) for index in chosen])
    values, vectors = np.linalg.eigh(np.cov(patches, rowvar=False))
    strongest = np.argsort(-values)[: filters // 2]
    scaled = vectors[:, strongest] / np.sqrt(values[strongest] + _LEAST)
    # An eigenvector has no sign of its own: the largest entry is made positive, so that every machine has the same.
    scaled *= np.sign(scaled[np.abs(scaled).argmax(axis=0), np.arange(scaled.shape[1])])
    kernel = np.zeros((height * width * channels, filters), np.float32)
    kernel[:, : scaled.shape[1]], kernel[:, filters // 2 : filters // 2 + scaled.shape[1]] = scaled, -scaled
    layer.kernel.assign(kernel.reshape(height, width, channels, filters))


def _patches(picture: np.ndarray, size: tuple[int, int], stride: int) -> np.ndarray:
    """Every `stride`-th patch, each way, of a picture or of a clip's frames (not of its padding), from -1 to 1."""
    frames = picture.reshape(-1, *picture.shape[-3:])
    frames = frames[frames.any(axis=(1, 2, 3))]
    windows = np.lib.stride_tricks.sliding_window_view(frames, size, axis=(1, 2))[:, ::stride, ::stride]
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, math.prod(size) * frames.shape[-1])
    return patches.astype(np.float32) / 127.5 - 1
