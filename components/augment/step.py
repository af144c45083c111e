"""The training split -> the same pictures and varied copies of them, rare classes filled up; a preview to look at."""

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np

from components.augment.config import AugmentConfig
from components.shared import destination, files, plots, screen
from components.shared.data import arrays
from components.shared.progress_bar import progress_bar

ROWS = 2**17  # samples whose names are held at once
BATCH = 4 * 2**20  # bytes of pictures varied at once; as float32 and with its copies a batch takes some ten times that

FEW = 64  # copies that are tried at once
NAMED = 5  # classes in a message
CLASSES = 25  # of a page of the preview
PAGES = 40  # more than anyone looks through


def augment(
    *,
    prepared: Annotated[Path, "what prepare wrote; validation and test are not touched"],
    config: AugmentConfig,
    seed: Annotated[int, "seed of the copies"],
    augmented: Annotated[Path, "folder for the training arrays, layout.json and preview.png"],
) -> None:
    """Write every training sample and its varied copies. Each strength is a knob; 0 switches it off, all of them the copies."""
    from components.augment.policies import vary

    destination.check_folder(augmented, kind="augmented", inputs=[prepared])
    layout = arrays.Layout.read(prepared)
    train = arrays.load(prepared / "train", layout)
    rng = np.random.default_rng(seed)
    origins, mirrored = copies_of(train.labels, config, rng)
    same = _unvaried(train, origins, mirrored, config, seed)
    kept = ~np.isin(train.labels[origins], same)
    origins, mirrored = origins[kept], mirrored[kept]
    with files.whole_folder(augmented, kind="augmented") as fresh:
        images = arrays.create(fresh, len(train) + len(origins), layout.shape)
        batch = max(1, BATCH // int(np.prod(layout.shape)))
        with progress_bar(total=len(images), name="augment") as bar:
            for start in range(0, len(train), batch):
                images[start : min(start + batch, len(train))] = train.images[start : start + batch]
                bar.update(min(batch, len(train) - start))
            for start in range(0, len(origins), batch):
                chosen, sides = origins[start : start + batch], mirrored[start : start + batch]
                images[len(train) + start : len(train) + start + len(chosen)] = vary(train.images[chosen], sides, config, rng)
                bar.update(len(chosen))
        images.flush()
        replace(layout, knobs={**layout.knobs, "augment": config.model_dump()}).write(fresh)
        labels = np.concatenate([train.labels, train.labels[origins]])
        table = train.table()
        pieces = (table.take(origins[start : start + ROWS]) for start in range(0, len(origins), ROWS))
        arrays.describe(fresh, labels, itertools.chain([table], pieces))
        drawn = np.random.default_rng(seed)
        _preview(train, layout, lambda some, sides: vary(some, sides, config, drawn), fresh)
    before, after = (np.bincount(y, minlength=len(layout.classes)) for y in (train.labels, labels))
    if same:
        names = ", ".join(repr(layout.classes[label]) for label in same[:NAMED]) + (", …" if len(same) > NAMED else "")
        print(screen.wrapped(f"augment: no copies of {screen.number(len(same), 'class', 'classes')} ({names}): with these strengths "
                             "(augment.*) each would be its original, byte for byte"))  # fmt: skip
    print(f"augment: {screen.number(len(train), 'picture')} and {screen.number(len(origins), 'copy', 'copies')}; largest class / "
          f"smallest: {before.max() / before.min():.1f} before, {after.max() / after.min():.1f} after")  # fmt: skip


def _unvaried(train: arrays.Split, origins: np.ndarray, mirrored: np.ndarray, config: AugmentConfig, seed: int) -> list[int]:
    """The classes that would get copies, none of which differs from its original."""
    from components.augment.policies import vary

    rng = np.random.default_rng(seed)  # of its own: the copies do not change because they were tried before
    same = []
    for label in np.unique(train.labels[origins]):
        of_class = np.flatnonzero(train.labels[origins] == label)
        for start in range(0, len(of_class), FEW):
            few = of_class[start : start + FEW]
            images = train.images[origins[few]]
            if not np.array_equal(vary(images, mirrored[few], config, rng), images):
                break
        else:
            same.append(int(label))
    return same


def copies_of(labels: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """The original of each copy to make, and whether the copy is mirrored: `copies` of every sample, of rare classes more.

    A class is filled up to the share `balance` of the largest one, with at most `max_copies` more of each sample. With `flip`
    every other copy of a sample is mirrored, the first one to begin with, and not one in two by chance: so each side is seen
    as often (alternating flip; Jordan, "94% on CIFAR-10 in 3.29 Seconds", 2024).
    """
    counts = np.bincount(labels)
    aim = np.maximum(counts, config.balance * counts.max()) * (1 + config.copies)
    origins, mirrored = [], []
    by_label = np.split(np.argsort(labels, kind="stable"), np.cumsum(counts)[:-1])
    for label in np.flatnonzero(counts):
        members = rng.permutation(by_label[label])
        wanted = int(min(round(aim[label]) - len(members), len(members) * (config.copies + config.max_copies)))
        # Round after round over all members, so that no sample has two copies more than another.
        origins.append(np.resize(members, wanted) if wanted else members[:0])
        mirrored.append(config.flip & (np.arange(wanted) // len(members) % 2 == 0))
    return np.concatenate(origins).astype(np.int64), np.concatenate(mirrored)


def _preview(train: arrays.Split, layout: arrays.Layout, varied, folder: Path, *, variants: int = 7) -> None:
    """A row per class: an original, and variants of it beside it; of a clip its middle frame. CLASSES to a page: preview-2.png, …"""
    first = np.unique(train.labels, return_index=True)[1][: PAGES * CLASSES]
    sides = np.arange(variants) % 2 == 0
    for number, start in enumerate(range(0, len(first), CLASSES), 1):
        rows = []
        for origin in first[start : start + CLASSES]:
            copies = varied(np.repeat(train.images[origin : origin + 1], variants, axis=0), sides)
            rows.append((layout.classes[train.labels[origin]], [train.images[origin], *copies]))
        title = f"Augmented: classes {start + 1:,} to {start + len(rows):,} of {len(first):,}"
        name = f"preview-{number}.png" if number > 1 else "preview.png"
        plots.sheet(folder / name, rows, ["original", "variants"], title=title)
