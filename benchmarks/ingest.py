"""How time and memory of `darkroom ingest` grow with the number of files: folders, a table, a tar; once, and once more.

    python benchmarks/ingest.py [--files 10000 100000]

Tiny pictures (some 75 bytes) in 10 classes. `again` is the same source when data/ holds it already. Time should grow with the
files, memory hardly: read a column downwards.
"""

import argparse
import struct
import tarfile
import tempfile
import zlib
from pathlib import Path

from size import measured

CLASSES = 10


def png(number: int) -> bytes:
    """An 8 x 8 grey picture that tells its number: nothing but what a PNG must have."""

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    header, rows = struct.pack(">IIBBBBB", 8, 8, 8, 0, 0, 0, 0), (b"\0" + number.to_bytes(4) * 2) * 8
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def draw(folder: Path, count: int) -> None:
    """`tree/`, a table of the same files outside of it, and the tree as a tar."""
    for label in range(CLASSES):
        (folder / f"tree/class{label}").mkdir(parents=True)
    with (folder / "table.csv").open("w") as table:
        table.write("path,label\n")
        for number in range(count):
            name = f"tree/class{number % CLASSES}/{number}.png"
            (folder / name).write_bytes(png(number))
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
            cells = [measured("-m", "components", "ingest", folder / source, folder / "data" / name)
                     for source, name in (ways[0], *ways)]  # fmt: skip
            print(f"| {count:,} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
