"""The bar chart of classes per split: imbalance is seen sooner than read."""

from pathlib import Path

import numpy as np
import pandas as pd

from components.shared import plots
from components.validate.context import Context

_COLOURS = {"train": plots.BLUE, "validation": "#8fb3e6", "test": plots.ORANGE, "to be split": plots.BLUE}
_DRAWN = 60  # classes: a taller chart is no longer taken in at a glance


def per_split(context: Context) -> pd.DataFrame:
    """Samples per class (rows, the largest first) and split (columns)."""
    counts = context.per_split[context.per_split.any(axis=1)].sort_index()
    counts = counts.reindex(columns=[name for name in _COLOURS if name in counts], fill_value=0)
    return counts.loc[counts.sum(axis=1).sort_values(kind="stable", ascending=False).index]


def classes_per_split(context: Context, file: Path) -> None:
    """Stacked bars, a class each, the largest on top; at most 60 classes are drawn, the largest and the smallest."""
    counts = per_split(context).iloc[::-1]
    if len(counts) > _DRAWN:
        counts = pd.concat([counts.head(_DRAWN // 2), counts.tail(_DRAWN // 2)])
    with plots.figure(file, width=7, height=1.2 + 0.22 * len(counts)) as axis:
        left = np.zeros(len(counts), int)
        for name in counts:
            axis.barh(range(len(counts)), counts[name], left=left, color=_COLOURS[name], label=name)
            left = left + counts[name].to_numpy()
        # By their places, since shortened names may be the same.
        axis.set_yticks(range(len(counts)), [plots.label(str(label), 40) for label in counts.index])
        axis.set_xlabel("samples")
        axis.set_title("Samples per class and split", loc="left")
        if len(counts):
            axis.legend(frameon=False, loc="lower right")
