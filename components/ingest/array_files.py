"""Pictures as arrays: IDX pairs (MNIST's format) and NPZ files -> samples with lossless PNG frames."""

import gzip
import math
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from components.ingest.source import SPLIT_NAMES, Passed, Source
from components.shared.data.dataset import Sample
from components.shared.errors import CannotRun, Refused
from components.shared.pictures.encode import encode_png

# Names of pictures and labels inside an NPZ -> the split they stand for.
NPZ_PAIRS = (
    ("x_train", "y_train", "train"), ("x_val", "y_val", "validation"), ("x_test", "y_test", "test"),
    ("images", "labels", None), ("x", "y", None), ("data", "target", None),
)  # fmt: skip
_EXACT = 2**53  # above it a float is no exact number


def idx_pairs(folder: Path) -> list[tuple[Path, Path, str | None]]:
    """(pictures, labels, split) for each `*images-idx3-ubyte[.gz]` with its `*labels-idx1-ubyte[.gz]`."""
    pairs = []
    for images in sorted(folder.glob("*images*idx3-ubyte*")):
        labels = images.with_name(images.name.replace("images", "labels").replace("idx3", "idx1"))
        split = next(
            (SPLIT_NAMES.get(word, "test") for word in re.split(r"[-_.]", images.name) if word in (*SPLIT_NAMES, "t10k")), None
        )
        pairs.append((images, labels, split))
    return pairs


def idx(folder: Path, *, classes: list[str] | None = None, check: Callable[[Path, bytes], None] | None = None) -> Source:
    """All IDX pairs of a folder. `classes` names the labels; `check` sees each file's uncompressed content."""
    pairs = idx_pairs(folder)
    if not pairs:
        raise CannotRun(f"{folder}: no *images-idx3-ubyte file in it")
    for labels in sorted(folder.glob("*labels*idx1-ubyte*")):
        if labels not in {name for _, name, _ in pairs}:
            raise CannotRun(f"{labels}: its pictures are missing; put the *images-idx3-ubyte file beside it")
    loaded = []
    for images, labels, split in pairs:
        if not labels.is_file():
            raise CannotRun(f"{images}: its labels {labels.name} are missing")
        loaded.append((*_checked(_idx_array(images, check), _idx_array(labels, check), classes, images), split))
    return Source(f"IDX: {_summary(loaded)}", sum(len(y) for _, y, _ in loaded), lambda: samples(loaded, classes))


def npz(file: Path) -> Source:
    """Arrays named as Keras names them (x_train, y_train, ...), or images and labels; `classes` names the labels.

    Raises Refused for arrays that are no labelled pictures, CannotRun for a file that cannot be read.
    """
    try:
        with zipfile.ZipFile(file) as archive:
            names = {name.removesuffix(".npy") for name in archive.namelist()}
            pairs = _npz_pairs(names, file)
            wanted = {name for x, y, _ in pairs for name in (x, y)} | ({"classes"} & names)
            arrays = {name: _npz_array(archive, name, file) for name in sorted(wanted)}
    except (Refused, CannotRun):
        raise
    except Exception as error:  # what stands in a foreign file makes zipfile and NumPy raise anything
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CannotRun(f"{file}: not an NPZ file that can be read ({reason}); save it with numpy.savez") from None
    ignored = Passed()
    for name in sorted(names - wanted):
        ignored.add(name)
    classes = _class_names(arrays["classes"], file) if "classes" in arrays else None
    loaded = [(*_checked(arrays[x], arrays[y], classes, file), split) for x, y, split in pairs]
    return Source(f"NPZ: {_summary(loaded)}", sum(len(y) for _, y, _ in loaded), lambda: samples(loaded, classes), ignored)


