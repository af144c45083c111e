"""How well photos are learnt from scratch, in the time that the image classification tutorial of Keras takes on them.

    python benchmarks/photos.py FOLDER [--minutes M] [--only cnn lstm] [--seeds 7] [--no-test]

FOLDER holds photos with official splits, as `darkroom ingest` takes them. The tutorial's network (three convolutions, pictures of
180x180, rotated, zoomed and mirrored, dropout, Adam, fifteen epochs) runs first; its seconds of training are Darkroom's budget,
unless --minutes says another. KNOBS are what the README says about photos. With --no-test nothing but validation data is told:
that is what knobs are chosen by.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from train import darkroom, prepare

KNOBS = {
    "prepare": {"height": 96, "width": 96, "channels": 3},
    "augment": {"copies": 4, "shift": 0.1, "rotate": 10.0, "scale": 0.15, "brightness": 0.2, "contrast": 0.2, "erase": 0.1},
}


def tutorial(photos: Path) -> None:
    """https://www.tensorflow.org/tutorials/images/classification, its second model, to the letter but for the official splits."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    import keras
    import numpy as np
    from keras import layers
    from sklearn.metrics import balanced_accuracy_score

    keras.utils.set_random_seed(0)
    splits = {
        name: keras.utils.image_dataset_from_directory(photos / name, image_size=(180, 180), batch_size=32, shuffle=name == "train")
        for name in ("train", "validation", "test")
    }  # fmt: skip
    classes = len(splits["train"].class_names)
    train, validation = splits["train"].cache().shuffle(1000).prefetch(-1), splits["validation"].cache().prefetch(-1)
    model = keras.Sequential([
        layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.1), layers.Rescaling(1 / 255),
        layers.Conv2D(16, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(32, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(64, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Dropout(0.2), layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(classes),
    ])  # fmt: skip
    model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    started = time.monotonic()
    history = model.fit(train, validation_data=validation, epochs=15, verbose=0)
    seconds = time.monotonic() - started
    labels = np.concatenate([labels for _, labels in splits["test"]])
    said = model.predict(splits["test"], verbose=0).argmax(axis=1)
    print(json.dumps({"seconds": seconds, "validation": history.history["val_accuracy"][-1],
                      "accuracy": float((said == labels).mean()), "balanced_accuracy": balanced_accuracy_score(labels, said)}))  # fmt: skip


def learn(name: str, folder: Path, params: dict, seed: int, minutes: float, test: bool) -> dict:
    params["train"][name] |= {"batch_size": 64, "learning_rate": 0.004, "budget_minutes": minutes}
    params["seed"] = seed
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    darkroom("train", "--augmented", "augmented", "--prepared", "prepared", "--config", f"train.{name}",
             "--model", "model", cwd=folder)  # fmt: skip
    record = json.loads((folder / "model/run.json").read_text())
    found = {"seconds": record["training_seconds"], "validation": record["validation"]["accuracy"]}
    if test:
        darkroom("evaluate", "--model", "model", "--prepared", "prepared", "--config", "evaluate", "--evaluation", "evaluation",
                 cwd=folder)  # fmt: skip
        found |= json.loads((folder / "evaluation/metrics.json").read_text())
    return found


def row(what: str, found: dict) -> None:
    figures = [f"{found[key]:.1%}" if key in found else "" for key in ("validation", "accuracy", "balanced_accuracy")]
    print(f"| {what} | {found['seconds']:.0f} | {' | '.join(figures)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--minutes", type=float, help="Darkroom's budget; without it, what the tutorial took")
    parser.add_argument("--only", nargs="+", choices=["cnn", "lstm"], default=["cnn", "lstm"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[7])
    parser.add_argument("--no-test", action="store_true", help="do not look at the test split")
    parser.add_argument("--tutorial", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.tutorial:
        return tutorial(options.photos)
    os.environ |= {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}  # nothing to track here
    print("| photos | seconds of training | validation | test | balanced |\n|---|---|---|---|---|")
    if options.minutes is None:
        done = subprocess.run(
            [sys.executable, __file__, options.photos, "--tutorial"], capture_output=True, text=True, check=True
        )
        found = json.loads(done.stdout.splitlines()[-1])
        row("Keras' tutorial", found)
        options.minutes = found["seconds"] / 60
    with tempfile.TemporaryDirectory() as scratch:
        params = prepare(Path(scratch), options.photos.absolute(), **KNOBS)
        for name in options.only:
            for seed in options.seeds:
                found = learn(name, Path(scratch), params, seed, options.minutes, not options.no_test)
                row(f"Darkroom's {name.upper()}, seed {seed}", found)


if __name__ == "__main__":
    main()
