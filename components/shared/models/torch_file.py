"""Weights out of a file of PyTorch's old format, without PyTorch: a reader that knows tensors of numbers and nothing else."""

import pickle  # of a file whose digest is known, by an unpickler that makes nothing but four harmless things
from collections import OrderedDict
from pathlib import Path
from typing import BinaryIO

import numpy as np

from components.shared import files
from components.shared.errors import CannotRun, Refused

_MAGIC, _PROTOCOL = 0x1950A86A20F9469CFC6C, 1001
_KINDS = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}


def read(file: Path, *, sha256: str) -> dict[str, np.ndarray]:
    """Name -> array of every tensor; float32 and int64 are known.

    Raises CannotRun when the file is missing or damaged, Refused when it is another one or holds anything but tensors.
    """
    if not file.is_file():
        raise CannotRun(f"{file}: no such file; install the packages of requirements.lock again")
    if (found := files.digest(file)) != sha256:
        raise Refused(f"{file}: are not the weights that are known (sha256 {found[:12]}..., expected {sha256[:12]}...)")
    with file.open("rb") as stream:
        try:
            return _tensors(stream)
        except (EOFError, ValueError, IndexError, KeyError, TypeError, AttributeError, pickle.UnpicklingError) as error:
            raise Refused(f"{file}: no weights in PyTorch's old format ({error})") from None


def _tensors(stream: BinaryIO) -> dict[str, np.ndarray]:
    """Five pickles in a row (magic number, protocol, system, tensors, order of the storages), then each storage: count and values."""
    if (_Reader(stream).load(), _Reader(stream).load()) != (_MAGIC, _PROTOCOL):
        raise ValueError("another magic number or protocol")
    _Reader(stream).load()
    reader = _Reader(stream)
    tensors = reader.load()
    storages = {}
    for key in _Reader(stream).load():
        kind, count = reader.storages[key]
        if int.from_bytes(stream.read(8), "little") != count:
            raise ValueError(f"storage {key} is not of {count} values")
        storages[key] = np.frombuffer(stream.read(count * kind.itemsize), kind)
    return {name: tensor.of(storages) for name, tensor in tensors.items()}


class _Tensor:
    """A view of a storage, as PyTorch's `_rebuild_tensor_v2` describes it."""

    def __init__(self, key: str, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_) -> None:
        self.key, self.offset, self.shape, self.strides = key, offset, shape, strides

    def of(self, storages: dict[str, np.ndarray]) -> np.ndarray:
        """Its values. Not contiguous where the network was converted from TensorFlow: strides are honoured, within bounds."""
        values = storages[self.key]
        last = self.offset + sum((size - 1) * stride for size, stride in zip(self.shape, self.strides, strict=True))
        if min(self.offset, *self.shape, *self.strides, 0) < 0 or (0 not in self.shape and last >= len(values)):
            raise ValueError(f"a tensor of {self.shape} reaches beyond its storage")
        strides = [stride * values.itemsize for stride in self.strides]
        return np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides, writeable=False).copy()


class _Reader(pickle.Unpickler):
    """Knows by name what a file of weights needs, and refuses all else: nothing of the file is ever called."""

    def __init__(self, stream: BinaryIO) -> None:
        super().__init__(stream)
        self.storages: dict[str, tuple[np.dtype, int]] = {}

    def find_class(self, module: str, name: str):
        """Our own stand-ins for the four names; raises UnpicklingError for any other."""
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Tensor
        if module == "torch" and name in _KINDS:
            return _KINDS[name]
        raise pickle.UnpicklingError(f"it names {module}.{name}")

    def persistent_load(self, pid: tuple) -> str:
        """A storage, by its key; what it holds comes behind all pickles."""
        _, kind, key, _, count, _ = pid
        self.storages[key] = kind, count
        return key
