"""What a person with an hour trains from scratch: the default's layers at full size, twice as wide, with residual pairs between.

After the residual network of Page ("How to Train Your ResNet", 2018), which won races of training; residual connections are
those of He et al. (2016).
"""

from keras import layers

from components.train import frames
from components.train.presets.default import convolution, whitened


def cnn(images, dropout: float, normalization):
    """Stills as they are, clips by pooling what is seen in their frames."""
    return layers.Dropout(dropout)(frames.pooled(*frames.each(images, stages, normalization)))


def stages(x, normalization):
    """(h, w, c) -> (features,): the sides halve, to 8 px or fewer, while the width doubles; large pictures are halved first."""
    x = whitened(x)
    x = convolution(x, 48, normalization, strides=2 if min(x.shape[1], x.shape[2]) > 48 else 1)
    width = 96
    while min(x.shape[1], x.shape[2]) > 8:
        x = convolution(x, width, normalization, pool=2)
        inner = convolution(convolution(x, width, normalization), width, normalization)
        x = layers.Add()([x, inner])
        width = min(2 * width, 384)
    return layers.GlobalMaxPooling2D()(x)
