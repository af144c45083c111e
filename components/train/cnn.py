"""The convolutional network: stills as they are, clips by pooling what it sees in their frames."""

import keras
from keras import layers

from components.shared.errors import CannotRun
from components.train import frames, whitening


def cnn(shape: tuple[int, ...], classes: int, *, preset: str, dropout: float, normalization=layers.BatchNormalization):
    """uint8 (h, w, c) or (time, h, w, c) -> (classes,) probabilities; before them the layer `logits`.

    `normalization`: the class of its normalising layers; training has a faster one of the same weights. Returns a keras.Model.
    """
    images = keras.Input(shape, dtype="uint8", name="images")
    x, mask = frames.each(images, _article if preset == "article" else stages, normalization)
    if len(shape) == 4:
        x = layers.GlobalAveragePooling1D(name="pool_frames")(x, mask=mask)  # (features,), padding left out
    if preset == "default":
        x = layers.Dropout(dropout)(x)
    return keras.Model(images, probabilities(x, classes), name="cnn")


def probabilities(x, classes: int):
    """(features,) -> (classes,), in float32 whatever the network's precision is."""
    logits = layers.Dense(classes, dtype="float32", name="logits")(x)
    return layers.Activation("softmax", dtype="float32", name="probabilities")(logits)


def _article(x, _):
    """The article's network, to the letter: Conv 32-64-64 with two max poolings, Dense 64."""
    if min(x.shape[1], x.shape[2]) < 18:
        raise CannotRun(
            f"train: preset article needs pictures of at least 18x18 px, got {x.shape[2]}x{x.shape[1]}; see prepare"
        )
    x = layers.Rescaling(1 / 255)(x)
    x = layers.Conv2D(32, 3, activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(64, 3, activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    x = layers.Conv2D(64, 3, activation="relu")(x)
    x = layers.Flatten()(x)
    return layers.Dense(64, activation="relu")(x)


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
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    whiten = layers.Conv2D(
        16, 3, padding="same", activation="relu", use_bias=False, trainable=False, name=whitening.NAME
    )  # fmt: skip
    return convolution(whiten(x), 32, normalization, strides=2 if strided else 1, pool=1 if strided else 2)


def convolution(x, width: int, normalization, *, strides: int = 1, pool: int | tuple[int, int] = 1):
    """A 3x3 convolution, the largest of each window of `pool`, normalised, rectified."""
    x = layers.Conv2D(width, 3, strides=strides, padding="same", use_bias=False)(x)
    x = layers.MaxPooling2D(pool, padding="same")(x) if pool != 1 else x
    return layers.Activation("relu")(normalization(momentum=0.9, scale=False)(x))
