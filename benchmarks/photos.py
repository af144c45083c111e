"""How well photos are learnt from scratch, in the time that the image classification tutorial of Keras takes on them.

    python benchmarks/photos.py FOLDER [--minutes M] [--only cnn lstm] [--seeds 7] [--no-test]

FOLDER holds photos with official splits, as `darkroom ingest` takes them. The tutorial's network (three convolutions, pictures of
180x180, rotated, zoomed and mirrored, dropout, Adam, fifteen epochs) runs first; its seconds of training are Darkroom's budget,
unless --minutes says another. KNOBS are what the README says about photos. With --no-test nothing but validation data is told:
that is what knobs are chosen by.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import stages

KNOBS = {
    "prepare": {"height": 96, "width": 96, "channels": 3},
    "augment": {"copies": 4, "shift": 0.1, "rotate": 10.0, "scale": 0.15, "brightness": 0.2, "contrast": 0.2, "erase": 0.1},
}


def tutorial(photos: Path) -> dict:
    """https://www.tensorflow.org/tutorials/images/classification, its second model, to the letter but for the official splits."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    import keras
    import numpy as np
    from keras import layers
    from sklearn.metrics import balanced_accuracy_score

    keras.utils.set_random_seed(0)
    splits = {
        name: keras.utils.image_dataset_from_directory(
            photos / name, image_size=(180, 180), batch_size=32, shuffle=name == "train", verbose=False
        )
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
    test = {"accuracy": float((said == labels).mean()), "balanced_accuracy": balanced_accuracy_score(labels, said)}
    return {"training_seconds": seconds, "validation": {"accuracy": history.history["val_accuracy"][-1]}, "test": test}


def show(what: str, record: dict) -> None:
    found = {"validation": record["validation"]["accuracy"]} | record.get("test", {})
    figures = [f"{found[key]:.1%}" if key in found else "" for key in ("validation", "accuracy", "balanced_accuracy")]
    print(f"| {what} | {record['training_seconds']:.0f} | {' | '.join(figures)} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("photos", type=Path)
    parser.add_argument("--minutes", type=float, help="Darkroom's budget; without it, what the tutorial took")
    parser.add_argument("--only", nargs="+", choices=["cnn", "lstm"], default=["cnn", "lstm"])
    parser.add_argument("--seeds", type=int, nargs="+", default=[7])
    parser.add_argument("--no-test", action="store_true", help="do not look at the test split")
    options = parser.parse_args()
    print("| photos | seconds of training | validation | test | balanced |\n|---|---|---|---|---|")
    if options.minutes is None:
        record = stages.alone(tutorial, options.photos)
        show("Keras' tutorial", record)
        options.minutes = record["training_seconds"] / 60
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        stages.prepare(folder, options.photos.absolute(), KNOBS)
        for name in options.only:
            for seed in options.seeds:
                knobs = {"batch_size": 64, "learning_rate": 0.004, "budget_minutes": options.minutes}
                record = stages.learn(folder, name, KNOBS, {"seed": seed, "train": {name: knobs}}, test=not options.no_test)
                show(f"Darkroom's {name.upper()}, seed {seed}", record)


if __name__ == "__main__":
    main()
