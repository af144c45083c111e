"""Checks of single pictures: unreadable, empty, unlike the others, or with private metadata."""

import numpy as np
import pandas as pd

from components.validate import finding
from components.validate.context import Context

GREY_MODES = ["L", "1", "LA"]


def no_data(context: Context) -> str | None:
    """A data set without a sample: every other check would pass."""
    return None if len(context.rows) else "0 samples"


def undecodable(context: Context) -> pd.DataFrame:
    """Files that are no whole PNG or JPEG of a size and kind that can be used; each has a code of its own."""
    bad = context.rows["fault_code"].dropna()
    return finding.rows(bad.index, context.some(bad.index, "fault")["fault"], code=bad)


def noted(context: Context, *, code: str) -> pd.DataFrame:
    """Pictures with a note from the decoder."""
    return finding.rows(context.notes(code), "")


def converted(context: Context) -> pd.DataFrame:
    """Pictures that are neither grey nor RGB as they come, and, where both are mixed, those of the rarer kind."""
    known = context.rows.loc[context.decoded, "mode"]
    grey = known.isin(GREY_MODES)
    rare = known[grey if grey.mean() < 0.5 else ~grey]
    bad = known[context.notes("W_MODE")[known.index] | known.index.isin(rare.index)]
    return finding.rows(bad.index, "mode " + bad.astype(str))


def trailing(context: Context) -> pd.DataFrame:
    """Files with something behind the picture's end."""
    bad = context.rows.loc[context.rows["trailing"] > 0, "trailing"].astype(int)
    return finding.rows(bad.index, bad.astype(str) + " bytes after the end")


def faces(context: Context) -> pd.DataFrame:
    """Pictures in which the detector sees faces (measure.faces turns it on)."""
    seen = context.rows.loc[context.rows["faces"] > 0, "faces"].astype(int)
    return finding.rows(seen.index, seen.astype(str) + np.where(seen == 1, " face", " faces"))


def blank(context: Context) -> pd.DataFrame:
    """Pictures of nearly one colour."""
    bad = context.rows[context.blank]
    flat = "contrast " + bad["contrast"].round(1).astype(str)
    same = (100 * bad["common"]).round(1).astype(str) + " % of the pixels have one level"
    return finding.rows(bad.index, flat.where(bad["contrast"] < context.limits.min_contrast, same))


def low_information(context: Context) -> pd.DataFrame:
    """Pictures with hardly anything in them, though they are not blank."""
    return _beyond(context, context.rows["entropy"] < context.limits.min_entropy, "entropy", "bits per pixel")


def blurred(context: Context) -> pd.DataFrame:
    """Pictures out of focus, or moved."""
    return _beyond(context, context.rows["sharpness"] < context.limits.min_sharpness, "sharpness", "sharpness")


def dark(context: Context) -> pd.DataFrame:
    """Pictures without a bright spot."""
    return _beyond(context, context.rows["bright_level"] < context.limits.dark_below, "bright_level", "brightest level")


def bright(context: Context) -> pd.DataFrame:
    """Pictures without a dark spot: overexposed."""
    return _beyond(context, context.rows["dark_level"] > context.limits.bright_above, "dark_level", "darkest level")


def odd_size(context: Context) -> pd.DataFrame:
    """Pictures of a size unlike the others."""
    side = np.sqrt(context.rows["width"].astype(float) * context.rows["height"])
    bad = context.rows[factor(side**2) > context.limits.max_odd_sizes]
    if bad.empty:
        return finding.none()
    low, middle, high = (f"{value:.0f}" for value in (side.min(), side.median(), side.max()))
    return finding.rows(bad.index, _size(bad) + f" (side min {low}, median {middle}, max {high}; all are resized)")


def odd_ratio(context: Context) -> pd.DataFrame:
    """Pictures much wider or taller than the others."""
    bad = context.rows[factor(context.rows["width"] / context.rows["height"]) > context.limits.max_odd_ratio]
    return finding.rows(bad.index, _size(bad))


def mode_mix(context: Context) -> str | None:
    """Grey among colour pictures, or colour among grey: how much of the whole."""
    grey = context.rows.loc[context.decoded, "mode"].isin(GREY_MODES)
    share = float(min(grey.mean(), 1 - grey.mean())) if len(grey) else 0.0
    if share <= context.limits.max_other_colours:
        return None
    rare, usual = ("grey", "colour") if grey.mean() < 0.5 else ("colour", "grey")
    return f"{share:.1%} {rare} among {usual} pictures, more than {context.limits.max_other_colours:.0%}"


def _beyond(context: Context, faulty: pd.Series, column: str, what: str) -> pd.DataFrame:
    """A blank picture has its own finding: it is none of the others besides."""
    values = context.rows.loc[faulty & ~context.blank, column]
    digits = 0 if column.endswith("_level") else 2
    return finding.rows(values.index, f"{what} " + pd.Series(np.char.mod(f"%.{digits}f", values), values.index, dtype="str"))


def _size(rows: pd.DataFrame) -> pd.Series:
    return rows["width"].astype(int).astype(str) + "x" + rows["height"].astype(int).astype(str)


def factor(values: pd.Series) -> pd.Series:
    """How many times a value is larger or smaller than the median; 1 where there is none."""
    values = values.astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):  # a side of 0 is infinitely unlike the others
        return np.exp(np.abs(np.log(values / values.median()))).fillna(1.0)
