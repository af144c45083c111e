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
HARDNESS = 0.45, 0.05  # of the beta distribution of a sample's chance to be told: 90 % on average; two models differ on 6 %
GAIN = 0.01


def said(labels: np.ndarray, chance: np.ndarray, rng: np.random.Generator) -> criteria.Said:
    """Answers that are right with these chances, float (n,); a class is mistaken for two others."""
    wrong = (labels + rng.integers(1, 3, len(labels))) % CLASSES
    return criteria.Said(np.where(rng.random(len(labels)) < chance, labels, wrong), chance)


def judged(samples: int, gain: float, seed: int, knobs: RegisterConfig) -> tuple[bool, bool, float]:
    """Whether the gate promotes the second of two models, whether its number is higher, and the share on which they differ."""
    rng = np.random.default_rng([seed, samples, round(1000 * gain)])
    labels = np.arange(samples) % CLASSES
    chance = rng.beta(*HARDNESS, samples)
    better = chance + gain / (1 - HARDNESS[0] / sum(HARDNESS)) * (1 - chance)
    before, after = said(labels, chance, rng), said(labels, better, rng)
    rows = criteria.promotion("cnn", labels, before, after, [str(n) for n in range(CLASSES)], knobs, draws=1000)
    hits = [one.predicted == labels for one in (before, after)]
    promoted = not any(row.verdict == criteria.FAILS for row in rows)
    return promoted, rows[0].value > 0, float((hits[0] != hits[1]).mean())


def main() -> None:
    """Draw, judge and print the table."""
    measuring.arguments(__doc__)
    file = measuring.ROOT / "params.yaml"
    knobs = config.parse(RegisterConfig, config.section_of(config.read_params(file), "register", file=file), path="register")
    print(
        f"Promoted, of {PAIRS} pairs\n\n| the second model | test pictures | the gate | the higher number wins |\n|---|---|---|---|"
    )
    for gain, name in ((0.0, "equal"), (GAIN, "better by one point")):
        for samples in (10_000, 1_000):
            gate, naive, differing = zip(*(judged(samples, gain, seed, knobs) for seed in range(PAIRS)), strict=True)
            print(f"| {name} | {samples:,} | {np.mean(gate):.1%} | {np.mean(naive):.1%} |")
    needed = criteria.samples_needed(np.mean(differing))
    print(
        f"\nThe two differ on {np.mean(differing):.1%} of the pictures; {needed:,} tell a gain of one point four times out of five."
    )


if __name__ == "__main__":
    main()
