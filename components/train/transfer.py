"""What of a network is trained: all of it, or what follows a trunk that another training has finished.

The frozen trunk sees each picture once: its outputs are kept in a file, in half the precision, for all epochs. The output layer
begins as a logistic regression on the pretrained features, so that its first gradients do not spoil them (Kumar et al.,
"Fine-Tuning can Distort Pretrained Features", 2022).
"""

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.shared import scratch
from components.shared.data.arrays import Split
from components.shared.models import backend, efficientnet
from components.shared.progress_bar import progress_bar
from components.train import budget, pointwise, whitening
from components.train.config import TrainConfig
from components.train.normalization import FusedBatchNormalization
from components.train.presets import FEATURES, POLICIES, TRUNK

BATCH = 64  # samples that the trunk sees at once
PROBE = 4  # batches that are timed beforehand
SHOWN = 8_000  # samples that the output layer's first weights are fitted to, at the most
SHARE = 1 / 3  # of a budget of time that the trunk may take; of more pictures a part is drawn
STRENGTHS = (0.01, 0.03, 0.1, 0.3)  # inverse regularisation that is tried for the output layer


@dataclass(frozen=True)
class Part:
    """The part of a network that is trained, and what it sees of both splits in place of pictures."""

    network: object  # keras.Model: the whole, images -> probabilities
    model: object  # keras.Model of two outputs, logits and probabilities; it shares its layers with the whole
    training: Split
    validation: Split
    learnt: frozenset[str] = frozenset()  # names of layers that have learnt before
    seconds: float = 0.0  # that the frozen part took


def part(
    build: Callable, training: Split, validation: Split, config: TrainConfig, folder: Path, *, precision: str, seed: int,
    once: Callable,
) -> Part:  # fmt: skip
    """A new network, and the part of it that learns; what a frozen trunk says is written into `folder`.

    `once(name, decide)`: see `Checkpoints.once`; how many samples a budget has room for is told by the clock.
    """
    _, keras = backend.start()
    pretrained = config.preset == "pretrained"
    network = build(normalization=FusedBatchNormalization, precision="float32" if pretrained else precision)
    outputs = [network.get_layer("logits").output, network.output]
    if not pretrained:
        whitening.fill(network, training, seed=seed)
        return Part(network, keras.Model(network.input, outputs), training, validation)
    started = time.monotonic()
    efficientnet.fill(network)
    end = network.get_layer(TRUNK).output
    model = keras.Model(end, outputs)
    _quicken(keras, keras.Model(network.input, end).layers, model.layers, precision)
    trunk = keras.Model(network.input, [end, network.get_layer("logits").input])
    drawn = np.random.default_rng(seed).permutation  # the first of many are of all classes
    known, checked = _seen(trunk, validation, folder / "validation.npy", drawn(len(validation)))
    count = once("samples", lambda: _affordable(trunk, training, config))
    if count < len(training):
        print(f"train: the budget has room for {count:,} of {len(training):,} samples, drawn at random")
    learnt, features = _seen(trunk, training, folder / "training.npy", drawn(len(training))[:count])
    names = {layer.name for layer in keras.Model(network.input, network.get_layer(FEATURES).output).layers}
    if config.architecture == "cnn":
        names.add("logits")
        labels, truth = learnt.labels[: len(features)], known.labels[: len(checked)]
        weights = regression(features, labels, checked, truth, outputs[0].shape[-1])
        network.get_layer("logits").set_weights(weights)
    return Part(network, model, learnt, known, frozenset(names), time.monotonic() - started)


def _quicken(keras, frozen: list, learning: list, precision: str) -> None:
    """Leave out of a training step what costs much and brings little, and compute in `precision` where that is faster.

    Depthwise kernels stay: a twentieth of the weights that would learn, and their gradient is a fifth of a step and more. In bfloat16
    convolutions are faster, and all that has no gradient; other gradients, of depthwise ones above all, take many times as long.
    """
    for layer in (*frozen, *(layer for layer in learning if isinstance(layer, keras.layers.Conv2D))):
        layer.dtype_policy = POLICIES[precision]
    for layer in learning:
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            layer.trainable = False
        elif precision == "bfloat16" and pointwise.suits(layer):
            layer.convolution_op = pointwise.convolution()


