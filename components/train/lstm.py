"""The recurrent network: a clip frame by frame, a still row by row (time_steps = height, n_features = width x channels)."""

import keras
from keras import layers, ops

from components.train import frames
from components.train.cnn import stages

CELLS = {"article": layers.LSTM, "article-gru": layers.GRU, "article-rnn": layers.SimpleRNN}


def lstm(shape: tuple[int, ...], classes: int, *, preset: str, dropout: float) -> keras.Model:
    """uint8 (h, w, c) or (time, h, w, c) -> (classes,) probabilities."""
    images = keras.Input(shape, dtype="uint8", name="images")
    x = _default(images, dropout) if preset == "default" else _article(images, CELLS[preset])
    return keras.Model(
        images, layers.Dense(classes, activation="softmax", dtype="float32", name="probabilities")(x), name="lstm"
    )


def _article(images, cell: type[layers.Layer]):
    """The article's network, to the letter: one recurrent layer of 128 units over (time_steps, n_features)."""
    return cell(128, activation="tanh")(_rows(images), mask=_mask(images))


def _default(images, dropout: float):
    """A clip: a convolutional encoder per frame, then both directions to their ends. A still: its rows, through a convolution
    over neighbouring rows, then both directions, pooled over all rows.

    Long short-term memory (Hochreiter and Schmidhuber, 1997), in both directions (Schuster and Paliwal, 1997).
    """
    if len(images.shape) == 5:
        x, mask = frames.each(images, lambda pixels: stages(pixels, dropout))
        x = layers.Bidirectional(layers.LSTM(96))(x, mask=mask)
        return layers.Dropout(dropout)(x)
    x = layers.Conv1D(64, 5, padding="same", use_bias=False)(_rows(images))
    x = layers.Activation("relu")(layers.BatchNormalization(momentum=0.9)(x))
    x = layers.Bidirectional(layers.LSTM(96, return_sequences=True))(x)
    x = layers.Concatenate()([layers.GlobalAveragePooling1D()(x), layers.GlobalMaxPooling1D()(x)])
    return layers.Dropout(dropout)(x)


def _rows(images):
    """(h, w, c) -> (h, w*c); (time, h, w, c) -> (time, h*w*c)."""
    x = layers.Rescaling(1 / 255)(images)
    return ops.reshape(x, (-1, x.shape[1], x.shape[2] * x.shape[3] * (x.shape[4] if len(x.shape) == 5 else 1)))


def _mask(images):
    return frames.shown(images) if len(images.shape) == 5 else None
