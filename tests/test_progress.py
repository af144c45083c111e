"""How far a training is: which of its epochs is kept."""

import numpy as np
import pytest

from components.train.progress import Progress, standard_error


@pytest.mark.parametrize(
    ("margin", "values", "kept"),
    [
        (0.015, [0.9122, 0.8867, 0.9121], 3),  # chance ordered them; with the last the schedule ended
        (0.015, [0.95, 0.94, 0.93], 2),  # the last is worse than chance explains
        (0.015, [0.91, 0.93], 2),
        (0.015, [0.92, 0.94, 0.932], 3),
        (0.0, [-0.34, -0.30, -0.32], 2),  # monitor: loss
    ],
)
def test_the_last_of_all_epochs_that_chance_may_have_ordered_is_kept(margin, values, kept):
    progress = Progress()
    for number, value in enumerate(values, 1):
        progress.keep(number, value, margin=margin)
    assert progress.kept_epoch == kept
    assert progress.best == max(values) == values[progress.best_epoch - 1]


def test_a_standard_error_is_that_of_many_draws_of_as_many_samples():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 3], [400, 60, 30])  # the third class has no sample
    right = np.array([0.95, 0.8, 0.0, 0.7])[labels]
    draws = rng.random((2000, len(labels))) < right
    of_classes = np.stack([draws[:, labels == label].mean(1) for label in (0, 1, 3)])
    errors = {"accuracy": draws.mean(1).std(), "balanced_accuracy": of_classes.mean(0).std(), "loss": 0.0}
    for monitor, error in errors.items():
        found = np.mean([standard_error(monitor, hit, labels) for hit in draws[:200]])
        assert found == pytest.approx(error, rel=0.05), monitor


def test_a_standard_error_of_few_samples_that_are_all_right_is_not_nothing():
    assert standard_error("accuracy", np.ones(4, bool), np.zeros(4, int)) > 0.1
