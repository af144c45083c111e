"""How often the gate promotes a model that is no better, and how many real gains it sees, against "the higher number wins".

    python benchmarks/judge.py

What two models say of the same samples is drawn, by seeds: how hard a sample is for both, whether each is right of it, and, of those
that are wrong, as which class it is taken. Both are as sure as they are right. The verdict is that of the gate's own functions with
the knobs of params.yaml, by fewer resamples (1,000) than `register` takes.
"""

import measuring
import numpy as np

from components.register import criteria
from components.register.config import RegisterConfig
from components.shared import config

PAIRS = 200  # of models, for each row
CLASSES = 10
RARE = 5  # samples of one class in an uneven test split
GROUPS, WORSE = 8, 0.9  # in each a coin says for each model whether it is right so much less often
HARDNESS = 0.45, 0.05  # of the beta distribution of a sample's chance to be told: 90 % on average; two models differ on 6 %
GAIN = 0.01


def said(labels: np.ndarray, chance: np.ndarray, rng: np.random.Generator) -> criteria.Said:
    """Answers that are right with these chances, float (n,); a class is mistaken for two others."""
    wrong = (labels + rng.integers(1, 3, len(labels))) % CLASSES
    return criteria.Said(np.where(rng.random(len(labels)) < chance, labels, wrong), chance)


def judged(
    labels: np.ndarray, units: np.ndarray | None, gain: float, seed: int, knobs: RegisterConfig
) -> tuple[bool, bool, float]:
    """Whether the gate promotes the second of two models, whether its number is higher, and the share on which they differ."""
    rng = np.random.default_rng([seed, len(labels), round(1000 * gain)])
    chances = np.tile(rng.beta(*HARDNESS, len(labels)), (2, 1))
    chances[1] += gain / (1 - HARDNESS[0] / sum(HARDNESS)) * (1 - chances[1])
    if units is not None:
        for side in (0, 1):
            chances[side] *= np.where(rng.integers(0, 2, GROUPS)[units] == side, 1, WORSE)
    before, after = (said(labels, chance, rng) for chance in chances)
    names = [str(number) for number in range(CLASSES)]
    rows = criteria.promotion("cnn", labels, before, after, names, knobs, units=units, draws=1000)
    promoted = not any(row.verdict == criteria.FAILS for row in rows)
    return promoted, rows[0].value > 0, float(((before.predicted == labels) != (after.predicted == labels)).mean())


def main() -> None:
    """Draw, judge and print the table."""
    measuring.arguments(__doc__)
    file = measuring.ROOT / "params.yaml"
    knobs = config.parse(RegisterConfig, config.section_of(config.read_params(file), "register", file=file), path="register")
    print(
        f"Promoted, of {PAIRS} pairs\n\n| the second model | test pictures | the gate | the higher number wins |\n|---|---|---|---|"
    )
    many, few = np.arange(10_000) % CLASSES, np.arange(1_000) % CLASSES
    rare = np.append(few[few > 0], np.zeros(RARE, int))
    for name, labels, units, gain in (
        ("equal", many, None, 0.0),
        ("equal", few, None, 0.0),
        (f"equal; {RARE} pictures of one class", rare, None, 0.0),
        (f"equal; {GROUPS} groups, each better for one of them", few, np.arange(len(few)) * GROUPS // len(few), 0.0),
        ("better by one point", many, None, GAIN),
        ("better by one point", few, None, GAIN),
    ):
        gate, naive, differing = zip(*(judged(labels, units, gain, seed, knobs) for seed in range(PAIRS)), strict=True)
        print(f"| {name} | {len(labels):,} | {np.mean(gate):.1%} | {np.mean(naive):.1%} |", flush=True)
    print(f"\nThe two last differ on {np.mean(differing):.1%} of the pictures.")


if __name__ == "__main__":
    main()
