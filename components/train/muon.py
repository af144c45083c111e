"""Muon for convolutions and recurrent layers too: every kernel moves in all its directions alike."""

import keras
from keras import ops

GATES = {"lstm_cell": 4, "gru_cell": 3}  # maps that stand side by side in one kernel


class Muon(keras.optimizers.Muon):
    """Momentum, made orthogonal by Newton and Schulz's iteration (Jordan et al., "Muon", 2024); AdamW for all that is a vector.

    Keras's own leaves convolutions to AdamW. Here a kernel (h, w, in, out) is a matrix (h*w*in, out), as in Muon's first use, and
    each gate of a recurrent kernel a matrix of its own, which takes a fifth of the time that all of them together take.
    """

    def _should_use_adamw(self, variable) -> bool:
        return len(variable.shape) < 2 or any(name in variable.path for name in self.exclude_layers)

    def _muon_update_step(self, gradient, variable, learning_rate, momentum) -> None:
        self.assign_add(momentum, ops.add(gradient, momentum * (self.momentum - 1)))
        direction = ops.add(gradient, self.momentum * momentum) if self.nesterov else momentum
        path = f"/{self._trainable_variables[self._get_variable_index(variable)].path}"
        gates = next((count for cell, count in GATES.items() if f"/{cell}/" in path), 1)
        matrices = ops.transpose(ops.reshape(direction, (-1, gates, direction.shape[-1] // gates)), (1, 0, 2))
        update = self.zeropower_via_newtonschulz5(matrices, self.ns_steps) * (max(matrices.shape[1:]) ** 0.5 * self.rms_rate)
        self.assign_sub(variable, ops.reshape(ops.transpose(update, (1, 0, 2)), direction.shape) * learning_rate)

    def zeropower_via_newtonschulz5(self, x, steps: int):
        """float32 (n, rows, columns), n matrices, each to one whose singular values are near 1.

        The iteration multiplies x by polynomials of its Gram matrix. So they are multiplied with each other first, in the smaller of
        both dimensions, and with x in the end: a third of the work for a kernel nine times as high as wide.
        """
        tall = x.shape[1] >= x.shape[2]
        x = x / (ops.norm(x, axis=(1, 2), keepdims=True) + 1e-7)
        flipped = ops.transpose(x, (0, 2, 1))
        gram = flipped @ x if tall else x @ flipped
        identity, product = ops.eye(gram.shape[-1]), None
        for _ in range(steps):
            factor = self.muon_a * identity + self.muon_b * gram + self.muon_c * (gram @ gram)
            product = factor if product is None else product @ factor
            gram = gram @ factor @ factor
        return x @ product if tall else product @ x