def _affordable(trunk, training: Split, config: TrainConfig) -> int:
    """How many samples the trunk sees: as many as a budget of time leaves."""
    if not config.budget_minutes:
        return len(training)
    look, times = _look(trunk, training.images.shape, features=False), []
    for _ in range(PROBE):
        started = time.monotonic()
        look(training.images[:BATCH])
        times.append(time.monotonic() - started)
    count = int(SHARE * budget.seconds(config) / (min(times[1:]) / min(BATCH, len(training))))
    return min(max(count, BATCH), len(training))


def _look(trunk, shape: tuple[int, ...], *, features: bool) -> Callable:
    """Pictures as the array `shape` holds them -> what the trunk says of them, float16, and its features, float32, or None."""
    tf, _ = backend.start()

    @tf.function(input_signature=[tf.TensorSpec([None, *shape[1:]], tf.uint8)])
    def look(pixels):
        kept, last = trunk(pixels, training=False)
        # What nobody asks for is not computed: the graph is pruned.
        return [tf.cast(kept, tf.float16), tf.cast(last, tf.float32)] if features else [tf.cast(kept, tf.float16)]

    def found(images):
        kept, *last = [tensor.numpy() for tensor in look(tf.constant(images))]
        return kept, last[0] if last else None

    return found


def _seen(trunk, split: Split, file: Path, chosen: np.ndarray) -> tuple[Split, np.ndarray]:
    """What the trunk says of the chosen samples, float16 in `file`, and of the first of them what the output layer sees, float32."""
    look, look_on = (_look(trunk, split.images.shape, features=features) for features in (True, False))
    kept, features = trunk.outputs
    shown = np.empty((min(len(chosen), SHOWN), *features.shape[1:]), np.float32)
    outputs = scratch.mapped(file, (len(chosen), *kept.shape[1:]), "float16")
    with progress_bar(total=len(chosen), name="trunk") as bar:
        for start in range(0, len(chosen), BATCH):
            batch = chosen[start : start + BATCH]
            order = np.argsort(batch)  # pictures are read forwards from the disk
            ranks = np.argsort(order)
            some, last = (look if start < len(shown) else look_on)(split.images[batch[order]])
            outputs[start : start + len(some)] = some[ranks]
            if last is not None:
                shown[start : start + len(some)] = last[ranks][: len(shown) - start]
            bar.update(len(some))
    return Split(outputs, split.labels[chosen], split.folder), shown


def regression(features, labels, checked, truth, classes: int) -> list[np.ndarray]:
    """Kernel (d, classes) and bias (classes,) of the logistic regression that has the lowest log loss on validation data.

    `features` float32 (n, d) with their `labels`, to fit; `checked` (m, d) with `truth`, to choose its regularisation.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    best, least = None, np.inf
    # With more threads they spin and wait for each other. It need not have converged: it is a beginning.
    with threadpool_limits(1, "blas"), warnings.catch_warnings(action="ignore", category=ConvergenceWarning):
        for strength in STRENGTHS:
            model = LogisticRegression(C=strength, max_iter=100).fit(features, labels)
            kernel, bias = np.zeros((features.shape[1], classes), np.float32), np.full(classes, -9, np.float32)
            # Of two classes scikit-learn has one row: how far the second is ahead.
            sides = [-0.5, 0.5] if len(model.classes_) == 2 else [1.0]
            kernel[:, model.classes_] = np.concatenate([side * model.coef_ for side in sides]).T
            bias[model.classes_] = np.concatenate([side * model.intercept_ for side in sides])
            logits = checked @ kernel + bias
            logits -= logits.max(axis=1, keepdims=True)
            loss = (np.log(np.exp(logits).sum(axis=1)) - logits[np.arange(len(truth)), truth]).mean()
            if loss >= least:
                break
            best, least = [kernel, bias], loss
    return best
