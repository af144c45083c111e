"""Whether the order of time is learnt: LSTM over frames, CNN on pooled frames, CNN on one frame.

    python benchmarks/sequences.py

The clips are such that a single frame says nothing: each picture of Fashion-MNIST moves over a dark ground, 48 x 48 pixels, for
8 frames, from a random place, at 2 to 3 pixels a frame, leaving one side and coming back on the other. The label is the
direction; every direction has the same pictures in the same places. The middle frame, and the heap of all frames, look alike in
all. One frame: a CNN on the first one of each clip.
"""

import itertools
from pathlib import Path

import measuring
import numpy as np
from PIL import Image

from components.shared import scratch
from components.shared.data import dataset
from components.shared.pictures.decode import decode

CLIPS, SIDE, FRAMES = 6000, 48, 8  # clips in all, over eight directions
DIRECTIONS = {"east": (0, 1), "north-east": (-1, 1), "north": (-1, 0), "north-west": (-1, -1), "west": (0, -1),
              "south-west": (1, -1), "south": (1, 0), "south-east": (1, 1)}  # fmt: skip
ONE_FRAME = {"prepare": {"max_frames": 1}}
LEARNING = {"epochs": 12, "batch_size": 32, "learning_rate": 0.004}
KNOBS = {"seed": 0, "prepare": {"height": 24, "width": 24}, "augment": {"copies": 0, "balance": 0.0, "flip": False},
         "train": {"cnn": LEARNING, "lstm": LEARNING}}  # fmt: skip


def pictures(count: int, folder: Path) -> np.ndarray:
    """uint8 (count, 28, 28) of Fashion-MNIST's training part."""
    measuring.darkroom(folder, "ingest", "fashion-mnist", "pictures")
    samples = (sample for shard in dataset.shards(folder / "pictures") for sample in dataset.read_samples(shard))
    train = (sample for sample in samples if sample.split == "train")
    return np.stack([decode(sample.frames[0][0]).pixels[:, :, 0] for sample in itertools.islice(train, count)])


def draw(folder: Path, moving: np.ndarray) -> None:
    """A clip of each picture in each direction, in official splits by picture."""
    rng, splits = np.random.default_rng(0), np.array(["train", "validation", "test"]).repeat([7, 1, 2])
    for number, picture in enumerate(moving):
        start, speed = rng.integers(0, SIDE, 2), rng.uniform(2, 3)
        for name, step in DIRECTIONS.items():
            clip = folder / splits[number * 10 // len(moving)] / name / f"{number:05d}"
            clip.mkdir(parents=True)
            for time in range(FRAMES):
                # About the middle of the clip: there, every direction shows the same frame.
                moved = np.rint(start + np.array(step) * speed * (time - FRAMES // 2)).astype(int)
                scene = np.zeros((SIDE, SIDE), np.uint8)
                scene[:28, :28] = picture
                Image.fromarray(np.roll(scene, moved, axis=(0, 1))).save(clip / f"{time}.png")


def main() -> None:
    measuring.arguments(__doc__)
    with scratch.folder("benchmark") as folder:
        draw(folder / "clips", pictures(CLIPS // len(DIRECTIONS), folder))
        measuring.prepare(folder, "clips", KNOBS)
        records = {
            "LSTM over frames": measuring.learn(folder, "lstm", KNOBS),
            "CNN, frames pooled": measuring.learn(folder, "cnn", KNOBS),
        }
        for stage in ("prepare", "augment"):
            measuring.set_knobs(folder, KNOBS, ONE_FRAME)
            measuring.darkroom(folder, *measuring.command(stage))
        records["CNN, one frame"] = measuring.learn(folder, "cnn", KNOBS, ONE_FRAME)
    print("| what | accuracy | balanced accuracy | frames shuffled |\n|---|---|---|---|")
    for name, record in records.items():
        found = map(record["test"].get, ("accuracy", "balanced_accuracy", "shuffled_frames_accuracy"))
        print(f"| {name} | {' | '.join('' if value is None else f'{value:.1%}' for value in found)} |")


if __name__ == "__main__":
    main()
