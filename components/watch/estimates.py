"""What answers alone tell of the true classes: how many samples of each there are, and how often the answers are right."""

import numpy as np

from components.watch.answered import Side

_EXPECTED = 5  # answers in a cell: of rarer classes together chi-square's p-value is right


def class_shares(before: Side, labels: np.ndarray, now: Side) -> tuple[np.ndarray, np.ndarray, float]:
    """Share of each class in validation, (classes,), and as estimated of the answers; p-value that the answered classes are the same.

    Black box shift estimation: the mix of classes that, each answered as in validation, gives these answers. Lipton, Wang and Smola,
    "Detecting and Correcting for Label Shift with Black Box Predictors", 2018. The test is chi-square on the answered classes.
    """
    from scipy.optimize import lsq_linear
    from scipy.stats import chi2_contingency

    classes = before.probabilities.shape[1]
    joint = np.zeros((classes, classes))  # answered, true
    np.add.at(joint, (before.predicted, labels), 1 / len(labels))
    counts = np.stack([np.bincount(side.predicted, minlength=classes) for side in (before, now)])
    answered = counts[1] / counts[1].sum()
    estimated = lsq_linear(joint, answered, (0, np.inf)).x * joint.sum(0)
    # Where only classes are answered that validation never saw answered, nothing can be corrected.
    estimated = estimated / estimated.sum() if estimated.sum() > 0 else answered
    rare = counts.sum(0) * counts.sum(1).min() < _EXPECTED * counts.sum()
    pooled = np.concatenate([counts[:, ~rare], counts[:, rare].sum(1, keepdims=True)], axis=1)
    return joint.sum(0), estimated, float(chi2_contingency(pooled[:, pooled.sum(0) > 0]).pvalue)


def accuracy(before: Side, labels: np.ndarray, now: Side) -> tuple[dict[str, float], float]:
    """Of `validation` as counted, of the answers as `estimated`, with its interval of 95 % (`low`, `high`); p-value that it is no lower.

    Mean confidence of the answers, as NannyML's CBPE, less what confidence was above accuracy in validation (Guillory et al.,
    "Predicting with Confidence on Unseen Distributions", 2021). It cannot know what the model is wrong about and sure of. Both are
    means of a hundred numbers and more: Welch's interval.
    """
    from scipy.stats import ttest_ind

    right, sure = before.predicted == labels, now.confidence.astype(np.float64)
    above = before.confidence - right.astype(np.float64)
    interval = ttest_ind(sure, above, equal_var=False).confidence_interval(0.95)
    estimated = sure.mean() - above.mean()
    # Where all confidences are the same there is no interval.
    low, high = np.nan_to_num([interval.low, interval.high], nan=estimated)
    found = {"validation": right.mean(), "estimated": estimated, "low": low, "high": high}
    p = ttest_ind(sure, before.confidence, equal_var=False, alternative="less").pvalue
    return {name: float(np.clip(value, 0, 1)) for name, value in found.items()}, 1.0 if np.isnan(p) else float(p)
