"""Manifests drawn without any picture, of as many rows and classes as a test wants."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from components.embed import reduction
from components.shared import files
from components.shared.data import embeddings
from components.shared.data import manifest as manifests
from components.validate import checks, items
from components.validate.accepted import Accepted
from components.validate.config import ValidateConfig
from components.validate.context import Context

PART = 65_536  # rows of a manifest's part


def draw(folder: Path, rows: int, classes: int | list[str], seed: int = 0) -> None:
    """Stills of 28 x 28 grey pixels, all different, in even classes whose features differ a little; a part per 65,536."""
    folder.mkdir(parents=True)
    names = classes if isinstance(classes, list) else [f"class {number:05d}" for number in range(classes)]
    centres = np.random.default_rng(seed).integers(60, 190, (len(names), manifests.FEATURES))
    for number, start in enumerate(range(0, rows, PART)):
        count = min(PART, rows - start)
        rng, index = np.random.default_rng([seed, number]), range(start, start + count)
        label = np.arange(start, start + count) % len(names)
        bright, dark = rng.uniform(220, 255, count), rng.uniform(0, 30, count)
        mean, noise = rng.uniform(60, 190, count), rng.normal(0, 40, (count, manifests.FEATURES))
        features = np.clip(centres[label] + noise, 0, 255).astype(np.uint8)
        thumbnails = rng.integers(0, 256, (count, manifests.THUMBNAIL), dtype=np.uint8)
        columns = {
            "id": [f"{row:064x}" for row in index], "label": pa.array(names).take(pa.array(label)),
            "source": [f"{names[row % len(names)]}/{row:09d}.png" for row in index],
            "shard": pa.array([f"{number:05d}.parquet"]).take(pa.array(np.zeros(count, int))),
            "pixels_digest": [f"{row:032x}" for row in index], "mode": ["L"] * count, "format": ["PNG"] * count,
            "hash": rng.integers(0, 2**64, count, dtype=np.uint64),
            "thumbnail": _binary(thumbnails), "features": _binary(features),
            "brightness": mean, "red": mean, "green": mean, "blue": mean, "bright_level": bright, "dark_level": dark,
            "contrast": rng.uniform(20, 80, count), "common": rng.uniform(0, 0.3, count), "entropy": rng.uniform(3, 7, count),
            "sharpness": rng.uniform(0.6, 1, count),
            **{name: np.full(count, value) for name, value in
               {"frames": 1, "width": 28, "height": 28, "frame_sizes": 1, "bytes": 600, "trailing": 0}.items()},
        }  # fmt: skip
        arrays = [
            pa.array(columns[field.name]).cast(field.type) if field.name in columns else pa.nulls(count, field.type)
            for field in manifests.SCHEMA
        ]
        schema = manifests.SCHEMA.with_metadata({"shard": f"{number:05d}.parquet", "measured_by": "drawn {}"})
        pq.write_table(pa.table(arrays, schema=schema), folder / f"{number:032x}.parquet", compression="zstd")


def change(folder: Path, columns: dict[str, object]) -> None:
    """Give the samples of a manifest of one part other values."""
    (part,) = folder.glob("*.parquet")
    table = pq.read_table(part)
    for name, values in columns.items():
        field = table.schema.field(name)
        values = _binary(values) if pa.types.is_fixed_size_binary(field.type) else pa.array(values, field.type)
        table = table.set_column(table.schema.get_field_index(name), field, values)
    pq.write_table(table, part)


def embedded(manifest: Path, to: Path, vectors: np.ndarray, levels: np.ndarray, **facts: object) -> embeddings.Embeddings:
    """What `embed` would have written of a manifest: `vectors` float (rows, d), `levels` uint8 (rows, WIDTH), and `facts` if other ones."""
    to.mkdir(parents=True)
    vectors = (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)
    np.save(to / embeddings.VECTORS, vectors)
    np.save(to / embeddings.LEVELS, levels)
    reduction.index(vectors, np.ones(len(vectors), bool), to)
    about = {"network": "efficientnet-lite0", "sha256": "a1", "side": 224, "frames": 8, "dimensions": vectors.shape[1],
             "rows": len(vectors), "data_digest": manifests.data_digest(manifest)}  # fmt: skip
    files.write_json(to / embeddings.ABOUT, embeddings.EMPTY | about | facts)
    return embeddings.read(to)


def told(
    folder: Path, limits: ValidateConfig, accepted: Accepted | None = None, seen: embeddings.Embeddings | None = None
) -> dict[str, dict]:
    """What the checks say of a manifest, by code, as findings.json does; `items` are the lines that people read."""
    context = Context.read(folder, limits, accepted, seen)
    records = [items.record(finding, context) for finding in checks.run(context, list)]
    return {
        each["code"]: each | {"items": [item["text"] for item in each["items"]], "records": each["items"]} for each in records
    }


def _binary(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(values.shape[1]), len(values), [None, pa.py_buffer(values.tobytes())])
