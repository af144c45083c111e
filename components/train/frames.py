"""Clips for networks that know pictures: the same encoder on every frame, and which frames are padding."""

from collections.abc import Callable

from keras import layers, ops


def each(images, encode: Callable, normalization: type[layers.Layer]):
    """Apply `encode(pictures, normalization)` to a still, or to each frame of a clip.

    uint8 (batch, h, w, c) -> ((batch, features), None); uint8 (batch, time, h, w, c) -> ((batch, time, features), mask),
    the mask false where a frame is all zero: padding. Padding takes no part in the normalisation of a training.
    """
    if len(images.shape) == 4:
        return encode(images, normalization), None
    time, *frame = images.shape[1:]
    mask = shown(images)
    # Frames become pictures of one large batch: convolutions run at full speed, which TimeDistributed does not.
    x = encode(ops.reshape(images, (-1, *frame)), _masked(normalization, ops.reshape(mask, (-1,))))
    return ops.reshape(x, (-1, time, x.shape[-1])), mask


def shown(images):
    """uint8 (batch, time, h, w, c) -> bool (batch, time): true for frames that are there."""
    return ops.any(ops.not_equal(images, 0), axis=(2, 3, 4))


def _masked(normalization: type[layers.Layer], mask) -> Callable:
    """Keras's own, in the network that is saved, is never trained: it needs no mask."""
    if normalization is layers.BatchNormalization:
        return normalization
    return lambda **settings: lambda x: normalization(**settings)(x, counted=mask)
