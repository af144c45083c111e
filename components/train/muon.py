"""Muon for convolutions too: every kernel moves in all its directions alike."""

import keras
from keras import ops


class Muon(keras.optimizers.Muon):
    """Momentum, made orthogonal by Newton and Schulz's iteration (Jordan et al., "Muon", 2024); AdamW for all that is a vector.

    Keras's own leaves convolutions to AdamW. Here a kernel (h, w, in, out) is a matrix (h*w*in, out), as in Muon's first use.
    """

    def _should_use_adamw(self, variable) -> bool:
        return len(variable.shape) < 2 or any(name in variable.path for name in self.exclude_layers)

    def _muon_update_step(self, gradient, variable, learning_rate, momentum) -> None:
        self.assign_add(momentum, ops.add(gradient, momentum * (self.momentum - 1)))
        direction = ops.add(gradient, self.momentum * momentum) if self.nesterov else momentum
        matrix = ops.reshape(direction, (-1, direction.shape[-1]))
        update = self.lr_adjust(self.zeropower_via_newtonschulz5(matrix, self.ns_steps))
        self.assign_sub(variable, ops.reshape(update, direction.shape) * learning_rate)
