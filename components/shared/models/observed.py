"""What is kept of a sample that was answered, so that `watch` can tell whether the world has moved: numbers, no picture."""

import math

import numpy as np
import pyarrow as pa

DIMENSIONS = 32  # of the features that are kept
ABOUT = b"darkroom"  # in the metadata of answers in Parquet: JSON with model, version and package
# Of a sample as the network saw it, and what the network made of it. A row of `validation.parquet` in a package, with its true label;
# and of a file of answers.
COLUMNS = [
    ("brightness", pa.float32()),  # mean level, 0 to 1
    ("contrast", pa.float32()),  # standard deviation of the levels, 0 to 0.5
    ("sharpness", pa.float32()),  # mean difference of neighbours in a row, 0 to 1
    ("probabilities", pa.list_(pa.float32())),  # (classes,) in the package's order
    ("features", pa.list_(pa.float16())),  # (DIMENSIONS,), a fixed random projection of what the output layer sees
]


def observed(images: np.ndarray, probabilities: np.ndarray, features: np.ndarray) -> pa.Table:
    """A row a sample: `images` uint8 (n, *shape), `probabilities` float32 (n, classes), `features` float32 (n, f)."""
    pixels = images.reshape(len(images), math.prod(images.shape[1:-3]), *images.shape[-3:])  # stills as clips of one frame
    there = pixels.any(axis=(2, 3, 4))  # frames of zeros are padding
    weights = there / np.maximum(there.sum(1, keepdims=True), 1)
    levels = pixels.astype(np.float32) / 255
    of_frames = {
        "brightness": levels.mean((2, 3, 4)), "contrast": levels.std((2, 3, 4)),
        "sharpness": np.abs(np.diff(levels, axis=3)).mean((2, 3, 4)),
    }  # fmt: skip
    columns = {name: (values * weights).sum(1) for name, values in of_frames.items()}
    columns |= {"probabilities": list(probabilities), "features": list(projected(features).astype(np.float16))}
    return pa.table([pa.array(columns[name], kind) for name, kind in COLUMNS], schema=pa.schema(COLUMNS))


def projected(features: np.ndarray) -> np.ndarray:
    """float32 (n, f) -> (n, DIMENSIONS): a projection that keeps distances (Johnson and Lindenstrauss, 1984), the same for ever."""
    matrix = np.random.default_rng(0).normal(size=(features.shape[1], DIMENSIONS)) / DIMENSIONS**0.5
    return features @ matrix.astype(np.float32)
