"""How sure the network may be: one number, fitted on validation data, by which its outputs are divided."""

import numpy as np

_CANDIDATES = 1.02 ** np.arange(-80, 81)  # a fifth to five times


def fit(logits: np.ndarray, labels: np.ndarray) -> tuple[float, bool]:
    """The temperature: the divisor of least log loss (Guo et al., "On Calibration of Modern Neural Networks", 2017); 1.0 changes nothing.

    `logits` (sides, n, classes): of the picture, and of its mirror image where there is one; `labels` (n,). Returns also whether
    the mean of both sides has the lower loss than the first side alone, each at its own temperature.
    """
    _, mirrored, divisor = min(
        (log_loss(logits[:sides] / divisor, labels), sides > 1, float(divisor))
        for sides in range(1, 1 + len(logits))
        for divisor in _CANDIDATES
    )
    return divisor, mirrored


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean surprise of the averaged probabilities at the true labels."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities = (powers / powers.sum(axis=-1, keepdims=True)).mean(axis=0)
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())
