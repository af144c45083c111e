"""What a pretrained network gives on photos: with all of them and with few of a class, beside from scratch.

    python benchmarks/pretrained.py --photos FOLDER [--seeds 3] [--few 5 10 20 50] [--minutes 5]

FOLDER has official splits, a folder per class in each, as `darkroom ingest` takes them. KNOBS are what the README says about photos.
With few, so many training pictures of each class are drawn anew for each seed. All see the test split once. Time is of training
and validation, with what the frozen part takes.
"""

import os
import shutil
import statistics
from pathlib import Path

import measuring
import numpy as np

from components.shared import scratch

KNOBS = {
    "prepare": {"height": 224, "width": 224, "channels": 3},
    "augment": {"copies": 3, "shift": 0.1, "rotate": 10.0, "scale": 0.15, "brightness": 0.2, "contrast": 0.2, "erase": 0.1},
}


def drawn(photos: Path, place: Path, each: int, seed: int) -> Path:
    """The same photos with `each` of a class to train on; validation and test are whole."""
    rng = np.random.default_rng(seed)
    for split in sorted(photos.iterdir()):
        for label in sorted(split.iterdir() if split.is_dir() else []):
            pictures = sorted(label.iterdir())
            if split.name == "train":
                pictures = [pictures[index] for index in rng.permutation(len(pictures))[:each]]
            (place / split.name / label.name).mkdir(parents=True)
            for picture in pictures:
                shutil.copy(picture, place / split.name / label.name)
    return place


def show(what: str, records: list[dict]) -> None:
    """A row of the table: means and spreads over the seeds."""
    figures = [[record["training_seconds"] for record in records]]
    figures += [
        [record[side][name] for record in records]
        for side in ("validation", "test")
        for name in ("accuracy", "balanced_accuracy")
    ]
    spread = [statistics.stdev(values) if len(values) > 1 else 0.0 for values in figures]
    means = [statistics.mean(values) for values in figures]
    cells = [f"{means[0]:.0f}", *(f"{mean:.1%} ± {100 * wide:.1f}" for mean, wide in zip(means[1:], spread[1:], strict=True))]
    print(f"| {what} | {' | '.join(cells)} |", flush=True)


def main() -> None:
    given = measuring.arguments(
        __doc__, photos={"type": Path, "required": True}, seeds={"type": int, "default": 3}, minutes={"type": float, "default": 5.0},
        few={"type": int, "nargs": "*", "default": [5, 10, 20, 50]}, network={"default": "cnn", "choices": ("cnn", "lstm")},
    )  # fmt: skip
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    print(
        f"{given.network}, {given.seeds} seeds\n\n| training pictures of a class | seconds | validation | balanced | test | balanced |\n"
        + "|---" * 6
        + "|"
    )
    for each in (*given.few, None):
        records = []
        for seed in range(given.seeds):
            knobs = KNOBS | {"seed": seed, "train": {given.network: {"preset": "pretrained", "budget_minutes": given.minutes}}}
            with scratch.folder("benchmark") as folder:
                photos = given.photos.absolute()
                measuring.prepare(folder, drawn(photos, folder / "photos", each, seed) if each else photos, knobs)
                records.append(measuring.learn(folder, given.network, knobs))
        show("all" if each is None else str(each), records)


if __name__ == "__main__":
    main()
