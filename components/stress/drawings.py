"""What people look at after a stress: how accuracy falls with strength, and what the damages look like."""

from pathlib import Path

import numpy as np

from components.shared import plots
from components.stress.clip_damages import damaged

COLUMNS = 4
SHOWN = (1, 3, 5)  # strengths of the pictures


def curves(model: str, clean: dict[str, float], told: dict[str, dict], worst: dict, file: Path) -> None:
    """A small plot of each damage: accuracy and the worst class's recall, from undamaged (0) to strength 5."""
    title = (
        f"{model}: {clean['accuracy']:.0%} right undamaged, {worst['accuracy']:.0%} under {worst['damage']} {worst['strength']}"
    )
    rows = -(-len(told) // COLUMNS)
    size = {"width": 2.2 * COLUMNS, "height": 0.8 + 1.9 * rows, "rows": rows, "columns": COLUMNS}
    with plots.figure(file, **size, title=title) as axes:
        for axis in axes.flat[len(told) :]:
            axis.axis("off")
        for axis, (name, each) in zip(axes.flat, told.items(), strict=False):
            for key, colour, about in (
                ("accuracy", plots.BLUE, "accuracy by strength of the damage"),
                ("worst_class_recall", plots.ORANGE, "recall of the worst class"),
            ):
                axis.plot(range(6), [clean[key], *each[key]], color=colour, marker=".", clip_on=False, label=about)
            axis.set(ylim=(0, 1), xticks=range(6), title=_titled(name, each))
        plots.legend(axes.flat[0])


def damages(sample: np.ndarray, told: dict[str, dict], file: Path) -> None:
    """A row of each damage: the sample as it is, and damaged; of a clip its middle frame."""
    rows = [
        (_titled(name, each), [sample, *(damaged(sample[None], name, strength)[0] for strength in SHOWN)])
        for name, each in told.items()
    ]
    plots.sheet(
        file, rows, ["undamaged", *(f"strength {strength}" for strength in SHOWN)], title="The same sample under each damage"
    )


def _titled(name: str, each: dict) -> str:
    return name + (" (trained on)" if each["trained_on"] else "")
