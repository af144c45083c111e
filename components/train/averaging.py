"""The mean of the weights over the last part of a training, in place of those that it ends with.

At a learning rate that stays, weights go round a good place; their mean is nearer to it than any of them. Stochastic weight averaging
(Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", 2018). Keras' `use_ema` is another mean, in
which the last weights count the most.
"""

import contextlib
from collections.abc import Iterator

import numpy as np

START = 0.4  # share of a training before which no weights count
EVERY = 4  # batches: what lies between differs little


def counts(step: int, steps: int) -> bool:
    """Whether the weights after batch `step` (from 1) of `steps` count."""
    return step % EVERY == 0 and step >= START * steps


class Mean:
    """The mean of a model's weights, float32, at all times it was told to `add` them; zeros before the first."""

    def __init__(self, model) -> None:
        self._model = model
        self.weights = [np.zeros(weight.shape, np.float32) for weight in model.weights]

    def add(self, count: int) -> None:
        """Count in the weights that the model has now, as the `count`th (from 1)."""
        for mean, weight in zip(self.weights, self._model.get_weights(), strict=True):
            mean += (weight - mean) / count

    @contextlib.contextmanager
    def in_place(self) -> Iterator[None]:
        """Meanwhile the mean is what the model has for weights."""
        own = self._model.get_weights()
        self._model.set_weights(self.weights)
        yield
        self._model.set_weights(own)
