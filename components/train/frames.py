"""Clips for networks that know pictures: the same encoder on every frame, which frames are padding, and how steps of time are read."""

from collections.abc import Callable

from keras import layers, ops

UNROLLED = 32  # time steps at most: unrolled, a CPU goes through them twice as fast, but the graph grows with each


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


def pooled(x, mask):
    """The mean over the frames of a clip that are there: (batch, time, features) -> (batch, features). A still, with no mask, as it is."""
    return x if mask is None else layers.GlobalAveragePooling1D(name="pool_frames")(x, mask=mask)


def both_ways(units: int, *, every_step: bool = False, steps: int = UNROLLED + 1):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997), in both directions (Schuster and Paliwal, 1997)."""
    return layers.Bidirectional(layers.LSTM(units, return_sequences=every_step, unroll=steps <= UNROLLED))


def rows(x):
    """(h, w, c) -> (h, w*c); (time, h, w, c) -> (time, h*w*c)."""
    return layers.Reshape((-1, x.shape[2] * x.shape[3] * (x.shape[4] if len(x.shape) == 5 else 1)))(x)  # however many rows


def shown(images):
    """(batch, time, h, w, c) -> bool (batch, time): true for frames that are there, which are not all zero."""
    return ops.any(ops.not_equal(images, 0), axis=(2, 3, 4))


def _masked(normalization: type[layers.Layer], mask) -> Callable:
    """Keras's own, in the network that is saved, is never trained: it needs no mask."""
    if normalization is layers.BatchNormalization:
        return normalization
    return lambda **settings: lambda x: normalization(**settings)(x, counted=mask)
