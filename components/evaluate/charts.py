"""What people look at after an evaluation: confusion, calibration, ROC and precision-recall, mistakes, and where the network looked."""

import itertools
from pathlib import Path

import numpy as np
from sklearn import metrics

from components.shared import plots
from components.shared.data import arrays

LABELLED = 3  # curves: more names would not find a place at their lines
LEAST = 10  # samples of a bin: the accuracy of fewer is chance
MAPS = 16  # filters and channels in a row of features.png
SHOWN_PAIRS = 8  # of classes that are confused, two pictures of each
SHOWN_CONFUSED = 60  # rows of the confusion picture: more of them cannot be read
SHOWN_COUNTS = 25  # rows up to which the picture says its counts


def confusion(model: str, labels: np.ndarray, predicted: np.ndarray, classes: list[str], file: Path) -> None:
    """Rows are true classes; mistakes are coloured by their share of the row, and the number is the count.

    Of many classes those that are confused most often.
    """
    chosen = most_confused(labels, predicted, len(classes))
    counts = metrics.confusion_matrix(labels, predicted, labels=chosen)
    share = counts / np.maximum(np.bincount(labels, minlength=len(classes))[chosen, None], 1)
    np.fill_diagonal(share, np.nan)
    most, side = max(0.05, np.nanmax(share, initial=0)), min(3 + 0.45 * len(chosen), 16)
    names = [plots.label(classes[index], 20, 2 if len(chosen) <= SHOWN_COUNTS else 1) for index in chosen]
    title = f"{model}: {np.count_nonzero(labels != predicted):,} of {len(labels):,} wrong"
    if len(chosen) < len(classes):
        title += f"; the {len(chosen)} classes of {len(classes):,} that are confused most often"
    with plots.figure(file, width=side + 0.5, height=side, title=title) as axis:
        axis.set_facecolor(plots.PALE)
        colours = axis.imshow(share, cmap=plots.MISTAKES, vmin=0, vmax=most)
        axis.set_xticks(range(len(chosen)), names, rotation=90 if max(map(len, names)) > 3 else 0)
        axis.set_yticks(range(len(chosen)), names)
        axis.set(xlabel="predicted", ylabel="true")
        axis.figure.colorbar(colours, ax=axis, shrink=0.4, format="{x:.0%}", label="share of the true class")
        if len(chosen) <= SHOWN_COUNTS:
            for row, column in zip(*np.nonzero(counts), strict=True):
                colour = plots.GREY if row == column else "white" if share[row, column] > 0.6 * most else plots.INK
                axis.text(column, row, f"{counts[row, column]:,}", ha="center", va="center", color=colour, fontsize=7)


def most_confused(labels: np.ndarray, predicted: np.ndarray, classes: int, *, at_most: int = SHOWN_CONFUSED) -> np.ndarray:
    """The classes in which or for which most samples are mistaken, in their own order; all where they are few."""
    wrong = labels != predicted
    mistakes = np.bincount(labels[wrong], minlength=classes) + np.bincount(predicted[wrong], minlength=classes)
    return np.sort(np.argsort(-mistakes, kind="stable")[:at_most])


def reliability(model: str, table: list[dict], error: float, file: Path) -> None:
    """Confidence against accuracy, with the count of each bin of LEAST samples or more; below the diagonal it is too sure of itself."""
    count = sum(row["samples"] for row in table)
    sure = sum(row["samples"] * (row["confidence"] - row["accuracy"]) for row in table) > 0
    rows = [row for row in table if row["samples"] >= LEAST]
    title = f"{model}: calibration error {error:.3f}, {'over' if sure else 'under'}confident"
    if few := count - sum(row["samples"] for row in rows):
        title += f"\n{few:,} of {count:,} answers not drawn: bins below {LEAST}"
    with plots.figure(file, width=5, height=4.8, title=title) as axis:
        axis.plot([0, 1], [0, 1], color=plots.GREY, linewidth=0.8, linestyle=":")
        points = [[row[of] for row in rows] for of in ("confidence", "accuracy")]
        axis.plot(*points, color=plots.BLUE, marker="o", clip_on=False)
        axis.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1), aspect="equal")
        for row in rows:  # above the axes, where no line goes
            axis.text(row["confidence"], 1.03, f"{row['samples']:,}", color=plots.GREY, fontsize=7, rotation=90, ha="center")


