"""What each remedy for uneven classes brings, against none: on long-tailed Fashion-MNIST, and on photos.

    python benchmarks/imbalance.py [--ratios 10 50 100] [--seeds 0 1 2] [--photos FOLDER] [--epochs 3]

Long-tailed: of class k (in the order of the names) 5,400 * ratio^(-k/9) training pictures are kept, drawn by the seed. Validation
and test stay balanced. Nothing is augmented, so that the remedy is all that differs. Balanced accuracy, recall of the worst
class and calibration error are means over seeds; the choice of a default is made by the column of validation data.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import yaml
from train import darkroom, prepare

from components.shared import config
from components.shared.data import arrays
from components.train.remedies import REMEDIES

KNOBS = {"augment": {"copies": 1, "balance": 0.0, "flip": True}, "evaluate": {"gallery": 0, "explained": 0}}
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
    samples = train.samples()
    arrays.describe(folder, train.labels[chosen], [samples[index] for index in chosen])
    arrays.Layout.read(prepared).write(folder)


def learn(folder: Path, augmented: Path, remedy: str, seed: int, epochs: int) -> list[float]:
    """Train and evaluate one CNN: balanced accuracy on validation, then METRICS on test."""
    params = config.read_params(folder / "params.yaml")
    params["train"]["cnn"] |= {"imbalance": remedy, "epochs": epochs, "batch_size": 128, "learning_rate": 0.004}
    params["seed"] = seed
    (folder / "knobs.yaml").write_text(yaml.safe_dump(params))
    darkroom("train", "--augmented", augmented, "--prepared", "prepared", "--config", "train.cnn", "--params", "knobs.yaml",
             "--model", "model", cwd=folder)  # fmt: skip
    darkroom("evaluate", "--model", "model", "--prepared", "prepared", "--config", "evaluate", "--evaluation", "evaluation",
             cwd=folder)  # fmt: skip
    metrics = json.loads((folder / "evaluation/metrics.json").read_text())
    record = json.loads((folder / "model/run.json").read_text())
    scores = [record["validation"]["balanced_accuracy"], *(metrics[name] for name in METRICS)]
    print(augmented.name, remedy, seed, *(f"{score:.4f}" for score in scores), file=sys.stderr, flush=True)
    return scores


def table(title: str, results: dict[str, np.ndarray]) -> None:
    """`results`: remedy -> (seeds, 4)."""
    print(f"\n{title}\n\n| remedy | validation | balanced accuracy | worst class | calibration error |\n|---|---|---|---|---|")
    best = max(results, key=lambda remedy: results[remedy][:, 0].mean())
    for remedy, scores in results.items():
        mean, spread = scores.mean(axis=0), scores.std(axis=0)
        mark = "**" if remedy == best else ""
        print(
            f"| {mark}{remedy}{mark} | {mean[0]:.1%} | {mean[1]:.1%} ± {spread[1]:.1%} | {mean[2]:.1%} | {mean[3]:.3f} |",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ratios", type=float, nargs="*", default=[10, 50, 100])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--photos", type=Path, help="a folder of photos with official splits, as `darkroom ingest` takes it")
    options = parser.parse_args()
    os.environ["MLFLOW_TRACKING_URI"] = "http://127.0.0.1:9"  # nothing to track here: kept on disk
    os.environ["MLFLOW_HTTP_REQUEST_MAX_RETRIES"] = "0"
    with tempfile.TemporaryDirectory() as scratch:
        if options.ratios:
            folder = Path(scratch) / "fashion"
            folder.mkdir()
            prepare(folder, **KNOBS)
            for ratio in options.ratios:
                results: dict[str, list] = {remedy: [] for remedy in REMEDIES}
                for seed in options.seeds:
                    tail = folder / f"tail-{ratio:g}-{seed}"
                    long_tail(folder / "prepared", tail, ratio, seed)
                    for remedy in REMEDIES:
                        results[remedy].append(learn(folder, tail, remedy, seed, options.epochs))
                table(
                    f"Fashion-MNIST, long-tailed {ratio:g}:1, {len(options.seeds)} seeds",
                    {k: np.array(v) for k, v in results.items()},
                )
        if options.photos:
            folder = Path(scratch) / "photos"
            folder.mkdir()
            prepare(folder, options.photos.absolute(), prepare={"height": 64, "width": 64, "channels": 3}, **KNOBS)
            results = {remedy: [] for remedy in REMEDIES}
            for seed in options.seeds:
                for remedy in REMEDIES:
                    results[remedy].append(learn(folder, folder / "augmented", remedy, seed, 2 * options.epochs))
            table(f"photos, {len(options.seeds)} seeds", {k: np.array(v) for k, v in results.items()})


if __name__ == "__main__":
    main()
