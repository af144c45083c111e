"""A manifest that is drawn without any picture, to see how `validate`, and what `prepare` plans, grow with rows and classes.

    python benchmarks/drawn_manifest.py [--rows 1000000] [--classes 10]

Wall time, processor time and memory (of all its processes, at the most) of a whole `darkroom validate`, and of all that
`prepare` does before it decodes: the split, each sample's place, labels, leakage counted anew.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq

from components.shared.data import manifest as manifests

ROOT = Path(__file__).parent.parent
PART = 65_536  # rows


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


PLAN = """
import sys
from pathlib import Path
from components.__main__ import call
from components.shared import config
scratch, params = sys.argv[1:]
call("plan_arrays", section="prepare", manifest=f"{scratch}/manifest", verdict=f"{scratch}/validation/summary.json",
     pairs=f"{scratch}/validation/pairs.parquet", config=config.read_params(Path(params))["prepare"], planned=f"{scratch}/plan")
"""


def watched(name: str, command: list) -> None:
    """Run a command and print what it took."""
    started, most, seconds = time.monotonic(), 0, {}
    with subprocess.Popen(command) as process:
        first = psutil.Process(process.pid)
        while process.poll() is None:
            try:
                all_of_it = (first, *first.children(recursive=True))
                most = max(most, sum(one.memory_full_info().pss for one in all_of_it))
                seconds |= {one.pid: sum(one.cpu_times()[:2]) for one in all_of_it}
            except psutil.Error:
                pass
            time.sleep(0.5)
    print(f"{name}: {time.monotonic() - started:.0f} s ({sum(seconds.values()):.0f} s of processors), {most / 2**30:.2f} GiB, "
          f"exit code {process.returncode}", flush=True)  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--classes", type=int, default=10)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        draw(Path(scratch) / "manifest", options.rows, options.classes)
        what = f"{options.rows:,} rows, {options.classes:,} classes"
        watched(f"validate, {what}", [sys.executable, "-m", "components", "validate", "--manifest", f"{scratch}/manifest",
                                      "--config", "validate", "--params", ROOT / "params.yaml",
                                      "--validation", f"{scratch}/validation"])  # fmt: skip
        watched(f"plan of prepare, {what}", [sys.executable, "-c", PLAN, scratch, ROOT / "params.yaml"])


if __name__ == "__main__":
    main()
