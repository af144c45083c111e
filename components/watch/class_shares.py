"""Which share of the samples each class has, told from answers alone, and how often the answers are right."""

from dataclasses import dataclass

import numpy as np

from components.watch import two_samples
from components.watch.answered import Side

_EXPECTED = 5  # answers in a cell: of rarer classes together chi-square's p-value is right


@dataclass(frozen=True)
class ClassShares:
    """Shares, each (classes,): of the validation samples, and of the answered ones as estimated; of the answers: `predicted_...`."""

    before: np.ndarray
    now: np.ndarray
    predicted_before: np.ndarray
    predicted_now: np.ndarray
    p: float

    @property
    def distance(self) -> float:
        """The share of samples that are of another class than before, at least (total variation)."""
        return float(np.abs(self.now - self.before).sum() / 2)

    @property
    def most_moved(self) -> int:
        """The class whose share moved most."""
        return int(np.abs(self.now - self.before).argmax())


def class_shares(before: Side, labels: np.ndarray, now: Side) -> ClassShares:
    """Black box shift estimation: what mix of classes, each answered as in validation, gives these answers?

    Lipton, Wang and Smola, "Detecting and Correcting for Label Shift with Black Box Predictors", 2018. Chi-square on the predicted
    shares is the test.
    """
    from scipy.optimize import lsq_linear
    from scipy.stats import chi2_contingency

    classes = before.probabilities.shape[1]
    joint = np.zeros((classes, classes))  # predicted, true
    np.add.at(joint, (before.predicted, labels), 1 / len(labels))
    counts = np.stack([np.bincount(side.predicted, minlength=classes) for side in (before, now)])
    predicted = counts / counts.sum(1, keepdims=True)
    estimated = lsq_linear(joint, predicted[1], (0, np.inf)).x * joint.sum(0)
    # Where only classes are answered that validation never saw answered, nothing can be corrected.
    estimated = estimated / estimated.sum() if estimated.sum() > 0 else predicted[1]
    rare = counts.sum(0) * counts.sum(1).min() < _EXPECTED * counts.sum()
    pooled = np.concatenate([counts[:, ~rare], counts[:, rare].sum(1, keepdims=True)], axis=1)
    p = chi2_contingency(pooled[:, pooled.sum(0) > 0]).pvalue
    return ClassShares(joint.sum(0), estimated, *predicted, float(p))


@dataclass(frozen=True)
class Accuracy:
    """Of validation as counted, and of the answers as estimated, with its interval (95 %)."""

    before: float
    now: float
    low: float
    high: float
    p: float  # that it is no lower than in validation


def accuracy(before: Side, labels: np.ndarray, now: Side) -> Accuracy:
    """Mean confidence of the answers, plus what validation's confidence was short of its accuracy.

    As NannyML's CBPE from calibrated probabilities; the difference as Guillory et al., "Predicting with Confidence on Unseen
    Distributions", 2021. It cannot know what the model is wrong about and sure of.
    """
    from scipy.stats import ttest_ind

    right = (before.predicted == labels).astype(np.float64)
    short, sure, rng = right - before.confidence, now.confidence.astype(np.float64), np.random.default_rng(0)
    resampled = two_samples.mean_interval(short, rng) + two_samples.mean_interval(sure, rng)
    low, high = np.clip(np.quantile(resampled, [0.025, 0.975]), 0, 1)
    p = ttest_ind(sure, before.confidence, equal_var=False, alternative="less").pvalue
    estimate = float(np.clip(sure.mean() + short.mean(), 0, 1))
    return Accuracy(float(right.mean()), estimate, float(low), float(high), 1.0 if np.isnan(p) else float(p))
