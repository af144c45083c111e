"""What is compared, how large a difference counts, and what to do about it."""

from dataclasses import dataclass, replace

import numpy as np

from components.watch import two_samples
from components.watch.answered import LEVELS, Side

FALSE_ALARMS = 0.01  # of a watch without drift, all its tests together
# The least that counts, since of many samples anything is significant.
DISTANCE = 0.08  # of distributions: a normal one moves by a fifth of its deviation, a small effect (Cohen, 1988)
MIX = 0.1  # of class shares: one sample in ten is of another class than before
INHOMOGENEITY = 0.02  # of features: all dimensions move by a quarter of their deviation, or a few by more
ABSTAINED = 0.05  # of the samples more, or fewer: a person sees half as many again, at the usual share of a tenth
DROP = 0.03  # of the accuracy: a model that lost as much would not have become champion
UNREADABLE = 0.01  # of the samples: a broken file happens, one in a hundred is a broken camera or sender

ADVICE = {
    "brightness": "look at the light and the exposure",
    "contrast": "look at light, exposure and compression",
    "sharpness": "look at the focus, the lens and the size of the pictures",
    "confidence": "look at the answers of least confidence",
    "features": "the pictures show something else: look at some, and add a class for it where one is missing",
    "class shares": "look whether the mix is real",
    "abstained": "look at the samples that were abstained from",
    "estimated accuracy": "count it on a hundred labelled answers",
    "unreadable": "look at the column fault of the answers, and at what sends such files; no training mends it",
}
REMEDY = "if it stays so: label some hundred of these samples, `darkroom ingest TABLE data --add`, and train anew"
_LEAST_P = 1e-6  # below it a p-value says no more than that it is small


@dataclass(frozen=True)
class Comparison:
    """One comparison. `before` and `now`: medians, shares or an accuracy; `p`: as it is, `corrected`: by Holm for all of a watch."""

    quantity: str
    method: str
    before: float
    now: float
    effect: float
    least: float  # effect that counts
    p: float
    corrected: float = 1.0
    what: str = ""  # moved, where the quantity has parts

    @property
    def moved(self) -> bool:
        """Whether it is more than chance, and more than a trifle."""
        return self.corrected < FALSE_ALARMS and self.effect >= self.least

    def line(self) -> str:
        """What moved, by how much, how sure that is, what to do."""
        name = f"{self.quantity}{f' of {self.what!r}' if self.what else ''}"
        return (f"{name}: {self.before:.3g} -> {self.now:.3g} ({self.method} {self.effect:.3g}, limit {self.least:g}; "
                f"p {p_value(self.corrected)}); "
                f"{ADVICE[self.quantity]}")  # fmt: skip


def p_value(p: float) -> str:
    """As a person reads it."""
    return f"{p:.1g}" if p >= _LEAST_P else f"below {_LEAST_P:g}"


def compared(before: Side, now: Side, unreadable: int, answer_floor: float) -> list[Comparison]:
    """What needs no label: light, focus, confidence, features, and the shares of the abstained and the unreadable."""
    from scipy.stats import binomtest, fisher_exact, ks_2samp

    found, sizes = [], (len(before.confidence), len(now.confidence))
    pairs = {name: (before.levels[name], now.levels[name]) for name in LEVELS}
    for name, pair in (pairs | {"confidence": (before.confidence, now.confidence)}).items():
        test = ks_2samp(*pair, method="asymp")  # the exact one takes seconds, and says the same of a hundred samples
        medians = (float(np.median(side)) for side in pair)
        found.append(Comparison(name, "Kolmogorov-Smirnov", *medians, float(test.statistic), DISTANCE, float(test.pvalue)))
    effect, p = two_samples.energy(before.features, now.features)
    found.append(Comparison("features", "energy, inhomogeneity", 0.0, effect, effect, INHOMOGENEITY, p))
    # Two binomials: that of validation is a draw, too.
    counts = np.array([(side.confidence < answer_floor).sum() for side in (before, now)])
    was, has = (float(share) for share in counts / sizes)
    p = float(fisher_exact([counts, sizes - counts]).pvalue)
    found.append(Comparison("abstained", "Fisher, difference", was, has, abs(has - was), ABSTAINED, p))
    share = unreadable / (sizes[1] + unreadable)
    p = float(binomtest(unreadable, sizes[1] + unreadable, UNREADABLE, alternative="greater").pvalue)
    return [*found, Comparison("unreadable", "binomial, share", 0.0, share, share, UNREADABLE, p)]


def corrected(comparisons: list[Comparison]) -> list[Comparison]:
    """With p-values that hold for all of them together."""
    values = two_samples.holm(np.array([one.p for one in comparisons]))
    return [replace(one, corrected=float(value)) for one, value in zip(comparisons, values, strict=True)]
