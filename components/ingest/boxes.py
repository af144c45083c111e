"""Boxes in pictures -> a still of each: what the forms of detection exports share.

Neither COCO nor Pascal VOC nor YOLO says a word of EXIF. Browsers and OpenCV, and so the tools that draw boxes, show a picture
upright; so a box is of the upright picture. Where an export states the size of the picture as it is stored, turned, its boxes
may be of either (Label Studio writes that size beside boxes of the upright one): such pictures are left out with a word.
"""

import functools
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from components.ingest import kinds
from components.ingest.form import MARKED, Fit, Form, Options
from components.ingest.listing import Listing, head
from components.ingest.sample_reader import escaped, refused
from components.ingest.source import Entry, LeftOut, Source
from components.shared.errors import CannotRun, Refused
from components.shared.files import as_folder
from components.shared.pictures import decode, formats, metadata
from components.shared.pictures.encode import encode_png

LEAST = 8  # pixels of a side; less shows nothing
_ANY_SIZE = (10_000, 10_000)  # of a picture that cannot be read


class Box(NamedTuple):
    """One thing: its class, and its left, top, right and bottom edge in pixels from the upper left corner, the last two not included.

    Without edges it is the class of the picture as a whole.
    """

    label: str
    edges: tuple[float, float, float, float] | None
    crowd: bool = False  # several things that were not told apart


class Marked(NamedTuple):
    """A picture and its boxes, as an export tells them."""

    picture: Path
    boxes: list[Box]
    size: tuple[float, float] | None = None  # (width, height) as the export says
    split: str | None = None
    fractions: bool = False  # the edges are fractions of the width and the height


class Export:
    """What the reader of an export has at hand: the listing and its pictures, and where faults and what is left out go."""

    def __init__(self, listing: Listing, left_out: LeftOut) -> None:
        self.listing, self.left_out = listing, left_out
        self.faults: list[str] = []
        self._names = functools.cache(self._names_in)

    def find(self, name: str, folders: Iterable[str]) -> Path | None:
        """The first picture of that name in these folders, paths below the root, as annotations name it: a path of any system, with
        an ending or without; one that is not there is tried as a name.
        """
        parts = PurePosixPath(name.replace("\\", "/"))
        for path in (parts, PurePosixPath(parts.name)):
            for folder in folders:
                where = os.path.normpath(PurePosixPath(folder) / path.parent)
                where = "" if where == "." else where
                if where in self.listing.folders and path.name in self._names(where):
                    return self.listing.root / where / self._names(where)[path.name]
        return None

    def _names_in(self, folder: str) -> dict[str, str]:
        names = [path.rpartition("/")[2] for path, kind in self.listing.files(folder) if kind == "still"]
        return {PurePosixPath(name).stem: name for name in reversed(names)} | {name: name for name in names}


def near(folder: str, *inside: str) -> list[str]:
    """The folders where annotations in `folder` may have their pictures: `images/…` for `labels/…`, in it, or beside it."""
    bases = [folder] if not folder else [folder, str(PurePosixPath(folder).parent)]
    alike = re.sub(r"(?i)(^|/)(labels|annotations)(?=/|$)", r"\1images", folder)
    return [alike, *(str(PurePosixPath(base) / name) for base in bases for name in (*inside, ""))]


def form(
    name: str, what: str, example: str, find: Callable[[Listing], str], marked: Callable[[Export], Iterator[Marked]]
) -> Form:
    """The form of an export of boxes. `find` says what in a listing is one, or nothing; `marked` tells all its pictures."""

    def fit(listing: Listing) -> Fit | None:
        return Fit(MARKED, why) if (why := find(listing)) else None

    def read(listing: Listing, options: Options) -> Source:
        if listing.file:
            raise CannotRun(f"{listing.file}: {what}; name the folder that holds it and its pictures")
        taken = "a crop of each box" if options.crop_boxes else "the labels of whole pictures"
        return Source(
            f"{what}: {taken}", listing.root, lambda left_out: _entries(Export(listing, left_out), what, options, marked)
        )

    return Form(name, f"{what}; with --crop-boxes a still of each box", example, fit, read, boxes=True)


