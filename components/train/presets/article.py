"""The article's networks, to the letter: Conv 32-64-64 with two max poolings and Dense 64; one recurrent layer over rows or frames."""

from keras import layers

from components.shared.errors import CannotRun
from components.train import frames


def cnn(images, dropout: float, normalization):
    """A clip's frames are pooled."""
    return frames.pooled(*frames.each(images, _convolutions, normalization))


def lstm(images, dropout: float, normalization):
    """Long short-term memory (Hochreiter and Schmidhuber, 1997)."""
    return _recurrent(images, layers.LSTM)


def gru(images, dropout: float, normalization):
    """Gated recurrent units (Cho et al., 2014)."""
    return _recurrent(images, layers.GRU)


def rnn(images, dropout: float, normalization):
    """A plain recurrent layer (Elman, 1990)."""
    return _recurrent(images, layers.SimpleRNN)


def _recurrent(images, cell: type[layers.Layer]):
    """128 units over (time_steps, n_features)."""
    x = layers.Rescaling(1 / 255)(images)
    return cell(128, activation="tanh")(frames.rows(x), mask=frames.shown(images) if len(images.shape) == 5 else None)


def _convolutions(x, _):
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
    return layers.Dense(64, activation="relu")(layers.Flatten()(x))
