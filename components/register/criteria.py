"""The gate: a table of criteria that a model has to pass, each with value, interval, limit and verdict."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from components.register.config import RegisterConfig
from components.shared.models.intervals import BLOCKS, Difference, paired

PASSES, FAILS, UNKNOWN = "passes", "fails", "not compared"
CHANCE, POWER = 0.05, 0.8  # of a gain that is none to be taken for one; of a gain to be seen
FEWEST = 5  # samples that only one of two models gets right; fewer are chance: 0.5 ** 4 is above CHANCE (McNemar's exact test)
POINT = 0.01
BINS = 15  # of the calibration error
DRAWS = 10_000
LIMITS = {  # of a model alone: the figure, and the knob that holds its limit
    "accuracy": "minimum_accuracy",
    "balanced_accuracy": "minimum_balanced_accuracy",
    "worst_class_recall": "minimum_worst_class_recall",
    "expected_calibration_error": "maximum_calibration_error",
    "coverage": "minimum_coverage",
    "mean_corruption_error": "maximum_mean_corruption_error",
    "onnx_milliseconds_p99": "maximum_milliseconds_p99",
    "onnx_mebibytes": "maximum_mebibytes",
}


@dataclass(frozen=True)
class Row:
    """One criterion of one candidate. `low` and `high`: the 95 % interval of the value; None where there is none."""

    criterion: str
    candidate: str
    value: float | None
    limit: float
    compared_with: str  # limit or champion
    verdict: str
    reason: str
    low: float | None = None
    high: float | None = None


class Said(NamedTuple):
    """What a model says of n samples: the class, int (n,), and its probability, float (n,)."""

    predicted: np.ndarray
    confidence: np.ndarray

    @classmethod
    def of(cls, probabilities: np.ndarray) -> "Said":
        """Of float (n, classes)."""
        return cls(probabilities.argmax(1), probabilities.max(1).astype(np.float64))


def alone(candidate: str, figures: dict, intervals: dict, config: RegisterConfig, *, promise: float) -> list[Row]:
    """The limits that a model has to keep whatever the champion does. `promise`: the coverage that its prediction sets promise."""
    rows = []
    for name, knob in LIMITS.items():
        asked, value = getattr(config, knob), figures.get(name)
        limit = asked * promise if name == "coverage" else asked
        if not isinstance(value, int | float) or not math.isfinite(value):
            rows.append(Row(name, candidate, None, limit, "limit", UNKNOWN, f"{name} was not measured"))
            continue
        least = knob.startswith("minimum")
        failed = value < limit if least else value > limit
        side = ("below" if failed else "at least") if least else ("above" if failed else "at most")
        of = f" of the promised {promise:g}" if name == "coverage" else ""
        reason = f"{name} {value:.4f} is {side} register.{knob} = {asked:g}{of}"
        rows.append(Row(name, candidate, value, limit, "limit", FAILS if failed else PASSES, reason, *intervals.get(name, ())))
    return rows


def promotion(
    candidate: str, labels: np.ndarray, before: Said, after: Said, classes: list[str], config: RegisterConfig,
    *, units: np.ndarray | None = None, draws: int = DRAWS,
) -> list[Row]:  # fmt: skip
    """A candidate (`after`) against the champion (`before`) on samples that neither has learnt from: a proven gain, and no harm.

    `labels` int (n,); `units` int (n,): samples of one unit are drawn together. The interval of the gain is that of a paired
    bootstrap (see `intervals`).
    """
    differences = paired(labels, before.predicted, after.predicted, len(classes), units=units, draws=draws)
    split = (before.predicted == labels) != (after.predicted == labels)
    return [
        _gain(candidate, differences[config.compare_by], split, config),
        _classes(candidate, differences, classes, config),
        _calibration(candidate, labels, before, after, config, units=units, draws=draws // 10),
    ]


def recorded(candidate: str, before: float, after: float, half: float, config: RegisterConfig) -> Row:
    """The gain by two figures of the same samples where what the champion says of each is not known.

    `half`: half the width of the candidate's interval. The champion's counts as equally wide, and the two as independent, which
    asks for more than pairs would.
    """
    value, half = after - before, half * math.sqrt(2)
    chance = float(stats.norm.cdf(-value, scale=half / stats.norm.ppf(0.975))) if half else float(value <= 0)
    return _gain(candidate, Difference(value, value - half, value + half, chance), np.ones(0, bool), config, fewest=0)


def samples_needed(differing: float, gain: float = POINT) -> int:
    """How many samples show such a gain with the probability POWER, when so large a share is right by only one of the two models.

    McNemar's test, one-sided: Connor, "Sample Size for Testing Differences in Proportions for the Paired-Sample Design",
    Biometrics 43 (1987).
    """
    differing = max(differing, gain)
    alpha, beta = stats.norm.ppf([1 - CHANCE, POWER])
    return math.ceil((alpha * math.sqrt(differing) + beta * math.sqrt(differing - gain**2)) ** 2 / gain**2)


def _gain(candidate: str, found: Difference, split: np.ndarray, config: RegisterConfig, fewest: int = FEWEST) -> Row:
    interval = f"(95 % interval {found.low:+.4f} to {found.high:+.4f})"
    proven = found.value > 0 and found.chance < CHANCE and split.sum() >= fewest
    if proven and found.value >= config.smallest_gain:
        verdict, reason = PASSES, f"a gain of {found.value:.4f} {interval}, none in {found.chance:.1%} of the resamples"
    elif proven:
        verdict, reason = (
            FAILS,
            f"a gain of {found.value:.4f} {interval} is below register.smallest_gain = {config.smallest_gain:g}",
        )
    elif found.high < 0:
        verdict, reason = FAILS, f"worse by {-found.value:.4f} {interval}"
    else:
        verdict, reason = FAILS, f"no proof that it is better: a difference of {found.value:+.4f} {interval}"
        if len(split):
            reason += f"; about {samples_needed(split.mean()):,} test samples would tell a gain of one point"
    return Row(f"gain in {config.compare_by}", candidate, found.value, config.smallest_gain, "champion", verdict, reason,
               found.low, found.high)  # fmt: skip


def _classes(candidate: str, differences: dict[str, Difference], classes: list[str], config: RegisterConfig) -> Row:
    """Each class's recall; of many classes some fall by chance, so that the chance is shared among them (Bonferroni)."""
    found = [(differences[key], name) for index, name in enumerate(classes) if (key := f"recall:{index}") in differences]
    found = sorted((each for each in found if math.isfinite(each[0].value)), key=lambda each: each[0].value)
    harmed = [
        f"class {name!r} loses {-each.value:.4f} of its recall (95 % interval {each.low:+.4f} to {each.high:+.4f})"
        for each, name in found
        if each.value < -config.class_harm and each.high < 0 and (1 - each.chance) * len(found) < CHANCE
    ]
    worst, name = found[0]
    reason = f"class {name!r} changes by {worst.value:+.4f}, no other for worse"
    if harmed:
        more = f", and {len(harmed) - 3} classes more" if len(harmed) > 3 else ""
        reason = f"{', '.join(harmed[:3])}{more}: above register.class_harm = {config.class_harm:g}"
    return Row("recall of each class", candidate, worst.value, -config.class_harm, "champion", FAILS if harmed else PASSES, reason,
               worst.low, worst.high)  # fmt: skip


