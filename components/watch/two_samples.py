"""Whether two samples come from one world: tests that ask nothing of a distribution, each with a p-value and the size of the effect."""

import numpy as np

DRAWN, PERMUTATIONS = 500, 1999  # points a side whose distances are compared, and shuffles: p is 0.0005 at least
RESAMPLED = 2000


def kolmogorov_smirnov(before: np.ndarray, now: np.ndarray) -> tuple[float, float]:
    """The largest difference of the distribution functions, 0 to 1, and its p-value, of numbers (n,) and (m,)."""
    from scipy.stats import ks_2samp

    found = ks_2samp(before, now, method="asymp")  # the exact one takes seconds, and says the same of a hundred samples
    return float(found.statistic), float(found.pvalue)


def energy(before: np.ndarray, now: np.ndarray, *, seed: int = 0) -> tuple[float, float]:
    """The coefficient of inhomogeneity, 0 to 1, and its p-value by permutations, of points (n, d) and (m, d).

    Szekely and Rizzo, "Energy statistics: A class of statistics based on distances", 2013. Of more than DRAWN points a side, so many
    are drawn.
    """
    from scipy.spatial.distance import cdist

    rng = np.random.default_rng(seed)
    drawn = [rng.permutation(points)[:DRAWN] for points in (before, now)]
    sizes = np.array([len(points) for points in drawn])
    points = np.concatenate(drawn)
    distances = cdist(points, points).astype(np.float32)
    weights = np.repeat(np.float32([1, -1] / sizes), sizes)
    shuffled = np.stack([weights, *(rng.permutation(weights) for _ in range(PERMUTATIONS))])
    energies = -np.einsum("ij,ij->i", shuffled @ distances, shuffled)  # 2 E|X-Y| - E|X-X'| - E|Y-Y'|
    between = 2 * float(distances[: sizes[0], sizes[0] :].mean())
    return float(energies[0]) / between if between else 0.0, float((energies >= energies[0]).mean())


def shares(before: int, of_before: int, now: int, of_now: int) -> tuple[float, float]:
    """How far two shares are apart, 0 to 1, and the p-value of Fisher's exact test, that of two binomials of one unknown share."""
    from scipy.stats import fisher_exact

    table = [[before, of_before - before], [now, of_now - now]]
    return abs(now / of_now - before / of_before), float(fisher_exact(table).pvalue)


def mean_interval(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """RESAMPLED means of bootstrap resamples of numbers (n,) in -1 to 1, which are rounded to a two-thousandth for it."""
    counts, edges = np.histogram(values, bins=4000, range=(-1, 1))
    return rng.multinomial(len(values), counts / len(values), RESAMPLED) @ ((edges[1:] + edges[:-1]) / 2) / len(values)


def holm(p_values: np.ndarray) -> np.ndarray:
    """Corrected for their number, so that all together raise a false alarm no oftener than one alone would (Holm, 1979)."""
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate((len(p_values) - np.arange(len(p_values))) * p_values[order])
    corrected = np.empty(len(p_values))
    corrected[order] = np.minimum(stepped, 1)
    return corrected
