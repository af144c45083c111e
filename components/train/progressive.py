"""The first part of a training sees smaller pictures: half the work a batch, and what is learnt there holds for larger ones.

Progressive resizing (Howard, "Training Imagenet in 3 hours for $25; and CIFAR10 for $0.26", 2018; Tan and Le, "EfficientNetV2", 2021).
"""

from collections.abc import Callable

from components.train.config import TrainConfig

SCALE = 5 / 7  # of a side
LEAST = 16  # px; smaller pictures stay as they are
PRESETS = ("default", "best")  # whose layers take any size


def smaller(tf, keras, model, config: TrainConfig) -> Callable | None:
    """The same layers for pictures of fewer pixels: (images, training), uint8 of the model's size -> the model's outputs.

    None for clips, for networks of a fixed size, and where the knob `small_first` is 0. An LSTM, whose features are what a row
    holds, sees fewer rows.
    """
    height, width = (_side(side) for side in model.input.shape[1:3])
    width = model.input.shape[2] if config.architecture == "lstm" else width
    if not config.small_first or config.preset not in PRESETS or len(model.input.shape) != 4 or min(height, width) < LEAST:
        return None
    images = keras.Input((height, width, model.input.shape[3]), dtype="float32")
    small = keras.models.clone_model(
        model, input_tensors=images, clone_function=lambda layer: layer
    )  # not a copy: the layers themselves
    return lambda pixels, training: small(tf.image.resize(pixels, (height, width), method="area"), training=training)


def _side(side: int) -> int:
    return 4 * round(SCALE * side / 4)
