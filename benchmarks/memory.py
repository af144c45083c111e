"""That data ten times larger than memory can be augmented and learnt from, and how much memory that takes.

    python benchmarks/memory.py [--limit 2] [--times 10] [--folder FOLDER]

Colour pictures of 64 x 64 pixels are drawn as `prepare` leaves them, TIMES the memory that a process is allowed (GiB; the kernel
refuses it more: RLIMIT_DATA). Then `augment` and `train` (half a minute) run under that limit, beside the same on a tenth of the
data. Memory is what a process has for itself; pages of mapped files are the kernel's, which takes them back when it needs them.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from tqdm import tqdm

from components.shared import config
from components.shared.data import arrays

ROOT = Path(__file__).parent.parent
SHAPE, CLASSES = (64, 64, 3), 10


def draw(folder: Path, count: int, seed: int) -> None:
    """A bar whose height tells the class, on noise that is drawn once for a thousand pictures and shifted for each."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, CLASSES, count)
    images = arrays.create(folder, count, SHAPE)
    for start in tqdm(range(0, count, 1000), desc=f"draw {folder.name}", disable=None):
        noise, some = rng.integers(0, 120, (2 * 64, 64, 3), dtype=np.uint8), labels[start : start + 1000]
        for index, label in enumerate(some):
            images[start + index] = noise[rng.integers(64) :][:64]
            images[start + index, 6 * label : 6 * label + 6] += 120
    images.flush()
    arrays.describe(folder, labels, [{"id": f"{n:064x}", "source": f"{n}.png", "label": str(y)} for n, y in enumerate(labels)])


def limited(gib: float, cwd: Path, *arguments: object) -> tuple[float, float]:
    """Seconds, and GiB of anonymous memory at the most, of one command that may have `gib` of it."""
    command = [sys.executable, "-m", "components", *map(str, arguments)]
    allowed = int(gib * 2**30)
    started, most = time.monotonic(), 0
    with (cwd / "log").open("w+") as log:
        process = subprocess.Popen(
            command,
            cwd=cwd,
            stdout=log,
            stderr=log,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed)),
        )
        while process.poll() is None:
            status = Path(f"/proc/{process.pid}/status").read_text()
            most = max(most, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon")), 0)
            time.sleep(0.1)
        if process.returncode:
            log.seek(0)
            sys.exit(log.read())
    return time.monotonic() - started, most / 2**20


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=2, help="GiB that a process may have; with 1.5 TensorFlow does not load")
    parser.add_argument("--times", type=float, default=10, help="how many times that the data is")
    parser.add_argument(
        "--folder", type=Path, default=Path(tempfile.gettempdir()), help="where there is room for twice the data"
    )
    options = parser.parse_args()
    os.environ |= {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}  # nothing to track
    print("| data | augment | memory | train | pictures learnt from | memory | waiting for data |\n|---" + "|---" * 6 + "|")
    for share in (0.1, 1):
        count = int(share * options.times * options.limit * 2**30 / np.prod(SHAPE))
        with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
            folder = Path(scratch)
            params = config.read_params(ROOT / "params.yaml")
            params["augment"] |= {"copies": 0, "balance": 0.0, "brightness": 0.1}
            params["train"]["cnn"] |= {"budget_minutes": 0.5}
            (folder / "params.yaml").write_text(yaml.safe_dump(params))
            draw(folder / "prepared" / "train", count, 0)
            draw(folder / "prepared" / "validation", 2000, 1)
            arrays.Layout([str(n) for n in range(CLASSES)], SHAPE, "0" * 32 + ".dir").write(folder / "prepared")
            augment, least = limited(options.limit, folder, "augment", "--prepared", "prepared", "--config", "augment",
                                     "--augmented", "augmented")  # fmt: skip
            train, most = limited(options.limit, folder, "train", "--augmented", "augmented", "--prepared", "prepared",
                                  "--config", "train.cnn", "--model", "model")  # fmt: skip
            record = json.loads((folder / "model/run.json").read_text())
            size = (folder / "augmented/images.npy").stat().st_size / 2**30
            learnt = record["steps"] * params["train"]["cnn"]["batch_size"]
            print(f"| {size:.1f} GiB | {augment:.0f} s | {least:.2f} GiB | {train:.0f} s | {learnt:,} | {most:.2f} GiB "
                  f"| {record['waiting_share']:.1%} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
