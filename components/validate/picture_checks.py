"""Checks of single pictures: unreadable, empty, unlike the others, or with private metadata."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from components.validate import finding, outliers
from components.validate.context import Context

Run = Callable[[Context], pd.DataFrame | str | None]

GREY_MODES = ["L", "1", "LA"]


def no_data(context: Context) -> str | None:
    """A data set without a sample: every other check would pass."""
    return None if len(context.rows) else "0 samples"


def undecodable(context: Context) -> pd.DataFrame:
    """Files that are no whole PNG or JPEG of a size and kind that can be used; each has a code of its own."""
    bad = context.rows["fault_code"].dropna().astype("str")
    return finding.rows(bad.index, context.some(bad.index, "fault")["fault"], code=bad)


def where(column: str, test: Callable[[pd.Series], pd.Series], reason: str, doc: str) -> Run:
    """A check of one column of the manifest: the samples whose value passes `test`. `reason` has a place for it (%d, %s ...)."""

    def check(context: Context) -> pd.DataFrame:
        values = context.column(column)
        values = values[test(values)]
        return finding.rows(values.index, np.char.mod(reason, values.to_numpy()))

    check.__doc__ = doc
    return check


def beyond(column: str, knob: str, measure: str, doc: str, *, low: bool) -> Run:
    """A check of a limit, the lowest value or else the highest: the pictures beyond it that are unlike the rest of the set.

    `measure` names the value, with a place for it (%.0f ...). Pictures of nearly one colour have a finding of their own.
    """

    def check(context: Context) -> pd.DataFrame:
        values, limit = context.column(column)[~context.blank], getattr(context.limits, knob)
        median = values.median()
        bad = values[outliers.unlike_most(values, values < limit if low else values > limit, low=low)]
        reason = f"{measure} (median of the set {measure[measure.index('%') :]})"
        return finding.rows(bad.index, np.array([reason % (value, median) for value in bad], object))

    check.__doc__ = doc
    return check


def noted(code: str, doc: str) -> Run:
    """A check of the decoder's notes: the samples that have this one."""

    def check(context: Context) -> pd.DataFrame:
        return finding.rows(_has_note(context, code), "")

    check.__doc__ = doc
    return check


def _has_note(context: Context, code: str) -> pd.Series:
    return context.notes.isin([notes for notes in context.notes.cat.categories if code in notes.split()])


def converted(context: Context) -> pd.DataFrame:
    """Pictures that are neither grey nor RGB as they come, and, where both are mixed, those of the rarer kind."""
    modes = context.column("mode")
    known = modes[context.decoded]
    grey = known.isin(GREY_MODES)
    rare = known.index[grey if grey.mean() < 0.5 else ~grey]
    bad = modes[context.decoded & (_has_note(context, "W_MODE") | modes.index.isin(rare))]
    return finding.rows(bad.index, "mode " + bad.astype(str))


def misnamed(context: Context) -> pd.DataFrame:
    """Files that are named PNG and are JPEG, or the other way round."""
    form = context.column("format")[_has_note(context, "W_EXTENSION")]
    return finding.rows(form.index, "content is " + form.astype(str))


def faces(context: Context) -> pd.DataFrame:
    """Pictures in which the detector sees faces (measure.faces turns it on)."""
    seen = context.column("faces")
    seen = seen[seen > 0].astype(int)
    return finding.rows(seen.index, seen.astype(str) + np.where(seen == 1, " face", " faces"))


def blank(context: Context) -> pd.DataFrame:
    """Pictures of nearly one colour."""
    contrast, common = (context.column(name)[context.blank] for name in ("contrast", "common"))
    flat = "contrast " + contrast.round(1).astype(str)
    same = (100 * common).round(1).astype(str) + " % of the pixels have one level"
    return finding.rows(contrast.index, flat.where(contrast < context.limits.min_contrast, same))


def odd_size(context: Context) -> pd.DataFrame:
    """Pictures of a size unlike the others."""
    sides = side(context)
    bad = _unlike(sides**2, context.limits.max_odd_sizes)
    return finding.rows(bad, _size(context, bad) + f" (side {spread(sides)}; all are resized)")


def odd_ratio(context: Context) -> pd.DataFrame:
    """Pictures much wider or taller than the others."""
    bad = _unlike(context.column("width") / context.column("height"), context.limits.max_odd_ratio)
    return finding.rows(bad, _size(context, bad))


def mode_mix(context: Context) -> str | None:
    """Grey among colour pictures, or colour among grey: how much of the whole."""
    grey = context.column("mode")[context.decoded].isin(GREY_MODES)
    share = float(min(grey.mean(), 1 - grey.mean())) if len(grey) else 0.0
    if share <= context.limits.max_other_colours:
        return None
    rare, usual = ("grey", "colour") if grey.mean() < 0.5 else ("colour", "grey")
    return f"{share:.1%} {rare} among {usual} pictures, more than {context.limits.max_other_colours:.0%}"


def spread(values: pd.Series) -> str:
    """The least, the median and the largest of some values, in words."""
    return f"min {values.min():.0f}, median {values.median():.0f}, max {values.max():.0f}"


def side(context: Context) -> pd.Series:
    """The side of a square as large as each picture, in pixels."""
    return np.sqrt(context.column("width").astype(float) * context.column("height"))


def _size(context: Context, rows: pd.Index) -> pd.Series:
    sizes = context.some(rows, "width", "height").astype(int).astype(str)
    return sizes["width"] + "x" + sizes["height"]


def _unlike(values: pd.Series, most: float) -> pd.Index:
    """The rows whose value is more than so many times larger or smaller than the median."""
    return values.index[factor(values) > most]


def factor(values: pd.Series) -> pd.Series:
    """How many times a value is larger or smaller than the median; 1 where there is none."""
    values = values.astype(float)
    times = (values / values.median()).to_numpy(copy=True)
    with np.errstate(divide="ignore", invalid="ignore"):  # a side of 0 is infinitely unlike the others
        for step in (np.log, np.abs, np.exp):
            step(times, out=times)
    return pd.Series(times, values.index).fillna(1.0)
