"""What people look at after an evaluation: confusion, calibration, ROC and precision-recall, mistakes, and where the network looked."""

from pathlib import Path

import numpy as np
from sklearn import metrics

from components.shared import plots

SHOWN_CURVES = 12  # curves of more classes would be a tangle; the weakest are drawn
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


def explanations(images: np.ndarray, maps: list[np.ndarray], told: list[tuple[str, str]], file: Path) -> None:
    """Each picture and its occlusion map, four pairs in a row: bright is what the prediction rests on."""
    titles = [[plots.label(name, 13, 4) for name in names] for names in told]
    samples = [
        sample
        for image, (true, said) in zip(images, titles, strict=True)
        for sample in ((image, true), (image, f"taken for\n{said}"))
    ]
    with plots.grid(file, samples, columns=8, width=1.6) as axes:
        for axis, image, heat in zip(axes[1::2], images, maps, strict=False):
            extent = (-0.5, image.shape[-2] - 0.5, image.shape[-3] - 0.5, -0.5)
            axis.imshow(heat, cmap="inferno", alpha=0.6, extent=extent, interpolation="bilinear", vmin=0)
