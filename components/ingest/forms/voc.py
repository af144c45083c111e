"""Pascal VOC's XML of boxes, one per picture, as VOC itself, LabelImg, CVAT and Roboflow write it."""

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree.ElementTree import Element, TreeBuilder
from xml.parsers import expat

from components.ingest import boxes
from components.ingest.boxes import Box, Marked, Pictures
from components.ingest.form import MARKED, Fit, Form, Options
from components.ingest.listing import Listing
from components.ingest.sample_reader import STILLS
from components.ingest.source import LeftOut, Source, split_of

EXAMPLE = """\
Annotations/1.xml
JPEGImages/1.jpg
ImageSets/Main/train.txt"""
_MOST = 100  # files that are looked into
_LARGEST = 2**28  # bytes of an XML file
_LISTS = {"train": "train", "val": "validation", "test": "test", "trainval": "train"}


def fit(listing: Listing) -> Fit | None:
    """XML files with the element `annotation`."""
    for file in listing.others(".xml")[:_MOST]:
        with file.open("rb") as stream:
            if re.search(rb"<annotation[\s>]", stream.read(1000)):
                return Fit(MARKED, f"{listing.relative(file)} holds boxes as Pascal VOC writes them")
    return None


def read(listing: Listing, options: Options) -> Source:
    """A still of each box; splits are those of ImageSets/Main, or the folder's. Raises Refused, CannotRun."""
    pictures = Pictures(listing)

    def marked(left_out: LeftOut, faults: list[str]) -> Iterator[Marked]:
        for folder in [each.path for each in listing.folders.values() if any(name.endswith(".xml") for name in each.others)]:
            lists = _lists(listing, folder, faults)
            for name in listing.scan(listing.root / folder).files:
                path = f"{folder}/{name}".lstrip("/")
                if not name.lower().endswith(".xml"):
                    continue
                try:
                    found = parsed(listing.root / path)
                    picture = _picture(found, path, pictures) if found.tag == "annotation" else None
                    if picture:
                        stem = path.rpartition("/")[2].rpartition(".")[0]
                        size = tuple(float(found.findtext(f"size/{side}") or 0) for side in ("width", "height"))
                        split = lists.get(stem) if lists else split_of(folder)
                        yield Marked(picture, list(_boxes(found)), size if all(size) else None, split)
                    elif found.tag == "annotation":
                        faults.append(f"E_MISSING_FILE {path}: its picture {found.findtext('filename')!r} is not there")
                    else:
                        left_out.add("W_IGNORED", "XML files that are no annotations of a picture", path)
                except (ValueError, expat.ExpatError) as error:
                    faults.append(f"E_BOX {path}: not annotations as Pascal VOC writes them ({error})")

    return boxes.source_of("a Pascal VOC export", listing, options, marked)


def _lists(listing: Listing, folder: str, faults: list[str]) -> dict[str, str]:
    """Name of a picture, without its ending -> its split, of the lists in ImageSets/Main beside the annotations."""
    splits: dict[str, str] = {}
    for name, split in _LISTS.items():  # the one of both last: it adds nothing where the two are there
        file = (listing.root / folder).parent / "ImageSets/Main" / f"{name}.txt"
        if not folder or not file.is_file():
            continue
        for words in map(str.split, file.read_text(encoding="utf-8", errors="replace").splitlines()):
            path = Path(words[0]) if words else Path()
            key = path.stem if path.suffix.lower() in STILLS else path.name
            if splits.setdefault(key, split) != split and name != "trainval":
                faults.append(f"E_LABEL_CONFLICT {listing.relative(file)}: {key!r} is in {splits[key]} too")
    return splits


def parsed(file: Path) -> Element:
    """The root of an XML file, read without entities: a document type is refused. Raises ValueError, ExpatError."""

    def refuse(*_: object) -> None:
        raise ValueError("it declares a document type, which is not read")

    if file.stat().st_size > _LARGEST:
        raise ValueError(f"more than {_LARGEST // 2**20} MiB")
    builder, parser = TreeBuilder(), expat.ParserCreate()
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler, parser.EndElementHandler, parser.CharacterDataHandler = builder.start, builder.end, builder.data
    parser.Parse(file.read_bytes(), True)
    return builder.close()


def _picture(found: Element, path: str, pictures: Pictures) -> Path | None:
    """By the name of the XML file, as VOC's own tools find it; `filename` in it is often an older one."""
    folder, _, name = path.rpartition("/")
    folders = boxes.near(folder, "JPEGImages", "images")
    return pictures.find(name.rpartition(".")[0], folders) or pictures.find(found.findtext("filename") or "-", folders)


def _boxes(found: Element) -> Iterator[Box]:
    """The things themselves, not their parts; VOC counts pixels from 1, and the last is inside. Raises ValueError."""
    for thing in found.findall("object"):
        label = (thing.findtext("name") or "").strip()
        edges = [thing.findtext(f"bndbox/{edge}") for edge in ("xmin", "ymin", "xmax", "ymax")]
        if not label or None in edges:
            raise ValueError("an object without a name or a bndbox")
        left, top, right, bottom = map(float, edges)
        yield Box(label, left - 1, top - 1, right, bottom)


FORM = Form("voc", "boxes in Pascal VOC's XML; with --crop-boxes a still of each", EXAMPLE, fit, read, boxes=True)
