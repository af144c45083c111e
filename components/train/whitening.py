"""A first layer that is computed, not learnt: patches of the training pictures, made uncorrelated."""

import numpy as np

from components.shared.arrays import Split

NAME = "whiten"  # of the layer
PICTURES = 2000  # that the patches are taken from
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
    chosen = np.random.default_rng(seed).choice(len(train), min(PICTURES, len(train)), replace=False)
    pictures = train.images[np.sort(chosen)]
    frames = pictures.reshape(-1, *pictures.shape[-3:])
    frames = frames[frames.any(axis=(1, 2, 3))].astype(np.float32) / 127.5 - 1
    windows = np.lib.stride_tricks.sliding_window_view(frames, (height, width), axis=(1, 2))[:, ::2, ::2]
    patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, height * width * channels)
    values, vectors = np.linalg.eigh(np.cov(patches, rowvar=False))
    strongest = np.argsort(-values)[: filters // 2]
    scaled = vectors[:, strongest] / np.sqrt(values[strongest] + _LEAST)
    # An eigenvector has no sign of its own: the largest entry is made positive, so that every machine has the same.
    scaled *= np.sign(scaled[np.abs(scaled).argmax(axis=0), np.arange(scaled.shape[1])])
    kernel = np.zeros((height * width * channels, filters), np.float32)
    kernel[:, : scaled.shape[1]], kernel[:, filters // 2 : filters // 2 + scaled.shape[1]] = scaled, -scaled
    layer.kernel.assign(kernel.reshape(height, width, channels, filters))
