"""Drift: how far the data has moved from the data that was accepted before it."""

import numpy as np
import pandas as pd
import pyarrow as pa

from components.shared.data import manifest as manifests
from components.validate import picture_checks
from components.validate.context import Context
from components.validate.told_apart import told_apart

_LEVELS = ("brightness", "red", "green", "blue")
_NAMED = 5  # classes


def figures(context: Context) -> dict:
    """What the next version is compared with: class shares, deciles of light and colour (0 to 255) and of the side (pixels)."""
    counts = context.label_counts.sort_index()
    deciles = {name: _deciles(context.column(name)[context.decoded]) for name in _LEVELS}
    return {
        "data_digest": manifests.data_digest(context.manifest),
        "class_shares": {str(label): round(float(share), 6) for label, share in (counts / counts.sum()).items()},
        "deciles": deciles | {"side": _deciles(picture_checks.side(context)[context.decoded])},
    }


def drift(context: Context) -> str | None:
    """Class shares, light, colour, size or pictures unlike those of the data that was accepted last."""
    if not context.accepted:
        return None
    limit, now, before = context.limits.max_drift, figures(context), context.accepted.figures
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
    if context.accepted.sample is not None:
        moved += _looks(context.accepted.sample, context.sample, 0.5 + limit, context.seen_by)
    return "; ".join(moved) or None


def _looks(before: pa.Table, now: pa.Table, limit: float, seen_by: str) -> list[str]:
    """Whether a model tells the pictures of a class from those of before: in words, nothing where it hardly does."""
    if before.schema.metadata[b"measured_by"] != now.schema.metadata[b"measured_by"]:
        return []  # features of two makes are not to be compared
    both = pa.concat_tables([before, now.replace_schema_metadata(before.schema.metadata)])
    seen = np.frombuffer(b"".join(both["features"].to_pylist()), np.uint8).reshape(len(both), -1)
    apart = told_apart(seen, both["label"].to_numpy(), np.arange(len(both)) >= len(before), both["unit"].to_numpy())
    if apart is None:
        return []
    classes = apart.classes.sort_values("share", ascending=False)
    classes = classes[classes["share"] > np.maximum(classes["chance"], limit)]
    if not len(classes) and apart.share <= max(apart.chance, limit):
        return []
    worst = ", ".join(f"{label!r} {share:.0%}" for label, share in classes["share"].head(_NAMED).items())
    by = seen_by and f", by {seen_by},"
    return [f"the pictures look different: of a new and an accepted one of the same class, a simple model that has seen neither{by} picks "
            f"the new one in {apart.share:.0%} of the cases (a guess: 50%, by chance {apart.chance:.0%} at most; limit {limit:.0%}), "
            f"by class (moved: {len(classes)} of {len(apart.classes)}): {worst or 'none of them for certain'}"
            + (", ..." if len(classes) > _NAMED else "")]  # fmt: skip


def _deciles(values: pd.Series) -> list[float]:
    known = np.array(values.dropna(), float)
    return np.quantile(known, np.arange(1, 10) / 10, overwrite_input=True).round(3).tolist() if len(known) else []
