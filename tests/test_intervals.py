import numpy as np
import pyarrow as pa
import pytest
from scipy import stats

from components.shared.models import intervals as module
from components.shared.models.answers import Calibration
from components.shared.models.intervals import intervals, of_confidence, paired, units
from components.shared.models.scores import calibration_error, scores


def drawn(seed: int, *, count: int = 600, classes: int = 3, right: float = 0.8) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and predictions of which the share `right` (and by chance some more) is right."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(classes, size=count)
    return labels, np.where(rng.random(count) < right, labels, rng.integers(classes, size=count))


def holds(interval: tuple[float, float], value: float) -> bool:
    return interval[0] <= value <= interval[1]


def test_counts_drawn_at_once_say_what_the_bootstrap_of_samples_says():
    labels, before = drawn(0)
    _, after = drawn(0, right=0.85)
    found = paired(labels, before, after, 3)

    def gain(metric: str):
        told = lambda y, p: scores(y, np.eye(3)[p])[metric]  # noqa: E731
        return lambda y, a, b: told(y, b) - told(y, a)

    for metric in ("balanced_accuracy", "macro_f1", "worst_class_recall"):
        expected = stats.bootstrap((labels, before, after), gain(metric), paired=True, vectorized=False, n_resamples=600,
                                   method="percentile", rng=np.random.default_rng(0)).confidence_interval  # fmt: skip
        assert found[metric].value == pytest.approx(gain(metric)(labels, before, after))
        assert (found[metric].low, found[metric].high) == pytest.approx(tuple(expected), abs=0.012)
    assert found["recall:1"].value == pytest.approx((after == 1)[labels == 1].mean() - (before == 1)[labels == 1].mean())
    assert found["recall:1"].low < found["recall:1"].value < found["recall:1"].high
    assert paired(labels, before, after, 3) == found


def test_no_difference_is_no_gain_and_a_large_one_is_no_chance():
    labels, predicted = drawn(1)
    same = paired(labels, predicted, predicted, 3)["accuracy"]
    assert (same.value, same.low, same.high) == (0, 0, 0)
    assert paired(labels, predicted, labels, 3)["accuracy"].low > 0
    assert paired(labels, labels, predicted, 3)["recall:2"].high < 0


def test_intervals_hold_the_truth_about_as_often_as_they_say():
    truth = 0.8 + 0.2 / 3
    found = [intervals(*drawn(seed), 3, draws=1000) for seed in range(60)]
    for metric in ("accuracy", "balanced_accuracy"):
        assert 51 <= sum(holds(each[metric], truth) for each in found) <= 60
    assert 0.04 < np.mean([high - low for low, high in (each["accuracy"] for each in found)]) < 0.07


def test_samples_that_err_together_make_wider_intervals():
    rng = np.random.default_rng(3)
    person = np.repeat(np.arange(60), 10)
    right = np.where(rng.random(60) < 0.8, 0.95, 0.3)[person]
    labels = rng.integers(3, size=600)
    predicted = np.where(rng.random(600) < right, labels, (labels + 1) % 3)
    alone, together = (intervals(labels, predicted, 3, units=group)["accuracy"] for group in (None, person))
    named = intervals(labels, predicted, 3, units=person.astype(str))["accuracy"]
    assert together[1] - together[0] > 1.8 * (alone[1] - alone[0])
    assert named[1] - named[0] == pytest.approx(together[1] - together[0], rel=0.05)
    hit = labels == predicted
    alone, together = (of_confidence(hit, right, -np.log(right), hit, bins=10, units=group) for group in (None, person))
    for metric in ("log_loss", "coverage"):
        assert together[metric][1] - together[metric][0] > 1.8 * (alone[metric][1] - alone[metric][0])


def test_blocks_of_many_units_and_cells_are_as_wide(monkeypatch):
    labels, predicted = drawn(4, count=5000, classes=20)
    exact = intervals(labels, predicted, 20)
    monkeypatch.setattr(module, "BLOCKS", 300)
    for blocked in (intervals(labels, predicted, 20), intervals(labels, predicted, 20, units=np.arange(5000) // 2)):
        for metric in ("accuracy", "macro_f1"):
            assert blocked[metric][1] - blocked[metric][0] == pytest.approx(exact[metric][1] - exact[metric][0], rel=0.15)


def test_classes_without_samples_and_one_sample_count_for_nothing():
    labels, predicted = np.array([0, 0, 5, 5, 5, 9]), np.array([0, 7, 5, 5, 2, 9])
    found = intervals(labels, predicted, 10, draws=500)
    assert all(0 <= low <= high <= 1 for low, high in found.values())
    assert set(paired(labels, predicted, labels, 10, draws=500)) >= {"recall:0", "recall:5", "recall:9"}
    assert units(pa.table({"unit": pa.array([1, 2, None, None, -1, -1])})) is None
    assert np.bincount(np.unique(units(pa.table({"unit": pa.array([4, 4, None, None])})), return_inverse=True)[1]).max() == 2


def test_prediction_sets_hold_the_true_class_as_often_as_promised():
    held = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        probabilities = rng.dirichlet(np.full(5, 0.4), size=6000)
        labels = (probabilities.cumsum(1) < rng.random((6000, 1))).sum(1).clip(max=4)
        made = Calibration.fit(labels[:4000], probabilities[:4000], temperature=1, coverage=0.9, answered=0.9)
        labels, probabilities = labels[4000:], probabilities[4000:]
        true = probabilities[np.arange(2000), labels]
        hit, loss = probabilities.argmax(1) == labels, -np.log(np.maximum(true, 1e-12))
        found = of_confidence(hit, probabilities.max(1), loss, true >= made.set_floor, bins=15, draws=1000)
        held += holds(found["coverage"], 0.9)
    assert held >= 16


@pytest.mark.parametrize("samples", [200, 2000, 20_000])
def test_a_calibration_error_lies_in_its_own_interval(samples):
    rng = np.random.default_rng(samples)
    confidence = rng.uniform(0.5, 1, samples)
    hit, zeros = rng.random(samples) < confidence, np.zeros(samples)  # calibrated: a resample's error is larger by chance alone
    low, high = of_confidence(hit, confidence, zeros, hit, bins=15, draws=1000)["expected_calibration_error"]
    probabilities = np.column_stack([confidence, 1 - confidence])
    assert low < calibration_error((~hit).astype(int), probabilities, bins=15) < high


def test_few_samples_that_are_all_right_prove_little():
    labels = np.repeat([0, 1], [30, 5])
    found = intervals(labels, labels, 2)
    assert found["accuracy"] == pytest.approx((0.025 ** (1 / 35), 1), abs=1e-6)
    assert found["worst_class_recall"] == pytest.approx((0.4782, 1), abs=1e-4)  # of 5
    assert found["balanced_accuracy"][0] == pytest.approx(1 - (1 - 0.4782) / 2, abs=1e-4)
    assert intervals(labels, labels, 2, units=np.arange(35) // 5)["accuracy"][0] == pytest.approx(0.025 ** (1 / 7), abs=1e-6)
    right = labels == labels
    assert of_confidence(right, np.ones(35), np.zeros(35), right, bins=5, draws=100)["coverage"][0] == found["accuracy"][0]
