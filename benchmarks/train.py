"""How fast and how well the networks learn, beside the article's own scripts, on Fashion-MNIST in the same run.

    python benchmarks/train.py

The article's CNN and LSTM are trained as it writes them: Keras `fit`, batches of 32, Adam, ten epochs. Darkroom trains its
default twice each: with the article's time as its budget, and with a part of it (an eighth for the CNN, a quarter for the LSTM).
All learn from the same training split, are watched on the same validation split, and see the test split once. Time is that of
training and validation, without imports. Rates are told against the machine's own matrix product.
"""

import csv
import os
import time
import timeit
from pathlib import Path

import numpy as np
import stages

from components.shared import plots, scratch
from components.train import cnn, lstm

PART = {"cnn": 8, "lstm": 4}
NETWORKS = {"cnn": cnn.cnn, "lstm": lstm.lstm}


def article(name: str, folder: Path) -> dict:
    """The article's script to the letter, but for the split: its curve, its test accuracy and what it took."""
    os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    import tensorflow as tf
    from tensorflow.keras import Sequential, layers

    def split(where: str) -> tuple[np.ndarray, np.ndarray]:
        images = np.load(folder / where / "images.npy").astype("float32") / 255
        return (images if name == "cnn" else images[..., 0]), np.load(folder / where / "labels.npy")

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
    curve: list[tuple[float, float]] = []
    train, validation = split("train"), split("validation")
    started = time.monotonic()

    class Watch(tf.keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            curve.append((time.monotonic() - started, logs["val_accuracy"]))

    model.fit(*train, epochs=10, batch_size=32, validation_data=validation, callbacks=[Watch()], verbose=0)
    accuracy = float(model.evaluate(*split("test"), verbose=0)[1])
    return {"curve": curve, "test": accuracy, "pictures": 10 * len(train[1]), "seconds": curve[-1][0], "flops": flops(model)}


def flops(model) -> int:
    """Floating-point operations of one picture's training step: three times those of its convolutions and products forward."""
    total = 0
    for layer in model.layers:
        kind, inner = type(layer).__name__, getattr(layer, "forward_layer", layer)
        if kind == "Conv2D":
            total += 2 * int(np.prod(layer.kernel.shape)) * int(np.prod(layer.output.shape[1:3]))
        elif kind == "Dense":
            total += 2 * int(np.prod(layer.kernel.shape))
        elif kind in ("LSTM", "Bidirectional"):
            ways = 2 if kind == "Bidirectional" else 1
            weights = int(np.prod(inner.cell.kernel.shape)) + int(np.prod(inner.cell.recurrent_kernel.shape))
            total += 2 * ways * layer.input.shape[1] * weights
    return 3 * total


def ours(name: str, folder: Path, minutes: float) -> dict:
    """The same of Darkroom's own, with `minutes` as its budget."""
    record = stages.learn(folder, name, {"train": {name: {"budget_minutes": round(minutes, 3)}}})
    with (folder / f"outputs/models/{name}/history.csv").open() as stream:
        curve = [(float(row["seconds"]), float(row["validation_accuracy"])) for row in csv.DictReader(stream)]
    # The curve's last row may be of a part of an epoch; how many pictures were seen is told by the schedule.
    pictures = record["steps"] * record["knobs"]["train"]["batch_size"]
    network = NETWORKS[name]((28, 28, 1), 10, preset="default", dropout=0.0)
    return {"curve": curve, "test": record["test"]["accuracy"], "flops": flops(network), "pictures": pictures,
            "seconds": record["training_seconds"], "waiting": record["waiting_share"]}  # fmt: skip


def product() -> dict[str, float]:
    """GFLOP/s of a product of two 2048 x 2048 matrices: the most that this machine gives."""
    import tensorflow as tf

    rates = {}
    for kind in (tf.float32, tf.bfloat16):
        square, multiply = tf.cast(tf.random.normal((2048, 2048)), kind), tf.function(tf.matmul)
        seconds = timeit.repeat(lambda: multiply(square, square).numpy(), number=1, repeat=11)  # noqa: B023 it is called here
        rates[kind.name] = 2 * 2048**3 / min(seconds) / 1e9
    return rates


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
    stages.arguments(__doc__)
    results = {}
    with scratch.folder("benchmark") as folder:
        stages.prepare(folder)
        for name in PART:
            title = name.upper()
            baseline = results[f"article's {title}"] = stages.alone(article, name, folder / "outputs/prepared")
            for part in (PART[name], 1):
                label = f"{title}, the article's time" + (f" / {part}" if part > 1 else "")
                results[label] = ours(name, folder, baseline["seconds"] / 60 / part)
    rates = product()
    print(f"matrix product: {rates['float32']:.0f} GFLOP/s float32, {rates['bfloat16']:.0f} bfloat16\n")
    print("| what | seconds | of the article's | test accuracy | pictures/s | GFLOP/s | of the matrix product | waiting |")
    print("|---" * 8 + "|")
    for name, result in results.items():
        base = results["article's CNN" if "CNN" in name else "article's LSTM"]["seconds"]
        rate = result["pictures"] / result["seconds"]
        speed = rate * result["flops"] / 1e9
        print(f"| {name} | {result['seconds']:.0f} | {result['seconds'] / base:.2f} | {result['test']:.2%} | {rate:,.0f} | {speed:.0f} "
              f"| {speed / max(rates.values()):.0%} | {result.get('waiting', 0):.1%} |")  # fmt: skip
    draw(results, stages.ROOT / "benchmarks/pictures/train.png")


if __name__ == "__main__":
    main()
