"""Pictures with things on them whose place is known by their colour."""

from pathlib import Path

import numpy as np
from PIL import Image

from components.shared.data.dataset import Sample
from components.shared.pictures.decode import decode

CAT, DOG = (200, 10, 10), (10, 10, 200)  # the cat at 10..30 across, 5..25 down; the dog at 40..60, 20..40
WIDTH, HEIGHT = 80, 50
NOT_LABELS = "boxes around things, not one label a picture; --crop-boxes takes each box as a picture of its class"


def draw(file: Path, orientation: int = 1) -> Path:
    """One picture of 80x50 px, upright; stored as `orientation` of EXIF says."""
    pixels = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    pixels[5:25, 10:30], pixels[20:40, 40:60] = CAT, DOG
    file.parent.mkdir(parents=True, exist_ok=True)
    exif = Image.Exif()
    exif[0x0112] = orientation
    exact = {".jpg": {"quality": 100, "subsampling": 0}, ".webp": {"lossless": True}}
    stored = np.rot90(pixels) if orientation == 6 else pixels  # 6: to be turned clockwise to be seen
    Image.fromarray(stored).save(file, **({} if file.suffix == ".bmp" else {"exif": exif}), **exact.get(file.suffix, {}))
    return file


def colours(samples: list[Sample]) -> list[tuple]:
    """(label, what colour it is, whether in all of it, split, group) of each crop."""
    found = []
    for sample in samples:
        pixels = decode(sample.frames[0][0]).pixels.astype(int)
        near = {name: (abs(pixels - colour).max(axis=2) < 30).mean() for name, colour in (("cat", CAT), ("dog", DOG))}
        best = max(near, key=near.get)
        found.append((sample.label, best, bool(near[best] == 1), pixels.shape[:2], sample.split, sample.group))
    return found
