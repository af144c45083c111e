"""Class imbalance: how uneven, what a guess would score, which knob answers it, and a chart that shows it sooner than read."""

from pathlib import Path

import numpy as np
import pandas as pd

from components.shared import plots
from components.validate.context import Context, counted

_COLOURS = {"train": plots.BLUE, "validation": plots.SKY, "test": plots.ORANGE, "to be split": plots.BLUE}
_DRAWN = 60  # classes: a taller chart is no longer taken in at a glance


def imbalance(context: Context) -> str | None:
    """The largest class has many times the training samples of the smallest."""
    counts = counted(context.training)
    ratio, limit = _ratio(counts), context.limits.max_imbalance_ratio
    if len(counts) < 2 or ratio <= limit:
        return None
    return f"{ratio:.1f}:1 > {limit:g}:1 ({counts.idxmax()!r} {counts.max():,}, {counts.idxmin()!r} {counts.min():,})"


def _ratio(counts: pd.Series) -> float:
    """Samples of the largest class / samples of the smallest; 1.0 is balanced, infinity when there are none."""
    return float(counts.max() / counts.min()) if len(counts) else float("inf")


def per_split(context: Context) -> pd.DataFrame:
    """Samples per class (rows, the largest first) and split (columns)."""
    counts = context.per_split[context.per_split.any(axis=1)].sort_index()
    counts = counts.reindex(columns=[name for name in _COLOURS if name in counts], fill_value=0)
    return counts.loc[counts.sum(axis=1).sort_values(kind="stable", ascending=False).index]


def chart(context: Context, file: Path) -> None:
    """Stacked bars, a class each, the largest on top; at most 60 classes are drawn, the largest and the smallest."""
    counts = per_split(context).iloc[::-1]
    title = f"{counts.to_numpy().sum():,} samples in {len(counts):,} classes; largest / smallest: {_ratio(counted(context.training)):.1f}"
    if len(counts) > _DRAWN:
        title += f"; the {_DRAWN // 2} largest and the {_DRAWN // 2} smallest"
        counts = pd.concat([counts.head(_DRAWN // 2), counts.tail(_DRAWN // 2)])
    with plots.figure(file, width=7, height=1.4 + 0.22 * len(counts), title=title) as axis:
        left = np.zeros(len(counts), int)
        for name in counts:
            axis.barh(range(len(counts)), counts[name], left=left, color=_COLOURS[name], label=name)
            left = left + counts[name].to_numpy()
        # By their places, since shortened names may be the same.
        axis.set_yticks(range(len(counts)), [plots.label(str(label), 40) for label in counts.index])
        axis.set(xlabel="samples", ylim=(-0.6, len(counts) - 0.4))
        axis.xaxis.set_major_formatter("{x:,.0f}")
        plots.legend(axis)


def facts(context: Context) -> dict:
    """What the imbalance page shows, about the samples to train on.

    `effective_classes`: exp of the entropy of the class shares (Hill, 1973), equal to the number of classes when they are
    balanced. `kl_to_uniform`: bits. `majority_accuracy`: what naming the largest class every time would score.
    """
    counts = counted(context.training)
    share = counts / max(counts.sum(), 1)
    entropy = float(-(share * np.log(share)).sum()) if len(counts) else 0.0
    groups = context.column("group").dropna().cat.codes
    known = groups.groupby(context.training[groups.index], observed=True).nunique()
    labelled = context.per_split.iloc[:-1]
    worst = _ratio(counts)
    return {
        "classes": len(counts),
        "ratio": round(worst, 4) if np.isfinite(worst) else None,
        "effective_classes": round(float(np.exp(entropy)), 4) if len(counts) else 0.0,
        "kl_to_uniform": round(float((np.log(len(counts)) - entropy) / np.log(2)), 4) if len(counts) else 0.0,
        "majority_class": str(counts.idxmax()) if len(counts) else None,
        "majority_accuracy": round(float(share.max()), 4) if len(counts) else None,
        "majority_balanced_accuracy": round(1 / len(counts), 4) if len(counts) else None,
        "smallest_class": {
            split: {"class": str(sizes.idxmin()), "samples": int(sizes.min())}
            for split, sizes in labelled.items()
            if sizes.any()
        },
        "groups_per_class": {str(label): int(number) for label, number in known.items()},
        "recommendation": _recommendation(worst, counts),
    }


def _recommendation(worst: float, counts: pd.Series) -> str:
    if worst <= 1.5 or len(counts) < 2:
        return "Nothing to do: the classes are even."
    advice = f"Compare by balanced_accuracy (register.compare_by, train.*.monitor): accuracy alone flatters {str(counts.idxmax())!r}."
    if worst > 3:
        rare = int((counts < counts.max() / 3).sum())
        advice += (
            f" {rare} of {len(counts)} classes {'has' if rare == 1 else 'have'} less than a third of the largest: train.*.imbalance "
            "(deferred, effective_number) makes the network mind such a class as much as the others, augment.balance gives it more "
            "copies. Best of all: more pictures."
        )
    return advice
