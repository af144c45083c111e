"""What each remedy for uneven classes brings, against none: on long-tailed Fashion-MNIST, and on photos.

    python benchmarks/imbalance.py [--photos FOLDER]

Long-tailed: of class k (in the order of the names) 5,400 * ratio^(-k/9) training pictures are kept, drawn by the seed. Validation
and test stay balanced. Nothing is augmented, so that the remedy is all that differs. Balanced accuracy, recall of the worst
class and calibration error are means over seeds; the choice of a default is made by the column of validation data.
"""

from pathlib import Path

import measuring
import numpy as np

from components.shared import scratch
from components.shared.data import arrays
from components.train.remedies import REMEDIES

RATIOS = (10, 50, 100)  # largest class / smallest
SEEDS = (0, 1, 2)
EPOCHS = 3  # over Fashion-MNIST; of photos, which are fewer, twice as many
KNOBS = {"augment": {"copies": 1, "balance": 0.0, "flip": True}, "evaluate": {"gallery": 0, "explained": 0}}
SMALL = {"prepare": {"height": 64, "width": 64, "channels": 3}}  # of photos
METRICS = ("balanced_accuracy", "worst_class_recall", "expected_calibration_error")


def long_tail(prepared: Path, folder: Path, ratio: float, seed: int) -> None:
    """A part of the training split, exponentially fewer of each class than of the one before it."""
    train = arrays.load(prepared / "train")
    rng, kept = np.random.default_rng(seed), []
    classes = np.unique(train.labels)
    for label in classes:
        members = np.flatnonzero(train.labels == label)
        kept.append(rng.permutation(members)[: int(len(members) * ratio ** (-label / (len(classes) - 1)))])
    chosen = np.sort(np.concatenate(kept))
    images = arrays.create(folder, len(chosen), train.images.shape[1:])
    images[:] = train.images[chosen]
    images.flush()
    arrays.describe(folder, train.labels[chosen], [train.table().take(chosen)])
    arrays.Layout.read(prepared).write(folder)


def compare(title: str, folder: Path, augmented: dict[int, str], epochs: int, *changes: dict) -> None:
    """Train and evaluate one CNN for each remedy and seed, and print a table. `augmented`: seed -> training arrays."""
    title = f"{title}, {len(SEEDS)} seeds"
    print(f"\n{title}\n\n| remedy | validation | balanced accuracy | worst class | calibration error |\n|---|---|---|---|---|")
    results = {}  # remedy -> (seeds, 4): balanced accuracy on validation data, then METRICS on test
    for remedy in REMEDIES:
        knobs = {"imbalance": remedy, "epochs": epochs, "batch_size": 128, "learning_rate": 0.004}
        found = [measuring.learn(folder, "cnn", KNOBS, *changes, {"seed": seed, "train": {"cnn": knobs}}, augmented=arrays_of_seed)
                 for seed, arrays_of_seed in augmented.items()]  # fmt: skip
        results[remedy] = np.array([[one["validation"]["balanced_accuracy"], *map(one["test"].get, METRICS)] for one in found])
    best = max(results, key=lambda remedy: results[remedy][:, 0].mean())
    for remedy, scores in results.items():
        mean, spread = scores.mean(axis=0), scores.std(axis=0)
        mark = "**" if remedy == best else ""
        print(f"| {mark}{remedy}{mark} | {mean[0]:.1%} | {mean[1]:.1%} ± {spread[1]:.1%} | {mean[2]:.1%} | {mean[3]:.3f} |")


def main() -> None:
    photos = measuring.arguments(__doc__, photos={"type": Path, "help": "with official splits, for `darkroom ingest`"}).photos
    with scratch.folder("benchmark") as folder:
        measuring.prepare(folder, "fashion-mnist", KNOBS)
        for ratio in RATIOS:
            tails = {seed: f"tail-{ratio}-{seed}" for seed in SEEDS}
            for seed, tail in tails.items():
                long_tail(folder / "outputs/prepared", folder / tail, ratio, seed)
            compare(f"Fashion-MNIST, long-tailed {ratio}:1", folder, tails, EPOCHS)
    if photos:
        with scratch.folder("benchmark") as folder:
            measuring.prepare(folder, photos.absolute(), KNOBS, SMALL)
            compare("photos", folder, dict.fromkeys(SEEDS, "outputs/augmented"), 2 * EPOCHS, SMALL)


if __name__ == "__main__":
    main()
