"""Maps by gradients, of any network that train writes: which places of a picture speak for a class, and which against it."""

from dataclasses import dataclass

import numpy as np

from components.shared.models import backend

STEPS = 16  # between the plain picture and the real one
VALUES = 2**18  # of pixels that gradients are taken of at once: what the layers hold is a hundred times as much


@dataclass(frozen=True)
class Differentiable:
    """A network that takes pixels as float32, so that they have gradients, with what it says on the way.

    Of a network that averages a picture and its mirror image it is the side of the picture itself: both have the same weights.
    """

    model: object  # keras.Model: float32 (n, h, w, c) or (n, time, h, w, c) -> {"logits", and where it has convolutions "first", "last"}
    layers: list  # those with kernels, in the order of the graph
    convolution: object | None  # the layer of `first`
    steps: int | None  # rows or frames that its recurrent layer reads; None where it has none


def differentiable(network) -> Differentiable:
    """Lay the layers of a network, and of networks inside it, on a float input of their own; weights stay shared."""
    _, keras = backend.start()
    calls = []

    def laid(model, x):
        return keras.tree.flatten(model._run_through_graph(x, operation_fn=calling))[0]

    def calling(operation):
        def call(*given, **settings):
            if isinstance(operation, keras.Model):
                return laid(operation, given[0])
            calls.append((operation, given[0], operation(*given, **settings)))
            return calls[-1][-1]

        return call

    images = keras.Input(network.input.shape[1:], dtype="float32")
    laid(network, images)
    # The mirrored side, which calls the same layers, comes after the logits of the first.
    end = next(number for number, (operation, *_) in enumerate(calls) if operation.name == "logits")
    calls = [call for call in calls[: end + 1] if isinstance(call[0], keras.Layer)]
    learnt = [number for number, (layer, *_) in enumerate(calls) if any(weight.ndim > 1 for weight in layer.get_weights())]
    convolution = next((call for call in calls if isinstance(call[0], keras.layers.Conv2D)), None)
    spatial = [output for *_, output in calls[learnt[0] :] if len(output.shape) == 4]
    read = [given for layer, given, _ in calls if isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional)]
    outputs = {"logits": calls[-1][2]}
    outputs |= {"first": convolution[2]} if convolution else {}
    outputs |= {"last": spatial[-1]} if spatial else {}
    return Differentiable(
        keras.Model(images, outputs),
        layers=[calls[number][0] for number in learnt],
        convolution=convolution and convolution[0],
        steps=read[0].shape[1] if read else None,
    )


def grad_cam(parts: Differentiable, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Gradient-weighted class activation (Selvaraju et al., "Grad-CAM", 2017) of the last layer whose output is a map.

    uint8 (n, h, w, c) or (n, time, h, w, c), labels (n,) -> float (n, h, w) or (n, time, h, w), at least 0.
    """
    tf, _ = backend.start()
    found = np.empty(images.shape[:-1], np.float32)
    for some in _batches(len(images), images[0].size):
        gradients, maps = _gradients(parts, images[some].astype(np.float32), labels[some], "last")
        weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
        maps = tf.nn.relu(tf.reduce_sum(weights * maps, axis=-1, keepdims=True))
        found[some] = tf.image.resize(maps, images.shape[-3:-1]).numpy().reshape(found[some].shape)
    return found


def integrated_gradients(parts: Differentiable, images: np.ndarray, plain: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Gradients along the way from a plain picture to the real one, times the difference (Sundararajan et al., 2017).

    uint8 (n, ..., c) both, labels (n,) -> float (n, ...): the channels' sum, below 0 what speaks against the label. All of a
    sample adds up to what its log odds gain between the two.
    """
    found = np.zeros(images.shape[:-1], np.float32)
    for some in _batches(len(images) * STEPS, images[0].size):
        of, step = np.divmod(some, STEPS)
        share = ((step + 0.5) / STEPS).astype(np.float32).reshape(-1, *[1] * (images.ndim - 1))
        difference = images[of].astype(np.float32) - plain[of]
        gradients, _ = _gradients(parts, plain[of] + share * difference, labels[of], "pixels")
        np.add.at(found, of, (gradients.numpy() * difference).sum(-1) / STEPS)
    return found


def _gradients(parts: Differentiable, pixels: np.ndarray, labels: np.ndarray, of: str) -> tuple:
    """Gradients of the labels' log odds, and of what: those rise on where a network is sure and its probability does not."""
    tf, _ = backend.start()
    inputs = tf.constant(pixels)
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        outputs = parts.model(inputs, training=False) | {"pixels": inputs}
        logits = outputs["logits"]
        own = tf.one_hot(labels, logits.shape[-1], on_value=True, off_value=False)
        odds = tf.boolean_mask(logits, own) - tf.reduce_logsumexp(tf.where(own, -1e9, logits), axis=-1)
    return tape.gradient(odds, outputs[of]), outputs[of]


def _batches(count: int, size: int) -> list[np.ndarray]:
    """Indices of so many samples, of `size` values each, in parts that fit into memory."""
    few = max(1, VALUES // size)
    return [np.arange(start, min(start + few, count)) for start in range(0, count, few)]