def _entries(export: Export, what: str, options: Options, marked: Callable[[Export], Iterator[Marked]]) -> Iterator[Entry]:
    """A still of each box, a lossless PNG of the upright picture's pixels; a picture's crops are one group. Or whole pictures.

    Raises CannotRun for boxes alone unless `options.crop_boxes`, Refused with all faults.
    """
    listing, decoded = export.listing, functools.lru_cache(maxsize=1)(_upright)
    seen: set[int] = set()
    labelled = False
    for each in marked(export):
        path = listing.relative(each.picture)
        if each.boxes and hash(path) in seen:
            export.faults.append(
                f"E_DUPLICATE_ROW {escaped(path)}: has boxes in two places of the annotations; keep one of them"
            )
            continue
        seen.add(hash(path))
        labels = sorted({box.label for box in each.boxes if not box.edges})
        labelled |= bool(labels)
        if options.crop_boxes:
            size = _size(each, path, export.left_out)
            for number, label, edges in _taken(each, size, path, export.left_out) if size else ():
                name = "/".join(filter(None, [each.split, as_folder(label), f"{path.replace('/', '-')}-{number}.png"]))
                frames = functools.partial(_crop, decoded, each.picture, path, size, edges, name)
                yield Entry(label, name, frames=frames, group=path, split=each.split)
        elif len(labels) > 1:
            several = escaped(", ".join(labels[:5]))
            export.faults.append(f"E_LABEL_CONFLICT {escaped(path)}: has {len(labels)} labels ({several})")
        elif labels:
            yield Entry(labels[0], path, [each.picture], split=each.split)
        else:
            export.left_out.add("W_UNLABELED", "pictures that have no label", path)
    if not (options.crop_boxes or labelled):
        raise CannotRun(
            f"{listing.root}: {what}: boxes around things, not one label a picture; --crop-boxes takes each box as a "
            "picture of its class; or ingest a table with the columns path,label, or --form class-folders where folders are the classes"
        )
    if export.faults:
        raise Refused(*export.faults)
    for folder in listing.folders.values():
        for path, kind in listing.files(folder.path) if folder.stills else ():
            if kind == "still" and hash(path) not in seen:
                export.left_out.add("W_UNLABELED", "pictures that have no annotation", path)


def _size(each: Marked, path: str, left_out: LeftOut) -> tuple[float, float] | None:
    """(width, height) of the upright picture; None, and told, where the boxes are of another size."""
    try:
        kind = kinds.kind_of_bytes(head(each.picture, kinds.HEAD))
        with kinds.header(each.picture, kind) as image:
            width, height = image.size[::-1] if metadata.notes(image)[0] >= 5 else image.size
    except Exception:  # a decoder may raise anything on hostile bytes: its crops say why, with all that cannot be read
        return each.size or _ANY_SIZE
    if each.size and each.size != (width, height):
        sizes = f"{width}x{height}, boxes of {each.size[0]:g}x{each.size[1]:g}"
        left_out.add("W_BOX_SIZE", "pictures of another size upright than their boxes are of", f"{path} ({sizes})")
        return None
    return width, height


def _taken(each: Marked, size: tuple[float, float], path: str, left_out: LeftOut) -> Iterator[tuple[int, str, tuple[int, ...]]]:
    """(number, label, whole edges inside the picture) of the boxes that are taken; the others are told."""
    width, height = size
    across, down = size if each.fractions else (1, 1)
    for number, box in enumerate((box for box in each.boxes if box.edges), 1):
        left, top, right, bottom = (edge * scale for edge, scale in zip(box.edges, (across, down) * 2, strict=True))
        inside = max(left, 0.0), max(top, 0.0), min(right, width), min(bottom, height)
        edges = tuple(round(edge) for edge in inside) if all(map(math.isfinite, inside)) else (0, 0, 0, 0)
        reasons = {
            "boxes of crowds": box.crowd,
            "boxes without a class": not box.label.strip(),
            "boxes without a height or a width": not (left < right and top < bottom),
            "boxes outside their picture": not (inside[0] < inside[2] and inside[1] < inside[3]),
            f"boxes of less than {LEAST} px": min(edges[2] - edges[0], edges[3] - edges[1]) < LEAST,
        }
        if reason := next((reason for reason, true in reasons.items() if true), ""):
            left_out.add("W_BOX", reason, f"{path} box {number}", box.label)
        else:
            yield number, box.label, edges


def _upright(file: Path) -> np.ndarray:
    content = file.read_bytes()
    kind = kinds.kind_of_bytes(content)
    return decode.decode(content if kind in kinds.KEPT else kinds.first_picture(content, kind)[0]).pixels


def _crop(
    decoded: Callable[[Path], np.ndarray], file: Path, path: str, size: tuple[float, float], edges: tuple[int, ...], name: str
) -> list[tuple[bytes, str]]:
    """The one frame of a box. Raises Refused for a picture that cannot be decoded."""
    try:
        pixels = decoded(file)
    except formats.Undecodable as fault:
        raise refused(fault, path) from None
    if pixels.shape[1::-1] != size:
        raise Refused(f"E_CORRUPT {escaped(path)}: turned by metadata behind its pixels; save it upright")
    left, top, right, bottom = edges
    return [(encode_png(pixels[top:bottom, left:right]), name)]
