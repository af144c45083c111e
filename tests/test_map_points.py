"""What vectors say of samples: places, clusters, the odd ones, and what to label next; on scikit-learn's digits."""

import numpy as np
import pytest
from sklearn.datasets import load_digits
from sklearn.metrics import adjusted_rand_score

from components.embed import points


@pytest.fixture(scope="module")
def digits() -> tuple[np.ndarray, np.ndarray]:
    """700 pictures as vectors of length 1, and what they are. The last but one has no vector, the last is like none."""
    pixels, digit = load_digits(return_X_y=True)
    vectors = (pixels - pixels.mean(axis=0))[:700].astype(np.float32)
    vectors[-1] = np.random.default_rng(0).normal(size=64)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    vectors[-2] = 0
    return vectors, digit[:700]


@pytest.fixture(scope="module")
def described(digits):
    vectors, digit = digits
    return points.describe(vectors, np.where(np.arange(700) % 2, digit, -1), seed=3)


def test_the_same_digits_lie_together_and_the_odd_one_is_the_farthest(digits, described):
    places = np.stack([described["x"], described["y"]], axis=1)
    assert {name: values.dtype.name for name, values in described.items()} == {
        "x": "float32", "y": "float32", "outlier": "float32", "cluster": "int32", "label_next": "int32",
    }  # fmt: skip
    assert np.isnan(places[-2]).all()
    assert np.isnan(described["outlier"][-2])
    assert described["cluster"][-2] == described["label_next"][-2] == -1
    rows = np.arange(699) != 698
    distances = np.linalg.norm(places[:699][rows][:, None] - places[:699][rows], axis=2) + np.diag(np.full(698, np.inf))
    assert (digits[1][:698][distances.argmin(axis=1)] == digits[1][:698]).mean() > 0.85
    assert adjusted_rand_score(digits[1][:698], described["cluster"][:698]) > 0.5
    assert described["outlier"][-1] == np.nanmax(described["outlier"]) == 1
    sizes = np.bincount(described["cluster"][described["cluster"] >= 0])
    assert list(sizes) == sorted(sizes, reverse=True)


def test_the_same_input_gives_the_same_result(digits, described):
    again = points.describe(digits[0], np.where(np.arange(700) % 2, digits[1], -1), seed=3)
    assert all(np.array_equal(again[name], described[name], equal_nan=True) for name in described)


def test_only_what_has_no_label_is_put_in_order(described):
    order = described["label_next"]
    assert (order[1::2] == -1).all()
    assert sorted(order[::2][:-1]) == list(range(349))


def test_labels_in_this_order_are_worth_more_than_as_many_at_random(digits):
    """The nearest labelled neighbour as the classifier; of ten digits 10 to 50 are labelled."""
    vectors, digit = digits[0][:698], digits[1][:698]
    order = np.argsort(points._order(vectors, np.zeros(698, bool), np.random.default_rng(0)))

    def accuracy(chosen: np.ndarray) -> float:
        return (digit[chosen][(vectors @ vectors[chosen].T).argmax(axis=1)] == digit).mean()

    for count in (10, 20, 50):
        by_chance = [accuracy(np.random.default_rng(seed).permutation(698)[:count]) for seed in range(10)]
        assert accuracy(order[:count]) > np.mean(by_chance) + 0.05, count


def test_what_is_labelled_already_is_not_asked_for_again(digits):
    vectors, digit = digits[0][:698], digits[1][:698]
    order = points._order(vectors, digit < 5, np.random.default_rng(0))
    assert set(digit[np.flatnonzero((order >= 0) & (order < 10))]) <= set(range(5, 10))
    assert points._order(vectors, np.ones(698, bool), np.random.default_rng(0)).max() == -1


def test_what_is_too_many_to_fit_is_placed_by_its_neighbours(digits, monkeypatch):
    monkeypatch.setattr(points, "FITTED", 400)
    found = points.describe(*digits, seed=0)
    assert np.isfinite(found["x"]).sum() == 699
    assert adjusted_rand_score(digits[1][:698], found["cluster"][:698]) > 0.4


@pytest.mark.parametrize("count", [0, 1, 2, 3, 20])
def test_few_samples_get_a_place_too(digits, count):
    found = points.describe(digits[0][:count], np.full(count, -1), seed=0)
    assert np.isfinite(found["x"]).all()
    assert set(found["cluster"]) <= {-1}
    assert sorted(found["label_next"]) == list(range(count))


def test_pictures_that_are_all_the_same_break_nothing():
    found = points.describe(np.full((80, 4), 0.5, np.float32), np.zeros(80, int), seed=0)
    assert np.isfinite(found["y"]).all()
    assert not found["outlier"].any()


def test_copies_of_one_picture_hide_nobodys_neighbours(digits):
    vectors = np.concatenate([np.repeat(digits[0][:1], 2000, axis=0), digits[0][1:501]])
    near, _ = points._neighbours(vectors, np.arange(2500))
    alike = vectors[2000:] @ vectors[2000:].T - 2 * np.eye(500)
    lonely = alike.max(axis=1) > vectors[2000:] @ vectors[0]
    assert lonely.sum() > 400
    assert (near[2000:, 0] - 2000 == alike.argmax(axis=1))[lonely].mean() > 0.99
