"""1x1 convolutions whose gradients are matrix products: in bfloat16 a training step takes a fifth less time.

There oneDNN takes up to four times as long for the gradient of such a convolution's kernel as for the matrix product that it is.
"""

import functools
from collections.abc import Callable

from components.shared.models import backend


def suits(layer) -> bool:
    """Whether a layer is a convolution of single places, of all of them, whose gradients could be matrix products."""
    _, keras = backend.start()
    return isinstance(layer, keras.layers.Conv2D) and (*layer.kernel_size, *layer.strides, layer.groups) == (1, 1, 1, 1, 1)


@functools.cache
def convolution() -> Callable:
    """The operation: (n, h, w, in) and (1, 1, in, out) -> (n, h, w, out), all of one type. It may replace a layer's `convolution_op`."""
    tf, _ = backend.start()

    @tf.custom_gradient
    def convolve(inputs, kernel):
        def gradients(upstream):
            rows, found = (tf.reshape(tensor, (-1, tensor.shape[-1])) for tensor in (inputs, upstream))
            by_inputs = tf.matmul(found, tf.reshape(kernel, kernel.shape[2:]), transpose_b=True)
            by_kernel = tf.matmul(rows, found, transpose_a=True)
            return tf.reshape(by_inputs, tf.shape(inputs)), tf.reshape(by_kernel, kernel.shape)

        return tf.nn.conv2d(inputs, kernel, 1, "VALID"), gradients

    # A layer hands its variable over: what is differentiated is its value, in the type that the layer computes in.
    return lambda inputs, kernel: convolve(inputs, tf.convert_to_tensor(kernel))
