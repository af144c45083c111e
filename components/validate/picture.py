"""The bar chart of classes per split: imbalance is seen sooner than read."""

from pathlib import Path

import pandas as pd

from components.shared import plots

_COLOURS = {"train": plots.BLUE, "validation": "#8fb3e6", "test": plots.ORANGE, "to be split": plots.BLUE}


def classes_per_split(rows: pd.DataFrame, file: Path) -> None:
    """Stacked bars, a class each, the largest on top; at most 60 classes are drawn, the largest and the smallest."""
    split = rows["split"].fillna("to be split")
    counts = pd.crosstab(rows["label"].fillna("(none)"), split)
    counts = counts.loc[counts.sum(axis=1).sort_values(kind="stable").index]
    if len(counts) > 60:
        counts = pd.concat([counts.head(30), counts.tail(30)])
    with plots.figure(file, width=7, height=1.2 + 0.22 * len(counts)) as axis:
        left = 0
        for name in [name for name in _COLOURS if name in counts]:
            axis.barh(counts.index.astype(str), counts[name], left=left, color=_COLOURS[name], label=name)
            left = left + counts[name]
        axis.set_xlabel("samples")
        axis.set_title("Samples per class and split", loc="left")
        if len(counts):
            axis.legend(frameon=False, loc="lower right")
