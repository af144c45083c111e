"""COCO's JSON, as COCO itself, CVAT, Roboflow, Label Studio and FiftyOne write it; without boxes, iNaturalist's labels."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from components.ingest import boxes
from components.ingest.boxes import Box, Marked, Pictures
from components.ingest.form import MARKED, Fit, Form, Options
from components.ingest.listing import Listing
from components.ingest.source import LeftOut, Source, split_of
from components.shared.errors import CannotRun

EXAMPLE = """\
annotations/instances_train.json
images/train/1.jpg"""
_KEYS = re.compile(rb'"(images|annotations|categories|licenses|info)"\s*:')
_HEAD = 2**16  # bytes; the keys of the top stand in them, whatever their order
_MOST = 100  # files whose heads are read


def fit(listing: Listing) -> Fit | None:
    """JSON of COCO's names, or with its keys."""
    files = _files(listing)
    return Fit(MARKED, f"{files[0].name} holds boxes as COCO writes them") if files else None


def read(listing: Listing, options: Options) -> Source:
    """A still of each box, or where there are none the pictures with their categories; the split is the annotations' file's or folder's.

    Raises Refused, CannotRun.
    """
    files = _files(listing)

    def marked(left_out: LeftOut, faults: list[str]) -> Iterator[Marked]:
        for file in listing.others(".json"):
            if file in files:
                yield from _marked(file, listing, pictures, faults)
            else:
                left_out.add("W_IGNORED", "JSON files beside those of boxes", listing.relative(file))

    pictures = Pictures(listing)
    if not options.crop_boxes and not any(map(_has_boxes, files)):
        return boxes.whole_pictures("pictures with COCO's categories", listing, marked)
    return boxes.source_of("a COCO export", listing, options, marked)


def _files(listing: Listing) -> list[Path]:
    """The annotations of boxes; captions and keypoints of the same pictures may lie beside them."""
    files = listing.others(".json")
    named = [file for file in files if re.match(r"instances_|_annotations\.coco\.", file.name.lower())]
    return named or [file for file in files[:_MOST] if _has_keys(file)]


def _has_keys(file: Path) -> bool:
    with file.open("rb") as stream:
        head = stream.read(_HEAD)
    keys = set(_KEYS.findall(head))
    return head.lstrip().startswith(b"{") and len(keys) > 1 and bool(keys & {b"images", b"annotations"})


def _has_boxes(file: Path) -> bool:
    return b'"bbox"' in file.read_bytes()


def _without_outline(found: dict) -> dict:
    """Outlines are most of such a file, and not needed."""
    found.pop("segmentation", None)
    return found


def _marked(file: Path, listing: Listing, pictures: Pictures, faults: list[str]) -> Iterator[Marked]:
    path = listing.relative(file)
    above, _, _ = path.rpartition("/")
    subset = re.sub(r"^(instances|annotations)_?", "", file.stem)
    split = split_of(path)
    folders = boxes.near(above, f"images/{subset}", subset, "images", "data")
    folders += [each for each in listing.folders if split and split_of(each.rpartition("/")[2]) == split]
    try:
        content = json.loads(file.read_bytes(), object_hook=_without_outline)
        names = {category["id"]: str(category["name"]).encode().decode().strip() for category in content["categories"]}
        found = defaultdict(list)
        for annotation in content["annotations"]:
            label = names.get(annotation["category_id"])
            left, top, width, height = map(float, annotation.get("bbox") or (0, 0, 0, 0))
            if not label:
                faults.append(f"E_LABEL {path}: annotation {annotation.get('id')!r} has the category {annotation['category_id']!r}, "
                              "which has no name in its list")  # fmt: skip
            else:
                box = Box(label, left, top, left + width, top + height, bool(annotation.get("iscrowd")))
                found[annotation["image_id"]].append(box)
        images = {
            image["id"]: (str(image["file_name"]), float(image.get("width") or 0), float(image.get("height") or 0))
            for image in content["images"]
        }
        twice = len(content["images"]) - len(images)
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
        raise CannotRun(f"{file}: not annotations as COCO writes them ({type(error).__name__}: {error})") from None
    if twice:
        faults.append(
            f"E_DUPLICATE_ROW {path}: {twice} of its pictures have the id of another; their boxes cannot be told apart"
        )
    if lost := found.keys() - images.keys():
        faults.append(
            f"E_MISSING_FILE {path}: has boxes of {len(lost)} pictures that it does not list, such as {min(lost, key=str)!r}"
        )
    for key, (name, width, height) in images.items():
        picture = pictures.find(name, folders)
        if picture:
            yield Marked(picture, found[key], (width, height) if width and height else None, split)
        elif found[key]:
            faults.append(f"E_MISSING_FILE {path}: names {name!r}, which is not there")


FORM = Form(
    "coco",
    "COCO's JSON: with --crop-boxes a still of each box; the labels where it has no boxes",
    EXAMPLE,
    fit,
    read,
    boxes=True,
)
