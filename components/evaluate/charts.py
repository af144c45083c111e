"""What people look at after an evaluation: confusion, calibration, ROC and precision-recall, mistakes, and where the network looked."""

from pathlib import Path

import numpy as np
from sklearn import metrics

from components.shared import plots

SHOWN_CURVES = 12  # curves of more classes would be a tangle; the weakest are drawn
MAPS = 16  # filters and channels in a row of features.png
SHOWN_PAIRS = 8  # of classes that are confused, two pictures of each
SHOWN_CONFUSED = 60  # rows of the confusion picture: more of them cannot be read


def confusion(labels: np.ndarray, predicted: np.ndarray, classes: list[str], file: Path) -> None:
    """Rows are true classes and sum to one; the number is the count. Of many classes those that are confused most often."""
    chosen = most_confused(labels, predicted, len(classes))
    counts = metrics.confusion_matrix(labels, predicted, labels=chosen)
    share = counts / np.maximum(np.bincount(labels, minlength=len(classes))[chosen, None], 1)
    side = min(2.5 + 0.45 * len(chosen), 16)
    names = [plots.label(classes[index], 24) for index in chosen]
    with plots.figure(file, width=side, height=side) as axis:
        axis.imshow(share, cmap="Blues", vmin=0, vmax=1)
        axis.set_xticks(range(len(chosen)), names, rotation=90)
        axis.set_yticks(range(len(chosen)), names)
        axis.set(xlabel="predicted", ylabel="true")
        if len(chosen) < len(classes):
            axis.set_title(f"The {len(chosen)} classes of {len(classes):,} that are confused most often")
        if len(chosen) <= 25:
            for row, column in zip(*np.nonzero(counts), strict=True):
                colour = "white" if share[row, column] > 0.5 else plots.INK
                axis.text(column, row, str(counts[row, column]), ha="center", va="center", color=colour, fontsize=7)


def most_confused(labels: np.ndarray, predicted: np.ndarray, classes: int, *, at_most: int = SHOWN_CONFUSED) -> np.ndarray:
    """The classes in which or for which most samples are mistaken, in their own order; all where they are few."""
    wrong = labels != predicted
    mistakes = np.bincount(labels[wrong], minlength=classes) + np.bincount(predicted[wrong], minlength=classes)
    return np.sort(np.argsort(-mistakes, kind="stable")[:at_most])


def reliability(table: list[dict], error: float, file: Path) -> None:
    """Confidence against accuracy; below the diagonal the network is too sure of itself."""
    with plots.figure(file, width=4, height=4) as axis:
        axis.plot([0, 1], [0, 1], color="#8a90a0", linewidth=0.8, linestyle=":")
        confidence, accuracy = ([row[column] for row in table] for column in ("confidence", "accuracy"))
        axis.plot(confidence, accuracy, color=plots.BLUE, marker="o", clip_on=False)
        axis.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1))
        axis.set_title(f"Expected calibration error {error:.3f}")


def curves(tables: dict[str, list[dict]], classes: list[str], areas: dict[str, float], folder: Path) -> None:
    """`roc.png` and `pr.png`, one line a class: the weakest ones when there are many."""
    weakest = sorted(areas, key=areas.get)[:SHOWN_CURVES]
    shown = [label for label in classes if label in weakest]
    for name, (x, y), title in (
        ("roc", ("false_positive_rate", "true_positive_rate"), "One class against the rest (area under the curve)"),
        ("pr", ("recall", "precision"), "One class against the rest"),
    ):
        with plots.figure(folder / f"{name}.png", width=5, height=4) as axis:
            for label in shown:
                rows = [row for row in tables[name] if row["class"] == label]
                axis.plot([row[x] for row in rows], [row[y] for row in rows], linewidth=1.2)
            axis.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "), title=title, xlim=(0, 1), ylim=(0, 1.02))
            names = [plots.label(label, 24) + (f" ({areas[label]:.3f})" if name == "roc" else "") for label in shown]
            plots.legend(axis, names, frameon=False, fontsize=7)


def gallery(images: np.ndarray, worst: np.ndarray, told: list[tuple[str, str]], file: Path) -> None:
    """The mistakes that the network was surest of; of a clip its middle frame."""
    titles = ["\ntaken for\n".join(plots.label(name, 13, 4) for name in names) for names in told]
    with plots.grid(file, list(zip(images[worst], titles, strict=True)), columns=8, width=1.5) as axes:
        if not len(worst):
            axes[0].set_title("no mistakes")


