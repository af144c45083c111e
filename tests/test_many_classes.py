"""Ten thousand classes, and names as long as a file system takes: validate stays linear in samples and bounded in memory."""

import tracemalloc

import numpy as np
import pytest
from conftest import by_code
from threadpoolctl import threadpool_limits

from components.shared.errors import Refused
from components.validate import suspects
from components.validate.config import ValidateConfig
from components.validate.step import validate


def test_ten_thousand_classes_are_judged_and_what_people_read_stays_short(drawn, tmp_path, knobs):
    drawn(tmp_path / "m", 20_000, 10_000)
    with pytest.raises(Refused):
        validate(manifest=tmp_path / "m", config=knobs(ValidateConfig, "validate"), validation=tmp_path / "v")
    found = by_code(tmp_path / "v/findings.json")
    assert set(found) == {"E_CLASS_TOO_SMALL"}
    assert (found["E_CLASS_TOO_SMALL"]["count"], len(found["E_CLASS_TOO_SMALL"]["items"])) == (20_000, 1000)
    assert (tmp_path / "v/report.html").stat().st_size < 500_000


def test_two_thousand_long_names_are_judged(drawn, tmp_path, knobs):
    rng = np.random.default_rng(0)
    names = ["".join(rng.choice(list("abcdefgh _$"), 250)) for _ in range(2000)]
    drawn(tmp_path / "m", 20_000, names)
    validate(manifest=tmp_path / "m", config=knobs(ValidateConfig, "validate"), validation=tmp_path / "v")
    assert not by_code(tmp_path / "v/findings.json").keys() - {"W_LABEL_SUSPECT"}


def dense(features: np.ndarray, labels: np.ndarray, folds: np.ndarray, classes: int) -> tuple:
    """Fisher's discriminants out of fold and confident learning, as the formulas read, with everything in memory."""
    scores = np.zeros((len(labels), classes), np.float32)
    exact = features.astype(np.float64)
    for fold in range(suspects.FOLDS):
        rest = (folds != fold) & (labels >= 0)
        members = (labels[rest] == np.arange(classes)[:, None]).astype(float)
        sizes = members.sum(axis=1)
        means = members @ exact[rest] / np.maximum(sizes, 1)[:, None]
        within = (exact[rest].T @ exact[rest] - (means * sizes[:, None]).T @ means) / rest.sum()
        within += np.eye(len(within)) * (0.01 * np.trace(within) / len(within) + 1e-3)
        weights = np.linalg.solve(within, means.T)
        with np.errstate(divide="ignore"):
            bias = np.maximum(np.log(sizes / rest.sum()), -1e9) - 0.5 * (means.T * weights).sum(axis=0)
        scores[folds == fold] = exact[folds == fold] @ weights + bias

    def softmax(values: np.ndarray) -> np.ndarray:
        powers = np.exp(values - values.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)

    known = np.flatnonzero(labels >= 0)
    losses = [-np.log(softmax(scores[known] / 1.25**power)[np.arange(len(known)), labels[known]].clip(1e-12)).mean()
              for power in range(21)]  # fmt: skip
    probability = softmax(scores / 1.25 ** int(np.argmin(losses)))
    own = np.where(labels >= 0, probability[np.arange(len(labels)), labels], 0)
    there = [labels == label for label in range(classes)]
    usual = np.array([own[mask].mean() if mask.any() else np.inf for mask in there])
    confident = np.where(probability >= usual, probability, -1)
    suspect = (labels >= 0) & (confident.max(axis=1) >= 0) & (confident.argmax(axis=1) != labels)
    best = scores.argmax(axis=1)
    accuracy = np.mean([(best[mask] == label).mean() for label, mask in enumerate(there) if mask.any()])
    return own, best, accuracy, suspect


@pytest.mark.parametrize(("samples", "classes", "cells"), [(600, 3, 1 << 22), (600, 3, 64), (1500, 40, 999), (300, 7, 7)])
def test_suspects_are_those_of_the_formula_however_the_work_is_cut(samples, classes, cells, monkeypatch):
    rng = np.random.default_rng(samples)
    labels = rng.integers(0, classes, samples)
    centres = rng.integers(60, 190, (classes, 30))
    features = np.clip(centres[labels] + rng.normal(0, 70, (samples, 30)), 0, 255).astype(np.uint8)
    labels = np.where(rng.random(samples) < 0.1, rng.integers(0, classes, samples), labels)
    labels[rng.random(samples) < 0.05] = -1
    labels[labels == classes - 1] = 0  # a class without a sample
    folds = rng.integers(0, suspects.FOLDS, samples)
    with threadpool_limits(1, "blas"):
        own, best, accuracy, suspect = dense(features, labels, folds, classes)
    monkeypatch.setattr(suspects, "_CELLS", cells)
    monkeypatch.setattr(suspects, "_fitted", lambda classes: 20_000)
    opinion = suspects.opinion(lambda: np.array_split(features, 3), labels, folds, classes)
    assert np.allclose(opinion.trust, own, atol=1e-5)
    assert (opinion.best == best).all()
    assert opinion.accuracy == pytest.approx(accuracy)
    assert (opinion.suspect == suspect).all()
    assert suspect.any()


def test_memory_for_suspects_does_not_grow_with_samples_times_classes():
    def peak(samples: int, classes: int) -> int:
        rng = np.random.default_rng(0)
        labels = np.arange(samples) % classes
        features = rng.integers(0, 256, (samples, 20), dtype=np.uint8)
        tracemalloc.start()
        suspects.opinion(lambda: [features], labels, rng.integers(0, suspects.FOLDS, samples), classes)
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most

    assert peak(16_000, 1500) - peak(8_000, 1500) < 16_000 * 1500  # bytes: less than one for each cell that is added


def test_of_too_much_work_a_share_of_every_class_is_judged_by_the_model_of_all(monkeypatch):
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(5), 200)
    features = np.clip(rng.integers(60, 190, (5, 30))[labels] + rng.normal(0, 40, (1000, 30)), 0, 255).astype(np.uint8)
    folds = rng.integers(0, suspects.FOLDS, 1000)
    monkeypatch.setattr(suspects, "_fitted", lambda classes: 1)
    whole = suspects.opinion(lambda: [features], labels, folds, 5)
    monkeypatch.setattr(suspects, "_WORK", 1000)
    some = suspects.opinion(lambda: np.array_split(features, 3), labels, folds, 5)
    judged = ~np.isnan(some.trust)
    assert (whole.judged, some.judged, judged.sum()) == (1000, 200, 200)
    assert (np.bincount(labels[judged]) == 40).all()
    assert (some.best[judged] == whole.best[judged]).all()
    assert not some.suspect[~judged].any()
