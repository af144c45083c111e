"""IDX pairs, the format of MNIST: `*images-idx3-ubyte[.gz]` with `*labels-idx1-ubyte[.gz]`."""

import gzip
import math
import zlib
from pathlib import Path

import numpy as np

from components.ingest.form import MARKED, Fit, Form, Options
from components.ingest.labelled_arrays import checked, refuse_beyond_memory, source_of
from components.ingest.listing import Listing
from components.ingest.source import Source, split_of
from components.shared.errors import CannotRun

EXAMPLE = """\
train-images-idx3-ubyte.gz
train-labels-idx1-ubyte.gz"""


def fit(listing: Listing) -> Fit | None:
    """Files named as IDX files are."""
    files = [file for file in listing.others() if "-ubyte" in file.name]
    return Fit(MARKED, f"{files[0].name} is named as an IDX file") if files else None


def read(listing: Listing, options: Options) -> Source:
    """All pairs of the folder. Raises Refused, CannotRun."""
    folders = list(dict.fromkeys(file.parent for file in listing.others() if "-ubyte" in file.name and file.is_file()))
    whole = [folder for folder in folders if any(labels.is_file() for _, labels, _ in _pairs(folder))]
    if len(whole) > 1:
        names = ", ".join(listing.relative(folder) or "." for folder in whole)
        raise CannotRun(f"{listing.root}: IDX pairs in {len(whole)} folders ({names}); name one of them as the source")
    return pairs_in((whole or folders)[0])


def pairs_in(folder: Path, *, classes: list[str] | None = None) -> Source:
    """All IDX pairs of a folder. `classes` names the labels."""
    pairs = _pairs(folder)
    if not pairs:
        raise CannotRun(f"{folder}: no *images-idx3-ubyte file in it")
    for labels in _files(folder, "*labels*idx1-ubyte*"):
        if labels not in {name for _, name, _ in pairs}:
            raise CannotRun(f"{labels}: its pictures are missing; put the *images-idx3-ubyte file beside it")
    splits = [split for _, _, split in pairs]
    if len(set(splits)) < len(splits):
        names = ", ".join(images.name for images, _, split in pairs if splits.count(split) > 1)
        what = f"more than one set of IDX pairs ({names}); put the one that is meant into a folder of its own"
        raise CannotRun(f"{folder}: {what}")
    loaded = []
    for images, labels, split in pairs:
        if not labels.is_file():
            raise CannotRun(f"{images}: its labels {labels.name} are missing")
        loaded.append(checked(_array(images), _array(labels), split, classes=classes, file=images))
    return source_of(loaded, "IDX", folder, classes=classes)


def _files(folder: Path, pattern: str) -> list[Path]:
    """Files of these names, without packed ones that lie beside their content, as torchvision leaves them."""
    files = sorted(file for file in folder.glob(pattern) if file.is_file())
    return [file for file in files if file.suffix != ".gz" or file.with_suffix("") not in files]


def _pairs(folder: Path) -> list[tuple[Path, Path, str | None]]:
    """(pictures, labels, split) for each `*images-idx3-ubyte[.gz]` with its `*labels-idx1-ubyte[.gz]`."""
    pairs = []
    for images in _files(folder, "*images*idx3-ubyte*"):
        labels = images.with_name(images.name.replace("images", "labels").replace("idx3", "idx1"))
        pairs.append((images, labels, split_of(images.name.replace("t10k", "test"))))
    return pairs


def _array(file: Path) -> np.ndarray:
    """The content of an IDX file, of which never more is unpacked than its header claims."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            head = stream.read(4)
            if len(head) < 4 or head[:3] != b"\0\0\x08":
                raise CannotRun(f"{file}: not an IDX file of bytes")
            sides = stream.read(4 * head[3])
            if len(sides) < 4 * head[3]:
                raise CannotRun(f"{file}: its header is cut short")
            shape = [int(side) for side in np.frombuffer(sides, ">u4")]
            size, content = math.prod(shape), b""
            if file.suffix == ".gz" or size == file.stat().st_size - stream.tell():
                refuse_beyond_memory(size, file)
                content = stream.read(size + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CannotRun(f"{file}: cannot be read ({error})") from None
    if len(content) != size:
        raise CannotRun(f"{file}: header says {tuple(shape)}, its content has another size: cut short?")
    return np.frombuffer(content, np.uint8).reshape(shape)


FORM = Form("idx", "IDX pairs, as MNIST comes", EXAMPLE, fit, read)
