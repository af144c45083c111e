"""Whether chance explains a difference between two models: exact tests, which hold for few groups and for rare classes, too.

If two models are equally good, it is chance which of them is right where they differ. So their answers may be swapped, those to all
samples of a unit (a person, a recording) together (Fisher, "The Design of Experiments", 1935).
"""

import math

import numpy as np
from scipy import stats

CHANCE, POWER = 0.05, 0.8  # of a gain that is none to be taken for one; of a gain to be seen
POINT = 0.01
HELD = 2**22  # numbers that are drawn at once


def of_gain(differences: np.ndarray, *, draws: int = 10_000, seed: int = 0) -> float:
    """How likely swapping alone makes a sum as large: of float (units,), what each unit adds to the second model's lead."""
    largest = np.abs(differences).max(initial=0)
    if not largest:
        return 1.0
    # Units of one size are alike: how many of them swap is one number. Rounded, for sums of shares are not exact.
    sizes, counts = np.unique(np.abs(differences / largest).round(9), return_counts=True)
    rng, total, at_once = np.random.default_rng(seed), differences.sum() / largest, max(1, HELD // len(sizes))
    reached = 0
    for start in range(0, draws, at_once):
        ahead = rng.binomial(counts, 0.5, (min(at_once, draws - start), len(sizes)))
        reached += int(((2 * ahead - counts) @ sizes >= total - 1e-6).sum())
    return (1 + reached) / (1 + draws)


def of_loss(differences: np.ndarray) -> float:
    """How likely so many of the units that differ are lost, or more: McNemar's exact test, over units (McNemar, 1947)."""
    lost, gained = (differences < 0).sum(), (differences > 0).sum()
    return float(stats.binom.sf(lost - 1, lost + gained, 0.5))


def samples_needed(differences: np.ndarray, samples: int, gain: float = POINT) -> int:
    """How many samples show such a gain with the probability POWER, if these units, of so many samples, are like those to come.

    By the variance of the lead if both are equal, which for single samples is Connor's ("Sample Size for Testing Differences in
    Proportions for the Paired-Sample Design", 1987) but for the square of the gain; at least one in a hundred is taken to differ.
    """
    variance = max(float(np.square(differences).sum()), POINT / samples)
    return math.ceil(samples * variance * (stats.norm.ppf(1 - CHANCE) + stats.norm.ppf(POWER)) ** 2 / gain**2)
