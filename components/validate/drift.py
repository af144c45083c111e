"""Drift: how far the data has moved from the data that was accepted before it."""

import numpy as np
import pandas as pd

from components.validate import picture_checks
from components.validate.context import Context

_LEVELS = ("brightness", "red", "green", "blue")


def figures(context: Context) -> dict:
    """What the next version is compared with: class shares, deciles of light and colour (0 to 255) and of the side (pixels)."""
    counts = context.label_counts.sort_index()
    shares = counts / counts.sum()
    return {
        "class_shares": {str(label): round(float(share), 6) for label, share in shares.items()},
        "deciles": {name: _deciles(_measured(context, name)[context.decoded]) for name in (*_LEVELS, "side")},
    }


def drift(context: Context) -> str | None:
    """Class shares, light, colour or size unlike those of the data that was accepted last."""
    if not context.accepted:
        return None
    limit, now, before = context.limits.max_drift, figures(context), context.accepted
    moved = []
    names = sorted({*now["class_shares"], *before["class_shares"]})
    gaps = {name: now["class_shares"].get(name, 0.0) - before["class_shares"].get(name, 0.0) for name in names}
    worst = max(gaps, key=lambda name: abs(gaps[name]), default=None)
    if worst is not None and abs(gaps[worst]) > limit:
        was, has = (shares["class_shares"].get(worst, 0.0) for shares in (before, now))
        moved.append(f"share of {worst!r} {was:.2f} -> {has:.2f} (L-inf {abs(gaps[worst]):.2f} > {limit:g})")
    for name, deciles in now["deciles"].items():
        was = np.array(before["deciles"].get(name) or [])
        if not len(was) or not deciles:
            continue
        # Levels as a share of their range, sides as a factor.
        gap = np.abs(np.array(deciles) - was) / 255 if name in _LEVELS else np.abs(np.log(np.array(deciles) / was))
        if gap.max() > limit:
            at = int(gap.argmax())
            moved.append(f"{name} {was[at]:.0f} -> {deciles[at]:.0f} (decile {at + 1}; L-inf {gap.max():.2f} > {limit:g})")
    return "; ".join(moved) or None


def _measured(context: Context, name: str) -> pd.Series:
    return picture_checks.side(context) if name == "side" else context.column(name)


def _deciles(values: pd.Series) -> list[float]:
    known = np.array(values.dropna(), float)
    return (
        [round(float(value), 3) for value in np.quantile(known, np.arange(1, 10) / 10, overwrite_input=True)]
        if len(known)
        else []
    )