def pairs(
    images: np.ndarray, labels: np.ndarray, predicted: np.ndarray, classes: list[str], confused: list[tuple], file: Path
) -> None:
    """Two samples of each of the pairs that are confused most often."""
    chosen, told = [], []
    for true, taken, count in confused[:SHOWN_PAIRS]:
        some = np.flatnonzero((labels == true) & (predicted == taken))[:2]
        chosen += some.tolist()
        names = [plots.label(classes[index], 13, 3) for index in (true, taken)]
        told += [f"{names[0]}\ntaken for\n{names[1]}\n({count:,}\u00d7)"] * len(some)
    with plots.grid(file, list(zip(images[chosen], told, strict=True)), columns=8, width=1.5) as axes:
        if not chosen:
            axes[0].set_title("no mistakes")


def explanations(panels: list[list[tuple | None]], file: Path, title: str) -> None:
    """A row a class: pictures, each beside the map of what its prediction rests on (bright), where there is one.

    `panels`: of each row three (image, heat (cells, cells) or None, title, title of the map), or None where there is no such picture.
    """
    blank = np.full_like(next((sample[0] for row in panels for sample in row if sample), np.zeros((1, 1, 1), np.uint8)), 255)
    samples = [sample or (blank, None, "", "") for row in panels for sample in row]
    pairs = [pair for image, _, name, about in samples for pair in ((image, name), (image, about))]
    with plots.grid(file, pairs, columns=6, width=1.6, title=title) as axes:
        for axis, (image, heat, *_) in zip(axes[1::2], samples, strict=False):
            if heat is not None:
                extent = (-0.5, image.shape[-2] - 0.5, image.shape[-3] - 0.5, -0.5)
                axis.imshow(heat, cmap="inferno", alpha=0.6, extent=extent, interpolation="bilinear", vmin=0)


def features(samples: list[tuple], kernel: np.ndarray, file: Path) -> None:
    """What a network sees with: the filters of its first convolution, and what these and its last layer make of pictures.

    `samples`: (name, uint8 (h, w, c), first (h, w, channels), last (h, w, channels)); kernel (height, width, c, filters). Of the
    last layer the channels that answer most; each tile from its darkest to its brightest value.
    """
    height, width = samples[0][1].shape[:2]

    def tiles(maps: np.ndarray, picture: np.ndarray | int) -> np.ndarray:
        """(h, w, c, n), c 1 or 3 -> uint8 (1 + MAPS, height, width, 3), the picture first."""
        rows, columns = (np.arange(side) * own // side for side, own in zip((height, width), maps.shape, strict=False))
        low, high = maps.min((0, 1, 2)), maps.max((0, 1, 2))
        scaled = 255 * (maps[rows][:, columns] - low) / np.maximum(high - low, 1e-9)
        sheet = np.full((1 + MAPS, height, width, 3), 255, np.uint8)
        sheet[1 : 1 + maps.shape[-1]] = np.moveaxis(scaled, -1, 0)[:MAPS]
        sheet[0] = picture
        return sheet

    rows = [("Filters", tiles(kernel if kernel.shape[2] == 3 else kernel.mean(2, keepdims=True), 255))]
    for name, picture, first, last in samples:
        most = np.argsort(-last.max((0, 1)), kind="stable")
        rows += [(f"{name}: first layer", tiles(first[:, :, None], picture))]
        rows += [(f"{name}: last layer", tiles(last[:, :, None, most], picture))]
    plots.sheet(file, rows, ["picture"])


def time(samples: list[tuple], file: Path, title: str) -> None:
    """Bars along what is read in time: rows of a still beside it, frames of a clip below them; orange speaks against the label.

    `samples`: (uint8 (h, w, c) or (time, h, w, c), relevance (steps,), title).
    """
    clip = samples[0][0].ndim == 4
    columns, width, height = (1, 8, 1.8) if clip else (min(4, len(samples)), 2.4, 1.9)
    rows = -(-len(samples) // columns)
    with plots.figure(file, width=width * columns, height=height * rows, rows=rows, columns=columns, title=title) as axes:
        for axis in np.ravel(axes):
            axis.axis("off")
        for axis, (image, relevance, name) in zip(np.ravel(axes), samples, strict=False):
            strip = np.concatenate(image, axis=1) if clip else image
            long, beside = strip.shape[1::-1] if clip else strip.shape[:2]
            axis.imshow(strip[:, :, 0] if strip.shape[2] == 1 else strip, cmap="gray", vmin=0, vmax=255)
            step = long / len(relevance)
            bars = np.abs(relevance) / max(np.abs(relevance).max(), 1e-9) * beside / 2
            draw, limit = (axis.bar, axis.set_ylim) if clip else (axis.barh, axis.set_xlim)
            colours = np.where(relevance < 0, plots.ORANGE, plots.BLUE)
            draw((np.arange(len(relevance)) + 0.5) * step - 0.5, bars, 0.8 * step, beside, color=colours)
            limit(*((1.5 * beside, -0.5) if clip else (-0.5, 1.5 * beside)))
            axis.set_title(name, color=plots.INK, fontsize=8)
