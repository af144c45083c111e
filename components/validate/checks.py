"""The table of checks: what each looks for, what it is called, and what a person can do about it.

A check is a function of the `Context`. It returns a table with a row per faulty sample (see `finding.rows`), or a text when the
data set as a whole is at fault; an empty table or None when all is well. Its docstring says what it looks for. To add one: the
function, or a limit of one column of the manifest (`picture_checks.beyond`), a row here, its severity in params.yaml.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from components.shared import config
from components.validate import class_balance, clip_checks, drift, expectations, label_checks, picture_checks, split_checks
from components.validate.context import Context
from components.validate.expectations import Judged
from components.validate.finding import Check, Finding, findings
from components.validate.picture_checks import beyond, noted, where

REVIEW = "review them in report.html, and remove those that show nothing"
CHECKS = (
    Check("E_NO_DATA", picture_checks.no_data, "no samples", "darkroom ingest SOURCE data", "0 samples"),
    Check("E_EXPECTATION", expectations.broken, "the manifest is not as expected (Great Expectations; see data_docs/index.html)",
          "of two samples with one path, drop the old one (ingest with --replace) or rename one at the source; if the manifest itself "
          "is wrong, delete it and run `dvc repro measure`",
          "every sample has a source of its own (not so for 2 of 91: 'cat/1.png')"),
    Check(
        "E_UNDECODABLE", picture_checks.undecodable, "files that are no whole picture",
        "replace or remove them at the source and ingest again, or set validate.quarantine: skip",
        "cat/1.png: image file is truncated", "drop",
    ),
    Check("E_LABEL_EMPTY", label_checks.empty, "samples without a label",
          "label them, or take them out of the source; a class that is really called nan or null needs another name, one called "
          "none, NA, n/a or ? needs 10 samples", "cat/1.png: label 'nan'", "drop"),
    Check("E_LABEL_UNKNOWN", label_checks.unknown, "labels that look like a slip for another one",
          "give them one name", "Dog/1.png: label 'Dog', did you mean 'dog'?", "relabel"),
    Check("E_ONE_CLASS", label_checks.one_class, "too few classes", "a recogniser needs at least two classes to tell apart",
          "1 class, need at least 2"),
    Check("E_CLASS_TOO_SMALL", label_checks.too_small, "classes with too few samples to learn from (validate.min_class_size)",
          "add pictures of these classes, merge them into another class, or lower the knob", "cat/1.png: 'cat' 1 < 10"),
    Check("E_CLASS_MISSING", label_checks.missing, "classes that an official split lacks",
          "add pictures of them to that split, or take the class out", "train/cat/1.png: 'cat' is missing in test"),
    Check("W_IMBALANCE", class_balance.imbalance, "uneven classes (validate.max_imbalance_ratio)",
          "set train.*.imbalance (deferred, effective_number), raise augment.balance; best of all, add pictures of rare classes",
          "27.0:1 > 20:1 ('dog' 2,700, 'cat' 100)"),
    Check("E_LABEL_CONFLICT", label_checks.conflict, "the same picture under two labels",
          "keep it under the right label alone; `darkroom fix` keeps the label that most copies have, else the one that a simple "
          "model finds more probable, else that of the first path; with --only it drops the copies that you name",
          "cat/1.png: 'cat' = dog/7.png 'dog'; fix keeps 'cat' (more probable)", "drop"),
    Check("W_NEAR_CONFLICT", label_checks.near_conflict, "pictures that look the same under two labels (validate.near_bits)",
          "review each pair in report.html; one of the labels is probably wrong", "cat/1.png: 'cat' ~ dog/7.png 'dog'", looks=True),
    Check("W_LABEL_SUSPECT", label_checks.suspect, "labels that are probably wrong (validate.max_label_trust)",
          "review them in report.html, the least probable labels first; `darkroom fix` gives those that you choose the suggested label",
          "cat/1.png: label 'cat', looks like 'dog' ('cat' at 3e-05)", "relabel_chosen", looks=True),
    Check("E_LEAKAGE", split_checks.leakage, "the same picture in two splits",
          "keep it out of training: results on a picture seen in training are worth nothing",
          "train/cat/1.png = test/cat/9.png", "drop_from_train", looks=True),
    Check("W_NEAR_LEAKAGE", split_checks.near_leakage, "pictures that look the same in two splits, fewer than validate.max_near_leakage",
          "review each pair in report.html; take what is the same thing out of training",
          "train/cat/1.png ~ test/cat/9.png", "drop_from_train", looks=True),
    Check("E_GROUP_LEAKAGE", split_checks.group_leakage, "groups on two sides of the official split",
          "move all samples of a group into one split",
          "train/cat/1.png: group 'anna' is in other splits than train too", "move_group"),
    Check("W_DUPLICATE", split_checks.duplicate, "the same picture more than once in a split", "remove the copies",
          "cat/2.png = cat/1.png", "drop"),
    Check("W_NEAR_DUPLICATE", split_checks.near_duplicate, "pictures that look the same, within a split",
          "nothing, if each is a picture of its own; bursts and resaved copies make results look better than they are",
          "cat/2.png ~ cat/1.png", "drop", looks=True),
    Check("W_OVERLAP", split_checks.overlap, "clips of a split that share frames (validate.min_shared_frames)",
          "give windows of one recording a group (ingest --group), so that they stay on one side of a split",
          "run/2: 75% of its frames are in run/1"),
    Check("W_CASE_TWIN", split_checks.case_twin, "paths that differ in case alone", "rename one of them: a Mac or Windows keeps only one",
          "cat/A.png: beside 'cat/a.png'"),
    Check("W_BLANK", picture_checks.blank, "pictures of nearly one colour (validate.min_contrast, max_common)", REVIEW,
          "cat/1.png: contrast 0.0", "drop"),
    Check("W_LOW_INFORMATION", beyond("entropy", "min_entropy", "bits per pixel %.2f",
                                      "Pictures with hardly anything in them, in a set that has more.", low=True),
          "pictures with hardly anything in them, unlike the rest of the set (validate.min_entropy)", REVIEW,
          "cat/1.png: bits per pixel 0.31 (median of the set 6.90)", "drop"),
    Check("W_BLURRED", beyond("sharpness", "min_sharpness", "sharpness %.2f",
                              "Pictures out of focus, or moved, in a set that is sharper.", low=True),
          "blurred pictures, unlike the rest of the set (validate.min_sharpness)", REVIEW,
          "cat/1.png: sharpness 0.08 (median of the set 0.71)", "drop"),
    Check("W_DARK", beyond("bright_level", "dark_below", "brightest level %.0f",
                           "Pictures without a bright spot, in a set that is lighter.", low=True),
          "dark pictures, unlike the rest of the set (validate.dark_below)", REVIEW,
          "cat/1.png: brightest level 21 (median of the set 240)", "drop"),
    Check("W_BRIGHT", beyond("dark_level", "bright_above", "darkest level %.0f",
                             "Pictures without a dark spot, overexposed, in a set that is darker.", low=False),
          "overexposed pictures, unlike the rest of the set (validate.bright_above)", REVIEW,
          "cat/1.png: darkest level 243 (median of the set 18)", "drop"),
    Check("W_SIZE_MIX", picture_checks.odd_size, "pictures of a size unlike the others (validate.max_odd_sizes)",
          "review them: thumbnails and scans among photos are often slips",
          "cat/1.png: 16x16 (side min 16, median 400, max 512; all are resized)", "drop"),
    Check("W_ODD_RATIO", picture_checks.odd_ratio, "pictures much wider or taller than the others (validate.max_odd_ratio)",
          "review them: panoramas, strips and screenshots; prepare.resize: pad keeps their shape", "cat/1.png: 900x60", "drop"),
    Check("E_MODE_MIX", picture_checks.mode_mix, "grey and colour pictures mixed (validate.max_other_colours)",
          "prepare.channels: 1 makes them all grey; or set the severity to warning, if colour does not give the class away",
          "6.1% grey among colour pictures, more than 5%"),
    Check("E_SEQ_SIZE", where("frame_sizes", lambda sizes: sizes > 1, "%d sizes of frames", "Clips whose frames differ in size."),
          "clips whose frames differ in size", "save all frames of a clip in one size", "run/1: 2 sizes of frames", "drop"),
    Check("E_SEQ_GAP", where("frame_gap", lambda frame: frame.notna(), "%s is missing", "Clips whose frames' numbers leave one out."),
          "clips with a frame missing", "bring the frame, or number the frames anew", "run/1: frame 7 is missing", "drop"),
    Check("E_SEQ_DUP", where("frame_twin", lambda frame: frame.notna(), "%s comes twice",
                             "Clips in which a frame's number comes twice."),
          "clips with a frame number that comes twice", "keep one of the two", "run/1: frame 7 comes twice", "drop"),
    Check("W_SEQ_FROZEN", clip_checks.frozen, "clips in which nothing moves", REVIEW, "run/1: 8 frames, all the same", "drop"),
    Check("W_SEQ_LENGTH", clip_checks.odd_length, "clips much longer or shorter than the others (validate.max_odd_length)",
          "cut long ones into several; prepare.max_frames thins them", "run/1: 400 frames (min 4, median 12, max 400)", "drop"),
    Check("W_KIND_MIX", clip_checks.kind_mix, "single frames and clips mixed",
          "check whether they are clips cut short, or stills that belong elsewhere", "run/1.png: a single frame among clips", "drop"),
    Check("W_LENGTH_SHORTCUT", clip_checks.length_shortcut, "clip length predicts the label (validate.max_shortcut)",
          "set prepare.max_frames to the frames of the shortest clip, so that all have as many; where frames repeat, take each once "
          "at the source and ingest again before that",
          "the number of frames alone ('wave' 12.0 a clip, 'stop' 31.5) predicts the label in 39% of the cases (mean over classes; "
          "a guess: 12%); the shortest clip has 8"),
    Check("W_FRAME_SHORTCUT", clip_checks.frame_shortcut, "one frame predicts the label (validate.max_shortcut)",
          "nothing, if one picture is enough to tell the classes apart; else find what differs beside the motion: background, size",
          "the middle frame alone, to a linear model, predicts the label in 81% of the cases (mean over classes; a guess: 12%)",
          looks=True),
    Check("W_DRIFT", drift.drift, "other than the data accepted before (validate.max_drift)",
          "find out whether the world has changed, or the camera, or the labelling; then retrain rather than reuse",
          "share of 'cat' 0.10 -> 0.41 (L-inf 0.31 > 0.1)"),
    Check("W_DAMAGED", noted("W_DAMAGED", "JPEG data that the decoder could not read whole and filled in."),
          "JPEGs with damaged data: a part of the picture is made up by the decoder",
          "fetch them again from where they came, or leave them out; often everything below a line is grey", action="drop"),
    Check("W_EXTENSION", picture_checks.misnamed, "PNGs and JPEGs under the other's ending",
          "nothing: the content counts; name them so for programs that go by the name", "cat/1.png: content is JPEG"),
    Check("W_GPS", noted("W_GPS", "Coordinates in the metadata: who has the picture knows where it was taken."),
          "pictures whose metadata says where they were taken", "darkroom ingest SOURCE data --strip-metadata", action="strip_metadata"),
    Check("W_PERSON", noted("W_PERSON", "Names of authors, owners or people shown in the metadata."),
          "pictures whose metadata names a person", "darkroom ingest SOURCE data --strip-metadata", action="strip_metadata"),
    Check("W_SERIAL", noted("W_SERIAL", "Serial numbers in the metadata, which tie pictures to one camera."),
          "pictures whose metadata has a device's serial number",
          "darkroom ingest SOURCE data --strip-metadata", action="strip_metadata"),
    Check("W_FACES", picture_checks.faces, "pictures with faces in them, as far as the detector sees them (measure.faces)",
          "darkroom ingest SOURCE data --blur-faces", "cat/1.png: 2 faces", "blur_faces"),
    Check("W_TRAILING", where("trailing", lambda size: size > 0, "%d bytes after the end",
                              "Bytes that no viewer shows, behind the end of a picture."),
          "files with something behind the picture's end",
          "darkroom ingest SOURCE data --strip-metadata: what hides there is none of the picture",
          "cat/1.png: 28 bytes after the end", "strip_metadata"),
    Check("W_METADATA", noted("W_METADATA", "Metadata that cannot be read, beside pixels that can."),
          "pictures with broken metadata", "nothing: the pixels are used; save them again to get rid of it"),
    Check("W_MODE", picture_checks.converted, "pictures converted to grey or RGB",
          "nothing, if the preview in outputs/augmented looks right", "cat/1.png: mode P"),
    Check("W_ALPHA", noted("W_ALPHA", "Pictures with transparent pixels, which are put on white."),
          "pictures with transparency, put on white", "nothing, if white is right behind them"),
    Check("W_BIT_DEPTH", noted("W_BIT_DEPTH", "Pictures of 16 bits a channel, whose finer half is not used."),
          "pictures of 16 bits a channel, taken as 8", "nothing, if the preview in outputs/augmented looks right"),
    Check("W_ROTATED", noted("W_ROTATED", "Pictures that were saved on their side or mirrored, with a note of how they belong."),
          "pictures turned upright, as their EXIF says", "nothing"),
)  # fmt: skip
BY_CODE = {check.code: check for check in CHECKS}
_SEVERITIES = ("error", "warning", "info")


def run(context: Context, judged: Callable[[], list[Judged]]) -> list[Finding]:
    """The findings of every check that is not off, the worst first. `judged`: see great.judge; it is awaited last."""
    found, limits = [], context.limits
    for check in CHECKS:
        if limits.severity[check.code] != "off" and check.code != expectations.CODE:
            found += findings(check, check.run(context), context)
    broken = expectations.broken(judged(), {each.check.code for each in found}, limits)
    if limits.severity[expectations.CODE] != "off":
        found += findings(BY_CODE[expectations.CODE], broken, context)
    return sorted(found, key=lambda each: (_SEVERITIES.index(each.severity), CHECKS.index(each.check)))


def checks(*, params: Annotated[Path, "where the severities stand"] = Path("params.yaml")) -> None:
    """List every check: its code and severity, what it looks for, an example, and what `darkroom fix` does about it."""
    severity = config.section_of(config.read_params(params), "validate.severity", file=params)
    for check in CHECKS:
        print(f"{check.code:<18}{severity.get(check.code, '(none)'):<9}{check.doc}")
        print(f"{'':27}such as: {check.example}" + (f"; fix: {check.action.replace('_', ' ')}" if check.action else ""))
