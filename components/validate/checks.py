"""The table of checks: what is looked at, how bad a fault is, and what a person can do about it.

A check is one Great Expectations expectation on one column of the manifest, or of what `enriched` derives from it. To add
one: a column in `enriched` if it needs one, a row in `checks`, its severity in params.yaml.
"""

import unicodedata
from dataclasses import dataclass

import great_expectations.expectations as gxe
import numpy as np
import pandas as pd
from great_expectations.expectations.expectation import Expectation

from components.validate.config import ValidateConfig
from components.validate.imbalance import ExpectColumnClassImbalanceToBeAtMost


@dataclass(frozen=True)
class Check:
    """One row of the table. `code`: stable; `message` says what is wrong, `fix` what to do."""

    code: str
    message: str
    fix: str
    expectation: Expectation
    names_code: str = ""  # column that holds a code of its own for each faulty sample


def checks(limits: ValidateConfig) -> list[Check]:
    """All checks, the row count first: on no rows every other expectation would pass."""
    return [
        Check(
            "E_NO_DATA", "no samples", "darkroom ingest SOURCE data",
            gxe.ExpectTableRowCountToBeBetween(min_value=1),
        ),
        Check(
            "E_UNDECODABLE", "frames that do not decode", "replace or remove the files named, then ingest again",
            gxe.ExpectColumnValuesToBeNull(column="fault_code"), names_code="fault_code",
        ),
        Check(
            "E_LABEL_EMPTY", "samples without a label", "label them, or take them out of the source",
            gxe.ExpectColumnValuesToNotBeNull(column="label"),
        ),
        Check(
            "E_LABEL_TWIN", "labels that differ only in case, spaces or accents' encoding", "give them one name",
            gxe.ExpectColumnValuesToBeNull(column="label_twin"),
        ),
        Check(
            "E_ONE_CLASS", "fewer than two classes", "a recogniser needs at least two classes to tell apart",
            gxe.ExpectColumnUniqueValueCountToBeBetween(column="label", min_value=2),
        ),
        Check(
            "E_CLASS_TOO_SMALL", f"classes of fewer than {limits.min_class_size} samples (knob min_class_size)",
            "add pictures of these classes, merge them into another class, or lower the knob",
            gxe.ExpectColumnValuesToBeBetween(column="class_size", min_value=limits.min_class_size),
        ),
        Check(
            "E_CLASS_MISSING", "classes that an official split lacks", "add pictures of them to that split, or take them out",
            gxe.ExpectColumnValuesToBeNull(column="absent_from"),
        ),
        Check(
            "W_IMBALANCE", f"largest class / smallest class is above {limits.max_imbalance_ratio:g} (knob max_imbalance_ratio)",
            "add pictures of rare classes, or raise augment.balance, or set train.*.class_weight: true",
            ExpectColumnClassImbalanceToBeAtMost(column="training_label", max_ratio=limits.max_imbalance_ratio),
        ),
        Check(
            "E_LABEL_CONFLICT", "the same picture with two labels", "keep it under the right label alone",
            gxe.ExpectColumnValuesToBeBetween(column="labels_of_picture", max_value=1),
        ),
        Check(
            "E_LEAKAGE", "the same picture in two splits", "keep it in one split: results on a picture seen in training are worth nothing",
            gxe.ExpectColumnValuesToBeBetween(column="splits_of_picture", max_value=1),
        ),
        Check(
            "E_GROUP_LEAKAGE", "a group on two sides of the official split", "move all samples of a group into one split",
            gxe.ExpectColumnValuesToBeBetween(column="splits_of_group", max_value=1),
        ),
        Check(
            "W_DUPLICATE", "the same picture more than once in a split", "remove the copies",
            gxe.ExpectColumnValuesToBeBetween(column="copies_in_split", max_value=1),
        ),
        Check(
            "W_BLANK", f"pictures of nearly one colour (contrast below {limits.min_contrast:g}, knob min_contrast)",
            "look at them; remove what shows nothing",
            gxe.ExpectColumnValuesToBeBetween(column="contrast", min_value=limits.min_contrast),
        ),
        Check(
            "W_SIZE_MIX", f"pictures over {limits.max_odd_sizes:g} times smaller or larger than the median (knob max_odd_sizes)",
            "look at them: thumbnails and scans among photos are often slips",
            gxe.ExpectColumnValuesToBeBetween(column="odd_size", max_value=limits.max_odd_sizes),
        ),
        Check(
            "W_MODE_MIX", f"more than {limits.max_other_colours:.0%} grey among colour pictures, or the reverse "
            "(knob max_other_colours)",
            "prepare.channels makes them one; look whether the colour gives the class away",
            gxe.ExpectColumnMeanToBeBetween(column="other_colour", max_value=limits.max_other_colours),
        ),
        Check(
            "W_CONVERTED", "pictures that the decoder converted", "nothing, if the preview in outputs/augmented looks right",
            gxe.ExpectColumnValuesToBeNull(column="note"), names_code="note",
        ),
        Check(
            "E_SEQ_SIZE", "clips whose frames differ in size", "save all frames of a clip in one size",
            gxe.ExpectColumnValuesToBeBetween(column="frame_sizes", max_value=1),
        ),
        Check(
            "W_KIND_MIX", "single frames among clips", "look whether they are clips cut short, or stills that belong elsewhere",
            gxe.ExpectColumnUniqueValueCountToBeBetween(column="is_clip", max_value=1),
        ),
    ]  # fmt: skip


