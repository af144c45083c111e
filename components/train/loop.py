"""The training loop: shuffled batches, a schedule, validation after each epoch, the best weights kept, resumable at any batch.

A loop of our own and not `Model.fit`, because a training that is killed must go on from the very batch, with optimizer,
order and dropout as they were; `fit` can only begin an epoch again.
"""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from components.shared.arrays import Split
from components.shared.errors import CannotRun
from components.train.checkpoint import Checkpoint, Checkpoints
from components.train.config import TrainConfig

SAVE_EVERY = 120  # seconds between checkpoints within an epoch


@dataclass
class Progress:
    """How far a training is."""

    step: int = 0  # batches done, over all epochs
    sums: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])  # loss, hits, samples of the epoch under way
    history: list[dict] = field(default_factory=list)  # one row per finished epoch
    best: float = -np.inf
    best_loss: float = np.inf  # of the best epoch on validation: among equals the surer one is kept
    best_epoch: int = 0
    seconds: float = 0.0  # of training and validation so far, without what a kill cost


class Terminated(CannotRun):
    """SIGTERM came (a pod is evicted); the checkpoint is saved."""

    exit_code = 128 + signal.SIGTERM


class Loop:
    """One training of `model` on `train`, watched on `validation`."""

    def __init__(
        self, tf, keras, model, train: Split, validation: Split, config: TrainConfig, seed: int, checkpoints: Checkpoints
    ):
        self.tf, self.keras, self.model = tf, keras, model
        self.train, self.validation, self.config, self.seed = train, validation, config, seed
        self.checkpoints, self.progress = checkpoints, Progress()
        self.classes = model.output_shape[-1]
        self.batches = -(-len(train) // config.batch_size)
        self.optimizer = _optimizer(keras, config, self.batches * config.epochs)
        self.optimizer.build(model.trainable_variables)
        self.best = [np.array(weight) for weight in model.get_weights()]
        self.weights = _class_weights(train.labels, self.classes) if config.class_weight else np.ones(self.classes, np.float32)
        self._compile()

    def run(self, on_epoch: Callable[[int, dict], None]) -> Progress:
        """Train to the end or until `patience` epochs bring nothing better; the model then has its best weights.

        Raises Terminated on SIGTERM, CannotRun when the loss is not finite.
        """
        self._resume()
        with _told_to_stop() as told:
            while not self._finished():
                self._epoch(told)
                on_epoch(len(self.progress.history), self.progress.history[-1])
        self.model.set_weights(self.best)
        return self.progress

    def _finished(self) -> bool:
        done = len(self.progress.history)
        return (
            done >= self.config.epochs or done - self.progress.best_epoch >= self.config.patience > 0 < self.progress.best_epoch
        )

    def _epoch(self, told: threading.Event) -> None:
        progress, size = self.progress, self.config.batch_size
        epoch = len(progress.history)
        order = np.random.default_rng([self.seed, epoch]).permutation(len(self.train))
        first = progress.step - epoch * self.batches
        started = saved = time.monotonic()
        before = progress.seconds
        name = f"epoch {epoch + 1}/{self.config.epochs}"
        with tqdm(total=self.batches, initial=first, unit=" batches", desc=name, disable=None, leave=False) as bar:
            for batch in range(first, self.batches):
                # Sorted within the batch: pictures are read forwards from the disk, and a batch has no order.
                chosen = np.sort(order[batch * size : (batch + 1) * size])
                loss, hits = self._step(
                    self.train.images[chosen], self._targets(chosen), self.weights[self.train.labels[chosen]]
                )
                loss = float(loss)
                if not np.isfinite(loss):
                    raise CannotRun(_diverged(self.config, epoch, batch, loss))
                progress.sums = [
                    a + b for a, b in zip(progress.sums, (loss * len(chosen), float(hits), len(chosen)), strict=True)
                ]
                progress.step += 1
                bar.update()
                bar.set_postfix(loss=f"{progress.sums[0] / progress.sums[2]:.4f}", refresh=False)
                now = time.monotonic()
                progress.seconds = before + now - started
                if told.is_set() or now - saved > SAVE_EVERY:
                    self._save()
                    saved = time.monotonic()
                if told.is_set():
                    raise Terminated("train: told to stop; the checkpoint is saved, the same command goes on from here")
        self._end_epoch(before, started)

    def _end_epoch(self, before: float, started: float) -> None:
        progress = self.progress
        loss, hits, samples = progress.sums
        row = {"epoch": len(progress.history) + 1, "train_loss": loss / samples, "train_accuracy": hits / samples}
        row |= self._validate()
        progress.sums = [0.0, 0.0, 0.0]
        progress.seconds = before + time.monotonic() - started
        row |= {
            "learning_rate": float(self.optimizer.learning_rate),
            "seconds": progress.seconds,
            "time": int(time.time() * 1000),
        }
        progress.history.append(row)
        value = row[f"validation_{self.config.monitor}"] * (-1 if self.config.monitor == "loss" else 1)
        if (value, -row["validation_loss"]) > (progress.best, -progress.best_loss):
            progress.best, progress.best_loss, progress.best_epoch = value, row["validation_loss"], row["epoch"]
            self.best = [np.array(weight) for weight in self.model.get_weights()]
        self._save()
        mark = "  best so far" if progress.best_epoch == row["epoch"] else ""
        print(f"epoch {row['epoch']:>2}/{self.config.epochs}  loss {row['train_loss']:.4f}  accuracy {row['train_accuracy']:.4f}  "
              f"validation: loss {row['validation_loss']:.4f}  accuracy {row['validation_accuracy']:.4f}  "
              f"balanced {row['validation_balanced_accuracy']:.4f}  {progress.seconds:.0f} s in all{mark}", flush=True)  # fmt: skip

    def _validate(self) -> dict[str, float]:
        labels, size = self.validation.labels, max(256, self.config.batch_size)
        found = [np.asarray(self._predict(self.validation.images[at : at + size])) for at in range(0, len(labels), size)]
        probabilities = np.concatenate(found)
        hit = probabilities.argmax(1) == labels
        right = probabilities[np.arange(len(labels)), labels]
        recalls = [hit[labels == label].mean() for label in np.unique(labels)]
        return {
            "validation_loss": float(-np.log(np.clip(right, 1e-7, 1)).mean()),
            "validation_accuracy": float(hit.mean()),
            "validation_balanced_accuracy": float(np.mean(recalls)),
        }

    def _targets(self, chosen: np.ndarray) -> np.ndarray:
        smooth = self.config.label_smoothing
        targets = np.full((len(chosen), self.classes), smooth / self.classes, np.float32)
        targets[np.arange(len(chosen)), self.train.labels[chosen]] += 1 - smooth
        return targets

    def _compile(self) -> None:
        tf, model, optimizer = self.tf, self.model, self.optimizer
        losses = self.keras.losses
        measure = losses.categorical_crossentropy if self.config.loss == "cross_entropy" else losses.mean_squared_error
        images = tf.TensorSpec([None, *model.input_shape[1:]], tf.uint8)
        targets = tf.TensorSpec([None, self.classes], tf.float32)

        @tf.function(input_signature=[images, targets, tf.TensorSpec([None], tf.float32)])
        def step(images, targets, weights):
            with tf.GradientTape() as tape:
                probabilities = model(images, training=True)
                loss = tf.reduce_mean(measure(targets, probabilities) * weights)
            optimizer.apply(tape.gradient(loss, model.trainable_variables))
            hits = tf.argmax(probabilities, 1) == tf.argmax(targets, 1)
            return loss, tf.reduce_sum(tf.cast(hits, tf.float32))

        self._step = step
        self._predict = tf.function(lambda pixels: model(pixels, training=False), input_signature=[images])

    def _variables(self) -> dict:
        # model.variables and not its weights alone: the states of dropout's random generators are among them.
        named = {f"model_{index}": variable for index, variable in enumerate(self.model.variables)}
        return named | {f"optimizer_{index}": variable for index, variable in enumerate(self.optimizer.variables)}

    def _save(self) -> None:
        arrays = {name: np.asarray(variable) for name, variable in self._variables().items()}
        arrays |= {f"best_{index}": weight for index, weight in enumerate(self.best)}
        self.checkpoints.save(Checkpoint(arrays, dict(vars(self.progress))))

    def _resume(self) -> None:
        saved = self.checkpoints.last()
        if saved is None:
            return
        for name, variable in self._variables().items():
            variable.assign(saved.arrays[name])
        self.best = [saved.arrays[f"best_{index}"] for index in range(len(self.best))]
        self.progress = Progress(**saved.progress)
        epoch = len(self.progress.history) + 1
        print(f"train: goes on from a checkpoint in epoch {min(epoch, self.config.epochs)} (batch {self.progress.step:,})")


def _optimizer(keras, config: TrainConfig, steps: int):
    rate = config.learning_rate
    if config.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, steps)
    elif config.schedule == "one_cycle":
        # A quarter up, the rest down (Smith and Topin, 2017).
        up = max(1, steps // 4)
        rate = keras.optimizers.schedules.CosineDecay(rate / 25, max(1, steps - up), warmup_target=rate, warmup_steps=up)
    decay = config.weight_decay or None
    if config.optimizer == "sgd":
        return keras.optimizers.SGD(rate, momentum=config.momentum, nesterov=config.momentum > 0, weight_decay=decay)
    return {"adam": keras.optimizers.Adam, "adamw": keras.optimizers.AdamW}[config.optimizer](
        rate, beta_1=config.momentum, weight_decay=config.weight_decay if config.optimizer == "adamw" else decay
    )


def _class_weights(labels: np.ndarray, classes: int) -> np.ndarray:
    """Inverse to the class's share, 1.0 on the average of all samples; 0 for a class without samples."""
    counts = np.bincount(labels, minlength=classes)
    weights = np.divide(len(labels), counts * np.count_nonzero(counts), where=counts > 0, out=np.zeros(classes))
    return weights.astype(np.float32)


def _diverged(config: TrainConfig, epoch: int, batch: int, loss: float) -> str:
    cause = f"learning_rate {config.learning_rate:g} is perhaps too high for {config.optimizer}; try a tenth of it"
    if config.precision == "bfloat16":
        cause += ", or precision: float32"
    return f"train: the loss is {loss} in epoch {epoch + 1}, batch {batch + 1}; {cause}"


@contextmanager
def _told_to_stop() -> Iterator[threading.Event]:
    """Set the event on SIGTERM instead of dying, so that the batch ends and the checkpoint is written."""
    told = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)
