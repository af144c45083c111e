"""COCO's JSON, as COCO itself, CVAT, Roboflow, Label Studio and FiftyOne write it; without boxes, iNaturalist's labels."""

import json
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from components.ingest import boxes
from components.ingest.boxes import Box, Export, Marked
from components.ingest.listing import Listing, head
from components.ingest.source import split_of
from components.shared import screen
from components.shared.errors import CannotRun

_KEYS = re.compile(rb'"(images|annotations|categories|licenses|info)"\s*:')
_HEAD = 2**16  # bytes; the keys of the top stand in them, whatever their order
_MOST = 100  # files whose heads are read


def _find(listing: Listing) -> str:
    files = _files(listing)
    return f"{files[0].name} holds boxes as COCO writes them" if files else ""


def _files(listing: Listing) -> list[Path]:
    """The annotations of boxes; captions and keypoints of the same pictures may lie beside them."""
    files = listing.others(".json")
    named = [file for file in files if re.match(r"instances_|_annotations\.coco\.", file.name.lower())]
    return named or [file for file in files[:_MOST] if _has_keys(head(file, _HEAD))]


def _has_keys(content: bytes) -> bool:
    keys = set(_KEYS.findall(content))
    return content.lstrip().startswith(b"{") and len(keys) > 1 and bool(keys & {b"images", b"annotations"})


def _marked(export: Export) -> Iterator[Marked]:
    files = _files(export.listing)
    for file in export.listing.others(".json"):
        if file in files:
            yield from _pictures(file, export)
        else:
            export.left_out.add("W_IGNORED", "JSON files beside those of boxes", export.listing.relative(file))


def _pictures(file: Path, export: Export) -> Iterator[Marked]:
    """Those of one file; the split is the file's or its folder's. Without a box an annotation is of the whole picture."""
    path = export.listing.relative(file)
    above, _, _ = path.rpartition("/")
    subset = re.sub(r"^(instances|annotations)_?", "", file.stem)
    split = split_of(path)
    folders = boxes.near(above, f"images/{subset}", subset, "images", "data")
    folders += [each for each in export.listing.folders if split and split_of(each.rpartition("/")[2]) == split]
    try:
        content = json.loads(file.read_bytes(), object_hook=_without_outline)
        names = {category["id"]: str(category["name"]).encode().decode().strip() for category in content["categories"]}
        found = defaultdict(list)
        for annotation in content["annotations"]:
            if label := names.get(annotation["category_id"]):
                found[annotation["image_id"]].append(_box(label, annotation))
            else:
                what = f"annotation {annotation.get('id')!r} has the category {annotation['category_id']!r}"
                export.faults.append(f"E_LABEL {path}: {what}, which has no name in its list")
        images = {
            image["id"]: (str(image["file_name"]), float(image.get("width") or 0), float(image.get("height") or 0))
            for image in content["images"]
        }
        twice = len(content["images"]) - len(images)
    except (LookupError, TypeError, ValueError, OverflowError, AttributeError, RecursionError) as error:
        raise CannotRun(f"{file}: not annotations as COCO writes them ({type(error).__name__}: {error})") from None
    if twice:
        what = f"{twice} of its pictures have the id of another; their boxes cannot be told apart"
        export.faults.append(f"E_DUPLICATE_ROW {path}: {what}")
    if lost := found.keys() - images.keys():
        what = f"has boxes of {screen.number(len(lost), 'picture')} that it does not list, such as {min(lost, key=str)!r}"
        export.faults.append(f"E_MISSING_FILE {path}: {what}")
    for key, (name, width, height) in images.items():
        if picture := export.find(name, folders):
            yield Marked(picture, found[key], (width, height) if width and height else None, split)
        elif found[key]:
            export.faults.append(f"E_MISSING_FILE {path}: names {name!r}, which is not there")


def _without_outline(found: dict) -> dict:
    """Outlines are most of such a file, and not needed."""
    found.pop("segmentation", None)
    return found


def _box(label: str, annotation: dict) -> Box:
    if not annotation.get("bbox"):
        return Box(label, None)
    left, top, width, height = map(float, annotation["bbox"])
    return Box(label, (left, top, left + width, top + height), bool(annotation.get("iscrowd")))


FORM = boxes.form("coco", "a COCO export", "annotations/instances_train.json\nimages/train/1.jpg", _find, _marked)
