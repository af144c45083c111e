"""Statistics that the libraries lack: whether clouds of points come from one world, and many tests at once."""

import numpy as np

DRAWN, PERMUTATIONS = 500, 1999  # points a side whose distances are compared, and shuffles: p is 0.0005 at least


def energy(before: np.ndarray, now: np.ndarray) -> tuple[float, float]:
    """The coefficient of inhomogeneity, 0 to 1, and its p-value by permutations, of points (n, d) and (m, d).

    Szekely and Rizzo, "Energy statistics: A class of statistics based on distances", 2013. Of more than DRAWN points a side so many
    are drawn, always the same.
    """
    from scipy.spatial.distance import cdist

    rng = np.random.default_rng(0)
    drawn = [rng.permutation(points)[:DRAWN] for points in (before, now)]
    sizes, points = np.array([len(points) for points in drawn]), np.concatenate(drawn)
    distances = cdist(points, points).astype(np.float32)
    weights = np.repeat(np.float32([1, -1] / sizes), sizes)
    shuffled = np.concatenate([weights[None], rng.permuted(np.tile(weights, (PERMUTATIONS, 1)), axis=1)])
    energies = -np.einsum("ij,ij->i", shuffled @ distances, shuffled)  # 2 E|X-Y| - E|X-X'| - E|Y-Y'|
    between = 2 * float(distances[: sizes[0], sizes[0] :].mean())
    return float(energies[0]) / between if between else 0.0, float((energies >= energies[0]).mean())


def holm(p_values: np.ndarray) -> np.ndarray:
    """Corrected for their number, so that all together raise a false alarm no oftener than one alone would (Holm, 1979)."""
    order = np.argsort(p_values)
    stepped = np.maximum.accumulate((len(p_values) - np.arange(len(p_values))) * p_values[order])
    return np.minimum(stepped, 1)[np.argsort(order)]
