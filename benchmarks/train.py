"""How fast and how well the networks learn, beside the scripts of tutorials, on the same splits in the same run.

    python benchmarks/train.py                     # Fashion-MNIST
    python benchmarks/train.py --photos FOLDER     # photos with official splits, as `darkroom ingest` takes them

Fashion-MNIST: the article's CNN and LSTM as it writes them (Keras `fit`, batches of 32, Adam, ten epochs); Darkroom's defaults
have the article's time as their budget, or a part of it. Photos: the second network of Keras' image classification tutorial
(180x180, rotated, zoomed and mirrored, dropout, Adam, fifteen epochs); KNOBS are what the README says about photos. All see the
test split once. Time is that of training and validation, without imports.
"""

import csv
import os
import time
from pathlib import Path

import measuring
import numpy as np

from components.shared import plots, scratch

PART = {"cnn": 8, "lstm": 4}  # of the article's time
KNOBS = {
    "seed": 7,
    "prepare": {"height": 96, "width": 96, "channels": 3},
    "augment": {"copies": 4, "shift": 0.1, "rotate": 10.0, "scale": 0.15, "brightness": 0.2, "contrast": 0.2, "erase": 0.1},
}


def article(name: str, prepared: Path) -> dict:
    """The article's script to the letter, but for the split."""
    from keras import Sequential, layers

    def split(where: str) -> tuple[np.ndarray, np.ndarray]:
        images = np.load(prepared / where / "images.npy").astype("float32") / 255
        return (images if name == "cnn" else images[..., 0]), np.load(prepared / where / "labels.npy")

    if name == "cnn":
        model = Sequential([
            layers.Conv2D(32, (3, 3), activation="relu", input_shape=(28, 28, 1)), layers.MaxPooling2D((2, 2)),
            layers.Conv2D(64, (3, 3), activation="relu"), layers.MaxPooling2D((2, 2)),
            layers.Conv2D(64, (3, 3), activation="relu"), layers.Flatten(), layers.Dense(64, activation="relu"),
            layers.Dense(10, activation="softmax"),
        ])  # fmt: skip
    else:
        model = Sequential([layers.LSTM(128, activation="tanh", input_shape=(28, 28)), layers.Dense(10, activation="softmax")])
    model.compile(optimizer="adam", loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return _fit(model, split("train"), split("validation"), *split("test"), epochs=10, batch_size=32)


def tutorial(photos: Path) -> dict:
    """https://www.tensorflow.org/tutorials/images/classification, its second model, to the letter but for the official splits."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    train, validation, test = (
        keras.utils.image_dataset_from_directory(
            photos / name, image_size=(180, 180), batch_size=32, shuffle=name == "train", verbose=False
        )
        for name in ("train", "validation", "test")
    )  # fmt: skip
    model = keras.Sequential([
        layers.RandomFlip("horizontal"), layers.RandomRotation(0.1), layers.RandomZoom(0.1), layers.Rescaling(1 / 255),
        layers.Conv2D(16, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(32, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Conv2D(64, 3, padding="same", activation="relu"), layers.MaxPooling2D(),
        layers.Dropout(0.2), layers.Flatten(), layers.Dense(128, activation="relu"), layers.Dense(len(train.class_names)),
    ])  # fmt: skip
    model.compile(optimizer="adam", loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True), metrics=["accuracy"])
    labels = np.concatenate([labels for _, labels in test])
    train, validation = train.cache().shuffle(1000).prefetch(-1), validation.cache().prefetch(-1)
    return _fit(model, (train,), validation, test, labels, epochs=15)


def _fit(model, train: tuple, validation, test, labels: np.ndarray, **settings) -> dict:
    """What `run.json` and `metrics.json` say of one of ours, and the curve: seconds and accuracy after each epoch."""
    import keras
    from sklearn.metrics import balanced_accuracy_score

    curve: list[tuple[float, float]] = []
    started = time.monotonic()
    watch = keras.callbacks.LambdaCallback(
        on_epoch_end=lambda _, logs: curve.append((time.monotonic() - started, logs["val_accuracy"]))
    )
    model.fit(*train, validation_data=validation, callbacks=[watch], verbose=0, **settings)
    predicted = model.predict(test, verbose=0).argmax(axis=1)
    scores = {"accuracy": (predicted == labels).mean(), "balanced_accuracy": balanced_accuracy_score(labels, predicted)}
    return {"curve": curve, "training_seconds": curve[-1][0], "validation": {"accuracy": curve[-1][1]}, "test": scores}


def ours(name: str, folder: Path, seconds: float, *changes: dict) -> dict:
    """The same of Darkroom's own, with a budget of time."""
    record = measuring.learn(folder, name, *changes, {"train": {name: {"budget_minutes": round(seconds / 60, 3)}}})
    with (folder / f"outputs/models/{name}/history.csv").open() as stream:
        record["curve"] = [(float(row["seconds"]), float(row["validation_accuracy"])) for row in csv.DictReader(stream)]
    return record


def show(what: str, record: dict) -> None:
    """A row of the table."""
    shares = (record["validation"]["accuracy"], record["test"]["accuracy"], record["test"]["balanced_accuracy"])
    print(f"| {what} | {record['training_seconds']:.0f} | {' | '.join(f'{share:.2%}' for share in shares)} |", flush=True)


def draw(results: dict[str, dict], file: Path) -> None:
    with plots.figure(file, width=7.5, height=3.4) as axis:
        for name, result in results.items():
            colour = plots.BLUE if "CNN" in name else plots.ORANGE
            seconds, accuracy = zip(*result["curve"], strict=True)
            style = "--" if name.startswith("article") else "-"
            marker = "D" if "/" in name else "."  # a part of the time is a point or two, hardly a line
            axis.plot(seconds, [100 * a for a in accuracy], style, color=colour, marker=marker, label=name, alpha=0.9)
        axis.set(xlabel="seconds of training", ylabel="accuracy on validation data, %", ylim=(84, 95))
        axis.legend(frameon=False, fontsize=7, loc="lower right")


def main() -> None:
    photos = measuring.arguments(__doc__, photos={"type": Path}).photos
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    print("| what | seconds of training | validation | test | balanced |\n|---|---|---|---|---|")
    results = {}
    with scratch.folder("benchmark") as folder:
        if photos:
            show("Keras' tutorial", record := tutorial(photos))
            measuring.prepare(folder, photos.absolute(), KNOBS)
            for name in PART:
                knobs = {"train": {name: {"batch_size": 64, "learning_rate": 0.004}}}
                show(f"Darkroom's {name.upper()}", ours(name, folder, record["training_seconds"], KNOBS, knobs))
            return
        measuring.prepare(folder)
        for name in PART:
            title = name.upper()
            results[f"article's {title}"] = record = article(name, folder / "outputs/prepared")
            show(f"article's {title}", record)
            for part in (PART[name], 1):
                label = f"{title}, the article's time" + (f" / {part}" if part > 1 else "")
                results[label] = ours(name, folder, record["training_seconds"] / part)
                show(label, results[label])
    draw(results, measuring.ROOT / "benchmarks/pictures/train.png")


if __name__ == "__main__":
    main()
