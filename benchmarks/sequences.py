"""Whether the order of time is learnt: LSTM, CNN on pooled frames, CNN on one frame, on two sets of clips.

    python benchmarks/sequences.py FOLDER [--epochs 12] [--seeds 0 1 2] [--validation 0.1] [--test 0.15] [--mirror]

FOLDER is what moving_clips.py or flare_clips.py made. Each seed is a split of its own, where the folder has no official one. One
frame: a CNN on each of the frames alone; the one that is best on validation data counts. Length: the number of frames that a
clip had, or that differ, leaving one out (where the folder tells it in lengths.csv).
"""

import argparse
import csv
import json
import os
import sys
import tempfile
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import yaml
from train import darkroom

from components.shared import config
from components.shared.data import arrays

ROOT = Path(__file__).parent.parent


def learn(name: str, folder: Path, prepared: str, augmented: str, seed: int) -> tuple[float, dict]:
    """Accuracy on validation, and the metrics on the test split."""
    darkroom("train", "--augmented", augmented, "--prepared", prepared, "--config", f"train.{name}", "--model", "model",
             cwd=folder)  # fmt: skip
    darkroom("evaluate", "--model", "model", "--prepared", prepared, "--config", "evaluate", "--evaluation", "evaluation",
             cwd=folder)  # fmt: skip
    record = json.loads((folder / "model/run.json").read_text())
    metrics = json.loads((folder / "evaluation/metrics.json").read_text())
    validation = record["validation"]["accuracy"]
    print(f"{name} on {prepared}, seed {seed}: {validation:.1%} on validation, {metrics['accuracy']:.1%} on test, "
          f"{record['training_seconds']:.0f} s", file=sys.stderr, flush=True)  # fmt: skip
    return validation, metrics


def one_frame(folder: Path, seed: int) -> dict:
    """The best single frame, chosen on validation data."""
    layout = arrays.Layout.read(folder / "prepared")
    found = []
    for time in range(layout.shape[0]):
        for name in ("train", "validation", "test"):
            whole = arrays.load(folder / "prepared" / name)
            images = arrays.create(folder / "single" / name, len(whole), layout.shape[1:])
            images[:] = whole.images[:, time]
            images.flush()
            arrays.describe(folder / "single" / name, whole.labels, whole.samples())
        single = arrays.Layout(layout.classes, layout.shape[1:], layout.data_digest)
        single.write(folder / "single")
        single.write(folder / "single/train")  # as augment would have, without copies
        found.append(learn("cnn", folder, "single", "single/train", seed))
    return max(found, key=lambda one: one[0])[1]


def by_length(file: Path) -> float:
    """Balanced accuracy of the most likely label for a clip's native length, its own group left out."""
    with file.open() as stream:
        rows = [
            (row["label"], row["group"], row.get("frames") or row.get("native frame count")) for row in csv.DictReader(stream)
        ]
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
    os.environ["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"  # nothing to track here: kept on disk
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        params = config.read_params(ROOT / "params.yaml")
        params["prepare"] |= {"height": options.side, "width": options.side, "channels": options.channels,
                              "validation_fraction": options.validation, "test_fraction": options.test}  # fmt: skip
        params["augment"] |= {"copies": int(options.mirror), "balance": 0.0, "flip": options.mirror}
        for name in ("cnn", "lstm"):
            params["train"][name] |= {"epochs": options.epochs, "batch_size": 32, "learning_rate": 0.004}
        (folder / "params.yaml").write_text(yaml.safe_dump(params))
        source = options.clips / "table.csv" if (options.clips / "table.csv").exists() else options.clips
        darkroom("ingest", source.absolute(), "data", cwd=folder)
        darkroom("measure", "--data", "data", "--config", "measure", "--manifest", "manifest", cwd=folder)
        darkroom("validate", "--manifest", "manifest", "--config", "validate", "--validation", "validation", cwd=folder)
        results = defaultdict(list)
        for seed in options.seeds:
            (folder / "params.yaml").write_text(
                yaml.safe_dump(params | {"seed": seed, "prepare": params["prepare"] | {"split_seed": seed}})
            )
            darkroom("prepare", "--data", "data", "--manifest", "manifest", "--verdict", "validation/summary.json", "--pairs",
                     "validation/pairs.parquet", "--config", "prepare",
                     "--prepared", "prepared", cwd=folder)  # fmt: skip
            darkroom("augment", "--prepared", "prepared", "--config", "augment", "--augmented", "augmented",
                     cwd=folder)  # fmt: skip
            for name, told in (("lstm", "LSTM over frames"), ("cnn", "CNN, frames pooled")):
                results[told].append(learn(name, folder, "prepared", "augmented", seed)[1])
            results["CNN, best single frame"].append(one_frame(folder, seed))
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
