"""The convolutional network: stills as they are, clips by pooling what it sees in their frames."""

import keras
from keras import layers

from components.shared.errors import CannotRun
from components.train import frames


def cnn(shape: tuple[int, ...], classes: int, *, preset: str, dropout: float) -> keras.Model:
    """uint8 (h, w, c) or (time, h, w, c) -> (classes,) probabilities."""
    images = keras.Input(shape, dtype="uint8", name="images")
    encode = {"article": _article, "default": stages}[preset]
    x, mask = frames.each(images, lambda pixels: encode(pixels, dropout))
    if len(shape) == 4:
        x = layers.GlobalAveragePooling1D(name="pool_frames")(x, mask=mask)  # (features,), padding left out
    return keras.Model(
        images, layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x), name="cnn"
    )


def _article(x, dropout: float):
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


def stages(x, dropout: float):
    """(h, w, c) -> (features,): convolutions that widen while the sides halve, until at most 7 px are left; Dense 128.

    Batch normalisation (Ioffe and Szegedy, 2015) on all but the first, where it would cost more than the convolution.
    """
    x = layers.Rescaling(1 / 127.5, offset=-1)(x)
    width = 32
    x = layers.Conv2D(width, 3, activation="relu")(x)
    x = layers.MaxPooling2D(2)(x)
    while min(x.shape[1], x.shape[2]) > 7:
        width = min(2 * width, 256)
        x = layers.MaxPooling2D(2)(_convolution(x, width, "valid"))
    x = _convolution(x, min(2 * width, 256), "same")
    x = layers.Dropout(dropout)(layers.Flatten()(x))
    return layers.Dropout(dropout)(layers.Dense(128, activation="relu")(x))


def _convolution(x, width: int, padding: str):
    x = layers.Conv2D(width, 3, padding=padding, use_bias=False)(x)
    x = layers.BatchNormalization(momentum=0.9)(x)
    return layers.Activation("relu")(x)