def samples(loaded: list, classes: list[str] | None) -> Iterator[Sample]:
    """(pictures, labels, split) triples -> samples: uint8 (n, h, w[, c]) are stills, (n, time, h, w, c) clips."""
    taken: set[str] = set()
    for pictures, labels, split in loaded:
        digits = len(str(len(pictures) - 1))
        for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            label = classes[int(label)] if classes else str(label)
            # A path, whatever the label: it must not lead elsewhere when it is exported.
            part = re.sub(r"^\.+$|[/\\\x00-\x1f]", "-", label).encode()[:100].decode(errors="ignore")
            name = f"{split}/{part}/{index:0{digits}d}" if split else f"{part}/{index:0{digits}d}"
            if picture.ndim == 4:
                frames = tuple((encode_png(frame), f"{name}/{t:03d}.png") for t, frame in enumerate(picture))
            else:
                name += ".png"
                frames = ((encode_png(picture), name),)
            if name in taken:
                raise Refused(f"E_DUPLICATE_ROW {name!r}: comes twice in the source; give each sample a path of its own")
            taken.add(name)
            yield Sample(label, name, frames, split=split)


def _npz_pairs(names: set[str], file: Path) -> list[tuple[str, str, str | None]]:
    """The pairs that the file holds; half a pair, or two for the same samples, would be read as the whole."""
    pairs = [pair for pair in NPZ_PAIRS if names.issuperset(pair[:2])]
    if not pairs:
        expected = ", ".join(f"{x}+{y}" for x, y, _ in NPZ_PAIRS)
        raise CannotRun(f"{file}: expected one of {expected}; it holds: {', '.join(map(repr, sorted(names)))}")
    if len(pairs) > 1 and any(split is None for _, _, split in pairs):
        raise CannotRun(f"{file}: holds {' and '.join(f'{x}+{y}' for x, y, _ in pairs)}; leave one of them in it")
    for x, y, split in NPZ_PAIRS:
        if split and len({x, y} & names) == 1:
            here, missing = (x, y) if x in names else (y, x)
            raise Refused(f"E_MISSING_FILE {file}: it holds {here} but no {missing}; put both in it, or neither")
    return pairs


def _npz_array(archive: zipfile.ZipFile, name: str, file: Path) -> np.ndarray:
    """One array, after its header was held against its bytes, and its bytes against the memory that is free."""
    member = archive.getinfo(f"{name}.npy" if f"{name}.npy" in archive.namelist() else name)
    _refuse_beyond_memory(member.file_size, file)
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


def _class_names(classes: np.ndarray, file: Path) -> list[str]:
    if classes.ndim != 1 or classes.dtype.kind not in "USiu":
        raise Refused(f"E_LABEL {file}: expected classes to be a list of names, got {classes.shape} of {classes.dtype}")
    names = [str(name) for name in _text(classes, file)]
    if len(set(names)) < len(names):
        raise Refused(f"E_LABEL {file}: classes names {Counter(names).most_common(1)[0][0]!r} twice")
    return names


def _checked(pictures: np.ndarray, labels: np.ndarray, classes: list[str] | None, file: Path) -> tuple[np.ndarray, np.ndarray]:
    """The pictures, and a label for each: (n,) integers or text. Raises Refused."""
    if np.issubdtype(pictures.dtype, np.floating) and (bad := np.count_nonzero(~np.isfinite(pictures))):
        raise Refused(f"E_NAN {file}: {bad} of {pictures.size} values are not finite; find out where they come from")
    if pictures.dtype != np.uint8:
        raise Refused(f"E_RANGE {file}: expected uint8 pixels of 0 to 255, got {pictures.dtype}; scale and convert them")
    if pictures.ndim and not pictures.shape[0] and labels.shape[:1] == (0,):
        raise Refused(
            f"E_NO_DATA {file}: arrays without a picture in them ({pictures.shape}); leave them out, or look why they are empty"
        )
    channels = pictures.ndim >= 4
    if pictures.ndim not in (3, 4, 5) or (channels and pictures.shape[-1] not in (1, 3)) or 0 in pictures.shape[1:]:
        raise Refused(f"E_DIMENSIONS {file}: expected (n, height, width[, 1 or 3]) or clips, got {pictures.shape}")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = labels[:, 0]  # as Keras has CIFAR's
    if labels.ndim != 1:
        hint = "; of a row per picture with a 1 in it, take argmax(axis=1)" if labels.ndim == 2 else ""
        raise Refused(f"E_LABEL {file}: expected a label per picture, got labels of shape {labels.shape}{hint}")
    if len(pictures) != len(labels):
        raise Refused(f"E_MISSING_FILE {file}: {len(pictures)} pictures but {len(labels)} labels")
    return pictures, _labels(labels, classes, file)


