"""Checks of single pictures: do they decode, do they show anything, are they like the others, do they say too much."""

import numpy as np
import pandas as pd

from components.validate import found
from components.validate.look import Look

GREY_MODES = ["L", "1", "LA"]


def no_data(look: Look) -> str | None:
    """A data set without a sample: every other check would pass."""
    return None if len(look.rows) else "0 samples"


def undecodable(look: Look) -> pd.DataFrame:
    """Files that are no whole PNG or JPEG of a size and kind that can be used; each has a code of its own."""
    bad = look.rows[~look.decoded]
    return found.rows(bad.index, bad["fault"], code=bad["fault_code"])


def noted(look: Look, *, code: str) -> pd.DataFrame:
    """Pictures that the decoder has something to say about."""
    return found.rows(look.notes(code), "")


def converted(look: Look) -> pd.DataFrame:
    """Pictures that are neither grey nor RGB as they come, and, where both are mixed, those of the rarer kind."""
    known = look.rows.loc[look.decoded, "mode"]
    grey = known.isin(GREY_MODES)
    rare = known[grey if grey.mean() < 0.5 else ~grey]
    bad = known[look.notes("W_MODE")[known.index] | known.index.isin(rare.index)]
    return found.rows(bad.index, "mode " + bad.astype(str))


def trailing(look: Look) -> pd.DataFrame:
    """Files with something behind the picture's end."""
    bad = look.rows.loc[look.rows["trailing"] > 0, "trailing"].astype(int)
    return found.rows(bad.index, bad.astype(str) + " bytes after the end")


def faces(look: Look) -> pd.DataFrame:
    """Pictures in which the detector sees faces (measure.faces turns it on)."""
    seen = look.rows.loc[look.rows["faces"] > 0, "faces"].astype(int)
    return found.rows(seen.index, seen.astype(str) + np.where(seen == 1, " face", " faces"))


def blank(look: Look) -> pd.DataFrame:
    """Pictures of nearly one colour."""
    bad = look.rows[look.blank]
    flat = "contrast " + bad["contrast"].round(1).astype(str)
    same = (100 * bad["common"]).round(1).astype(str) + " % of the pixels have one level"
    return found.rows(bad.index, flat.where(bad["contrast"] < look.limits.min_contrast, same))


def low_information(look: Look) -> pd.DataFrame:
    """Pictures with hardly anything in them, though they are not blank."""
    return _beyond(look, look.rows["entropy"] < look.limits.min_entropy, "entropy", "bits per pixel")


def blurred(look: Look) -> pd.DataFrame:
    """Pictures out of focus, or moved."""
    return _beyond(look, look.rows["sharpness"] < look.limits.min_sharpness, "sharpness", "sharpness")


def dark(look: Look) -> pd.DataFrame:
    """Pictures without a bright spot."""
    return _beyond(look, look.rows["bright_level"] < look.limits.dark_below, "bright_level", "brightest level")


def bright(look: Look) -> pd.DataFrame:
    """Pictures without a dark spot: overexposed."""
    return _beyond(look, look.rows["dark_level"] > look.limits.bright_above, "dark_level", "darkest level")


def odd_size(look: Look) -> pd.DataFrame:
    """Pictures of a size unlike the others."""
    side = np.sqrt(look.rows["width"].astype(float) * look.rows["height"])
    bad = look.rows[_factor(side**2) > look.limits.max_odd_sizes]
    if bad.empty:
        return found.none()
    low, middle, high = (f"{value:.0f}" for value in (side.min(), side.median(), side.max()))
    return found.rows(bad.index, _size(bad) + f" (side min {low}, median {middle}, max {high}; all are resized)")


def odd_ratio(look: Look) -> pd.DataFrame:
    """Pictures much wider or taller than the others."""
    bad = look.rows[_factor(look.rows["width"] / look.rows["height"]) > look.limits.max_odd_ratio]
    return found.rows(bad.index, _size(bad))


def mode_mix(look: Look) -> str | None:
    """Grey among colour pictures, or colour among grey: how much of the whole."""
    grey = look.rows.loc[look.decoded, "mode"].isin(GREY_MODES)
    share = float(min(grey.mean(), 1 - grey.mean())) if len(grey) else 0.0
    if share <= look.limits.max_other_colours:
        return None
    rare, usual = ("grey", "colour") if grey.mean() < 0.5 else ("colour", "grey")
    return f"{share:.1%} {rare} among {usual} pictures, more than {look.limits.max_other_colours:.0%}"


def _beyond(look: Look, faulty: pd.Series, column: str, what: str) -> pd.DataFrame:
    """A blank picture has its own finding: it is none of the others besides."""
    values = look.rows.loc[faulty & ~look.blank, column]
    digits = 0 if column.endswith("_level") else 2
    return found.rows(
        values.index, pd.Series([f"{what} {value:.{digits}f}" for value in values], index=values.index, dtype=object)
    )


def _size(rows: pd.DataFrame) -> pd.Series:
    return rows["width"].astype(int).astype(str) + "x" + rows["height"].astype(int).astype(str)


def _factor(values: pd.Series) -> pd.Series:
    """How many times a value is larger or smaller than the median; 1 where there is none."""
    values = values.astype(float)
    return np.exp(np.abs(np.log(values / values.median()))).fillna(1.0)
