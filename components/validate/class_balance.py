"""Class imbalance: how uneven, what a guess would score, and which knob answers it."""

from collections.abc import Mapping

import numpy as np
import pandas as pd

from components.validate.context import Context, counted


def ratio(counts: pd.Series | Mapping[str, int]) -> float:
    """Samples of the largest class / samples of the smallest; 1.0 is balanced, infinity when there are none."""
    sizes = np.array(list(dict(counts).values()), float)
    return float(sizes.max() / sizes.min()) if len(sizes) and sizes.min() > 0 else float("inf")


def imbalance(context: Context) -> str | None:
    """The largest class has many times the training samples of the smallest."""
    counts = counted(context.training)
    if len(counts) < 2 or ratio(counts) <= context.limits.max_imbalance_ratio:
        return None
    sizes = f"{counts.idxmax()!r} {counts.max():,}, {counts.idxmin()!r} {counts.min():,}"
    return f"{ratio(counts):.1f}:1 > {context.limits.max_imbalance_ratio:g}:1 ({sizes})"


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
    per_class = {str(label): int(number) for label, number in known.items()}
    per_split = context.per_split.iloc[:-1]
    per_split = per_split.loc[:, per_split.any()]
    smallest = {
        split: {"class": str(per_split[split].idxmin()), "samples": int(per_split[split].min())} for split in per_split.columns
    }
    worst = ratio(counts)
    return {
        "classes": len(counts),
        "ratio": round(worst, 4) if np.isfinite(worst) else None,
        "effective_classes": round(float(np.exp(entropy)), 4) if len(counts) else 0.0,
        "kl_to_uniform": round(float((np.log(len(counts)) - entropy) / np.log(2)), 4) if len(counts) else 0.0,
        "majority_class": str(counts.idxmax()) if len(counts) else None,
        "majority_accuracy": round(float(share.max()), 4) if len(counts) else None,
        "majority_balanced_accuracy": round(1 / len(counts), 4) if len(counts) else None,
        "smallest_class": smallest,
        "groups_per_class": per_class,
        "recommendation": _recommendation(worst, counts),
    }


def _recommendation(worst: float, counts: pd.Series) -> str:
    if worst <= 1.5 or len(counts) < 2:
        return "Nothing to do: the classes are even."
    advice = f"Compare by balanced_accuracy (register.compare_by, train.*.monitor): accuracy alone flatters {str(counts.idxmax())!r}."
    if worst > 3:
        rare = int((counts < counts.max() / 3).sum())
        advice += (
            f" {rare} of {len(counts)} classes have less than a third of the largest: train.*.imbalance (deferred, effective_number) "
            "makes the network mind them as much as the others, augment.balance gives them more copies. Best of all: more pictures."
        )
    return advice
