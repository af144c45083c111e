"""What a training computes in: bfloat16 where that is clearly faster on this machine, else float32, which is more exact."""

import contextlib
import functools
import math
import time
from collections.abc import Callable

from components.shared.models import backend
from components.train import pointwise
from components.train.config import TrainConfig

CLEARLY = 1.25  # times as fast
SECONDS = 0.5  # for the trial, once everything is compiled
MOST = 5e8  # multiplications of the convolution that is tried, at the most: a larger batch gives the same ratio


def choose(config: TrainConfig, build: Callable) -> str:
    """`float32` or `bfloat16`: the knob, or for `auto` what is faster here, which is printed. `build()` makes the network.

    The clock may say otherwise the next time: it is asked once for a training.
    """
    if config.precision != "auto":
        return config.precision
    tf, keras = backend.start()
    precision, why = "float32", "no instructions for bfloat16 here"
    if backend.has_bfloat16():
        with contextlib.suppress(tf.errors.OpError):  # oneDNN was told to do without them
            precision, why = _verdict(trial(build(), config.batch_size))
        keras.backend.clear_session(free_memory=False)  # so that layers are called the same with and without a trial
    print(f"train: precision {precision} ({why})")
    return precision


def trial(network, batch_size: int) -> dict[str, float]:
    """Seconds, by type, that the costliest convolution that learns takes forwards and backwards; empty where none does.

    The processor's flags do not tell: with AVX-512 BF16 it was found twice as fast (AMD Zen 4) and half as fast (an Intel Xeon
    without AMX); nor do matrix products, at which oneDNN does better than at convolutions.
    """
    tf, keras = backend.start()
    learnt = [layer for layer in network.layers if isinstance(layer, keras.layers.Conv2D) and layer.trainable]
    if not learnt:
        return {}
    layer = max(learnt, key=_multiplications)
    pictures = batch_size * math.prod(network.input_shape[1:-3])  # of a clip each frame
    pictures = max(1, min(pictures, int(MOST / _multiplications(layer))))
    steps = {}
    for kind in ("float32", "bfloat16"):
        shapes = (pictures, *layer.input.shape[1:]), layer.kernel.shape
        values = [tf.cast(tf.random.stateless_uniform(shape, (0, 0), -1), kind) for shape in shapes]
        steps[kind] = _step(tf, layer, values, quick=kind == "bfloat16")
        steps[kind]()
    # By turns, and the best of each: what else the machine does holds up both.
    seconds, begun = dict.fromkeys(steps, math.inf), time.perf_counter()
    while time.perf_counter() - begun < SECONDS:
        for kind, step in steps.items():
            started = time.perf_counter()
            step()
            seconds[kind] = min(seconds[kind], time.perf_counter() - started)
    return seconds


def _multiplications(layer) -> int:
    """Of a convolution, for one picture."""
    return math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:-1])


def _step(tf, layer, values: list, *, quick: bool) -> Callable:
    """One call is one convolution like the layer's, and its gradients by picture and kernel; `quick`: as transfer.py has them."""
    plain = functools.partial(tf.nn.conv2d, strides=layer.strides, padding=layer.padding.upper())
    convolve = pointwise.convolution() if quick and pointwise.suits(layer) else plain

    @tf.function
    def step(pictures, kernel):
        with tf.GradientTape() as tape:
            tape.watch([pictures, kernel])
            outputs = convolve(pictures, kernel)
        return outputs, tape.gradient(outputs, [pictures, kernel])

    run = step.get_concrete_function(*values)
    return lambda: run(*values)[0].numpy()


def _verdict(seconds: dict[str, float]) -> tuple[str, str]:
    """The precision, and why."""
    if not seconds:
        return "float32", "no convolution learns that would be faster in bfloat16"
    chosen, other = "float32", "bfloat16"
    if seconds["float32"] > CLEARLY * seconds["bfloat16"]:
        chosen, other = other, chosen
    ms = {kind: f"{1000 * value:.3g} ms" for kind, value in seconds.items()}
    return chosen, f"a training step of the costliest convolution takes {ms[chosen]}, {ms[other]} in {other}"
