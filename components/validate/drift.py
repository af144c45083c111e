"""Drift: how far the data has moved from the data that was accepted before it."""

import numpy as np
import pandas as pd

from components.validate import picture_checks
from components.validate.context import Context

_LEVELS = ("brightness", "red", "green", "blue")


def figures(context: Context) -> dict:
    """What the next version is compared with: class shares, deciles of light and colour (0 to 255) and of the side (pixels)."""
    counts = context.label_counts.sort_index()
    deciles = {name: _deciles(context.column(name)[context.decoded]) for name in _LEVELS}
    return {
        "class_shares": {str(label): round(float(share), 6) for label, share in (counts / counts.sum()).items()},
        "deciles": deciles | {"side": _deciles(picture_checks.side(context)[context.decoded])},
    }


def drift(context: Context) -> str | None:
    """Class shares, light, colour or size unlike those of the data that was accepted last."""
    if not context.accepted:
        return None
    limit, now, before = context.limits.max_drift, figures(context), context.accepted
    moved = []
    shares = pd.DataFrame({"was": before["class_shares"], "has": now["class_shares"]}, dtype=float).fillna(0).sort_index()
    gaps = (shares["has"] - shares["was"]).abs()
    if gaps.max() > limit:
        worst = gaps.idxmax()
        was, has = shares.loc[worst]
        moved.append(f"share of {worst!r} {was:.2f} -> {has:.2f} (L-inf {gaps[worst]:.2f} > {limit:g})")
    for name, deciles in now["deciles"].items():
        was, has = np.array(before["deciles"].get(name) or []), np.array(deciles)
        if not len(was) or not len(has):
            continue
        # Levels as a share of their range, sides as a factor.
        gap = np.abs(has - was) / 255 if name in _LEVELS else np.abs(np.log(has / was))
        if gap.max() > limit:
            at = int(gap.argmax())
            moved.append(f"{name} {was[at]:.0f} -> {has[at]:.0f} (decile {at + 1}; L-inf {gap.max():.2f} > {limit:g})")
    return "; ".join(moved) or None


def _deciles(values: pd.Series) -> list[float]:
    known = np.array(values.dropna(), float)
    return np.quantile(known, np.arange(1, 10) / 10, overwrite_input=True).round(3).tolist() if len(known) else []
