"""How far a training is, and how fast it goes."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class Progress:
    """How far a training is. A checkpoint keeps all of it."""

    step: int = 0  # batches done, over all epochs
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])  # loss, hits, samples of the epoch under way
    history: list[dict] = field(default_factory=list)  # one row per finished epoch
    best: float = -np.inf  # the highest value of what `monitor` names
    best_epoch: int = 0  # that had it
    kept_epoch: int = 0  # whose weights are kept
    seconds: float = 0.0  # of training and validation so far, without what a kill cost
    trunk: float = 0.0  # seconds of these that a frozen trunk took, before the first batch
    waiting: float = 0.0  # seconds of these in which the next batch was not there yet
    steps: int = 0  # batches that the schedule is laid out for
    validation: float = 0.0  # seconds of one, as a budget of time counts it
    small: int = 0  # batches of smaller pictures
    averaged: int = 0  # sets of weights in the mean
    ratio: float = 1.0  # what one of these takes, as a share of what one of whole pictures takes

    def keep(self, epoch: int, value: float, *, margin: float) -> bool:
        """Whether this epoch is the one to keep: of all within `margin` of the highest value, the last.

        Few validation samples order epochs by chance, and a schedule ends with its surest steps. After the rule of one standard error
        (Breiman et al., "Classification and Regression Trees", 1984).
        """
        if value > self.best:
            self.best, self.best_epoch = value, epoch
        if value < self.best - margin:
            return False
        self.kept_epoch = epoch
        return True

    @property
    def done(self) -> float:
        """Batches so far, those of smaller pictures counted by what they take."""
        return self.step - self.small * (1 - self.ratio)

    @property
    def pace(self) -> float:
        """Seconds that a batch of whole pictures took so far."""
        return (self.seconds - self.trunk - self.validation * len(self.history)) / self.done


def standard_error(monitor: str, hit: np.ndarray, labels: np.ndarray) -> float:
    """Of what `monitor` names, from `hit` bool (n,) at `labels` int (n,): how far chance moves it, in so few samples; of a loss 0.

    Binomial, each share with one more hit and one more miss (Laplace), so that none is sure.
    """
    if monitor == "loss":
        return 0.0
    groups = labels if monitor == "balanced_accuracy" else np.zeros_like(labels)
    counts = np.bincount(groups)
    hits = np.bincount(groups, weights=hit)[counts > 0]
    counts = counts[counts > 0]
    share = (hits + 1) / (counts + 2)
    return float(np.sqrt((share * (1 - share) / counts).sum()) / len(counts))
