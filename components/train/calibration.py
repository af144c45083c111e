"""How sure the network may be: one number, fitted on validation data, by which its outputs are divided."""

import numpy as np

_CANDIDATES = 1.02 ** np.arange(-80, 81)  # a fifth to five times


def fit(logits: np.ndarray, labels: np.ndarray) -> tuple[float, bool]:
    """The temperature, and whether the mean of all sides has the lower log loss than the first side alone, each at its own."""
    candidates = [logits[:1]] + [logits] * (len(logits) > 1)
    _, mirrored, divisor = min(
        (log_loss(sides / divisor, labels), len(sides) > 1, divisor)
        for sides in candidates
        for divisor in [temperature(sides, labels)]
    )
    return divisor, mirrored


def temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The divisor of least log loss (Guo et al., "On Calibration of Modern Neural Networks", 2017); 1.0 changes nothing.

    `logits` (sides, n, classes): of the picture, and of its mirror image where their probabilities are averaged; `labels` (n,).
    """
    return float(min(_CANDIDATES, key=lambda candidate: log_loss(logits / candidate, labels)))


def log_loss(logits: np.ndarray, labels: np.ndarray) -> float:
    """Mean surprise of the averaged probabilities at the true labels."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    probabilities = (powers / powers.sum(axis=-1, keepdims=True)).mean(axis=0)
    return float(-np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12)).mean())
