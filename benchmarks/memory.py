"""That data ten times larger than memory can be augmented and learnt from, and how much memory that takes.

    python benchmarks/memory.py [--limit 2] [--times 10] [--folder FOLDER]

Colour pictures of 64 x 64 pixels are drawn as `prepare` leaves them, TIMES the memory that a process is allowed (GiB; the kernel
refuses it more: RLIMIT_DATA). Then `augment` and `train` (half a minute) run under that limit, beside the same on a tenth of the
data. Memory is what a process has for itself; pages of mapped files are the kernel's, which takes them back when it needs them.
"""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import numpy as np
import stages
from cost import cost, of_itself
from tqdm import tqdm

from components.shared.data import arrays

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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--limit", type=float, default=2, help="GiB that a process may have; with 1.5 TensorFlow does not load")
    parser.add_argument("--times", type=float, default=10, help="how many times that the data is")
    room = Path(tempfile.gettempdir())
    parser.add_argument("--folder", type=Path, default=room, help="where there is room for twice the data")
    options = parser.parse_args()
    os.environ |= stages.ENVIRONMENT
    limited = ("prlimit", f"--data={int(options.limit * 2**30)}", sys.executable, "-m", "components")
    print("| data | augment | memory | train | pictures learnt from | memory | waiting for data |\n|---" + "|---" * 6 + "|")
    for share in (0.1, 1):
        count = int(share * options.times * options.limit * 2**30 / np.prod(SHAPE))
        with tempfile.TemporaryDirectory(dir=options.folder) as scratch:
            folder = Path(scratch)
            params = stages.set_knobs(folder, {"augment": {"copies": 0, "balance": 0.0, "brightness": 0.1},
                                               "train": {"cnn": {"budget_minutes": 0.5}}})  # fmt: skip
            prepared = folder / "outputs/prepared"
            draw(prepared / "train", count, 0)
            draw(prepared / "validation", 2000, 1)
            arrays.Layout([str(n) for n in range(CLASSES)], SHAPE, "0" * 32 + ".dir").write(prepared)
            augment = cost(*limited, *stages.command("augment"), cwd=folder, memory=of_itself)
            train = cost(*limited, *stages.command("train@cnn"), cwd=folder, memory=of_itself)
            record = json.loads((folder / "outputs/models/cnn/run.json").read_text())
            size = (folder / "outputs/augmented/images.npy").stat().st_size / 2**30
            learnt = record["steps"] * params["train"]["cnn"]["batch_size"]
            print(f"| {size:.1f} GiB | {augment.seconds:.0f} s | {augment.memory:.2f} GiB | {train.seconds:.0f} s | {learnt:,} "
                  f"| {train.memory:.2f} GiB | {record['waiting_share']:.1%} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
