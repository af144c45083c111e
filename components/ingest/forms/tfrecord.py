"""TFRecord files of `tf.train.Example`, a picture and its label in each: `image/encoded` with `image/class/label` or `.../text`."""

import re
from collections.abc import Iterator

from components.ingest import example_records
from components.ingest.form import HELD, Fit, Form, Options
from components.ingest.listing import Listing
from components.ingest.record_files import class_list, ending_of, label_of, leave_out_others, path_of, splits
from components.ingest.source import Entry, LeftOut, Source
from components.shared import screen
from components.shared.errors import CannotRun, Refused

# What features are called: by TensorFlow's own models first, then by TensorFlow Datasets and others. The first that is there counts.
_PICTURES = ("image/encoded", "image", "image_raw", "img")
_TEXTS = ("image/class/text", "class_name", "label_name")
_NUMBERS = ("image/class/label", "label", "class", "target")
_NAMES = ("image/filename", "filename", "image_name", "image_id", "id")
_NAMED = re.compile(r"\.tfrec(ord)?s?\b", re.IGNORECASE)
_MAYBE = re.compile(r"(-\d+-of-\d+|\.record)(\.gz)?$", re.IGNORECASE)
EXAMPLE = """\
train-00000-of-00002   image/encoded, image/class/label, image/class/text
validation-00000-of-00001"""


def fit(listing: Listing) -> Fit | None:
    """Files that are called so, or are numbered and begin so."""
    for file in listing.others():
        if _NAMED.search(file.name) or (_MAYBE.search(file.name) and example_records.looks_so(file)):
            return Fit(HELD, f"{file.name} is a TFRecord file")
    return None


def read(listing: Listing, options: Options) -> Source:
    """A sample for each record. Raises CannotRun for what is damaged or no labelled picture, Refused for bad labels."""
    found = list(listing.every(lambda name: _NAMED.search(name) or _MAYBE.search(name)))
    names = [listing.relative(file) for file in found]
    classes = class_list(listing)

    def entries(left_out: LeftOut) -> Iterator[Entry]:
        leave_out_others(listing, found, left_out)
        numbers: dict[str, object] = {}
        for file, name, split in zip(found, names, splits(names), strict=True):
            number = -1
            for number, features in enumerate(example_records.examples(file)):
                where = f"{file} record {number}"
                content, label = _picture(features, where), _label(features, classes, numbers, where, options)
                if label is None:
                    left_out.add("W_UNLABELED", "records without a label", f"{name} record {number}")
                    continue
                own = _first(features, _NAMES)
                own = own.decode(errors="replace") if isinstance(own, bytes) else str(own or "")
                own = own if "." in own else own + ending_of(content)
                source = path_of(name, number, own, label=label, split=split)
                yield Entry(label, source, frames=lambda pair=(content, source): [pair], split=split)
            if number < 0:
                left_out.add("W_MISSING", "files without a record in them", name)

    return Source(f"tf.train.Examples of {screen.number(len(found), 'TFRecord file')}", listing.root, entries)


def _first(features: dict[str, list], names: tuple[str, ...]) -> object:
    """The value of the first of these features that is there; several values stay a list."""
    values = next((features[name] for name in names if features.get(name)), None)
    return values[0] if values and len(values) == 1 else values


def _picture(features: dict[str, list], where: str) -> bytes:
    content = _first(features, _PICTURES)
    if not isinstance(content, bytes) or not content:
        there = ", ".join(sorted(features)[:20]) or "none"
        raise CannotRun(f"{where}: no picture in image/encoded; its features are: {there}")
    return content


def _label(
    features: dict[str, list], classes: dict[int, str], numbers: dict[str, object], where: str, options: Options
) -> str | None:
    if options.label_field:
        if options.label_field not in features:
            raise CannotRun(f"{where}: no feature {options.label_field}; it has: {', '.join(sorted(features)[:20])}")
        return label_of(_first(features, (options.label_field,)), classes, where)
    if not any(name in features for name in (*_TEXTS, *_NUMBERS)):
        what = f"no image/class/label; it has: {', '.join(sorted(features)[:20])}; --label-field NAME says which"
        if any(name.startswith(("image/object/", "objects/")) for name in features):
            what = "has boxes of objects, and no class of the picture as a whole; this is for detection, not read here"
        raise CannotRun(f"{where}: {what}")
    number, text = _first(features, _NUMBERS), label_of(_first(features, _TEXTS), {}, where)
    if text is None:
        return label_of(number, classes, where)
    # Of ImageNet's classes two are called crane: by their text alone they would become one.
    if number is not None and numbers.setdefault(text, number) != number:
        raise Refused(f"E_LABEL_CONFLICT {where}: {text!r} is the text of two labels, {numbers[text]} and {number}; "
                      "--label-field image/class/label takes the numbers")  # fmt: skip
    return text


FORM = Form("tfrecord", "TFRecord files of tf.train.Example with a picture and a label", EXAMPLE, fit, read, fields=True)