def enriched(manifest: pd.DataFrame) -> pd.DataFrame:
    """The manifest with the columns that the checks look at beside what was measured."""
    rows = manifest.copy()
    official = rows["split"].dropna().unique()
    picture = rows["pixels_sha256"].fillna(rows["id"])
    splits = rows["split"].fillna("")
    rows["label_twin"] = _twins(rows["label"])
    rows["class_size"] = rows.groupby("label")["id"].transform("size")
    rows["absent_from"] = rows["label"].map(_absent(rows, official)) if len(official) else None
    rows["training_label"] = rows["label"].where(rows["split"].isna() | (rows["split"] == "train"))
    rows["labels_of_picture"] = rows.groupby(picture)["label"].transform("nunique")
    rows["splits_of_picture"] = splits.groupby(picture).transform("nunique")
    rows["splits_of_group"] = splits.groupby(rows["group"]).transform("nunique")
    rows["copies_in_split"] = rows.groupby([picture, splits])["id"].transform("size")
    area = rows["width"].astype(float) * rows["height"]
    rows["odd_size"] = np.exp(np.abs(np.log(area / area.median()))) if len(area.dropna()) else np.nan
    grey = rows["mode"].isin(["L", "1", "LA"])
    rows["other_colour"] = (grey != (grey.mean() >= 0.5)).astype(float)
    rows["note"] = rows["notes"].where(rows["notes"].fillna("") != "")
    rows["is_clip"] = rows["frames"] > 1
    return rows


def _twins(labels: pd.Series) -> pd.Series:
    """For each label that has a look-alike with more samples: that look-alike's name."""
    counts = labels.value_counts()
    plain = {label: unicodedata.normalize("NFC", str(label)).strip().casefold() for label in counts.index}
    first: dict[str, str] = {}
    for label in counts.index:  # the most frequent comes first
        first.setdefault(plain[label], label)
    return labels.map({label: first[key] for label, key in plain.items() if first[key] != label})


def _absent(rows: pd.DataFrame, official: np.ndarray) -> dict[str, str]:
    there = rows.groupby("label")["split"].agg(lambda splits: set(splits.dropna()))
    # A validation split may be made later out of training pictures; training and test must be whole as they come.
    needed = [split for split in ("train", "validation", "test") if split in official]
    absent = {label: ", ".join(split for split in needed if split not in has) for label, has in there.items()}
    return {label: splits for label, splits in absent.items() if splits}
