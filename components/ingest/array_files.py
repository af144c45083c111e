"""Pictures as arrays: IDX pairs (MNIST's format) and NPZ files -> samples with lossless PNG frames."""

import gzip
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from components.ingest.source import SPLIT_NAMES, Source
from components.shared.data.dataset import Sample
from components.shared.errors import CannotRun, Refused
from components.shared.pictures.encode import encode_png

# Names of pictures and labels inside an NPZ -> the split they stand for.
NPZ_PAIRS = (
    ("x_train", "y_train", "train"), ("x_val", "y_val", "validation"), ("x_test", "y_test", "test"),
    ("images", "labels", None), ("x", "y", None), ("data", "target", None),
)  # fmt: skip


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
    loaded = []
    for images, labels, split in idx_pairs(folder):
        if not labels.is_file():
            raise CannotRun(f"{images}: its labels {labels.name} are missing")
        loaded.append((_idx_array(images, check), _idx_array(labels, check), split))
        _check(*loaded[-1][:2], images)
    if not loaded:
        raise CannotRun(f"{folder}: no *images-idx3-ubyte file in it")
    return Source(f"IDX: {_says(loaded)}", sum(len(y) for _, y, _ in loaded), lambda: samples(loaded, classes))


def npz(file: Path) -> Source:
    """Arrays named as Keras names them (x_train, y_train, ...), or images and labels; `classes` names the labels."""
    try:
        with np.load(file, allow_pickle=False) as content:
            names = set(content.files)
            loaded = [(content[x], content[y], split) for x, y, split in NPZ_PAIRS if {x, y} <= names]
            classes = [str(name) for name in content["classes"]] if "classes" in names else None
    except ValueError as error:
        if "pickle" in str(error).lower():
            raise Refused(f"E_PICKLE {file}: holds Python objects; save plain arrays") from None
        raise CannotRun(f"{file}: not an NPZ file ({error})") from None
    except (OSError, zipfile.BadZipFile) as error:
        raise CannotRun(f"{file}: not an NPZ file ({error})") from None
    if not loaded:
        pairs = ", ".join(f"{x}+{y}" for x, y, _ in NPZ_PAIRS)
        raise CannotRun(f"{file}: expected one of {pairs}; it holds: {', '.join(sorted(names))}")
    for pictures, labels, _ in loaded:
        _check(pictures, labels, file)
    return Source(f"NPZ: {_says(loaded)}", sum(len(y) for _, y, _ in loaded), lambda: samples(loaded, classes))


def samples(loaded: list, classes: list[str] | None) -> Iterator[Sample]:
    """(pictures, labels, split) triples -> samples: uint8 (n, h, w[, c]) are stills, (n, time, h, w, c) clips."""
    for pictures, labels, split in loaded:
        digits = len(str(len(pictures) - 1))
        for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
            label = classes[int(label)] if classes else str(label)
            folder = "/".join(part for part in (split, label.replace("/", "-")) if part)
            name = f"{folder}/{index:0{digits}d}"
            if picture.ndim == 4:
                frames = tuple((encode_png(frame), f"{name}/{t:03d}.png") for t, frame in enumerate(picture))
            else:
                name += ".png"
                frames = ((encode_png(picture), name),)
            yield Sample(label, name, frames, split=split)


def _check(pictures: np.ndarray, labels: np.ndarray, file: Path) -> None:
    if np.issubdtype(pictures.dtype, np.floating) and (bad := np.count_nonzero(~np.isfinite(pictures))):
        raise Refused(f"E_NAN {file}: {bad} of {pictures.size} values are not finite; find out where they come from")
    if pictures.dtype != np.uint8:
        raise Refused(f"E_RANGE {file}: expected uint8 pixels of 0 to 255, got {pictures.dtype}; scale and convert them")
    if pictures.ndim not in (3, 4, 5) or (pictures.ndim >= 4 and pictures.shape[-1] not in (1, 3)):
        raise Refused(f"E_DIMENSIONS {file}: expected (n, height, width[, 1 or 3]) or clips, got {pictures.shape}")
    if len(pictures) != len(labels):
        raise Refused(f"E_MISSING_FILE {file}: {len(pictures)} pictures but {len(labels)} labels")


def _idx_array(file: Path, check: Callable[[Path, bytes], None] | None) -> np.ndarray:
    try:
        content = gzip.decompress(file.read_bytes()) if file.suffix == ".gz" else file.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise CannotRun(f"{file}: cannot be read ({error})") from None
    if check:
        check(file, content)
    if len(content) < 4 or content[:3] != b"\0\0\x08":
        raise CannotRun(f"{file}: not an IDX file of bytes")
    if len(content) < 4 + 4 * content[3]:
        raise CannotRun(f"{file}: its header is cut short")
    shape = np.frombuffer(content, ">u4", count=content[3], offset=4).astype(int)
    values = np.frombuffer(content, np.uint8, offset=4 + 4 * content[3])
    if values.size != shape.prod():
        raise CannotRun(f"{file}: header says {tuple(shape)}, content has {values.size} bytes: cut short?")
    return values.reshape(shape)


def _says(loaded: list) -> str:
    parts = [f"{len(labels):,}" + (f" {split}" if split else "") for _, labels, split in loaded]
    return f"{' + '.join(parts)} pictures of {'x'.join(str(side) for side in loaded[0][0].shape[1:])}"
