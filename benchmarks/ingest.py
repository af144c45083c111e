"""How many files a second `ingest` takes, and that its memory is that of ten thousand files whether they are ten times as many.

    python benchmarks/ingest.py [--files 10000 100000]

Small pictures are drawn (28x28, half PNG, half JPEG) into a folder per class, and beside them a table of the same files. Each is
ingested into a new folder, then once more with nothing new. Whole commands, start included; memory of all their processes.
"""

import csv
from pathlib import Path

import cv2
import measuring
import numpy as np
from tqdm import tqdm

from components.shared import scratch

CLASSES = 10


def draw(folder: Path, count: int) -> None:
    """`count` different pictures of noise in class folders below `pictures`, and `table.csv` that names each with its label."""
    rng = np.random.default_rng(0)
    for number in range(CLASSES):
        (folder / f"pictures/class {number}").mkdir(parents=True)
    with (folder / "table.csv").open("w", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(["path", "label"])
        for index in tqdm(range(count), desc="draw", disable=None):
            path = f"pictures/class {index % CLASSES}/{index:08d}{'.jpg' if index % 20 < 10 else '.png'}"
            cv2.imwrite(str(folder / path), rng.integers(0, 256, (28, 28), dtype=np.uint8))
            rows.writerow([path, f"class {index % CLASSES}"])


def main() -> None:
    options = measuring.arguments(__doc__, files={"type": int, "nargs": "+", "default": [10_000, 100_000]})
    print("| files | source | ingest | files/s | memory | again, nothing new | memory |\n|---" + "|---" * 6 + "|")
    for count in options.files:
        with scratch.folder("benchmark") as folder:
            draw(folder, count)
            for source in ("pictures", "table.csv"):
                new, again = (measuring.darkroom(folder, "ingest", source, f"from {source}") for _ in range(2))
                print(f"| {count:,} | `{source}` | {new.seconds:.1f} s | {count / new.seconds:,.0f} | {new.memory:.2f} GiB "
                      f"| {again.seconds:.1f} s | {again.memory:.2f} GiB |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
