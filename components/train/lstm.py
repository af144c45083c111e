"""The recurrent network: a clip frame by frame, a still row by row (time_steps = height, n_features = width x channels)."""

import keras
from keras import layers, ops

from components.train import frames
from components.train.cnn import convolution, probabilities, stages, stem

CELLS = {"article": layers.LSTM, "article-gru": layers.GRU, "article-rnn": layers.SimpleRNN}
UNROLLED = 32  # time steps at most: unrolled, a CPU goes through them twice as fast, but the graph grows with each


def lstm(shape: tuple[int, ...], classes: int, *, preset: str, dropout: float, normalization=layers.BatchNormalization):
    """uint8 (h, w, c) or (time, h, w, c) -> (classes,) probabilities; before them the layer `logits`.

    `normalization`: see `cnn`. Returns a keras.Model.
    """
    images = keras.Input(shape, dtype="uint8", name="images")
    if preset in CELLS:
        x = _article(images, CELLS[preset])
    elif len(shape) == 4:
        x, mask = frames.each(images, stages, normalization)
        x = layers.Dropout(dropout)(_both_ways(96)(x, mask=mask))
    else:
        x = layers.Dropout(dropout)(_still(images, normalization))
    return keras.Model(images, probabilities(x, classes), name="lstm")


def _article(images, cell: type[layers.Layer]):
    """The article's network, to the letter: one recurrent layer of 128 units over (time_steps, n_features)."""
    x = layers.Rescaling(1 / 255)(images)
    return cell(128, activation="tanh")(_rows(x), mask=frames.shown(images) if len(images.shape) == 5 else None)


def _still(images, normalization):
    """(h, w, c) -> (features,): two convolutions see what is near, rows of it are read up and down, and pooled over all rows.

    Long short-term memory (Hochreiter and Schmidhuber, 1997), in both directions (Schuster and Paliwal, 1997). The columns are
    halved until at most 7 are left; the rows, which are the time steps, stay at half the height.
    """
    x = stem(images, normalization, strided=False)
    x = convolution(x, 64, normalization, pool=(1, 2))
    while x.shape[2] > 7:
        x = layers.MaxPooling2D((1, 2), padding="same")(x)
    x = _both_ways(64, every_step=True, steps=x.shape[1])(_rows(x))
    return layers.Concatenate()([layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)])


def _both_ways(units: int, *, every_step: bool = False, steps: int = UNROLLED + 1):
    return layers.Bidirectional(layers.LSTM(units, return_sequences=every_step, unroll=steps <= UNROLLED))


def _rows(x):
    """(h, w, c) -> (h, w*c); (time, h, w, c) -> (time, h*w*c)."""
    return ops.reshape(x, (-1, x.shape[1], x.shape[2] * x.shape[3] * (x.shape[4] if len(x.shape) == 5 else 1)))
