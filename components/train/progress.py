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
    kept: float = -np.inf  # its value in the epoch that is kept
    best_loss: float = np.inf  # of that epoch, on validation
    best_epoch: int = 0
    seconds: float = 0.0  # of training and validation so far, without what a kill cost
    trunk: float = 0.0  # seconds of these that a frozen trunk took, before the first batch
    waiting: float = 0.0  # seconds of these in which the next batch was not there yet
    steps: int = 0  # batches that the schedule is laid out for
    validation: float = 0.0  # seconds of one, as a budget of time counts it
    small: int = 0  # batches of smaller pictures
    ratio: float = 1.0  # what one of these takes, as a share of what one of whole pictures takes

    def keep(self, epoch: int, value: float, loss: float, *, margin: float) -> bool:
        """Whether this epoch is the one to keep: of all within `margin` of the highest value, the one of least loss.

        Few validation samples order epochs by chance. The rule of one standard error (Breiman et al., "Classification and Regression
        Trees", 1984).
        """
        self.best = max(self.best, value)
        enough = self.best - margin
        if value < enough or (self.kept >= enough and loss >= self.best_loss):
            return False
        self.kept, self.best_loss, self.best_epoch = value, loss, epoch
        return True

    @property
    def done(self) -> float:
        """Batches so far, those of smaller pictures counted by what they take."""
        return self.step - self.small * (1 - self.ratio)

    @property
    def pace(self) -> float:
        """Seconds that a batch of whole pictures took so far."""
        return (self.seconds - self.trunk - self.validation * len(self.history)) / self.done