def curves(model: str, tables: dict[str, list], areas: dict[str, float], precisions: dict[str, float], folder: Path) -> None:
    """`roc.png` and `pr.png`: a grey line of each class that the tables have, the worst ones in colour and named at their lines."""
    for name, x, y, scores, what in (
        ("roc", "false_positive_rate", "true_positive_rate", areas, "mean area under the ROC curve"),
        ("pr", "recall", "precision", precisions, "mean average precision"),
    ):
        rows = itertools.groupby(tables[name], key=lambda row: row["class"])
        points = {label: np.array([(row[x], row[y]) for row in of]) for label, of in rows if label in scores}
        worst = sorted(points, key=lambda label: (scores[label], label))[:LABELLED]
        title = f"{model}: {what} {np.mean([*scores.values()]):.3f}" if scores else f"{model}: no class has a curve"
        if len(scores) < len(areas):
            title += f" of the {len(scores):,} weakest of {len(areas):,} classes"
        with plots.figure(folder / f"{name}.png", width=5, height=4.2, title=title) as axis:
            for label in points:
                if label not in worst:
                    axis.plot(*points[label].T, color=plots.GREY, linewidth=0.8, alpha=0.5)
            for place, (label, colour) in enumerate(zip(worst, (plots.ORANGE, plots.BLUE, plots.INK), strict=False)):
                axis.plot(*points[label].T, color=colour, linewidth=1.5)
                # Names beside each other, the worst one's where its line bends.
                along = 0.2 + 0.3 * (place if name == "roc" else 2 - place)
                height = np.interp(along, *points[label][np.argsort(points[label][:, 0], kind="stable")].T)
                axis.annotate(
                    f"{plots.label(label, 12, 2)}\n{scores[label]:.3f}", (along, height), (0, -5 if height > 0.3 else 5), color=colour,
                    textcoords="offset points", ha="center", va="top" if height > 0.3 else "bottom",
                    bbox={"color": "white", "pad": 1, "alpha": 0.8},
                )  # fmt: skip
            axis.set(xlabel=x.replace("_", " "), ylabel=y.replace("_", " "), xlim=(0, 1), ylim=(0, 1.02))


def gallery(title: str, images: np.ndarray, told: list[tuple[str, str, float, str]], file: Path) -> None:
    """Mistakes, each with its class, what it was taken for, how surely, and where it lies; of a clip its middle frame."""
    titles = [
        f"{plots.label(true, 13, 4)}\ntaken for\n{plots.label(taken, 13, 4)}\n({sure:.0%})\n{plots.label(source, 15, 3)}"
        for true, taken, sure, source in told
    ]
    with plots.grid(file, list(zip(images, titles, strict=True)), columns=8, width=1.5, title=title):
        pass


def pairs(model: str, test: arrays.Split, predicted: np.ndarray, classes: list[str], confused: list[tuple], file: Path) -> None:
    """Two samples of each of the pairs that are confused most often."""
    title = f"{model}: no mistakes"
    for true, taken, count in confused[:1]:
        names = (plots.label(classes[index], 24) for index in (true, taken))
        title = f"{model}: most often takes {' for '.join(names)} ({count:,} of {np.count_nonzero(test.labels == true):,})"
    chosen, told = [], []
    for true, taken, count in confused[:SHOWN_PAIRS]:
        some = np.flatnonzero((test.labels == true) & (predicted == taken))[:2]
        chosen += some.tolist()
        names = [plots.label(classes[index], 13, 3) for index in (true, taken)]
        told += [f"{names[0]}\ntaken for\n{names[1]}\n({count:,}\u00d7)"] * len(some)
    with plots.grid(file, list(zip(test.images[chosen], told, strict=True)), columns=8, width=1.5, title=title):
        pass


def explanations(panels: list[list[tuple | None]], file: Path, title: str) -> None:
    """A row a class: pictures, each beside the map of what its prediction rests on, on a scale of its own, where there is one.

    `panels`: of each row (image, heat (cells, cells) or None, title, title of the map), or None where there is no such picture.
    """
    blank = np.full_like(next((sample[0] for row in panels for sample in row if sample), np.zeros((1, 1, 1), np.uint8)), 255)
    samples = [sample or (blank, None, "", "") for row in panels for sample in row]
    pairs = []
    for image, _, name, about in samples:
        pairs += [(image, name), (image.mean(-1, keepdims=True).astype(np.uint8), about)]  # grey: all colour is the map's
    columns, width = 2 * len(panels[0]), 1.64  # with the scale as wide as register's page shows it
    with plots.grid(file, pairs, columns=columns, width=width, title=title, beside=0.9) as (axis, places):
        colours = None
        for place, (_, heat, *_) in zip(places[1::2], samples, strict=True):
            if heat is not None:
                share = np.clip(heat / max(heat.max(), 1e-9), 0, 1)
                colours = axis.imshow(share, plots.HEAT, alpha=0.8 * share, extent=place, interpolation="bilinear", clim=(0, 1))
        if colours:
            _, _, bottom, top = places[0]
            beside = axis.inset_axes((columns * width + 0.1, bottom, 0.12, top - bottom), transform=axis.transData)
            scale = axis.figure.colorbar(colours, cax=beside, ticks=[0, 1])
            scale.set_ticklabels(["nothing", "most in\nits picture"])


def features(title: str, samples: list[tuple], kernel: np.ndarray, file: Path) -> None:
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
    plots.sheet(file, rows, ["picture"], title=title)


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
            plots.show(axis, strip)
            step = long / len(relevance)
            bars = np.abs(relevance) / max(np.abs(relevance).max(), 1e-9) * beside / 2
            draw, limit = (axis.bar, axis.set_ylim) if clip else (axis.barh, axis.set_xlim)
            colours = np.where(relevance < 0, plots.ORANGE, plots.BLUE)
            draw((np.arange(len(relevance)) + 0.5) * step - 0.5, bars, 0.8 * step, beside, color=colours)
            limit(*((1.5 * beside, -0.5) if clip else (-0.5, 1.5 * beside)))
            axis.set_title(name, fontsize=8)
