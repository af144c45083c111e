"""What is compared, how large a difference counts, and what to do about it."""

from dataclasses import dataclass, replace

import numpy as np

from components.shared.models.answers import Calibration
from components.watch import two_samples
from components.watch.answered import LEVELS, Side
from components.watch.class_shares import Accuracy, ClassShares

FALSE_ALARMS = 0.01  # of a watch without drift, all its tests together
# The least that counts, since of many samples anything is significant.
DISTANCE = 0.08  # of distributions: a normal one moves by a fifth of its deviation, a small effect (Cohen, 1988)
MIX = 0.1  # of class shares: one sample in ten is of another class than before
INHOMOGENEITY = 0.02  # of features: all dimensions move by a quarter of their deviation, or a few by more
ABSTAINED = 0.05  # of the samples more, or fewer: a person sees half as many again, at the usual share of a tenth
DROP = 0.03  # of the accuracy: a model that lost as much would not have become champion
UNREADABLE = 0.01  # of the samples: a broken file happens, one in a hundred is a broken camera or sender

LABEL = "label some hundred of these samples, `darkroom ingest` them with --add, and train anew"
ADVICE = {
    "brightness": f"look at the light and the exposure; if they stay so, {LABEL}",
    "contrast": f"look at light, exposure and compression; if they stay so, {LABEL}",
    "sharpness": f"look at the focus, the lens and the size of the pictures; if they stay so, {LABEL}",
    "confidence": f"look at the answers of least confidence; {LABEL}",
    "features": f"the pictures show something else: look at some, add a class for it where one is missing; {LABEL}",
    "class shares": f"look whether the mix is real; {LABEL}, so that the model learns it",
    "abstained": f"look at the samples that were abstained from; {LABEL}",
    "estimated accuracy": f"count it on a hundred labelled answers; {LABEL}",
    "unreadable": "look at the column fault of the answers, and at what sends such files; no training mends it",
}


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
                f"p {self.corrected:.1g}); {ADVICE[self.quantity]}")  # fmt: skip


def compared(before: Side, now: Side, classes: list[str], calibration: Calibration, *, shares: ClassShares, accuracy: Accuracy,
          samples: int, unreadable: int) -> list[Comparison]:  # fmt: skip
    """All comparisons of validation and answers, corrected for their number."""
    from scipy.stats import binomtest

    found = []
    pairs = {name: (before.levels[name], now.levels[name]) for name in LEVELS}
    for name, (was, has) in (pairs | {"confidence": (before.confidence, now.confidence)}).items():
        effect, p = two_samples.kolmogorov_smirnov(was, has)
        found.append(Comparison(name, "Kolmogorov-Smirnov", *map(_median, (was, has)), effect, DISTANCE, p))
    effect, p = two_samples.energy(before.features, now.features)
    found.append(Comparison("features", "energy, inhomogeneity", 0.0, effect, effect, INHOMOGENEITY, p))
    most = shares.most_moved
    found.append(Comparison("class shares", "BBSE, total variation", float(shares.before[most]), float(shares.now[most]), shares.distance,
                      MIX, shares.p, what=classes[most]))  # fmt: skip
    was, has = (int((side.confidence < calibration.answer_floor).sum()) for side in (before, now))
    sizes = len(before.confidence), len(now.confidence)
    effect, p = two_samples.shares(was, sizes[0], has, sizes[1])
    found.append(Comparison("abstained", "Fisher, difference", was / sizes[0], has / sizes[1], effect, ABSTAINED, p))
    found.append(Comparison("estimated accuracy", "Welch, drop", accuracy.before, accuracy.now, accuracy.before - accuracy.now, DROP,
                      accuracy.p))  # fmt: skip
    p = float(binomtest(unreadable, samples, UNREADABLE, alternative="greater").pvalue)
    found.append(Comparison("unreadable", "binomial, share", 0.0, unreadable / samples, unreadable / samples, UNREADABLE, p))
    corrected = two_samples.holm(np.array([one.p for one in found]))
    return [replace(one, corrected=float(value)) for one, value in zip(found, corrected, strict=True)]


def _median(values: np.ndarray) -> float:
    return float(np.median(values))
