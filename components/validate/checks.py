"""The table of checks: what each finds, why that matters, and what a person can do about it.

A check is a function of the `Context`. It returns a table with a row per faulty sample (see `finding.rows`), or a text when the
data set as a whole is at fault; an empty table or None when all is well. To add one: the function, or a limit of one column of
the manifest (`picture_checks.beyond`), a row here, its severity in params.yaml. Commands stand in backticks: pages offer to copy them.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

from components.shared import config, screen
from components.validate import class_balance, clip_checks, drift, expectations, label_checks, picture_checks, split_checks
from components.validate.context import Context
from components.validate.expectations import Judged
from components.validate.finding import Check, Finding, findings
from components.validate.picture_checks import beyond, noted, where

CHECKS = (
    Check("E_NO_DATA", picture_checks.no_data, "no samples",
          "without a sample every other check would pass", "`darkroom ingest SOURCE data`", "0 samples"),
    Check("E_EXPECTATION", expectations.broken, "the manifest is not as expected (Great Expectations; see data_docs/index.html)",
          "all later steps trust the manifest",
          "of two samples with one path, drop the old one (ingest with --replace) or rename one at the source; if the manifest itself "
          "is wrong, delete it and run `dvc repro measure`",
          "every sample has a source of its own (not so for 2 of 91: 'cat/1.png')"),
    Check("E_UNDECODABLE", picture_checks.undecodable, "files that are no whole picture", "there is nothing in them to learn from",
          "replace or remove them at the source and ingest again, or set validate.quarantine: skip",
          "cat/1.png: image file is truncated", "drop", kinds=picture_checks.UNDECODABLE),
    Check("E_LABEL_EMPTY", label_checks.empty, "samples without a label", "a class of unlabelled samples means nothing",
          "label them, or take them out of the source; a class that is really called nan or null needs another name, one called "
          "none, NA, n/a or ? needs 10 samples", "cat/1.png: label 'nan'", "drop"),
    Check("E_LABEL_UNKNOWN", label_checks.unknown, "labels that look like a slip for another one",
          "one class under two names is learnt as two", "give them one name",
          "Dog/1.png: label 'Dog', did you mean 'dog'?", "relabel"),
    Check("E_ONE_CLASS", label_checks.one_class, "too few classes", "a recogniser needs at least two classes to tell apart",
          "ingest a source with all of its classes, or choose another level of folders with --label-level", "1 class, need at least 2"),
    Check("E_CLASS_TOO_SMALL", label_checks.too_small, "classes with too few samples to learn from (validate.min_class_size)",
          "they cannot be split into training, validation and test",
          "add pictures of these classes, merge them into another class, or lower the knob", "cat/1.png: 'cat' 1 < 10"),
    Check("E_CLASS_MISSING", label_checks.missing, "classes that an official split lacks",
          "what a split lacks is not learnt there, or not tested",
          "add pictures of them to that split, or take the class out", "train/cat/1.png: 'cat' is missing in test"),
    Check("W_IMBALANCE", class_balance.imbalance, "uneven classes (validate.max_imbalance_ratio)",
          "a network that neglects rare classes still has a high accuracy",
          "set train.*.imbalance (deferred, effective_number), raise augment.balance; best of all, add pictures of rare classes",
          "27.0:1 > 20:1 ('dog' 2,700, 'cat' 100)"),
    Check("E_LABEL_CONFLICT", label_checks.conflict, "the same picture under two labels", "at least one of the labels is wrong",
          "keep it under the right label alone; fix keeps the label of most copies, else the one that a simple model finds more "
          "probable, else that of the first path; with --only it drops the copies that you name",
          "cat/1.png: 'cat' = dog/7.png 'dog'; fix keeps 'cat' (more probable)", "drop"),
    Check("W_NEAR_CONFLICT", label_checks.near_conflict, "pictures that look the same under two labels (validate.near_bits)",
          "one of the two labels is probably wrong", "review each pair in report.html, and correct labels at the source",
          "cat/1.png: 'cat' ~ dog/7.png 'dog'", looks=True),
    Check("W_LABEL_SUSPECT", label_checks.suspect, "labels that are probably wrong (validate.max_label_trust)",
          "wrong labels teach mistakes, and make right answers of the test count as wrong",
          "review them in report.html, the least probable labels first; fix gives those that you choose the suggested label",
          "cat/1.png: label 'cat', looks like 'dog' (chance that 'cat' is right: under 0.01%)", "relabel_chosen", looks=True),
    Check("E_LEAKAGE", split_checks.leakage, "the same picture, or frames of one recording, in two splits",
          "results on a picture seen in training are worth nothing", "keep it out of training",
          "train/cat/1.png = test/cat/9.png", "drop_from_train", looks=True),
    Check("W_NEAR_LEAKAGE", split_checks.near_leakage, "pictures that look the same in two splits, fewer than validate.max_near_leakage",
          "results on them are a little too good", "review each pair in report.html; take what is the same thing out of training",
          "train/cat/1.png ~ test/cat/9.png", "drop_from_train", looks=True),
    Check("E_GROUP_LEAKAGE", split_checks.group_leakage, "groups on two sides of the official split",
          "the test shows people, products or recordings that training has seen", "move all samples of a group into one split",
          "train/cat/1.png: group 'anna' is in other splits than train too", "move_group"),
    Check("W_DUPLICATE", split_checks.duplicate, "the same picture more than once in a split",
          "each copy counts again, in training and in results", "remove the copies", "cat/2.png = cat/1.png", "drop"),
    Check("W_NEAR_DUPLICATE", split_checks.near_duplicate, "pictures that look the same, within a split",
          "bursts and resaved copies make results look better than they are", "nothing, if each is a picture of its own",
          "cat/2.png ~ cat/1.png", "drop", looks=True),
    Check("W_OVERLAP", split_checks.overlap, "clips of a split that share frames (validate.min_shared_frames)",
          "windows of one recording are no independent samples",
          "give them a group (ingest --group), so that they stay on one side of a split", "run/2: 75% of its frames are in run/1"),
    Check("W_CASE_TWIN", split_checks.case_twin, "paths that differ in case alone", "a Mac or Windows keeps only one of them",
          "rename one of them", "cat/A.png: beside 'cat/a.png'"),
    Check("W_BLANK", picture_checks.blank, "pictures of nearly one colour (validate.min_contrast, max_common)",
          "they show nothing, and teach that nothing is a class", "look at them, and remove those without a thing on them",
          "cat/1.png: contrast 0.0", "drop"),
    Check("W_LOW_INFORMATION", beyond("entropy", "min_entropy", "bits per pixel %.2f", low=True),
          "pictures with hardly anything in them, unlike the rest of the set (validate.min_entropy)",
          "what a camera or program wrote by mistake is often nearly empty", "remove placeholders, covers and test patterns",
          "cat/1.png: bits per pixel 0.31 (median of the set 6.90)", "drop"),
    Check("W_BLURRED", beyond("sharpness", "min_sharpness", "sharpness %.2f", low=True),
          "blurred pictures, out of focus or moved, unlike the rest of the set (validate.min_sharpness)",
          "details that tell classes apart are lost in them", "keep those that a person can still name, remove the others",
          "cat/1.png: sharpness 0.08 (median of the set 0.71)", "drop"),
    Check("W_DARK", beyond("bright_level", "dark_below", "brightest level %.0f", low=True),
          "dark pictures, unlike the rest of the set (validate.dark_below)", "dark noise may be all that is learnt from them",
          "remove those of lens caps and nights without light; if use will be dark, add more such pictures",
          "cat/1.png: brightest level 21 (median of the set 240)", "drop"),
    Check("W_BRIGHT", beyond("dark_level", "bright_above", "darkest level %.0f", low=False),
          "overexposed pictures, unlike the rest of the set (validate.bright_above)", "where all is white, shapes and colours are gone",
          "remove those that are burnt out; white grounds are no fault", "cat/1.png: darkest level 243 (median of the set 18)", "drop"),
    Check("W_SIZE_MIX", picture_checks.odd_size, "pictures of a size unlike the others (validate.max_odd_sizes)",
          "thumbnails and scans among photos are often slips", "fetch the originals of thumbnails; take out what belongs elsewhere",
          "cat/1.png: 16x16 (side min 16, median 400, max 512; all are resized)", "drop"),
    Check("W_ODD_RATIO", picture_checks.odd_ratio, "pictures much wider or taller than the others (validate.max_odd_ratio)",
          "panoramas, strips and screenshots become tiny or distorted when they are resized",
          "crop them to what they show; prepare.resize: pad keeps their shape", "cat/1.png: 900x60", "drop"),
    Check("E_MODE_MIX", picture_checks.mode_mix, "grey and colour pictures mixed (validate.max_other_colours)",
          "where colour goes with a class, it is learnt instead of the thing",
          "prepare.channels: 1 makes them all grey; or set the severity to warning, if colour does not give the class away",
          "6.1% grey among colour pictures, more than 5%"),
    Check("E_SEQ_SIZE", where("frame_sizes", lambda sizes: sizes > 1, "%d sizes of frames"), "clips whose frames differ in size",
          "a clip is one recording; such a one was put together from several", "save all frames of a clip in one size",
          "run/1: 2 sizes of frames", "drop"),
    Check("E_SEQ_GAP", where("frame_gap", lambda frame: frame.notna(), "%s is missing"), "clips with a frame missing",
          "motion jumps where a frame is left out", "bring the frame, or number the frames anew", "run/1: frame 7 is missing", "drop"),
    Check("E_SEQ_DUP", where("frame_twin", lambda frame: frame.notna(), "%s comes twice"), "clips with a frame number that comes twice",
          "the order of its frames is a guess", "keep one of the two", "run/1: frame 7 comes twice", "drop"),
    Check("W_SEQ_FROZEN", clip_checks.frozen, "clips in which nothing moves", "there is no motion to learn from",
          "record them again, or ingest a frame of each as a still", "run/1: 8 frames, all the same", "drop"),
    Check("W_SEQ_LENGTH", clip_checks.odd_length, "clips much longer or shorter than the others (validate.max_odd_length)",
          "what is too long is thinned, what is short is padded and masked",
          "cut long ones into several; prepare.max_frames thins them", "run/1: 400 frames (min 4, median 12, max 400)", "drop"),
    Check("W_KIND_MIX", clip_checks.kind_mix, "single frames and clips mixed", "a single frame has no motion to be told by",
          "check whether they are clips cut short, or stills that belong elsewhere", "run/1.png: a single frame among clips", "drop"),
    Check("W_LENGTH_SHORTCUT", clip_checks.length_shortcut, "clip length predicts the label (validate.max_shortcut)",
          "a network that counts frames scores better than it deserves",
          "set prepare.max_frames to the frames of the shortest clip, so that all have as many; where frames repeat, take each once "
          "at the source and ingest again before that",
          "the number of frames alone ('wave' 12.0 a clip, 'stop' 31.5) predicts the label in 39% of the cases (mean over classes; "
          "a guess: 12%); the shortest clip has 8"),
    Check("W_FRAME_SHORTCUT", clip_checks.frame_shortcut, "one frame predicts the label (validate.max_shortcut)",
          "the order of time need not be learnt",
          "nothing, if one picture is enough to tell the classes apart; else find what differs beside the motion: background, size",
          "the middle frame alone, to a linear model, predicts the label in 81% of the cases (mean over classes; a guess: 12%)",
          looks=True),
    Check("W_DRIFT", drift.drift, "other than the data accepted before (validate.max_drift)",
          "a model of the older data may not fit this one, and figures of the two do not compare",
          "find out whether the world has changed, or the camera, or the labelling; then retrain rather than reuse",
          "share of 'cat' 0.10 -> 0.41 (L-inf 0.31 > 0.1)"),
    Check("W_DAMAGED", noted("W_DAMAGED"), "JPEGs with damaged data, a part of which the decoder made up",
          "often everything below a line is grey", "fetch them again from where they came, or leave them out", action="drop"),
    Check("W_EXTENSION", picture_checks.misnamed, "PNGs and JPEGs under the other's ending",
          "Darkroom goes by the content, other programs may go by the name", "nothing, or rename them at the source",
          "cat/1.png: content is JPEG"),
    Check("W_GPS", noted("W_GPS"), "pictures whose metadata says where they were taken",
          "who has the picture knows the place, such as somebody's home",
          "`darkroom ingest SOURCE data --strip-metadata` takes the coordinates out", action="strip_metadata"),
    Check("W_PERSON", noted("W_PERSON"), "pictures whose metadata names a person",
          "names of authors, owners or people shown are personal data",
          "`darkroom ingest SOURCE data --strip-metadata` takes the names out", action="strip_metadata"),
    Check("W_SERIAL", noted("W_SERIAL"), "pictures whose metadata has a device's serial number",
          "it ties pictures to one camera and its owner",
          "`darkroom ingest SOURCE data --strip-metadata` takes the numbers out", action="strip_metadata"),
    Check("W_FACES", picture_checks.faces, "pictures with faces in them, as far as the detector sees them (measure.faces)",
          "faces are personal data, and may be all that is learnt", "`darkroom ingest SOURCE data --blur-faces`",
          "cat/1.png: 2 faces", "blur_faces"),
    Check("W_TRAILING", where("trailing", lambda size: size > 0, "%d bytes after the end"), "files with something behind the picture's end",
          "no viewer shows what hides there", "`darkroom ingest SOURCE data --strip-metadata` cuts it off",
          "cat/1.png: 28 bytes after the end", "strip_metadata"),
    Check("W_METADATA", noted("W_METADATA"), "pictures with broken metadata", "what it said is lost, such as which side is up",
          "nothing: the pixels are used; save them again to get rid of it"),
    Check("W_MODE", picture_checks.converted, "pictures converted to grey or RGB",
          "palettes, CMYK and other modes become what the networks read",
          "nothing, if colours look right in outputs/augmented/preview.png", "cat/1.png: mode P"),
    Check("W_ALPHA", noted("W_ALPHA"), "pictures with transparency, put on white", "another ground may be what they are used on",
          "nothing, if white is right behind them"),
    Check("W_BIT_DEPTH", noted("W_BIT_DEPTH"), "pictures of 16 bits a channel, taken as 8", "the finer half of each level is not used",
          "nothing, unless they look black in outputs/augmented/preview.png: then save them with 8 bits"),
    Check("W_ROTATED", noted("W_ROTATED"), "pictures turned upright, as their EXIF says", "they were saved on their side or mirrored",
          "nothing, unless they lie on their side in this report"),
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
    """List every check: its code and severity, what it finds and why that matters, an example, and what to do about it."""
    severity = config.section_of(config.read_params(params), "validate.severity", file=params)
    for check in CHECKS:
        head = f"{check.code:<18}{severity.get(check.code, '(none)'):<9}"
        fix = f"; fix: {check.action.replace('_', ' ')}" if check.action else ""
        print(screen.wrapped(f"{check.message}: {check.why}", head))
        print(screen.wrapped(f"such as: {check.example}{fix}", "    ", indent=6))
        print(screen.wrapped(f"-> {check.fix}", "    ", indent=7))
