"""Arrays in NumPy's files, named as Keras, MedMNIST and scikit-learn name them: all in one NPZ, or each in an NPY."""

import functools
import math
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO

import numpy as np

from components.ingest.archive import members_of
from components.ingest.form import MARKED, Fit, Form, Options
from components.ingest.labelled_arrays import checked, class_names, refuse_beyond_memory, source_of
from components.ingest.listing import Listing
from components.ingest.source import SPLIT_NAMES, Source
from components.shared.errors import CannotRun, Refused

_WITH_SPLIT = (("x_{}", "y_{}"), ("{}_x", "{}_y"), ("{}_images", "{}_labels"), ("images_{}", "labels_{}"))
# Names of pictures and labels, in lower case -> the split they stand for.
PAIRS = (
    *((x.format(word), y.format(word), split) for word, split in SPLIT_NAMES.items() for x, y in _WITH_SPLIT),
    ("images", "labels", None), ("x", "y", None), ("data", "target", None), ("data", "labels", None),
)  # fmt: skip
CLASSES = ("class_names", "label_names", "target_names", "classes")
EXAMPLE = """\
data.npz    with x_train, y_train, x_test, y_test, class_names
            or train_images, train_labels ...; or an NPY file of each"""


def fit(listing: Listing) -> Fit | None:
    """One NPZ file, or NPY files that make a pair, and no pictures beside."""
    if listing.pictures:
        return None
    files = listing.others(".npz")
    if len(files) == 1:
        return Fit(MARKED, f"{files[0].name} is an NPZ file")
    names = {file.stem.lower(): file.name for file in _npy(listing)}
    pair = next((names[x] + " and " + names[y] for x, y, _ in PAIRS if x in names and y in names), None)
    return Fit(MARKED, f"{pair} hold pictures and labels") if pair and not files else None


def read(listing: Listing, options: Options) -> Source:
    """The arrays; one of CLASSES among them names the labels.

    What is not compressed is mapped, not held in memory. Raises Refused for arrays that are no labelled pictures, CannotRun for a
    file that cannot be read.
    """
    found = listing.others(".npz")
    file = found[0] if found else listing.root
    try:
        if not found:
            return _source({npy.stem: functools.partial(_array_in, npy) for npy in _npy(listing)}, file)
        with zipfile.ZipFile(file) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in members_of(archive, file)}
            return _source({name: functools.partial(_array, archive, member, file) for name, member in members.items()}, file)
    except (Refused, CannotRun):
        raise
    except Exception as error:  # what stands in a foreign file makes zipfile and NumPy raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        expected = "not an NPZ file that can be read" if found else "holds NPY files that cannot be read"
        raise CannotRun(f"{file}: {expected} ({reason}); save it with numpy.save{'z' * bool(found)}") from None


def _npy(listing: Listing) -> list[Path]:
    """The NPY files of the uppermost folder that has some."""
    files = listing.others(".npy")
    return [file for file in files if file.parent == files[0].parent]


def _source(arrays: dict[str, Callable[[str], np.ndarray]], file: Path) -> Source:
    """Of what reads each array by its name: the pairs, and what their labels stand for."""
    names = {name.lower(): name for name in arrays}
    pairs, key = _pairs(names, file), next((name for name in CLASSES if name in names), None)
    classes = class_names(arrays[names[key]](key), file) if key else None
    loaded = [
        checked(*(arrays[names[name]](name) for name in (x, y)), split, classes=classes, file=file) for x, y, split in pairs
    ]
    others = arrays.keys() - {names[name] for x, y, _ in pairs for name in (x, y, key) if name}
    return source_of(loaded, "arrays", file.parent, classes=classes, others=sorted(others))


def _pairs(names: dict, file: Path) -> list[tuple[str, str, str | None]]:
    """The pairs that are there; half a pair, or two for the same samples, would be read as the whole."""
    pairs = [pair for pair in PAIRS if pair[0] in names and pair[1] in names]
    if not pairs:
        raise CannotRun(f"{file}: expected x_train+y_train (train, val or test), train_images+train_labels, images+labels, x+y or "
                        f"data+target; it holds: {', '.join(map(repr, sorted(names)))}")  # fmt: skip
    splits = [split for _, _, split in pairs]
    if len(set(splits)) < len(pairs) or (len(pairs) > 1 and None in splits):
        raise CannotRun(f"{file}: holds {' and '.join(f'{x}+{y}' for x, y, _ in pairs)}; leave one of them in it")
    for x, y, split in PAIRS:
        if split and (x in names) != (y in names):
            here, missing = (x, y) if x in names else (y, x)
            raise Refused(f"E_MISSING_FILE {file}: it holds {here} but no {missing}; put both in it, or neither")
    return pairs


def _array_in(file: Path, name: str) -> np.ndarray:
    with file.open("rb") as stream:
        return _read(stream, file.stat().st_size, name, file, start=0)


def _array(archive: zipfile.ZipFile, member: zipfile.ZipInfo, file: Path, name: str) -> np.ndarray:
    start = None
    if member.compress_type == zipfile.ZIP_STORED and member.compress_size == member.file_size and not member.flag_bits & 1:
        with archive.open(member) as stream:
            while stream.read(2**20):  # to the end, where its checksum is compared
                pass
        with file.open("rb") as stream:
            stream.seek(member.header_offset)
            head = stream.read(30)  # of which the last four bytes tell how long its name and its extra field are
        start = member.header_offset + 30 + sum(int.from_bytes(head[at : at + 2], "little") for at in (26, 28))
    with archive.open(member) as stream:
        return _read(stream, member.file_size, name, file, start=start)


def _read(stream: IO[bytes], size: int, name: str, file: Path, *, start: int | None) -> np.ndarray:
    """One array of `size` bytes, after its header was held against them.

    It is mapped where its bytes stand in the file, `start` from the beginning; else it is held against the memory that is free.
    """
    version = np.lib.format.read_magic(stream)
    read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
    shape, by_columns, dtype = read_header(stream)
    if dtype.hasobject:
        raise Refused(f"E_PICKLE {file}: {name} holds Python objects; save plain arrays, of text with y.astype(str)")
    expected = math.prod(shape) * dtype.itemsize
    if min(shape, default=0) < 0 or expected != size - stream.tell():
        raise CannotRun(f"{file}: {name} is {shape} of {dtype} by its header, its content has another size: cut short?")
    if expected and start is not None:
        return np.memmap(file, dtype, "r", start + stream.tell(), shape, "F" if by_columns else "C")
    refuse_beyond_memory(size, file)
    stream.seek(0)
    return np.lib.format.read_array(stream, allow_pickle=False)


FORM = Form("npz", "arrays of pictures and labels in an NPZ file, or in NPY files", EXAMPLE, fit, read)
