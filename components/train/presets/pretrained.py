"""A network that has seen a million photos: its first blocks stay as they are, the last ones and the output learn the new classes.

Yosinski et al., "How transferable are features in deep neural networks?", 2014. The layer `trunk` ends what stays, `features`
what may stay, too; transfer.py says which. Stills are seen as they are, clips frame by frame.
"""

from pathlib import Path

from keras import layers, ops

from components.shared.models import efficientnet
from components.train import foreign_network, frames
from components.train.presets import FEATURES, TRUNK

FROZEN = (
    11  # blocks that stay: after them the sides are a sixteenth, and 112 channels are the least there is to keep of a picture
)


def cnn(images, dropout: float, normalization, backbone: Path | None = None):
    """The mean over the picture of what the last layer sees; of a clip the mean over its frames."""
    x = _seen(images, lambda x: layers.GlobalAveragePooling2D()(x), backbone)
    return layers.Dropout(dropout)(frames.pooled(x, None if len(images.shape) == 4 else _there(x)))


def lstm(images, dropout: float, normalization, backbone: Path | None = None):
    """What the last layer sees, read frame by frame; of a still row by row, each the mean over its columns."""
    if len(images.shape) == 4:
        x, mask = _seen(images, lambda x: ops.mean(x, axis=2), backbone), None
    else:
        x = _seen(images, lambda x: layers.GlobalAveragePooling2D()(x), backbone)
        mask = _there(x)
    return layers.Dropout(dropout)(frames.both_ways(96)(x, mask=mask))


def _seen(images, reduced, backbone: Path | None):
    """A still -> `reduced` of the last layer, (features,) or (steps, features); a clip -> (time, features), zeros for padding."""
    first, last = foreign_network.halves(backbone) if backbone else (_first, _last)
    if len(images.shape) == 4:
        x = layers.Identity(name=TRUNK)(first(images))
        return layers.Identity(name=FEATURES)(reduced(last(x)))
    time, *frame = images.shape[1:]
    x = first(ops.reshape(images, (-1, *frame)))
    # Padding stays zero, so that it is known even to a network that begins only here.
    shown = ops.reshape(frames.shown(images), (-1, time, 1, 1, 1))
    x = layers.Identity(name=TRUNK)(ops.where(shown, ops.reshape(x, (-1, time, *x.shape[1:])), 0))
    there = ops.reshape(frames.shown(x), (-1, time, 1))
    x = reduced(last(ops.reshape(x, (-1, *x.shape[2:]))))
    return layers.Identity(name=FEATURES)(ops.where(there, ops.reshape(x, (-1, time, *x.shape[1:])), 0))


def _first(images):
    return efficientnet.blocks(efficientnet.stem(images), 0, FROZEN)


def _last(x):
    return efficientnet.head(efficientnet.blocks(x, FROZEN))


def _there(x):
    """(batch, time, features) -> bool (batch, time): true for frames that are there."""
    return ops.any(ops.not_equal(x, 0), axis=2)
