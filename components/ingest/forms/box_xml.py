"""XML of boxes: Pascal VOC's, a file for each picture, as LabelImg, CVAT and Roboflow write it too; and CVAT's own, one for all."""

import functools
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from components.ingest import boxes
from components.ingest.boxes import Box, Export, Marked
from components.ingest.listing import Listing, first_like, lines
from components.ingest.sample_reader import STILLS
from components.ingest.source import SPLIT_NAMES, LeftOut, split_of
from components.shared.errors import CannotRun

_LARGEST = 2**28  # bytes of an XML file
_LISTS = {"train": "train", "val": "validation", "test": "test", "trainval": "train"}
_EDGES = {"voc": ("xmin", "ymin", "xmax", "ymax"), "cvat": ("xtl", "ytl", "xbr", "ybr")}


class _WithoutDoctype(ElementTree.TreeBuilder):
    """What elements are built by; a document type could define entities that unfold without end, or name files."""

    def doctype(self, *_: object) -> None:
        """Refuse it."""
        raise ValueError("it declares a document type, which is not read")


def _parsed(file: Path) -> Element:
    """The root of an XML file. Raises ValueError, ParseError."""
    if file.stat().st_size > _LARGEST:
        raise ValueError(f"more than {_LARGEST // 2**20} MiB")
    return ElementTree.fromstring(file.read_bytes(), ElementTree.XMLParser(target=_WithoutDoctype()))  # noqa: S314 (see above)


def _find_voc(listing: Listing) -> str:
    file = first_like(listing.others(".xml"), re.compile(rb"<annotation[\s>]"))
    return f"{listing.relative(file)} holds boxes as Pascal VOC writes them" if file else ""


def _voc(export: Export) -> Iterator[Marked]:
    """The pictures of all files; splits are those of ImageSets/Main, or the folder's."""
    lists_of = functools.cache(functools.partial(_lists, export))
    for file in export.listing.every(lambda name: name.lower().endswith(".xml")):
        path, lists = export.listing.relative(file), lists_of(file.parent)
        try:
            found = _parsed(file)
            if found.tag != "annotation":
                export.left_out.add("W_IGNORED", "XML files that are no annotations of a picture", path)
            elif not (picture := _picture(found, file, export)):
                export.faults.append(f"E_MISSING_FILE {path}: its picture {found.findtext('filename')!r} is not there")
            else:
                width, height = (float(found.findtext(f"size/{side}") or 0) for side in ("width", "height"))
                split = lists.get(file.stem) if lists else split_of(path.rpartition("/")[0])
                yield Marked(picture, list(_things(found)), (width, height) if width and height else None, split)
        except (ValueError, ElementTree.ParseError) as error:
            export.faults.append(f"E_BOX {path}: not annotations as Pascal VOC writes them ({error})")


def _lists(export: Export, folder: Path) -> dict[str, str]:
    """Name of a picture, without its ending -> its split, of the lists in ImageSets/Main beside the annotations."""
    splits: dict[str, str] = {}
    for name, split in _LISTS.items():  # the one of both last: it adds nothing where the two are there
        file = folder.parent / "ImageSets/Main" / f"{name}.txt"
        there = folder != export.listing.root and file.is_file()
        for words in map(str.split, lines(file) if there else ()):
            path = Path(words[0]) if words else Path()
            key = path.stem if path.suffix.lower() in STILLS else path.name
            if splits.setdefault(key, split) != split and name != "trainval":
                where = export.listing.relative(file)
                export.faults.append(f"E_LABEL_CONFLICT {where}: {key!r} is in {splits[key]} too")
    return splits


def _picture(found: Element, file: Path, export: Export) -> Path | None:
    """By the name of the XML file, as VOC's own tools find it; `filename` in it is often an older one."""
    folders = boxes.near(export.listing.relative(file.parent), "JPEGImages", "images")
    return export.find(file.stem, folders) or export.find(found.findtext("filename") or "-", folders)


def _things(found: Element) -> Iterator[Box]:
    """The things themselves, not their parts; VOC counts pixels from 1, and the last is inside. Raises ValueError."""
    for thing in found.findall("object"):
        label = (thing.findtext("name") or "").strip()
        edges = [thing.findtext(f"bndbox/{edge}") for edge in _EDGES["voc"]]
        if not label or None in edges:
            raise ValueError("an object without a name or a bndbox")
        left, top, right, bottom = map(float, edges)
        yield Box(label, (left - 1, top - 1, right, bottom))


def _cvat_file(listing: Listing) -> Path | None:
    return first_like(listing.others(".xml"), re.compile(rb"<annotations[\s>]"))


def _find_cvat(listing: Listing) -> str:
    file = _cvat_file(listing)
    return f"{listing.relative(file)} is CVAT's" if file else ""


def _cvat(export: Export) -> Iterator[Marked]:
    """The tags of each picture, and its boxes, or the boxes around its polygons. Raises CannotRun."""
    file = _cvat_file(export.listing)
    path = export.listing.relative(file)
    try:
        images = _parsed(file).findall("image")
    except (ValueError, ElementTree.ParseError) as error:
        raise CannotRun(f"{file}: not XML as CVAT writes it ({error})") from None
    for image in images:
        name, subset = image.get("name", "-"), image.get("subset", "")
        folders = boxes.near(path.rpartition("/")[0], f"images/{subset}", "images")
        if not (picture := export.find(name, folders)):
            export.faults += [f"E_MISSING_FILE {path}: names {name!r}, which is not there"] if len(image) else []
            continue
        try:
            size = float(image.get("width", 0)), float(image.get("height", 0))
            shapes = list(_shapes(image, export.listing.relative(picture), export.left_out))
            yield Marked(picture, shapes, size if all(size) else None, SPLIT_NAMES.get(subset.lower()))
        except (TypeError, ValueError) as error:
            export.faults.append(f"E_BOX {path}: the shapes of {name!r} cannot be read ({error})")


def _shapes(image: Element, name: str, left_out: LeftOut) -> Iterator[Box]:
    """Edges in pixels from 0, fractions too. Raises TypeError, ValueError."""
    for shape in image:
        label = shape.get("label", "")
        if shape.tag == "tag":
            yield Box(label, None)
        elif shape.tag == "box" and not float(shape.get("rotation", 0)):
            yield Box(label, tuple(float(shape.get(edge)) for edge in _EDGES["cvat"]))
        elif shape.tag == "polygon":
            across, down = zip(*(map(float, point.split(",")) for point in shape.get("points").split(";")), strict=True)
            yield Box(label, (min(across), min(down), max(across), max(down)))
        else:
            left_out.add("W_BOX", "shapes that are neither upright boxes nor polygons", f"{name} {shape.tag}", label)


VOC = boxes.form("voc", "a Pascal VOC export", "Annotations/1.xml\nJPEGImages/1.jpg\nImageSets/Main/train.txt", _find_voc, _voc)
CVAT = boxes.form(
    "cvat", "a CVAT export", "annotations.xml      tags are labels; boxes with --crop-boxes\nimages/1.jpg", _find_cvat, _cvat
)
