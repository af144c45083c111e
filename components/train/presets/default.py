"""What a training from scratch begins with: stills and frames by convolutions, clips by pooling or reading what is seen in each."""

from keras import layers

from components.train import frames, whitening


def cnn(images, dropout: float, normalization):
    """Stills as they are, clips by pooling what is seen in their frames."""
    return layers.Dropout(dropout)(frames.pooled(*frames.each(images, stages, normalization)))


def lstm(images, dropout: float, normalization):
    """A clip frame by frame, a still row by row (time_steps = height, n_features = width x channels)."""
    if len(images.shape) == 4:
        return layers.Dropout(dropout)(_still(images, normalization))
    x, mask = frames.each(images, stages, normalization)
    return layers.Dropout(dropout)(frames.both_ways(96)(x, mask=mask))


def stages(x, normalization):
    """(h, w, c) -> (features,): whitened patches, then stages of two convolutions that widen while the sides halve, to 4 px.

    Batch normalisation (Ioffe and Szegedy, 2015) after the pooling, where there is a quarter left to normalise. What was the
    most in the whole picture is what counts (global max pooling).
    """
    x = stem(x, normalization)
    width = 64
    while True:
        side = min(x.shape[1], x.shape[2])
        x = convolution(x, width, normalization, pool=2 if side > 2 else 1)
        x = convolution(x, width, normalization)
        if side <= 8:
            return layers.GlobalMaxPooling2D()(x)
        width = min(2 * width, 256)


def stem(x, normalization, *, strided: bool = True):
    """(h, w, c) -> (h/2, w/2, 32): the frozen whitening at full size, and a convolution that halves it.

    `strided`: the cheaper half, a convolution of every other place; else all places, and the largest of four.
    """
    return convolution(whitened(x), 32, normalization, strides=2 if strided else 1, pool=1 if strided else 2)


def whitened(x):
    """(h, w, c) -> (h, w, 16): patches, scaled to -1 to 1 and whitened by frozen filters."""
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    return layers.Conv2D(
        16, 3, padding="same", activation="relu", use_bias=False, trainable=False, name=whitening.NAME
    )(x)  # fmt: skip


def convolution(x, width: int, normalization, *, strides: int = 1, pool: int | tuple[int, int] = 1):
    """A 3x3 convolution, the largest of each window of `pool`, normalised, rectified."""
    x = layers.Conv2D(width, 3, strides=strides, padding="same", use_bias=False)(x)
    x = layers.MaxPooling2D(pool, padding="same")(x) if pool != 1 else x
    return layers.Activation("relu")(normalization(momentum=0.9, scale=False)(x))


def _still(images, normalization):
    """(h, w, c) -> (features,): two convolutions see what is near, rows of it are read up and down, and pooled over all rows.

    The columns are halved until at most 7 are left; the rows, which are the time steps, stay at half the height.
    """
    x = stem(images, normalization, strided=False)
    x = convolution(x, 64, normalization, pool=(1, 2))
    while x.shape[2] > 7:
        x = layers.MaxPooling2D((1, 2), padding="same")(x)
    x = frames.both_ways(64, every_step=True, steps=x.shape[1])(frames.rows(x))
    return layers.Concatenate()([layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)])
