"""Arrays in NumPy's NPZ files, named as Keras and MedMNIST name them."""

import math
import zipfile
from pathlib import Path

import numpy as np

from components.ingest.form import MARKED, Fit, Form, Options
from components.ingest.labelled_arrays import checked, class_names, refuse_beyond_memory, source_of
from components.ingest.listing import Listing
from components.ingest.source import Source
from components.shared.errors import CannotRun, Refused

# Names of pictures and labels inside an NPZ -> the split they stand for.
PAIRS = (
    ("x_train", "y_train", "train"), ("x_val", "y_val", "validation"), ("x_test", "y_test", "test"),
    ("images", "labels", None), ("x", "y", None), ("data", "target", None),
)  # fmt: skip
EXAMPLE = "data.npz with x_train, y_train, x_test, y_test, classes"


def fit(listing: Listing) -> Fit | None:
    """One NPZ file, and no pictures beside it."""
    files = listing.others(".npz")
    if len(files) != 1 or (not listing.file and any(folder.stills or folder.videos for folder in listing.folders.values())):
        return None
    return Fit(MARKED, f"{files[0].name} is an NPZ file")


def read(listing: Listing, options: Options) -> Source:
    """The arrays of the file; `classes` in it names the labels.

    Raises Refused for arrays that are no labelled pictures, CannotRun for a file that cannot be read.
    """
    file = listing.others(".npz")[0]
    try:
        with zipfile.ZipFile(file) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
            pairs = _pairs(names, file)
            wanted = {name for x, y, _ in pairs for name in (x, y)} | ({"classes"} & names)
            arrays = {name: _array(archive, name, file) for name in sorted(wanted)}
    except (Refused, CannotRun):
        raise
    except Exception as error:  # what stands in a foreign file makes zipfile and NumPy raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CannotRun(f"{file}: not an NPZ file that can be read ({reason}); save it with numpy.savez") from None
    classes = class_names(arrays["classes"], file) if "classes" in arrays else None
    loaded = [checked(arrays[x], arrays[y], split, classes=classes, file=file) for x, y, split in pairs]
    return source_of(loaded, "NPZ", file.parent, classes=classes, others=sorted(names - wanted))


def _pairs(names: set[str], file: Path) -> list[tuple[str, str, str | None]]:
    """The pairs that the file holds; half a pair, or two for the same samples, would be read as the whole."""
    pairs = [pair for pair in PAIRS if names.issuperset(pair[:2])]
    if not pairs:
        expected = ", ".join(f"{x}+{y}" for x, y, _ in PAIRS)
        raise CannotRun(f"{file}: expected one of {expected}; it holds: {', '.join(map(repr, sorted(names)))}")
    if len(pairs) > 1 and any(split is None for _, _, split in pairs):
        raise CannotRun(f"{file}: holds {' and '.join(f'{x}+{y}' for x, y, _ in pairs)}; leave one of them in it")
    for x, y, split in PAIRS:
        if split and len({x, y} & names) == 1:
            here, missing = (x, y) if x in names else (y, x)
            raise Refused(f"E_MISSING_FILE {file}: it holds {here} but no {missing}; put both in it, or neither")
    return pairs


def _array(archive: zipfile.ZipFile, name: str, file: Path) -> np.ndarray:
    """One array, after its header was held against its bytes, and its bytes against the memory that is free."""
    member = archive.getinfo(f"{name}.npy" if f"{name}.npy" in archive.namelist() else name)
    refuse_beyond_memory(member.file_size, file)
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(stream)
        if dtype.hasobject:
            raise Refused(f"E_PICKLE {file}: {name} holds Python objects; save plain arrays")
        expected = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or expected != member.file_size - stream.tell():
            raise CannotRun(f"{file}: {name} is {shape} of {dtype} by its header, its content has another size: cut short?")
        stream.seek(0)
        return np.lib.format.read_array(stream, allow_pickle=False)


FORM = Form("npz", "arrays of pictures and labels in one NPZ file", EXAMPLE, fit, read)
