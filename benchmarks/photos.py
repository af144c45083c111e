"""How well photos are learnt from scratch, in the time that the image classification tutorial of Keras takes on them.

    python benchmarks/photos.py FOLDER

FOLDER holds photos with official splits, as `darkroom ingest` takes them. The tutorial's network (three convolutions, pictures of
180x180, rotated, zoomed and mirrored, dropout, Adam, fifteen epochs) runs first; its seconds of training are Darkroom's budget.
KNOBS are what the README says about photos.
"""

import os
import time
from pathlib import Path

import stages

from components.shared import scratch

SEED = 7
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
    shares = (record["validation"]["accuracy"], record["test"]["accuracy"], record["test"]["balanced_accuracy"])
    print(f"| {what} | {record['training_seconds']:.0f} | {' | '.join(f'{share:.1%}' for share in shares)} |", flush=True)


def main() -> None:
    photos = stages.arguments(__doc__, {"photos": {"type": Path}}).photos
    print("| photos | seconds of training | validation | test | balanced |\n|---|---|---|---|---|")
    record = stages.alone(tutorial, photos)
    show("Keras' tutorial", record)
    knobs = {"batch_size": 64, "learning_rate": 0.004, "budget_minutes": record["training_seconds"] / 60}
    with scratch.folder("benchmark") as folder:
        stages.prepare(folder, photos.absolute(), KNOBS)
        for name in ("cnn", "lstm"):
            record = stages.learn(folder, name, KNOBS, {"seed": SEED, "train": {name: knobs}})
            show(f"Darkroom's {name.upper()}, seed {SEED}", record)


if __name__ == "__main__":
    main()
