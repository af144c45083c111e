"""That data ten times larger than memory can be augmented and learnt from, and how much memory that takes.

    python benchmarks/memory.py    # TMPDIR names a disk with room for 40 GiB

Colour pictures of 64 x 64 pixels are drawn as `prepare` leaves them, ten times the memory that a process is allowed (the kernel
refuses it more: RLIMIT_DATA). Then `augment` and `train` (half a minute) run under that limit, beside the same on a tenth of the
data. Memory is what a process has for itself; pages of mapped files are the kernel's, which takes them back when it needs them.
"""

from pathlib import Path

import measuring
import numpy as np
from tqdm import tqdm

from components.shared import files, scratch
from components.shared.data import arrays

LIMIT = 2 * 2**30  # bytes that a process may have; with three quarters of it TensorFlow does not load
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
    measuring.arguments(__doc__)
    print("| data | augment | memory | train | pictures learnt from | memory | waiting for data |\n|---" + "|---" * 6 + "|")
    for times in (1, 10):
        count = int(times * LIMIT / np.prod(SHAPE))
        with scratch.folder("benchmark") as folder:
            params = measuring.set_knobs(folder, {"augment": {"copies": 0, "balance": 0.0, "brightness": 0.1},
                                               "train": {"cnn": {"budget_minutes": 0.5}}})  # fmt: skip
            prepared = folder / "outputs/prepared"
            draw(prepared / "train", count, 0)
            draw(prepared / "validation", 2000, 1)
            arrays.Layout([str(n) for n in range(CLASSES)], SHAPE, "0" * 32 + ".dir").write(prepared)
            limited = ("prlimit", f"--data={LIMIT}", *measuring.PYTHON)
            augment, train = (
                measuring.cost(*limited, *measuring.command(stage), cwd=folder) for stage in ("augment", "train@cnn")
            )
            record = files.read_json(folder / "outputs/models/cnn/run.json")
            size = (folder / "outputs/augmented/images.npy").stat().st_size / 2**30
            learnt = record["steps"] * params["train"]["cnn"]["batch_size"]
            print(f"| {size:.1f} GiB | {augment.seconds:.0f} s | {augment.private:.2f} GiB | {train.seconds:.0f} s | {learnt:,} "
                  f"| {train.private:.2f} GiB | {record['waiting_share']:.1%} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
