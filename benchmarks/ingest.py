"""How time and memory of `darkroom ingest` grow with the number of files: folders, a table, a tar; once, and once more.

    python benchmarks/ingest.py [--files 10000 100000]

Tiny pictures (some 140 bytes) in 10 classes. `again` is the same source when data/ holds it already. Time should grow with the
files, memory hardly: read a column downwards.
"""

import argparse
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np
from cost import cost

from components.shared.pictures.encode import encode_png

CLASSES = 10


def draw(folder: Path, count: int) -> None:
    """`tree/`, a table of the same files outside of it, and the tree as a tar."""
    for label in range(CLASSES):
        (folder / f"tree/class{label}").mkdir(parents=True)
    with (folder / "table.csv").open("w") as table:
        table.write("path,label\n")
        for number in range(count):
            name = f"tree/class{number % CLASSES}/{number}.png"
            (folder / name).write_bytes(encode_png(np.tile(np.frombuffer(number.to_bytes(4), np.uint8), (8, 2))))
            table.write(f"{name},class{number % CLASSES}\n")
    with tarfile.open(folder / "tree.tar", "w") as archive:
        archive.add(folder / "tree", "tree")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, nargs="+", default=[10_000, 100_000])
    print("| files | folders | memory | again | memory | table | memory | tar | memory |\n|" + "---|" * 9)
    for count in parser.parse_args().files:
        with tempfile.TemporaryDirectory() as scratch:
            folder = Path(scratch)
            draw(folder, count)
            ways = ("tree", "tree"), ("table.csv", "table"), ("tree.tar", "tar")
            cells = [cost(sys.executable, "-m", "components", "ingest", folder / source, folder / "data" / name).cells()
                     for source, name in (ways[0], *ways)]  # fmt: skip
            print(f"| {count:,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
