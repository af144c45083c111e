"""What a watch found, on a page: the verdict, a small chart of each quantity, all comparisons."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from components.shared import files
from components.shared.page import render
from components.watch.outcome import Outcome
from components.watch.quantities import FALSE_ALARMS, p_value

BINS = 30
CLASSES = 30  # that are shown, those that moved most first


def write(outcome: Outcome, file: Path, *, ours: Callable[[Path], bool]) -> None:
    """Fill in `watch.html` beside this module. Raises CannotRun."""
    before, now, (was, has) = outcome.before, outcome.now, outcome.shares
    histograms = {name: (before.levels[name], now.levels[name]) for name in before.levels}
    histograms["confidence"] = before.confidence, now.confidence
    away = now.features.mean(0) - before.features.mean(0)
    histograms["features"] = before.features @ away, now.features @ away  # where they differ most
    order = np.argsort(-np.abs(has - was), kind="stable")[:CLASSES]
    named = {one.quantity: one for one in outcome.comparisons}
    bars = {
        "class shares": [(outcome.package.classes[at], float(was[at]), float(has[at])) for at in order],
        "shares of all": [(name, named[name].before, named[name].now) for name in ("abstained", "unreadable", "estimated accuracy")],
    }  # fmt: skip
    text = render.render(
        Path(__file__).with_name("watch.html"), outcome=outcome, bars=bars, hidden=max(0, len(has) - CLASSES),
        limit=FALSE_ALARMS, p_value=p_value,
        histograms=[_histogram(name, *pair) | {"moved": named[name].moved} for name, pair in histograms.items()],
    )  # fmt: skip
    with files.whole_file(file, ours=ours) as temporary:
        temporary.write_text(text, encoding="utf-8", errors="backslashreplace")


def _histogram(name: str, before: np.ndarray, now: np.ndarray) -> dict:
    """The share of each side in BINS bins, as heights of 0 to 100 for the highest; the outermost half per cent lies in the last bins."""
    both = np.concatenate([before, now]).astype(np.float64)
    low, high = np.quantile(both, [0.005, 0.995])
    edges = np.linspace(low, high if high > low else low + 1, BINS + 1)
    heights = np.stack([np.histogram(np.clip(side, low, edges[-1]), edges)[0] / len(side) for side in (before, now)])
    heights *= 100 / heights.max()
    return {
        "name": name,
        "before": heights[0].round(2).tolist(),
        "now": heights[1].round(2).tolist(),
        "low": low,
        "high": edges[-1],
    }
