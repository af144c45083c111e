"""How good predictions are: one pure function for every place that asks."""

import numpy as np


def scores(labels: np.ndarray, probabilities: np.ndarray, *, bins: int = 15) -> dict[str, float]:
    """The metrics of the design, flat. `labels` (n,) int, `probabilities` (n, classes).

    Averages over classes count each class of `labels` once, however rare it is.
    """
    predicted = probabilities.argmax(1)
    present = np.unique(labels)
    # Not by scikit-learn, which takes longer to load than all of this to compute.
    right, true, said = (
        np.bincount(each, minlength=present[-1] + 1)[present] for each in (labels[predicted == labels], labels, predicted)
    )
    recalls = right / true
    return {
        "accuracy": float((predicted == labels).mean()),
        "balanced_accuracy": float(recalls.mean()),
        "macro_f1": float((2 * right / (true + said)).mean()),
        "worst_class_recall": float(recalls.min()),
        "expected_calibration_error": calibration_error(labels, probabilities, bins=bins),
        "log_loss": log_loss(labels, probabilities),
        "samples": len(labels),
    }


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """The mean of `losses`."""
    return float(losses(labels, probabilities).mean())


def losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """float64 (n,): the negative logarithm of the probability of the true class, in nats."""
    true = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    true /= probabilities.sum(axis=1, dtype=np.float64)  # float32 softmax sums to one but for its last digits
    eps = np.finfo(np.float64).eps
    return -np.log(np.clip(true, eps, 1 - eps))


def calibration(labels: np.ndarray, probabilities: np.ndarray, *, bins: int) -> list[dict[str, float]]:
    """The reliability diagram: for each filled bin of confidence, how often its predictions are right."""
    confidence = probabilities.max(1)
    hit = probabilities.argmax(1) == labels
    which = np.minimum((confidence * bins).astype(int), bins - 1)
    return [
        {
            "confidence": float(confidence[which == b].mean()),
            "accuracy": float(hit[which == b].mean()),
            "samples": int((which == b).sum()),
        }
        for b in range(bins)
        if (which == b).any()
    ]


def calibration_error(labels: np.ndarray, probabilities: np.ndarray, *, bins: int) -> float:
    """Expected calibration error (Guo et al., 2017): mean gap between confidence and accuracy, 0 perfect."""
    table = calibration(labels, probabilities, bins=bins)
    return float(sum(row["samples"] * abs(row["accuracy"] - row["confidence"]) for row in table) / len(labels))
