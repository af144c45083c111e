"""The training loop: shuffled batches, a schedule, validation after each epoch, the best weights kept, resumable at any batch.

A loop of our own and not `Model.fit`, because a training that is killed must go on from the very batch, with optimizer,
order and dropout as they were; `fit` can only begin an epoch again.
"""

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from components import STEPS
from components.shared.errors import CannotRun, Terminated
from components.shared.progress_bar import progress_bar
from components.train import averaging, budget, halves, progressive, recipe, remedies
from components.train.checkpoint import Checkpoint, Checkpoints
from components.train.config import TrainConfig
from components.train.progress import Progress, standard_error
from components.train.transfer import Part

SAVE_EVERY = 120  # seconds between checkpoints within an epoch


class Loop:
    """One training of the model of a `Part` on its training split, watched on its validation split."""

    def __init__(self, tf, keras, part: Part, config: TrainConfig, seed: int, checkpoints: Checkpoints):
        self.tf, self.keras, self.model = tf, keras, part.model
        self.train, self.validation, self.config, self.seed = part.training, part.validation, config, seed
        self.checkpoints = checkpoints
        self.classes = self.model.outputs[0].shape[-1]
        self.batches = -(-len(self.train) // config.batch_size)  # of an epoch
        self.progress = Progress(steps=self.batches * config.epochs, seconds=part.seconds, trunk=part.seconds)
        self.counts = np.bincount(self.train.labels, minlength=self.classes)
        self.optimizers = recipe.optimizers(keras, config, self.model.trainable_variables, part.learnt)
        self.mean = averaging.Mean(self.model) if recipe.schedule(config) == "averaged" else None
        self._keep_best(self.model.get_weights())
        self._compile()

    def run(self, on_epoch: Callable[[int, dict], None], told: threading.Event) -> Progress:
        """Train to the end, or until `patience` (above 0) epochs bring nothing better; the model then has its best weights.

        Raises Terminated when it is `told` to stop, CannotRun when the loss is not finite or memory runs out.
        """
        try:
            if not self._resume() and self.config.budget_minutes:
                self._fit_budget()
            while not self._finished():
                self._epoch(told)
                on_epoch(len(self.progress.history), self.progress.history[-1])
        except (MemoryError, self.tf.errors.ResourceExhaustedError):
            raise CannotRun(
                f"train: out of memory with batches of {self.config.batch_size}; {STEPS['train'].supervised}"
            ) from None
        self.model.set_weights(list(self.best.values()))
        layer = self.model.get_layer("logits")
        layer.bias.assign(layer.bias - self._logit_offset)
        return self.progress

    def _finished(self) -> bool:
        done, best = len(self.progress.history), self.progress.best_epoch
        ended = self.progress.step >= self.progress.steps and not self.progress.sums[2]
        return ended or done - best >= self.config.patience > 0 < best

    @property
    def _epochs(self) -> int:
        return -(-self.progress.steps // self.batches)

    def _length(self, epoch: int) -> int:
        return min(self.batches, self.progress.steps - epoch * self.batches)

    def _epoch(self, told: threading.Event) -> None:
        progress, epoch = self.progress, len(self.progress.history)
        first, before = progress.step - epoch * self.batches, progress.seconds
        stop = self.batches if progress.step < progress.steps else first  # told to stop after the very last batch
        started = saved = time.monotonic()
        name = f"epoch {epoch + 1}/{self._epochs}"
        with (
            progress_bar(total=self._length(epoch), initial=first, unit="batches", name=name, leave=False) as bar,
            ThreadPoolExecutor(1) as reader,
        ):
            for images, labels in self._ahead(reader, epoch, range(first, stop)):
                rate = recipe.rate(self.config, progress.step, progress.steps)
                weights = remedies.weights(self.config.imbalance, self.counts, progress=progress.step / progress.steps)
                self._set_rate(rate)
                is_small = self._is_small(progress.step)
                loss, hits = (self._small_step if is_small else self._step)(images, labels, weights[labels])
                loss = float(loss)
                if not np.isfinite(loss):
                    where = f"batch {progress.step - epoch * self.batches + 1}"
                    raise CannotRun(recipe.diverged(self.config, epoch + 1, where, loss))
                done = (loss * len(labels), float(hits), len(labels))
                progress.sums = [a + b for a, b in zip(progress.sums, done, strict=True)]
                progress.step += 1
                progress.small += is_small
                if self.mean and averaging.counts(progress.step, progress.steps) and not is_small:
                    progress.averaged += 1
                    self.mean.add(progress.averaged)
                bar.update()
                bar.set_postfix(loss=f"{progress.sums[0] / progress.sums[2]:.4f}", refresh=False)
                now = time.monotonic()
                progress.seconds = before + now - started
                if told.is_set() or now - saved > SAVE_EVERY:
                    self._save()
                    saved = time.monotonic()
                if told.is_set():
                    self.checkpoints.wait()
                    raise Terminated("train: told to stop; the checkpoint is saved, the same command goes on from here")
                if progress.step % budget.PROBE == 0 and budget.is_open(self.config, progress.step / progress.steps):
                    self._lay_out(progress.pace)
                    bar.total = self._length(epoch)
                if progress.step >= progress.steps:
                    break
        self._end_epoch(before, started)

    def _ahead(self, reader: ThreadPoolExecutor, epoch: int, batches: range) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Images and labels of these batches of an epoch; the next one is read from the disk while this one is learnt from."""
        order = remedies.order(self.config.imbalance, self.train.labels, np.random.default_rng([self.seed, epoch]))

        def read(batch: int) -> tuple[np.ndarray, np.ndarray]:
            # As many samples in each batch, or one less: of a few left over there would be no mean and variance to speak of.
            first, end = (at * len(order) // self.batches for at in (batch, batch + 1))
            # Sorted within the batch: pictures are read forwards from the disk, and a batch has no order.
            chosen = np.sort(order[first:end])
            return self.train.images[chosen], self.train.labels[chosen]

        coming = reader.submit(read, batches.start)
        for batch in batches:
            asked = time.monotonic()
            there = coming.result()
            self.progress.waiting += time.monotonic() - asked
            if batch + 1 < batches.stop:
                coming = reader.submit(read, batch + 1)
            yield there

    def _fit_budget(self) -> None:
        """Time some batches and a validation, undo them, and lay the schedule out for as many batches as the budget holds."""
        before = {name: np.array(variable) for name, variable in self._variables().items()}
        self._set_rate(0.0)
        images, labels = (part[: self.config.batch_size] for part in (self.train.images, self.train.labels))
        ones = np.ones(len(labels), np.float32)
        whole = budget.timed(lambda: self._step(images, labels, ones))
        if small := self._small_step:
            self.progress.ratio = budget.timed(lambda: small(images, labels, ones)) / whole
        self._validate(self._predict)
        started = time.monotonic()
        self._validate(self._predict)
        self.progress.validation = time.monotonic() - started
        for name, variable in self._variables().items():
            variable.assign(before[name])
        self._lay_out(whole)
        share = self.progress.steps / self.batches
        print(f"train: {1000 * whole:.0f} ms a batch; {share:.2f} epochs fit into {self.config.budget_minutes:g} minutes")
        if share < 0.2:
            print(f"train: too little to learn from {len(self.train):,} samples; a longer budget, or smaller pictures")

    def _lay_out(self, whole: float) -> None:
        """For what is left of the budget, at so many seconds a batch of whole pictures."""
        progress, share = self.progress, self.config.small_first if self._small_step else 0.0
        batch = whole * (1 - share * (1 - progress.ratio))  # the mean over all
        # Those behind us were cheaper than that: what they left over goes to those before us.
        left = budget.seconds(self.config) - progress.seconds + whole * progress.done - batch * progress.step
        of = {"batch": batch, "validation": progress.validation, "batches": self.batches, "done": progress.step}
        progress.steps = budget.steps(left, **of)

    def _end_epoch(self, before: float, started: float) -> None:
        progress = self.progress
        loss, hits, samples = progress.sums
        row = {"epoch": len(progress.history) + 1, "train_loss": loss / samples, "train_accuracy": hits / samples}
        # Statistics of normalisation are of the size that was seen last: at another one they tell nothing of what was learnt.
        is_small = self._is_small(progress.step - 1)
        with self.mean.in_place() if progress.averaged else contextlib.nullcontext():
            measured, margin = self._validate(self._small_predict if is_small else self._predict)
            shown = self.model.get_weights()
        row |= measured
        if not np.isfinite(row["validation_loss"]):  # the weights overflowed in the very last batch, or only here
            raise CannotRun(recipe.diverged(self.config, row["epoch"], "on validation", row["validation_loss"]))
        progress.sums = [0.0, 0.0, 0.0]
        progress.seconds = before + time.monotonic() - started
        row |= {
            "learning_rate": float(self.optimizers[0].optimizer.learning_rate) / self.optimizers[0].share,
            "seconds": progress.seconds,
            "time": int(time.time() * 1000),
        }
        progress.history.append(row)
        value = -row["validation_loss"] if self.config.monitor == "loss" else row[f"validation_{self.config.monitor}"]
        if not is_small and progress.keep(row["epoch"], value, margin=margin):
            self._keep_best(shown)
        self._save()
        mark = "  smaller pictures" if is_small else "  kept" if progress.kept_epoch == row["epoch"] else ""
        print(f"epoch {row['epoch']:>2}/{self._epochs}  loss {row['train_loss']:.4f}  accuracy {row['train_accuracy']:.4f}  "
              f"validation: loss {row['validation_loss']:.4f}  accuracy {row['validation_accuracy']:.4f}  "
              f"balanced {row['validation_balanced_accuracy']:.4f}  {progress.seconds:.0f} s in all{mark}", flush=True)  # fmt: skip

    def _is_small(self, step: int) -> bool:
        return bool(self._small_step) and step + 1 <= self.config.small_first * self.progress.steps

    def _validate(self, predict: Callable) -> tuple[dict[str, float], float]:
        """Its measures on validation data, and the standard error of the one that `monitor` names."""
        labels, size = self.validation.labels, max(256, self.config.batch_size)
        found = [np.asarray(predict(self.validation.images[at : at + size])) for at in range(0, len(labels), size)]
        probabilities = np.concatenate(found)
        hit = probabilities.argmax(1) == labels
        right = probabilities[np.arange(len(labels)), labels]
        counts = np.bincount(labels)
        recalls = (np.bincount(labels, weights=hit)[: len(counts)] / np.maximum(counts, 1))[counts > 0]
        measured = {
            "validation_loss": float(-np.log(np.clip(right, 1e-7, 1)).mean()),
            "validation_accuracy": float(hit.mean()),
            "validation_balanced_accuracy": float(np.mean(recalls)),
        }
        return measured, standard_error(self.config.monitor, hit, labels)

    def _compile(self) -> None:
        tf, model = self.tf, self.model
        none, share = np.zeros(self.classes, np.float32), remedies.log_share(self.counts)
        shift = share if self.config.imbalance == "balanced_softmax" else none
        self._logit_offset = offset = share if self.config.imbalance == "logit_adjusted" else none
        focus = remedies.FOCUS if self.config.imbalance == "focal" else 0.0
        images = tf.TensorSpec([None, *self.train.images.shape[1:]], self.train.images.dtype)
        smooth = self.config.label_smoothing

        def measure(logits, probabilities, labels):
            targets = tf.one_hot(labels, self.classes) * (1 - smooth) + smooth / self.classes
            if self.config.loss == "mean_squared_error":
                return tf.reduce_mean(tf.square(targets - probabilities), axis=1)
            surprise = -tf.nn.log_softmax(logits + shift)
            if focus:  # Lin et al., "Focal Loss", 2017
                surprise *= (1 - tf.exp(-surprise)) ** focus
            return tf.reduce_sum(targets * surprise, axis=1)

        def compiled(outputs):
            @tf.function(input_signature=[images, tf.TensorSpec([None], tf.int32), tf.TensorSpec([None], tf.float32)])
            def step(images, labels, weights):
                with tf.GradientTape() as tape:
                    logits, probabilities = outputs(images, training=True)
                    loss = tf.reduce_mean(measure(logits, probabilities, labels) * weights)
                gradients = tape.gradient(loss, [each.variables for each in self.optimizers])
                for each, some in zip(self.optimizers, gradients, strict=True):
                    each.optimizer.apply(some)
                hits = tf.argmax(probabilities, 1, tf.int32) == labels
                return loss, tf.reduce_sum(tf.cast(hits, tf.float32))

            return step

        def predicting(outputs):
            return tf.function(
                lambda pixels: tf.nn.softmax(outputs(pixels, training=False)[0] - offset), input_signature=[images]
            )

        def compiled_both(outputs):
            if halves.pay(tf, self.config, len(self.train)):
                outputs = halves.side_by_side(tf, outputs)
            return compiled(outputs), predicting(outputs)

        small = progressive.smaller(tf, self.keras, model, self.config)
        self._step, self._predict = compiled_both(model)
        self._small_step, self._small_predict = compiled_both(small) if small else (None, None)

    def _set_rate(self, rate: float) -> None:
        for each in self.optimizers:
            each.optimizer.learning_rate.assign(rate * each.share)

    def _variables(self) -> dict:
        # model.variables and not its weights alone: the states of dropout's random generators are among them.
        named = {f"model_{index}": variable for index, variable in enumerate(self.model.variables)}
        moments = [variable for each in self.optimizers for variable in each.optimizer.variables]
        return named | {f"optimizer_{index}": variable for index, variable in enumerate(moments)}

    def _keep_best(self, weights: list[np.ndarray]) -> None:
        self.best = {f"best_{index}": np.array(weight) for index, weight in enumerate(weights)}

    def _mean(self) -> dict[str, np.ndarray]:
        return {f"mean_{index}": weight for index, weight in enumerate(self.mean.weights)} if self.mean else {}

    def _save(self) -> None:
        arrays = {name: np.asarray(variable) for name, variable in self._variables().items()} | self.best | self._mean()
        self.checkpoints.save(Checkpoint(arrays, dict(vars(self.progress))))

    def _resume(self) -> bool:
        saved = self.checkpoints.last(self._variables().keys() | self.best.keys() | self._mean().keys())
        if saved is None:
            return False
        for name, variable in self._variables().items():
            variable.assign(saved.arrays[name])
        self.best = {name: saved.arrays[name] for name in self.best}
        self.progress = Progress(**saved.progress)
        if self.mean:
            self.mean.weights = [saved.arrays[name] for name in self._mean()]
        epoch = min(len(self.progress.history) + 1, self._epochs)
        print(f"train: goes on from a checkpoint in epoch {epoch} (batch {self.progress.step:,})")
        return True
