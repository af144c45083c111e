"""Clips in which a single frame says nothing: pieces of clothing that move in one of eight directions.

    python benchmarks/moving_clips.py FOLDER [--clips 6000]

Each picture of Fashion-MNIST moves over a dark ground, 48 x 48 pixels, for 8 frames, from a random place, at 2 to 3 pixels a
frame, leaving one side and coming back on the other. The label is the direction; every direction has the same pictures in the
same places, so that where a piece is, or which, tells nothing. The middle frame, and the heap of all frames, look alike in all.
The folder is one that `darkroom ingest` takes, with official splits by picture: set augment.flip to false.
"""

import argparse
import itertools
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from stages import darkroom

from components.shared.data import dataset
from components.shared.pictures.decode import decode

SIDE, FRAMES = 48, 8
DIRECTIONS = {"east": (0, 1), "north-east": (-1, 1), "north": (-1, 0), "north-west": (-1, -1), "west": (0, -1),
              "south-west": (1, -1), "south": (1, 0), "south-east": (1, 1)}  # fmt: skip


def pictures(count: int) -> np.ndarray:
    """uint8 (count, 28, 28) of Fashion-MNIST's training part."""
    with tempfile.TemporaryDirectory() as scratch:
        darkroom(Path(scratch), "ingest", "fashion-mnist", "data")
        samples = (sample for shard in dataset.shards(Path(scratch) / "data") for sample in dataset.read_samples(shard))
        train = (sample for sample in samples if sample.split == "train")
        return np.stack([decode(sample.frames[0][0]).pixels[:, :, 0] for sample in itertools.islice(train, count)])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--clips", type=int, default=6000, help="in all, over eight directions")
    options = parser.parse_args()
    if options.folder.exists() and any(options.folder.iterdir()):
        sys.exit(f"{options.folder}: is there already; name a new folder")
    rng = np.random.default_rng(0)
    each = options.clips // len(DIRECTIONS)
    for number, picture in enumerate(pictures(each)):
        split = np.array(["train", "validation", "test"]).repeat([7, 1, 2])[number * 10 // each]
        start, speed = rng.integers(0, SIDE, 2), rng.uniform(2, 3)
        for name, step in DIRECTIONS.items():
            folder = options.folder / split / name / f"{number:05d}"
            folder.mkdir(parents=True)
            for time in range(FRAMES):
                # About the middle of the clip: there, every direction shows the same frame.
                moved = np.rint(start + np.array(step) * speed * (time - FRAMES // 2)).astype(int)
                scene = np.zeros((SIDE, SIDE), np.uint8)
                scene[:28, :28] = picture
                Image.fromarray(np.roll(scene, moved, axis=(0, 1))).save(folder / f"{time}.png")
    print(f"{options.folder}: {each * len(DIRECTIONS):,} clips in {len(DIRECTIONS)} directions")


if __name__ == "__main__":
    main()
