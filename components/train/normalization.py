"""Batch normalisation as training on a CPU wants it: one operation of oneDNN's instead of Keras's eight."""

import keras

from components.shared.models import backend


class FusedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalisation (Ioffe and Szegedy, 2015) of (batch, h, w, channels) in the precision of its input, in one operation.

    A tenth to a fifth of a training step in bfloat16. It has the weights of its parent, in the same order, so that what was
    trained with it is saved and served with Keras's own.
    """

    def call(self, inputs, training=None, mask=None, counted=None):
        """Normalise by the batch's own mean and variance in training, else by their running means.

        `counted`: bool (batch,), false for pictures that only fill up a clip: they are left out of mean and variance. It is no
        mask of Keras's, which would warn of every layer that follows and knows none.
        """
        tf, _ = backend.start()
        gamma = tf.convert_to_tensor(self.gamma, tf.float32) if self.scale else tf.ones([inputs.shape[-1]])
        settings = {"x": inputs, "scale": gamma, "offset": tf.convert_to_tensor(self.beta, tf.float32), "epsilon": self.epsilon}
        nothing = tf.zeros([0])
        if not (training and self.trainable):
            mean, variance = tf.convert_to_tensor(self.moving_mean), tf.convert_to_tensor(self.moving_variance)
            return tf.raw_ops.FusedBatchNormV3(**settings, mean=mean, variance=variance, is_training=False).y

        def whole():
            return tuple(tf.raw_ops.FusedBatchNormV3(**settings, mean=nothing, variance=nothing, is_training=True)[:3])

        def in_part():
            return _of_some(tf, counted, **settings)

        # The fused operation counts all; where nothing is padded it is the faster one.
        outputs, mean, variance = whole() if counted is None else tf.cond(tf.reduce_all(counted), whole, in_part)
        for moving, of_batch in ((self.moving_mean, mean), (self.moving_variance, variance)):
            moving.assign(moving * self.momentum + of_batch * (1 - self.momentum))
        return outputs


def _of_some(tf, counted, *, x, scale, offset, epsilon: float):
    """What the fused operation gives with mean and variance of the `counted` pictures alone: outputs, mean, variance.

    As there, the outputs are normalised by the variance itself, and what is returned is its unbiased estimate.
    """
    exact = tf.cast(x, tf.float32)
    weight = tf.cast(counted, tf.float32)[:, None, None, None]
    count = tf.reduce_sum(weight) * tf.cast(tf.shape(x)[1] * tf.shape(x)[2], tf.float32)
    mean = tf.reduce_sum(exact * weight, axis=(0, 1, 2)) / count
    centred = exact - mean
    variance = tf.reduce_sum(tf.square(centred) * weight, axis=(0, 1, 2)) / count
    outputs = centred * (tf.math.rsqrt(variance + epsilon) * scale) + offset
    return tf.cast(outputs, x.dtype), mean, variance * count / tf.maximum(count - 1, 1)
