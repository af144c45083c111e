"""CVAT's own XML, "CVAT for images": the tags and the boxes of all pictures in one file."""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element
from xml.parsers import expat

from components.ingest import boxes
from components.ingest.boxes import Box, Marked, Pictures
from components.ingest.form import MARKED, Fit, Form, Options
from components.ingest.forms.voc import parsed
from components.ingest.listing import Listing
from components.ingest.source import SPLIT_NAMES, LeftOut, Source
from components.shared.errors import CannotRun

EXAMPLE = """\
annotations.xml      tags are labels; boxes with --crop-boxes
images/1.jpg"""


def fit(listing: Listing) -> Fit | None:
    """An XML file with the element `annotations`."""
    file = _file(listing)
    return Fit(MARKED, f"{listing.relative(file)} is CVAT's") if file else None


def read(listing: Listing, options: Options) -> Source:
    """A sample for each picture with a tag; or a still of each box, or of the box around each polygon. Raises Refused, CannotRun."""
    file = _file(listing)
    path = listing.relative(file)
    try:
        images = parsed(file).findall("image")
    except (ValueError, expat.ExpatError) as error:
        raise CannotRun(f"{file}: not XML as CVAT writes it ({error})") from None
    pictures = Pictures(listing)

    with_tags = any(image.find("tag") is not None for image in images) and not options.crop_boxes

    def marked(left_out: LeftOut, faults: list[str]) -> Iterator[Marked]:
        for image in images:
            name, subset = image.get("name", "-"), image.get("subset", "")
            picture = pictures.find(name, boxes.near(path.rpartition("/")[0], f"images/{subset}", "images"))
            if not picture:
                faults += [f"E_MISSING_FILE {path}: names {name!r}, which is not there"] if len(image) else []
                continue
            try:
                size = float(image.get("width", 0)), float(image.get("height", 0))
                tags = [Box(tag.get("label", ""), 0, 0, *size) for tag in image.findall("tag")]
                things = tags if with_tags else list(_boxes(image, listing.relative(picture), left_out))
                yield Marked(picture, things, size if all(size) else None, SPLIT_NAMES.get(subset.lower()))
            except (TypeError, ValueError) as error:
                faults.append(f"E_BOX {path}: the shapes of {name!r} cannot be read ({error})")

    if with_tags:
        return boxes.whole_pictures(f"tags of CVAT in {path}", listing, marked)
    return boxes.source_of("a CVAT export", listing, options, marked)


def _file(listing: Listing) -> Path | None:
    for file in listing.others(".xml")[:100]:
        with file.open("rb") as stream:
            if re.search(rb"<annotations[\s>]", stream.read(1000)):
                return file
    return None


def _boxes(image: Element, name: str, left_out: LeftOut) -> Iterator[Box]:
    """Edges in pixels from 0, fractions too. Raises TypeError, ValueError."""
    for shape in image:
        label = shape.get("label", "")
        if shape.tag == "box" and not float(shape.get("rotation", 0)):
            yield Box(label, *(float(shape.get(edge)) for edge in ("xtl", "ytl", "xbr", "ybr")))
        elif shape.tag == "polygon":
            across, down = zip(*(map(float, point.split(",")) for point in shape.get("points").split(";")), strict=True)
            yield Box(label, min(across), min(down), max(across), max(down))
        elif shape.tag != "tag":
            left_out.add("W_BOX", "shapes that are neither upright boxes nor polygons", f"{name} {shape.tag}", label)


FORM = Form("cvat", "CVAT's own XML: pictures with tags; with --crop-boxes a still of each box", EXAMPLE, fit, read, boxes=True)