def _text(values: np.ndarray, file: Path) -> np.ndarray:
    """Bytes as text; other values as they are."""
    try:
        return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
    except UnicodeDecodeError:
        raise Refused(f"E_NAME {file}: its names are not UTF-8; save them as text") from None


def _labels(labels: np.ndarray, classes: list[str] | None, file: Path) -> np.ndarray:
    if labels.dtype.kind == "b":
        labels = labels.astype(int)
    labels = _text(labels, file)
    if labels.dtype.kind == "f" and ((labels == labels.round()) & (abs(labels) < _EXACT)).all():
        labels = labels.astype(int)
    if labels.dtype.kind not in ("iu" if classes else "iuU"):
        expected = "whole numbers, the places in `classes`" if classes else "whole numbers or text"
        raise Refused(f"E_LABEL {file}: expected labels that are {expected}, got {labels.dtype}")
    if classes and len(labels) and (wrong := np.flatnonzero((labels < 0) | (labels >= len(classes)))).size:
        raise Refused(f"E_LABEL {file}: {wrong.size} labels are not among its {len(classes)} classes (0 to {len(classes) - 1}); "
                      f"the first is {labels[wrong[0]]}, of picture {wrong[0]}")  # fmt: skip
    if labels.dtype.kind == "U" and (empty := np.flatnonzero(np.char.strip(labels) == "")).size:
        raise Refused(f"E_LABEL_EMPTY {file}: {empty.size} pictures have no label, the first is picture {empty[0]}")
    return labels


def _idx_array(file: Path, check: Callable[[Path, bytes], None] | None) -> np.ndarray:
    """The content of an IDX file, of which never more is unpacked than its header claims."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            head = stream.read(4)
            if len(head) < 4 or head[:3] != b"\0\0\x08":
                raise CannotRun(f"{file}: not an IDX file of bytes")
            head += stream.read(4 * head[3])
            if len(head) < 4 + 4 * head[3]:
                raise CannotRun(f"{file}: its header is cut short")
            shape = [int(side) for side in np.frombuffer(head, ">u4", offset=4)]
            size = math.prod(shape)
            if file.suffix == ".gz" or size == file.stat().st_size - len(head):
                _refuse_beyond_memory(size, file)
                content = head + stream.read(size + 1)
            else:
                content = head
    except (OSError, EOFError, zlib.error) as error:
        raise CannotRun(f"{file}: cannot be read ({error})") from None
    values = np.frombuffer(content, np.uint8, offset=len(head))
    if values.size != size:
        raise CannotRun(f"{file}: header says {tuple(shape)}, its content has another size: cut short?")
    if check:
        check(file, content)
    return values.reshape(shape)


def _refuse_beyond_memory(size: int, file: Path) -> None:
    import psutil

    free = psutil.virtual_memory().available
    if size > free:
        raise CannotRun(f"{file}: takes {size:,} bytes of memory, {free:,} bytes are free; cut it into files")


def _summary(loaded: list) -> str:
    parts = [f"{len(labels):,}" + (f" {split}" if split else "") for _, labels, split in loaded]
    return f"{' + '.join(parts)} pictures of {'x'.join(str(side) for side in loaded[0][0].shape[1:])}"
