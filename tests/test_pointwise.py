"""A 1x1 convolution with gradients as matrix products is the same convolution."""

import numpy as np
import pytest

from components.shared.models import backend

tf, keras = backend.start()

from components.train import pointwise  # noqa: E402


def gradients(convolve, dtype: str) -> list[np.ndarray]:
    """Outputs, and what they say of inputs and kernel when each counts differently."""
    inputs, kernel, weights = (
        tf.cast(tf.random.stateless_normal(shape, (number, 0)), dtype)
        for number, shape in enumerate([(3, 5, 4, 7), (1, 1, 7, 6), (3, 5, 4, 6)])
    )
    with tf.GradientTape() as tape:
        tape.watch([inputs, kernel])
        outputs = convolve(inputs, kernel)
        score = tf.reduce_sum(outputs * weights)
    return [np.asarray(tf.cast(found, tf.float32)) for found in (outputs, *tape.gradient(score, [inputs, kernel]))]


@pytest.mark.parametrize(("dtype", "close"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_it_is_the_convolution_and_has_its_gradients(dtype, close):
    expected = gradients(lambda inputs, kernel: tf.nn.conv2d(inputs, kernel, 1, "VALID"), "float32")
    for found, wanted in zip(gradients(pointwise.convolution(), dtype), expected, strict=True):
        assert found.shape == wanted.shape
        np.testing.assert_allclose(found, wanted, atol=close * np.abs(wanted).max())


@pytest.mark.parametrize("run", [tf.function, lambda eager: eager])
@pytest.mark.parametrize(("policy", "close"), [("float32", 1e-5), ("mixed_bfloat16", 2e-2)])
def test_a_layer_learns_by_it_as_by_its_own(policy, close, run):
    layer = keras.layers.Conv2D(4, 1, dtype=policy)
    inputs = tf.random.stateless_normal((2, 3, 3, 5), (1, 2))
    layer.build(inputs.shape)

    def learnt():
        with tf.GradientTape() as tape:
            score = tf.reduce_sum(tf.cast(layer(inputs), tf.float32) ** 2)
        return score, *tape.gradient(score, [layer.kernel.value, layer.bias.value])

    expected = run(learnt)()
    layer.convolution_op = pointwise.convolution()
    for found, wanted in zip(run(learnt)(), expected, strict=True):
        wanted = np.asarray(tf.cast(wanted, tf.float32))
        np.testing.assert_allclose(tf.cast(found, tf.float32), wanted, atol=close * np.abs(wanted).max())


@pytest.mark.parametrize(("layer", "is_one"), [
    (lambda layers: layers.Conv2D(8, 1), True),
    (lambda layers: layers.Conv2D(8, 3), False),
    (lambda layers: layers.Conv2D(8, 1, strides=2), False),
    (lambda layers: layers.Conv2D(8, 1, groups=4), False),
    (lambda layers: layers.DepthwiseConv2D(1), False),
    (lambda layers: layers.Dense(8), False),
])  # fmt: skip
def test_only_what_sees_each_place_alone_and_whole_suits(layer, is_one):
    assert pointwise.suits(layer(keras.layers)) is is_one
