"""How fast and how well the networks learn, beside the scripts of tutorials, on the same splits in the same run.

    python benchmarks/train.py [--seeds 1 2 3] [--only cnn]    # Fashion-MNIST
    python benchmarks/train.py --photos FOLDER     # photos with official splits, as `darkroom ingest` takes them

Fashion-MNIST: the article's CNN and LSTM as it writes them (Keras `fit`, batches of 32, Adam, ten epochs); Darkroom's defaults
have the article's time as their budget, or a part of it. Photos: the second network of Keras' image classification tutorial
(180x180, rotated, zoomed and mirrored, dropout, Adam, fifteen epochs); KNOBS are what the README says about photos. All see the
test split once. Time is that of training and validation, without imports. Of several seeds a row says the mean, and in brackets how
far the best and the worst lie apart. The scripts run as TensorFlow comes, so without oneDNN where a processor has no AVX-512, or
is told to do with AVX2 (ONEDNN_MAX_CPU_ISA).
"""

import csv
import functools
import os
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import measuring
import numpy as np

from components.shared import plots, scratch

PART = {"cnn": 8, "lstm": 4}  # of the article's time
KNOBS = {
    "prepare": {"height": 96, "width": 96, "channels": 3},
    "augment": {"copies": 4, "shift": 0.1, "rotate": 10.0, "scale": 0.15, "brightness": 0.2, "contrast": 0.2, "erase": 0.1},
}


def article(name: str, prepared: Path, seed: int) -> dict:
    """The article's script to the letter, but for the split."""
    from keras import Sequential, layers, utils

    def split(where: str) -> tuple[np.ndarray, np.ndarray]:
        images = np.load(prepared / where / "images.npy").astype("float32") / 255
        return (images if name == "cnn" else images[..., 0]), np.load(prepared / where / "labels.npy")

    utils.set_random_seed(seed)
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


def tutorial(photos: Path, seed: int) -> dict:
    """https://www.tensorflow.org/tutorials/images/classification, its second model, to the letter but for the official splits."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(seed)
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


def ours(seed: int, *, name: str, folder: Path, seconds: float, changes: tuple[dict, ...] = ()) -> dict:
    """The same of Darkroom's own, with a budget of time."""
    budget = {"seed": seed, "train": {name: {"budget_minutes": round(seconds / 60, 3)}}}
    record = measuring.learn(folder, name, *changes, budget)
    with (folder / f"outputs/models/{name}/history.csv").open() as stream:
        record["curve"] = [(float(row["seconds"]), float(row["validation_accuracy"])) for row in csv.DictReader(stream)]
    return record


def load_tensorflow() -> None:
    """As it comes, for the scripts, which run in this process. The steps run in processes of their own and choose for themselves."""
    as_avx2 = os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper().startswith("AVX2")
    with mock.patch.dict(os.environ, {"TF_ENABLE_ONEDNN_OPTS": "0"} if as_avx2 else {}):
        import tensorflow  # noqa: F401 - it reads the switch once, now


def row(what: str, seeds: list[int], learn: Callable[[int], dict]) -> list[dict]:
    """Print a row of the table. Returns what was learnt, a record for each seed."""
    records = [learn(seed) for seed in seeds]
    parts = [("validation", "accuracy"), ("test", "accuracy"), ("test", "balanced_accuracy")]
    found = [np.array([record[split][score] for record in records]) for split, score in parts]
    shares = [f"{share.mean():.2%}" + (f" ({100 * np.ptp(share):.2f})" if len(seeds) > 1 else "") for share in found]
    print(f"| {what} | {_seconds(records):.0f} | {' | '.join(shares)} |", flush=True)
    return records


def _seconds(records: list[dict]) -> float:
    return float(np.mean([record["training_seconds"] for record in records]))


def draw(results: dict[str, dict], file: Path) -> None:
    with plots.figure(file, width=7.5, height=3.9, title="Accuracy by time of training") as axis:
        for name, result in results.items():
            colour = plots.BLUE if "CNN" in name else plots.ORANGE
            seconds, accuracy = zip(*result["curve"], strict=True)
            style = "--" if name.startswith("article") else "-"
            marker = "D" if "/" in name else "."  # a part of the time is a point or two, hardly a line
            axis.plot(seconds, [100 * a for a in accuracy], style, color=colour, marker=marker, label=name, alpha=0.9)
        axis.set(xlabel="seconds of training", ylabel="accuracy on validation data, %", ylim=(84, 95))
        plots.legend(axis, fontsize=7, ncols=3, handlelength=3.5)  # long enough to tell a dashed line


def main() -> None:
    options = measuring.arguments(
        __doc__, photos={"type": Path}, seeds={"type": int, "nargs": "+", "default": [7]},
        only={"nargs": "+", "choices": PART, "default": list(PART)},
    )  # fmt: skip
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    load_tensorflow()
    print(f"{measuring.processor()}\n\n| what | seconds of training | validation | test | balanced |\n|---|---|---|---|---|")
    results = {}
    with scratch.folder("benchmark") as folder:
        if options.photos:
            records = row("Keras' tutorial", options.seeds, lambda seed: tutorial(options.photos, seed))
            measuring.prepare(folder, options.photos.absolute(), KNOBS)
            for name in options.only:
                changes = (KNOBS, {"train": {name: {"batch_size": 64, "learning_rate": 0.004}}})
                learn = functools.partial(ours, name=name, folder=folder, seconds=_seconds(records), changes=changes)
                row(f"Darkroom's {name.upper()}", options.seeds, learn)
            return
        measuring.prepare(folder)
        for name in options.only:
            title = name.upper()
            learn = functools.partial(article, name, folder / "outputs/prepared")
            results[f"article's {title}"] = records = row(f"article's {title}", options.seeds, learn)
            for part in (PART[name], 1):
                label = f"{title}, the article's time" + (f" / {part}" if part > 1 else "")
                learn = functools.partial(ours, name=name, folder=folder, seconds=_seconds(records) / part)
                results[label] = row(label, options.seeds, learn)
    if options.only == list(PART):
        draw({label: records[0] for label, records in results.items()}, measuring.ROOT / "benchmarks/pictures/train.png")


if __name__ == "__main__":
    main()
