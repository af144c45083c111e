"""The networks, a file a preset, and here the one place that chooses: architecture and preset -> a Keras model.

Each is a function of (images, dropout, normalization): the input, uint8 (h, w, c) or (time, h, w, c); a rate; the class of its
normalising layers, since training has a faster one of the same weights. It returns (features,); what follows is the same for all.
"""

import importlib

# architecture -> preset -> module and function.
NETWORKS = {
    "cnn": {"default": "default:cnn", "best": "best:cnn", "article": "article:cnn", "pretrained": "pretrained:cnn"},
    "lstm": {
        "default": "default:lstm", "article": "article:lstm", "article-gru": "article:gru", "article-rnn": "article:rnn",
        "pretrained": "pretrained:lstm",
    },
}  # fmt: skip
POLICIES = {"float32": "float32", "bfloat16": "mixed_bfloat16"}  # precision -> Keras's name for it, weights in float32 in both
TRUNK, FEATURES = "trunk", "features"  # layers of a network that is not trained from its first layer on; see transfer.py


def network(
    architecture: str,
    preset: str,
    shape: tuple[int, ...],
    classes: int,
    *,
    dropout: float,
    normalization=None,
    precision: str = "float32",
    **settings,
):
    """uint8 (h, w, c) or (time, h, w, c) -> float32 (classes,) probabilities; before them the layer `logits`. Returns a keras.Model.

    `settings` are those of one preset alone: `backbone` of `pretrained`, a file that `darkroom backbone` wrote.
    """
    import keras
    from keras import layers

    module, function = NETWORKS[architecture][preset].split(":")
    encode = getattr(importlib.import_module(f"{__name__}.{module}"), function)
    keras.config.set_dtype_policy(POLICIES[precision])
    try:
        images = keras.Input(shape, dtype="uint8", name="images")
        features = encode(images, dropout, normalization or layers.BatchNormalization, **settings)
    finally:
        keras.config.set_dtype_policy("float32")
    # These in float32, whatever precision the network has.
    logits = layers.Dense(classes, name="logits")(features)
    return keras.Model(images, layers.Activation("softmax", name="probabilities")(logits), name=architecture)
