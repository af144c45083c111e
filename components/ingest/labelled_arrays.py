"""Pictures and labels as two arrays -> samples with lossless PNG frames."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from components.ingest.source import Entry, LeftOut, Source
from components.shared.errors import CannotRun, Refused
from components.shared.files import as_folder
from components.shared.pictures.encode import encode_png
from components.shared.screen import number

_EXACT = 2**53  # above it a float is no exact number


class Pair(NamedTuple):
    """uint8 pictures (n, height, width[, 1 or 3]), or clips (n, time, height, width, channels), and (n,) labels."""

    pictures: np.ndarray
    labels: np.ndarray
    split: str | None


def source_of(pairs: list[Pair], what: str, root: Path, *, classes: list[str] | None, others: Sequence[str] = ()) -> Source:
    """The samples of pairs. `classes` names the labels, which are whole numbers then; `others` are arrays that are not read."""

    def entries(left_out: LeftOut) -> Iterator[Entry]:
        for name in others:
            left_out.add("W_IGNORED", "arrays that are not read", name)
        for pictures, labels, split in pairs:
            digits = len(str(len(pictures) - 1))
            for index, (picture, label) in enumerate(zip(pictures, labels, strict=True)):
                label = classes[int(label)] if classes else str(label)
                name = f"{as_folder(label)}/{index:0{digits}d}"
                name = f"{split}/{name}" if split else name
                name += "" if picture.ndim == 4 else ".png"
                yield Entry(label, name, frames=_frames(picture, name), split=split, clip=picture.ndim == 4)

    parts = [f"{len(pair.labels):,}" + (f" {pair.split}" if pair.split else "") for pair in pairs]
    noun = "picture" if parts == ["1"] else "pictures"
    shape = "x".join(str(side) for side in pairs[0].pictures.shape[1:])
    return Source(f"{what}: {' + '.join(parts)} {noun} of {shape}", root, entries)


def _frames(picture: np.ndarray, name: str) -> Callable[[], Iterable[tuple[bytes, str]]]:
    if picture.ndim == 4:
        return lambda: ((encode_png(frame), f"{name}/{time:03d}.png") for time, frame in enumerate(picture))
    return lambda: [(encode_png(picture), name)]


def checked(pictures: np.ndarray, labels: np.ndarray, split: str | None, *, classes: list[str] | None, file: Path) -> Pair:
    """The pictures, and a label for each: (n,) or (n, 1) whole numbers or text, or (n, classes) one-hot rows. Raises Refused."""
    if np.issubdtype(pictures.dtype, np.floating) and (bad := np.count_nonzero(~np.isfinite(pictures))):
        raise Refused(f"E_NAN {file}: {bad} of {pictures.size} values are not finite; find out where they come from")
    if pictures.dtype != np.uint8:
        raise Refused(f"E_RANGE {file}: expected uint8 pixels of 0 to 255, got {_as_bytes(pictures)}")
    if pictures.ndim and not pictures.shape[0] and labels.shape[:1] == (0,):
        raise Refused(
            f"E_NO_DATA {file}: arrays without a picture in them ({pictures.shape}); leave them out, or look why they are empty"
        )
    channels = pictures.ndim >= 4
    if pictures.ndim not in (3, 4, 5) or (channels and pictures.shape[-1] not in (1, 3)) or 0 in pictures.shape[1:]:
        raise Refused(f"E_DIMENSIONS {file}: expected (n, height, width[, 1 or 3]) or clips (n, time, height, width, 1 or 3), "
                      f"got {pictures.shape}{_turned(pictures.shape)}")  # fmt: skip
    labels = _one_a_picture(labels, file)
    if len(pictures) != len(labels):
        raise Refused(f"E_MISSING_FILE {file}: {number(len(pictures), 'picture')} but {number(len(labels), 'label')}")
    return Pair(pictures, _labels(labels, classes, file), split)


def _as_bytes(pictures: np.ndarray) -> str:
    """What type and range pictures have that are no bytes, and what to type to make bytes of them."""
    kind = pictures.dtype.kind
    if kind not in "biuf" or not pictures.size:
        return f"{pictures.dtype}; scale and convert them"
    low, high = pictures.min(), pictures.max()
    whole = kind != "f"
    recipes = (
        (whole and low >= 0 and high <= 1, "x.astype('uint8') * 255"),
        (low >= 0 and high <= 1, "(x * 255).round().astype('uint8')"),
        (not whole and low >= -1 and high <= 1, "((x + 1) * 127.5).round().astype('uint8')"),
        (low >= 0 and high <= 255, "x.round().astype('uint8')"),
        (low >= 0 and high <= 65535, "(x / 257).round().astype('uint8') where 65535 is white"),
    )
    recipe = next((recipe for fits, recipe in recipes if fits), "what brings them to 0 to 255, as uint8")
    return f"{pictures.dtype} of {low:g} to {high:g}; save {recipe}"


def _turned(shape: tuple[int, ...]) -> str:
    """What to type to make pictures of an array of another shape, where that can be told."""
    if len(shape) == 2:
        return "; of flat rows x.reshape(-1, height, width) makes pictures"
    if len(shape) in (4, 5) and shape[-3] in (1, 3):
        return "; if the channels come first, save np.moveaxis(x, -3, -1)"
    if len(shape) in (4, 5) and shape[-1] == 4:
        return "; of a fourth channel for transparency save x[..., :3]"
    return "; if these are grey clips, save x[..., None]" if len(shape) == 4 else ""


def _one_a_picture(labels: np.ndarray, file: Path) -> np.ndarray:
    """(n,) labels of (n, 1), as Keras has CIFAR's, or of one-hot rows. Raises Refused for several, none, or parts."""
    if labels.ndim == 2 and labels.shape[1] == 1:
        return labels[:, 0]
    if labels.ndim == 2 and labels.dtype.kind in "biuf":
        hot = labels == 1
        if (wrong := np.flatnonzero((hot.sum(axis=1) != 1) | (labels != hot).any(axis=1))).size:
            raise Refused(f"E_LABEL {file}: expected one label per picture, a row with a single 1; of {wrong.size} pictures "
                          f"the {labels.shape[1]} numbers are others, the first is picture {wrong[0]}: several labels?")  # fmt: skip
        return hot.argmax(axis=1)
    if labels.ndim != 1:
        hint = "; masks for segmentation are no labels" if labels.ndim > 2 else ""
        raise Refused(f"E_LABEL {file}: expected a label per picture, got labels of shape {labels.shape}{hint}")
    return labels


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
        raise Refused(f"E_LABEL {file}: {wrong.size} of its labels are outside its {len(classes)} classes (0 to {len(classes) - 1}); "
                      f"the first is {labels[wrong[0]]}, of picture {wrong[0]}")  # fmt: skip
    if labels.dtype.kind == "i" and (wrong := np.flatnonzero(labels < 0)).size:
        raise Refused(f"E_LABEL {file}: {wrong.size} of its labels are negative, which often stands for no label; the first is "
                      f"{labels[wrong[0]]}, of picture {wrong[0]}; leave these pictures out, or save the labels as text")  # fmt: skip
    if labels.dtype.kind == "U" and (empty := np.flatnonzero(np.char.strip(labels) == "")).size:
        raise Refused(f"E_LABEL_EMPTY {file}: {empty.size} of its pictures have no label, the first is picture {empty[0]}")
    return labels


def _text(values: np.ndarray, file: Path) -> np.ndarray:
    """Bytes as text; other values as they are."""
    try:
        return np.char.decode(values, "utf-8") if values.dtype.kind == "S" else values
    except UnicodeDecodeError:
        raise Refused(f"E_NAME {file}: its names are not UTF-8; save them as text") from None


def class_names(classes: np.ndarray, file: Path) -> list[str]:
    """What an array of names says that the labels stand for. Raises Refused."""
    if classes.ndim != 1 or classes.dtype.kind not in "USiu":
        raise Refused(f"E_LABEL {file}: expected classes to be a list of names, got {classes.shape} of {classes.dtype}")
    names = [str(name) for name in _text(classes, file)]
    if len(set(names)) < len(names):
        raise Refused(f"E_LABEL {file}: classes names {Counter(names).most_common(1)[0][0]!r} twice")
    return names


def refuse_beyond_memory(size: int, file: Path) -> None:
    """Raise CannotRun when this many bytes of an array are not free."""
    import psutil

    free = psutil.virtual_memory().available
    if size > free:
        raise CannotRun(f"{file}: takes {size:,} bytes of memory, {free:,} bytes are free; cut it into files")
