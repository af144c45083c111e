"""Trained models on disk: saved whole, loaded only when they are what they were, and how they predict."""

import functools
import hashlib
import json
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from components.shared import files
from components.shared.errors import CannotRun, Refused
from components.shared.models import backend
from components.shared.progress_bar import progress_bar

FILE = "model.keras"
WEIGHTS = "model.weights.h5"
MEMBERS = {"metadata.json", "config.json", WEIGHTS}
NO_NUMBERS = "holds weights that are no finite numbers; `dvc repro -f train` trains it anew"
MAX_SIZE, MAX_CONFIG = 4 * 2**30, 32 * 2**20  # bytes unpacked; no network of ours comes near
# What a network of ours consists of, and nothing else: layers that run code (Lambda) or open files (TFSMLayer, the lookups
# and vectorisers) are none of it. A new layer in components/train has to be named here.
CLASSES = {
    None: {"__keras_tensor__"},  # a tensor's place in the graph
    "keras": {"DTypePolicy"},
    "keras.src.models.functional": {"Functional"},
    "keras.layers": {
        "InputLayer", "Rescaling", "Conv1D", "Conv2D", "DepthwiseConv2D", "MaxPooling2D", "UpSampling2D", "Flatten", "Dense",
        "Dropout", "BatchNormalization", "Activation", "Identity", "Add", "Average", "Concatenate", "GlobalAveragePooling1D",
        "GlobalAveragePooling2D", "GlobalMaxPooling1D", "GlobalMaxPooling2D", "Bidirectional", "LSTM", "GRU", "SimpleRNN",
        # Those of networks that people bring (`darkroom backbone`).
        "ZeroPadding2D", "Cropping2D", "AveragePooling2D", "SeparableConv2D", "ReLU", "LeakyReLU", "LayerNormalization",
        "Normalization", "Multiply", "Subtract", "Reshape", "SpatialDropout2D",
    },
    "keras.src.applications.convnext": {"LayerScale", "StochasticDepth"},
    "keras.src.applications.inception_resnet_v2": {"CustomScaleLayer"},
    "keras.src.ops.numpy": {"Reshape", "Any", "NotEqual", "Flip", "Mean", "Where", "Add", "Multiply"},
    "keras.initializers": {"GlorotUniform", "Zeros", "Ones", "Orthogonal"},
}  # fmt: skip


def save(model, folder: Path) -> dict[str, str]:
    """Write `model.keras`; returns the digests that say which model it is: of the file, and of its weights alone."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / FILE
    model.save(file)
    return {"sha256": files.digest(file), "weights_sha256": weights_digest(model)}


def weights_digest(model) -> str:
    """sha256 over all weights with their shapes and types: the same however and whenever the file was written."""
    weights = hashlib.sha256()
    for weight in model.get_weights():
        weights.update(repr((weight.shape, weight.dtype)).encode())
        weights.update(np.ascontiguousarray(weight))
    return weights.hexdigest()


def check(file: Path, *, sha256: str) -> None:
    """Raise CannotRun when a file is missing, Refused when it is not the one with this digest."""
    if not file.is_file():
        raise CannotRun(f"{file}: no such file; `dvc repro` makes it")
    found = files.digest(file)
    if found != sha256:
        raise Refused(
            f"{file}: is not the model that was trained (sha256 {found[:12]}..., expected {sha256[:12]}...); run `dvc repro`"
        )


def load(file: Path, *, sha256: str):
    """Load a `.keras` file that has this digest.

    Raises CannotRun when it is missing or damaged, Refused when it is foreign or its weights are not finite.
    """
    check(file, sha256=sha256)
    refuse_foreign(file)
    _, keras = backend.start()
    model = keras.saving.load_model(file, compile=False, safe_mode=True)
    if not is_finite(model):
        raise Refused(f"{file}: {NO_NUMBERS}")
    return model


def examine(file: Path, *, sha256: str) -> None:
    """Raise what `load` raises, without TensorFlow, which takes seconds to start. Of a file that train wrote: HDF5 opens others."""
    import h5py

    check(file, sha256=sha256)
    refuse_foreign(file)
    finite = []

    def visit(_: str, node: h5py.Group | h5py.Dataset) -> None:
        if isinstance(node, h5py.Dataset) and node.dtype.kind == "f":
            finite.append(np.isfinite(node[()]).all())

    try:
        with zipfile.ZipFile(file) as content, content.open(WEIGHTS) as stream, h5py.File(stream) as weights:
            weights.visititems(visit)
    except (zipfile.BadZipFile, zlib.error, OSError, RuntimeError) as error:  # HDF5 raises the last two
        raise CannotRun(f"{file}: damaged or cut short ({error})") from None
    if not all(finite):
        raise Refused(f"{file}: {NO_NUMBERS}")


def is_finite(model) -> bool:
    """Whether all weights are finite numbers. Those that are not load in silence, and no comparison tells them from good ones."""
    return all(np.isfinite(weight).all() for weight in model.get_weights())


def refuse_foreign(file: Path, known: dict[str | None, set[str]] = CLASSES, *, dropped: str = "") -> dict:
    """Raise Refused for a model file that holds anything but a network of `known` layers and its weights; returns its description.

    What stands in that under the name `dropped` is left out, and not looked at: the caller loads what is returned.
    """
    try:
        with zipfile.ZipFile(file) as content:
            members = {member.filename: member.file_size for member in content.infolist()}
            if set(members) != MEMBERS or sum(members.values()) > MAX_SIZE or members["config.json"] > MAX_CONFIG:
                raise Refused(f"{file}: expected {', '.join(sorted(MEMBERS))} of at most 4 GiB, found {sorted(members)}")
            text = content.read("config.json")
        config = json.loads(text, object_hook=lambda inner: {name: inner[name] for name in inner if name != dropped})
        classes = [(node.get("module"), node["class_name"]) for node in _objects(config) if "class_name" in node]
    except (zipfile.BadZipFile, zlib.error, ValueError, RuntimeError) as error:  # the last: encrypted, or nested too deep
        raise CannotRun(f"{file}: damaged or cut short ({error})") from None
    for module, name in classes:
        if str(name) not in known.get(module if isinstance(module, str) else None, ()):
            raise Refused(f"{file}: holds {module}.{name}, which no network of Darkroom has; it is not loaded")
    return config


def _objects(value: object) -> Iterator[dict]:
    """Every object of a JSON text, however deep."""
    if isinstance(value, dict):
        yield value
    if isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from _objects(inner)


def predict(
    model, images: np.ndarray, *, name: str = "predict", batch_size: int = 256, change: Callable | None = None
) -> np.ndarray:
    """uint8 (n, ...) -> float32 (n, classes) probabilities, batch after batch in order; `change` is applied to each batch."""
    tf, _ = backend.start()
    run = compiled(model)
    found = np.empty((len(images), model.output_shape[-1]), np.float32)
    with progress_bar(total=len(images), name=name) as bar:
        for start in range(0, len(images), batch_size):
            batch = images[start : start + batch_size]
            some = run(tf.constant(change(batch) if change else batch)).numpy()
            found[start : start + len(some)] = some
            bar.update(len(some))
    return found


@functools.lru_cache(maxsize=2)
def compiled(model):
    """A model for any number of samples, traced once: a new function for each call would be traced each time."""
    tf, _ = backend.start()
    signature = [tf.TensorSpec(model.inputs[0].shape, tf.uint8)]
    return tf.function(lambda pixels: model(pixels, training=False), input_signature=signature)