def _calibration(
    candidate: str,
    labels: np.ndarray,
    before: Said,
    after: Said,
    config: RegisterConfig,
    *,
    units: np.ndarray | None,
    draws: int,
) -> Row:
    """Growth of the calibration error, by the bootstrap of `intervals`: units are drawn whole, of many samples blocks of them."""
    codes, rng = np.arange(len(labels)) if units is None else np.unique(units, return_inverse=True)[1], np.random.default_rng(0)
    codes = rng.permutation(codes.max() + 1)[codes] % BLOCKS
    gaps = np.zeros((2, codes.max() + 1, BINS))  # of accuracy and confidence, summed: the error is the mean of their sizes
    for gap, said in zip(gaps, (before, after), strict=True):
        bins = np.minimum((said.confidence * BINS).astype(int), BINS - 1)
        np.add.at(gap, (codes, bins), (said.predicted == labels) - said.confidence)
    sizes = np.bincount(codes)
    times = rng.multinomial(len(sizes), np.full(len(sizes), 1 / len(sizes)), draws)
    olds, news = np.abs(times @ gaps).sum(2) / (times @ sizes)
    old, new = np.abs(gaps.sum(1)).sum(1) / len(labels)
    low, high = np.quantile(news - olds, [0.025, 0.975])
    return harm(candidate, "growth of the calibration error", new - old, config.calibration_harm, "calibration_harm",
                f"{new:.4f}, the champion's is {old:.4f}", low=float(low), high=float(high))  # fmt: skip


def harm(
    candidate: str, criterion: str, value: float, limit: float, knob: str, told: str,
    *, low: float | None = None, high: float | None = None,
) -> Row:  # fmt: skip
    """What may not grow by more than its limit; where there is an interval it must lie above zero, too."""
    failed = value > limit and (low is None or low > 0)
    reason = f"{criterion}: {told}, {'above' if failed else 'within'} register.{knob} = {limit:g}"
    return Row(criterion, candidate, float(value), limit, "champion", FAILS if failed else PASSES, reason, low, high)
