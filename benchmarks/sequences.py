"""Whether the order of time is learnt: LSTM, CNN on pooled frames, CNN on one frame, on two sets of clips.

    python benchmarks/sequences.py FOLDER [--epochs 12] [--seeds 0 1 2] [--validation 0.1] [--test 0.15] [--mirror]

FOLDER is what moving_clips.py or flare_clips.py made. Each seed is a split of its own, where the folder has no official one. One
frame: a CNN on each of the frames alone; the one that is best on validation data counts. Length: the number of frames that a
clip had, or that differ, leaving one out (where the folder tells it in lengths.csv).
"""

import argparse
import csv
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import stages

from components.shared.data import arrays


def learn(name: str, folder: Path, *changes: dict, **paths: str) -> tuple[float, dict]:
    """Accuracy on validation, and the metrics on the test split."""
    record = stages.learn(folder, name, *changes, **paths)
    validation, test = record["validation"]["accuracy"], record["test"]
    print(f"{name} {paths or ''}: {validation:.1%} on validation, {test['accuracy']:.1%} on test, "
          f"{record['training_seconds']:.0f} s", file=sys.stderr, flush=True)  # fmt: skip
    return validation, test


def one_frame(folder: Path, *changes: dict) -> dict:
    """The best single frame, chosen on validation data."""
    prepared = folder / "outputs/prepared"
    layout = arrays.Layout.read(prepared)
    found = []
    for time in range(layout.shape[0]):
        for name in ("train", "validation", "test"):
            whole = arrays.load(prepared / name)
            images = arrays.create(folder / "single" / name, len(whole), layout.shape[1:])
            images[:] = whole.images[:, time]
            images.flush()
            arrays.describe(folder / "single" / name, whole.labels, whole.samples())
        single = arrays.Layout(layout.classes, layout.shape[1:], layout.data_digest)
        single.write(folder / "single")
        single.write(folder / "single/train")  # as augment would have, without copies
        found.append(learn("cnn", folder, *changes, prepared="single", augmented="single/train"))
    return max(found, key=lambda one: one[0])[1]


def by_length(file: Path) -> float:
    """Balanced accuracy of the most likely label for a clip's native length, its own group left out."""
    with file.open() as stream:
        rows = [(row["label"], row["group"], row["frames"]) for row in csv.DictReader(stream)]
    right: dict[str, list[bool]] = defaultdict(list)
    sizes = Counter(label for label, _, _ in rows)
    for label, group, length in rows:
        others = Counter(other for other, theirs, same in rows if theirs != group and same == length)
        best = max(others, key=lambda other: others[other] / sizes[other], default=None)
        right[label].append(best == label)
    return float(np.mean([np.mean(hits) for hits in right.values()]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--validation", type=float, default=0.1)
    parser.add_argument("--test", type=float, default=0.15)
    parser.add_argument("--side", type=int, default=48)
    parser.add_argument("--channels", type=int, choices=[1, 3], default=1)
    parser.add_argument("--mirror", action="store_true", help="left and right may be exchanged")
    options = parser.parse_args()
    fractions = {"validation_fraction": options.validation, "test_fraction": options.test}
    size = {"height": options.side, "width": options.side, "channels": options.channels}
    learning = {"epochs": options.epochs, "batch_size": 32, "learning_rate": 0.004}
    knobs = {"prepare": size | fractions, "train": {"cnn": learning, "lstm": learning},
             "augment": {"copies": int(options.mirror), "balance": 0.0, "flip": options.mirror}}  # fmt: skip
    table = options.clips / "table.csv"
    source = (table if table.exists() else options.clips).absolute()
    results = defaultdict(list)
    for seed in options.seeds:
        with tempfile.TemporaryDirectory() as scratch:
            folder, changes = Path(scratch), (knobs, {"seed": seed, "prepare": {"split_seed": seed}})
            stages.prepare(folder, source, *changes)
            results["LSTM over frames"].append(learn("lstm", folder, *changes)[1])
            results["CNN, frames pooled"].append(learn("cnn", folder, *changes)[1])
            results["CNN, best single frame"].append(one_frame(folder, *changes))
    print("| what | accuracy | balanced accuracy | frames shuffled |\n|---|---|---|---|")
    for told, found in results.items():
        columns = [
            [one.get(key, np.nan) for one in found] for key in ("accuracy", "balanced_accuracy", "shuffled_frames_accuracy")
        ]
        print(f"| {told} | " + " | ".join("" if np.isnan(c).any() else f"{np.mean(c):.1%}" for c in columns) + " |")
    if (options.clips / "lengths.csv").exists():
        print(f"| length alone | | {by_length(options.clips / 'lengths.csv'):.1%} | |")


if __name__ == "__main__":
    main()
