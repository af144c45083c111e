"""How many batches fit into a budget of time. Asked before the first one, and again while the training shows how fast it is."""

import math
import statistics
import time
from collections.abc import Callable

from components.train.config import TrainConfig

PROBE = 12  # batches that are timed beforehand; after each so many the rest is laid out anew
SETTLED = 0.75  # share of the schedule after which it stays as it is, so that it ends smoothly


def seconds(config: TrainConfig) -> float:
    """What may be spent on training and validation; a fiftieth is for the checkpoints."""
    return 0.98 * 60 * config.budget_minutes


def timed(step: Callable) -> float:
    """Seconds that a call takes, once it is compiled."""
    times = []
    for _ in range(PROBE):
        started = time.monotonic()
        step()
        times.append(time.monotonic() - started)
    return statistics.median(times[2:])


def is_open(config: TrainConfig, done: float) -> bool:
    """Whether a training that has so much of its schedule behind it (0 to 1) may still become longer or shorter."""
    return config.budget_minutes > 0 and done < SETTLED


def steps(left: float, *, batch: float, validation: float, batches: int, done: int = 0) -> int:
    """How many batches there are in all when `done` of them are behind us and `left` seconds before us.

    `batch` and `validation`: seconds of one; `batches`: of an epoch. There is a validation after each epoch, and after the
    part of one that comes last. One batch more at the least.
    """
    begun = done // batches
    validations = max(1, int(done / batches + left / (batches * batch + validation)) - begun)
    while math.ceil((done + (left - validations * validation) / batch) / batches) - begun > validations:
        validations += 1
    return done + max(1, int((left - validations * validation) / batch))
