"""Checks of single pictures: unreadable, empty, unlike the others, or with private metadata."""

from collections.abc import Callable

import numpy as np
import pandas as pd

from components.shared import screen
from components.validate import finding, outliers
from components.validate.context import Context

Run = Callable[[Context], pd.DataFrame | str | None]

GREY_MODES = ["L", "1", "LA"]
# Codes of frames that do not decode: what they are, why that matters, what to do.
_KINDS = {
    "E_ANIMATED": ("files of several frames", "a still has one", "ingest them as clips (--kind clips)"),
    "E_ASPECT": ("strips, too long for their width", "resized, they would be less than two pixels wide",
                 "cut each into several pictures"),
    "E_BIT_DEPTH": ("grey pictures of 16 bits", "which of their levels matter only their maker knows", "save them with 8 bits"),
    "E_CORRUPT": ("pictures whose data are damaged", "what a decoder shows of them is made up", "fetch them again from where they came"),
    "E_DIMENSIONS": ("pictures of an impossible size", "their header is damaged, or made to do harm", "remove them at the source"),
    "E_EMPTY": ("files of 0 bytes", "a copy or a download ended before it began", "copy them again"),
    "E_FORMAT": ("files that are neither PNG nor JPEG", "shards hold these two alone",
                 "ingest anew, which converts other formats of pictures"),
    "E_HASH": ("samples whose bytes are not those of their id", "the shard was damaged, or changed by hand", "ingest the source again"),
    "E_MODE": ("pictures in a rare colour mode", "how it becomes grey or RGB is a guess", "save them as RGB or grey"),
    "E_NOT_IMAGE": ("files that are no picture", "text, web pages and pointers of Git LFS show no thing",
                    "remove them at the source, or fetch what they stand for"),
    "E_SEQ_EMPTY": ("clips without a frame", "there is nothing in them to decode", "drop them, or ingest their recordings again"),
    "E_TEXT_BOMB": ("pictures with too much compressed text", "unpacking it may fill the memory", "save them without metadata"),
    "E_TOO_LARGE": ("pictures that are too large (measure.max_megapixels)", "decoding one may fill the memory",
                    "save them smaller, or raise the knob"),
    "E_TOO_SMALL": ("pictures of too few pixels a side", "three poolings of the networks would leave nothing",
                    "take larger versions"),
    "E_TRUNCATED": ("pictures that are cut short", "the rest was lost on the way", "copy or download them again"),
}  # fmt: skip
UNDECODABLE = {code: (message, why, f"{fix}, or set validate.quarantine: skip") for code, (message, why, fix) in _KINDS.items()}


def no_data(context: Context) -> str | None:
    """A data set without a sample: every other check would pass."""
    return None if len(context.rows) else "0 samples"


def undecodable(context: Context) -> pd.DataFrame:
    """Files that are no whole PNG or JPEG of a size and kind that can be used; each has a code of its own."""
    bad = context.rows["fault_code"].dropna().astype("str")
    return finding.rows(bad.index, context.some(bad.index, "fault")["fault"], code=bad)


def where(column: str, test: Callable[[pd.Series], pd.Series], reason: str) -> Run:
    """A check of one column of the manifest: the samples whose value passes `test`. `reason` has a place for it (%d, %s ...)."""

    def check(context: Context) -> pd.DataFrame:
        values = context.column(column)
        values = values[test(values)]
        return finding.rows(values.index, np.char.mod(reason, values.to_numpy()))

    return check


def beyond(column: str, knob: str, measure: str, *, low: bool) -> Run:
    """A check of a limit, the lowest value or else the highest: the pictures beyond it that are unlike the rest of the set.

    `measure` names the value, with a place for it (%.0f ...). Pictures of nearly one colour have a finding of their own.
    """

    def check(context: Context) -> pd.DataFrame:
        values, limit = context.column(column)[~context.blank], getattr(context.limits, knob)
        median = values.median()
        bad = values[outliers.unlike_most(values, values < limit if low else values > limit, low=low)]
        reason = f"{measure} (median of the set {measure[measure.index('%') :]})"
        return finding.rows(bad.index, np.array([reason % (value, median) for value in bad], object))

    return check


def noted(code: str) -> Run:
    """A check of the decoder's notes: the samples that have this one."""
    return lambda context: finding.rows(_has_note(context, code), "")


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
    return finding.rows(seen.index, seen.map(lambda count: screen.number(count, "face")))


def blank(context: Context) -> pd.DataFrame:
    """Pictures of nearly one colour."""
    contrast, common = (context.column(name)[context.blank] for name in ("contrast", "common"))
    flat = "contrast " + contrast.round(1).astype(str)
    same = (100 * common).round(1).astype(str) + "% of the pixels have one level"
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
