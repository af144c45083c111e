"""How time and memory grow with rows and classes: the data check, the plan of the arrays, and the tables of an evaluation.

    python benchmarks/size.py [--rows 100000 1000000] [--classes 10 10000]

Manifests are drawn without any picture. For every pair of rows and classes: wall time (and time of processors) of `darkroom
validate`, of what `prepare` does before it decodes, and of scores, tables and charts of 20,000 predictions; memory of all their
processes at the most. Time should grow with the rows, memory hardly: read a column downwards.
"""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from cost import cost
from stages import ROOT, arguments, command

from components.shared import scratch
from components.shared.data import manifest as manifests

TEST = 20_000  # predictions of the evaluation
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


def _binary(values: np.ndarray) -> pa.Array:
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(values.shape[1]), len(values), [None, pa.py_buffer(values.tobytes())])


def decisions(folder: Path) -> None:
    """All that `prepare` does before it decodes: the split, each sample's place, labels, leakage counted anew."""
    from components.prepare import plan
    from components.prepare.config import PrepareConfig
    from components.shared import config

    (folder / "plan").mkdir()
    plan.make(manifest=folder / "manifest", verdict=folder / "validation/summary.json", pairs=folder / "validation/pairs.parquet",
              config=PrepareConfig(**config.read_params(ROOT / "params.yaml")["prepare"]), folder=folder / "plan")  # fmt: skip


def evaluation(folder: Path, classes: int) -> None:
    """Scores, tables and charts of drawn predictions: a third are right, a third are off by one."""
    from components.evaluate import charts, tables
    from components.shared.models.scores import scores

    rng, names = np.random.default_rng(0), [f"class {number:05d}" for number in range(classes)]
    labels = np.arange(TEST) % classes
    probabilities = rng.random((TEST, classes), dtype=np.float32)
    probabilities[np.arange(TEST), (labels + np.arange(TEST) % 3) % classes] += 1
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    predicted = probabilities.argmax(axis=1)
    scores(labels, probabilities)
    curves, areas = tables.curves(labels, probabilities, names)
    tables.per_class(labels, predicted, names, areas)
    sum(1 for _ in tables.predictions(map(str, range(TEST)), labels, probabilities, names))
    charts.confusion(labels, predicted, names, folder / "confusion.png")
    charts.curves(curves, names, areas, folder)


def measured(*arguments: object) -> str:
    """Two cells of the table."""
    return cost(sys.executable, *arguments).cells()


def main() -> None:
    options = arguments(__doc__, {
        "--rows": {"type": int, "nargs": "+", "default": [100_000, 1_000_000]},
        "--classes": {"type": int, "nargs": "+", "default": [10, 10_000]},
        "--part": {"nargs": 2, "metavar": ("STEP", "FOLDER"), "help": "of one measurement, in a process of its own"},
    })  # fmt: skip
    if options.part:
        step, folder = options.part
        decisions(Path(folder)) if step == "plan" else evaluation(Path(folder), options.classes[0])
        return
    print("| rows | classes | validate | memory | prepare's plan | memory | evaluate's tables | memory |\n|" + "---|" * 8)
    for classes in options.classes:
        for rows in options.rows:
            with scratch.folder("benchmark") as folder:
                draw(folder / "manifest", rows, classes)
                stage = command("validate", manifest=folder / "manifest", validation=folder / "validation")
                validate = measured("-m", "components", *stage, "--params", ROOT / "params.yaml")
                decided = measured(__file__, "--part", "plan", folder)
                tables = measured(__file__, "--part", "tables", folder, "--classes", classes)
                print(f"| {rows:,} | {classes:,} | {validate} | {decided} | {tables} |", flush=True)


if __name__ == "__main__":
    main()
