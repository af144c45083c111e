"""Clips for networks that know pictures: the same encoder on every frame, and which frames are padding."""

from collections.abc import Callable

from keras import ops


def each(images, encode: Callable):
    """Apply `encode` to a still, or to each frame of a clip.

    uint8 (batch, h, w, c) -> ((batch, features), None); uint8 (batch, time, h, w, c) -> ((batch, time, features), mask),
    the mask false where a frame is all zero: padding.
    """
    if len(images.shape) == 4:
        return encode(images), None
    time, *frame = images.shape[1:]
    # Frames become pictures of one large batch: convolutions run at full speed, which TimeDistributed does not.
    x = encode(ops.reshape(images, (-1, *frame)))
    return ops.reshape(x, (-1, time, x.shape[-1])), shown(images)


def shown(images):
    """uint8 (batch, time, h, w, c) -> bool (batch, time): true for frames that are there."""
    return ops.any(ops.not_equal(images, 0), axis=(2, 3, 4))
