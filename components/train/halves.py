"""A batch is learnt from in two halves, side by side, each on half of the processors.

What is computed for a batch of small pictures is many short operations in a row. Spread over all processors, each of them ends by
waiting for the slowest; halves wait for each other once a batch.
"""

from collections.abc import Callable

from components.train.config import TrainConfig

LEAST = 32  # samples of a batch that is halved: each half is normalised by its own mean and variance
# Presets of large pictures, whose operations keep all processors busy; `auto` tries one of them in the same process.
WHOLE = ("pretrained", "auto")


def groups(config: TrainConfig) -> int:
    """Into how many groups the processors are divided, before TensorFlow runs: see `backend.start`."""
    return 2 if _pay(config) else 1


def pay(tf, config: TrainConfig, samples: int) -> bool:
    """Whether batches are halved: not of large pictures, nor of so few samples, nor on a GPU, which is one processor."""
    return _pay(config) and samples >= LEAST and not tf.config.list_physical_devices("GPU")


def _pay(config: TrainConfig) -> bool:
    return config.preset not in WHOLE and config.batch_size >= LEAST


def side_by_side(tf, outputs: Callable) -> Callable:
    """A function of (images, training) that gives what `outputs`, a function of the same, says of each half, put together.

    TensorFlow computes at the same time whatever does not wait for each other.
    """

    def both(images, training: bool):
        count = tf.shape(images)[0]
        half = (count + 1) // 2
        # Of an odd number the one in the middle is in both, and counts once: oneDNN refuses an empty half.
        first, second = (outputs(some, training=training) for some in (images[:half], images[count - half :]))
        return [tf.concat([one, other[2 * half - count :]], axis=0) for one, other in zip(first, second, strict=True)]

    return both
