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
            inner = isinstance(operation, keras.Model)
            output = laid(operation, given[0]) if inner else operation(*given, **settings)
            if isinstance(operation, keras.Layer) and not inner:
                calls.append((operation, given[0], output))
            return output

        return call

    images = keras.Input(network.input.shape[1:], dtype="float32")
    laid(network, images)
    # The mirrored side, which calls the same layers, comes after the logits of the first.
    calls = calls[: 1 + next(number for number, (layer, *_) in enumerate(calls) if layer.name == "logits")]
    learnt = [number for number, (layer, *_) in enumerate(calls) if any(weight.ndim > 1 for weight in layer.get_weights())]
    convolution = next((call for call in calls if isinstance(call[0], keras.layers.Conv2D)), None)
    spatial = [output for _, _, output in calls[learnt[0] :] if len(output.shape) == 4]
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
    found = []
    for some, of in _parts(images, labels):
        with tf.GradientTape() as tape:
            pixels = tf.constant(some, tf.float32)
            tape.watch(pixels)
            outputs = parts.model(pixels, training=False)
            score = _odds(tf, outputs["logits"], of)
        weights = tf.reduce_mean(tape.gradient(score, outputs["last"]), axis=(1, 2), keepdims=True)
        maps = tf.nn.relu(tf.reduce_sum(weights * outputs["last"], axis=-1, keepdims=True))
        found.append(tf.image.resize(maps, images.shape[-3:-1]).numpy().reshape(some.shape[:-1]))
    return np.concatenate(found)


def integrated_gradients(parts: Differentiable, images: np.ndarray, plain: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Gradients along the way from a plain picture to the real one, times the difference (Sundararajan et al., 2017).

    uint8 (n, ..., c) both, labels (n,) -> float (n, ...): the channels' sum, below 0 what speaks against the label. All of a
    sample adds up to what its log odds gain between the two.
    """
    tf, _ = backend.start()
    found = np.zeros(images.shape[:-1], np.float32)
    few = max(1, VALUES // images[0].size)
    for start in range(0, len(images) * STEPS, few):
        of, step = np.divmod(np.arange(start, min(start + few, len(images) * STEPS)), STEPS)
        difference = images[of].astype(np.float32) - plain[of]
        share = ((step + 0.5) / STEPS).astype(np.float32).reshape(-1, *[1] * (images.ndim - 1))
        with tf.GradientTape() as tape:
            pixels = tf.constant(plain[of] + share * difference)
            tape.watch(pixels)
            score = _odds(tf, parts.model(pixels, training=False)["logits"], labels[of])
        np.add.at(found, of, (tape.gradient(score, pixels).numpy() * difference).sum(-1) / STEPS)
    return found


def activations(parts: Differentiable, images: np.ndarray) -> dict[str, np.ndarray]:
    """What the first convolution and the last layer with a map make of pictures (of a clip's frames, one after the other)."""
    tf, _ = backend.start()
    outputs = [parts.model(tf.constant(some, tf.float32), training=False) for (some,) in _parts(images)]
    return {name: np.concatenate([each[name] for each in outputs]) for name in ("first", "last")}


def _odds(tf, logits, labels):
    """Log odds of the labels against all other classes: unlike a probability they still rise where the network is sure."""
    own = tf.one_hot(labels, logits.shape[-1], on_value=True, off_value=False)
    return tf.boolean_mask(logits, own) - tf.reduce_logsumexp(tf.where(own, -1e9, logits), axis=-1)


def _parts(images: np.ndarray, *beside: np.ndarray):
    few = max(1, VALUES // images[0].size)
    for start in range(0, len(images), few):
        yield tuple(each[start : start + few] for each in (images, *beside))
