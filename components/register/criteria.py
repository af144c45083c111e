"""The gate: a table of criteria that a model has to pass, each with value, interval, limit and verdict."""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from components.register import chance
from components.register.chance import CHANCE
from components.register.config import RegisterConfig
from components.shared.models.intervals import BLOCKS, FEWEST, Difference, paired

PASSES, FAILS, UNKNOWN = "passes", "fails", "not compared"
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

    `labels` int (n,); `units` int (n,): samples of one unit are taken together. Whether the gain is chance is told by
    `chance`; its interval is that of a paired bootstrap (see `intervals`).
    """
    differences = paired(labels, before.predicted, after.predicted, len(classes), units=units, draws=draws)
    lead = (after.predicted == labels).astype(int) - (before.predicted == labels)
    unit = np.arange(len(labels)) if units is None else np.unique(units, return_inverse=True)[1]
    of_class = np.bincount(labels, minlength=len(classes))
    share = 1 / len(labels) if config.compare_by == "accuracy" else 1 / ((of_class > 0).sum() * of_class[labels])
    of_unit = np.bincount(unit, weights=lead * share)  # what each adds to the difference
    explained, needed = chance.of_gain(of_unit, draws=draws), chance.samples_needed(of_unit, len(labels))
    return [
        _gain(candidate, differences[config.compare_by], explained, config, needed=needed),
        _classes(candidate, differences, _losses(labels, lead, unit), classes, config),
        _calibration(candidate, labels, before, after, config, units=units, draws=draws // 10),
    ]


def recorded(candidate: str, before: float, after: float, half: float, config: RegisterConfig) -> Row:
    """The gain by two figures of the same samples where what the champion says of each is not known.

    `half`: half the width of the candidate's interval. The champion's counts as equally wide, and the two as independent, which
    asks for more than pairs would.
    """
    value, half = after - before, half * math.sqrt(2)
    explained = float(stats.norm.cdf(-value, scale=half / stats.norm.ppf(0.975))) if half else float(value <= 0)
    return _gain(candidate, Difference(value, value - half, value + half), explained, config)


def _gain(candidate: str, found: Difference, explained: float, config: RegisterConfig, needed: int = 0) -> Row:
    interval = f"(95% interval {found.low:+z.4f} to {found.high:+z.4f})"
    proven, verdict = found.value > 0 and explained < CHANCE, FAILS
    if proven and found.value >= config.smallest_gain:
        verdict, reason = (
            PASSES,
            f"a gain of {found.value:.4f} {interval}; equal models show as much in {explained:.2%} of cases",
        )
    elif proven:
        reason = f"a gain of {found.value:.4f} {interval} is below register.smallest_gain = {config.smallest_gain:g}"
    elif found.high < 0:
        reason = f"worse by {-found.value:.4f} {interval}"
    else:
        reason = f"no proof that it is better: a difference of {found.value:+z.4f} {interval}"
        reason += f"; about {needed:,} test samples would tell a gain of one point" if needed else ""
    return Row(f"gain in {config.compare_by}", candidate, found.value, config.smallest_gain, "champion", verdict, reason,
               found.low, found.high)  # fmt: skip


def _losses(labels: np.ndarray, lead: np.ndarray, unit: np.ndarray) -> dict[int, float]:
    """Of each class that loses recall: how likely chance alone takes as much. `lead` int (n,): 1, 0, -1."""
    differ = np.flatnonzero(lead)
    by_class = pd.Series(lead[differ]).groupby([labels[differ], unit[differ]]).sum().groupby(level=0)
    return {index: chance.of_loss(net.to_numpy()) for index, net in by_class if net.sum() < 0}


def _classes(
    candidate: str, differences: dict[str, Difference], losses: dict[int, float], classes: list[str], config: RegisterConfig
) -> Row:
    """Each class's recall; of many classes some fall by chance, so that the chance is shared among them (Bonferroni)."""
    found = [(differences[key], index) for index in range(len(classes)) if (key := f"recall:{index}") in differences]
    found.sort(key=lambda each: each[0].value)
    harmed = [
        f"class {classes[index]!r} loses {-each.value:.4f} of its recall (95% interval {each.low:+z.4f} to {each.high:+z.4f})"
        for each, index in found
        if each.value < -config.class_harm and losses[index] * len(found) < CHANCE
    ]
    worst, index = found[0]
    reason = f"class {classes[index]!r} changes by {worst.value:+z.4f}, no other for worse, and none beyond limit and chance"
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
    low, high = np.quantile(news - olds, [0.025, 0.975]).tolist() if len(sizes) >= FEWEST else (None, None)
    return harm(candidate, "growth of the calibration error", new - old, config.calibration_harm, "calibration_harm",
                f"{new:.4f}, the champion's is {old:.4f}", low=low, high=high)  # fmt: skip


def unknown(candidate: str, criterion: str, limit: float, why: str) -> Row:
    """What could not be compared with the champion."""
    return Row(criterion, candidate, None, limit, "champion", UNKNOWN, f"{criterion}: {why}")


def harm(
    candidate: str, criterion: str, value: float, limit: float, knob: str, told: str,
    *, low: float | None = None, high: float | None = None,
) -> Row:  # fmt: skip
    """What may not grow by more than its limit; where there is an interval it must lie above zero, too."""
    failed = value > limit and (low is None or low > 0)
    reason = f"{criterion}: {told}, {'above' if failed else 'within'} register.{knob} = {limit:g}"
    return Row(criterion, candidate, float(value), limit, "champion", FAILS if failed else PASSES, reason, low, high)
