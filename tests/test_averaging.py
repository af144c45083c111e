"""The mean of weights over the last part of a training."""

import numpy as np
import pytest

from components.shared.models import backend
from components.train import averaging, recipe
from components.train.config import TrainConfig


def test_the_mean_is_that_of_all_that_counted_and_the_weights_are_left_alone():
    _, keras = backend.start()
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2), keras.layers.BatchNormalization()])
    mean, rng = averaging.Mean(model), np.random.default_rng(0)
    drawn = [[rng.normal(size=weight.shape).astype(np.float32) for weight in model.get_weights()] for _ in range(5)]
    for count, weights in enumerate(drawn, start=1):
        model.set_weights(weights)
        mean.add(count)
    with mean.in_place():
        shown = model.get_weights()
    for weight, own, *all_of_it in zip(shown, model.get_weights(), *drawn, strict=True):
        np.testing.assert_allclose(weight, np.mean(all_of_it, axis=0), rtol=1e-5, atol=1e-6)
        np.testing.assert_array_equal(own, all_of_it[-1])


def test_the_last_three_fifths_count():
    counted = [step for step in range(1, 101) if averaging.counts(step, 100)]
    assert (counted[0], counted[-1], len(counted)) == (40, 100, 16)


@pytest.mark.parametrize(("preset", "schedule"), [("pretrained", "averaged"), ("default", "one_cycle"), ("best", "one_cycle")])
def test_auto_averages_what_begins_from_a_pretrained_network(preset, schedule, knobs):
    config = knobs(TrainConfig, "train.cnn", preset=preset)
    assert recipe.schedule(config) == schedule
    assert recipe.schedule(config.model_copy(update={"schedule": "cosine"})) == "cosine"
    rates = [recipe.rate(config, step, 100) / config.learning_rate for step in range(100)]
    assert max(rates) == (0.5 if schedule == "averaged" else 1.0)
    assert (rates[-1] < 0.02) == (schedule == "one_cycle")
