"""Embeddings: a vector per sample, near where samples look alike; written by `embed`, read here by whoever uses them.

A folder with `embeddings.json`; `vectors.npy` float16 (rows, dimensions), of unit length, a row per row of the manifest and zeros
where nothing decodes; `projection.npy` float32 (1 + dimensions, features), the mean of the network's features and, below it, the
directions that they are projected to; `levels.npy` uint8 (rows, 224), the features turned in a way that no data decides, for models
of the checks; `index.usearch`; `samples.parquet`; `map.html`; and in `parts` the features themselves, a
file a shard, where there is no store to keep them.
"""

import functools
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared import files
from components.shared.data import dataset
from components.shared.errors import CannotRun

ABOUT, VECTORS, PROJECTION, INDEX = "embeddings.json", "vectors.npy", "projection.npy", "index.usearch"
EXACT = 20_000  # rows; of more, neighbours are found by a graph, which many copies of one picture lead astray
LEVELS, WIDTH = "levels.npy", 224  # file, and how many levels a row
SAMPLES, MAP, PARTS = "samples.parquet", "map.html", "parts"
NONE = "none"
# Of a network that is none.
EMPTY = {"network": NONE, "sha256": "", "model": "", "side": 0, "frames": 0, "dimensions": 0, "rows": 0, "data_digest": ""}
# A row per sample, in the manifest's order; what was computed is null for a sample that does not decode.
SCHEMA = pa.schema(
    [
        *[dataset.SCHEMA.field(name) for name in ("id", "source", "label", "split")],
        ("cluster", pa.int32()),  # from 0, the largest; -1 for what lies in none
        ("outlier", pa.float32()),  # 0.99: it lies farther from its neighbours than 99 % do
        ("x", pa.float32()),  # place on the map
        ("y", pa.float32()),
        ("label_next", pa.int32()),  # from 0, what is best labelled first; null for what has a label, or can wait
    ]
)
_REMEDY = "`dvc repro -f embed` makes it anew"


@dataclass(frozen=True)
class Embeddings:
    """What `embed` wrote. Nothing large is read before it is asked for."""

    folder: Path
    network: str  # its name
    sha256: str  # of its weights
    model: str  # the folder of a network that was trained here; else empty
    side: int  # pixels that a pretrained network saw
    frames: int  # of a clip, at most
    dimensions: int
    rows: int
    data_digest: str

    @functools.cached_property
    def vectors(self) -> np.ndarray:
        """float16 (rows, dimensions), mapped. Raises CannotRun."""
        return self._array(VECTORS, (self.rows, self.dimensions), np.float16)

    @functools.cached_property
    def levels(self) -> np.ndarray:
        """uint8 (rows, WIDTH), mapped, see `levels`. Raises CannotRun."""
        return self._array(LEVELS, (self.rows, WIDTH), np.uint8)

    @functools.cached_property
    def table(self) -> pa.Table:
        """The samples, see SCHEMA. Raises CannotRun."""
        return self.columns(SCHEMA.names)

    def columns(self, names: list[str]) -> pa.Table:
        """Some columns of them. Raises CannotRun."""
        file = self.folder / SAMPLES
        with dataset.readable(file, what="a table of samples", remedy=_REMEDY):
            table = pq.read_table(file, columns=names)
        if len(table) != self.rows:
            raise CannotRun(f"{file}: {len(table):,} rows, expected {self.rows:,}; {_REMEDY}")
        return table

    def project(self, features: np.ndarray) -> np.ndarray:
        """float (n, features) of the network -> float32 (n, dimensions), of unit length. Raises CannotRun."""
        return projected(features, self._array(PROJECTION, (1 + self.dimensions, features.shape[1]), np.float32))

    def nearest(self, vectors: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
        """float (n, dimensions) -> rows int64 (n, count), nearest first, and their cosines float32; fewer where there are no more."""
        from usearch.index import Index

        file = self.folder / INDEX
        try:
            index = Index.restore(file, view=True)
            if index is None or index.ndim != self.dimensions:
                raise ValueError("of another kind")
        except (ValueError, RuntimeError, OSError) as error:
            raise CannotRun(f"{file}: no usable index ({error}); {_REMEDY}") from None
        if not len(index):
            return np.empty((len(vectors), 0), np.int64), np.empty((len(vectors), 0), np.float32)
        index.expansion_search = max(256, 2 * count)
        found = index.search(np.asarray(vectors, np.float16), min(count, len(index)), exact=len(index) <= EXACT)
        keys, distances = (np.atleast_2d(each) for each in (found.keys, found.distances))
        return keys.astype(np.int64), 1 - distances

    def _array(self, name: str, shape: tuple[int, ...], kind: type) -> np.ndarray:
        file = self.folder / name
        try:
            array = np.load(file, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise CannotRun(f"{file}: no usable array ({error}); {_REMEDY}") from None
        if array.shape != shape or array.dtype != kind:
            raise CannotRun(f"{file}: {array.dtype} {array.shape}, expected {np.dtype(kind)} {shape}; {_REMEDY}")
        return array


def read(folder: Path) -> Embeddings | None:
    """What `embed` wrote; None where its knob says `none`. Raises CannotRun when it is missing or damaged."""
    names = [name for name in Embeddings.__dataclass_fields__ if name != "folder"]
    about = files.read_json(folder / ABOUT, *names)
    return None if about["network"] == NONE else Embeddings(folder, **{name: about[name] for name in names})


def projected(features: np.ndarray, projection: np.ndarray) -> np.ndarray:
    """float (n, features), projection float32 (1 + d, features) -> float32 (n, d) of unit length; zeros for the mean itself."""
    vectors = (np.asarray(features, np.float32) - projection[0]) @ projection[1:].T
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 1e-6)


def levels(features: np.ndarray) -> np.ndarray:
    """float (n, features) -> whole numbers, uint8 (n, WIDTH): the features at length 1, projected at random, 40 a standard deviation.

    Unlike the vectors, whose directions follow the data, those of two versions of the data are to be compared, and distances are
    kept as well as that many numbers can (Johnson and Lindenstrauss, 1984).
    """
    directions = np.random.default_rng(0).standard_normal((features.shape[1], WIDTH), np.float32)
    features = np.asarray(features, np.float32)
    length = np.maximum(np.linalg.norm(features, axis=1, keepdims=True), 1e-6)
    return np.clip(np.rint(128 + 40 * (features / length) @ directions), 0, 255).astype(np.uint8)
