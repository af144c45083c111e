"""Which samples a model has learnt from: two digests a sample, of its picture and of its group, in a small file beside it."""

import hashlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa

from components.shared import files
from components.shared.errors import CannotRun

FILE = "seen.npy"
NO_GROUP = 0  # no key of a picture or group; in no file


def keys(table: pa.Table) -> np.ndarray:
    """uint64 (n, 2): the keys of each sample's picture and group (`samples.parquet` of `prepare`); 0 where it has no group.

    A picture is known by its decoded pixels, so that the same one saved anew has the same key, or else by its id.
    """
    picture = table["picture"].combine_chunks().fill_null("")
    picture = [pixels or id for pixels, id in zip(picture.to_pylist(), table["id"].to_pylist(), strict=True)]
    # Few groups hold many samples: each is hashed once.
    groups = table["group"].combine_chunks().dictionary_encode()
    of_group = np.append(digests("group", groups.dictionary.to_pylist()), np.uint64(NO_GROUP))
    codes = groups.indices.fill_null(len(of_group) - 1).to_numpy(zero_copy_only=False)
    return np.stack([digests("picture", picture), of_group[codes]], axis=1)


def write(file: Path, tables: Iterable[pa.Table]) -> None:
    """Write the keys of all samples of these tables: uint64 (m,), sorted, each once."""
    found = np.unique(np.concatenate([np.empty(0, np.uint64), *(keys(table).ravel() for table in tables)]))
    with files.whole_file(file) as temporary, temporary.open("wb") as stream:
        np.save(stream, found[found != NO_GROUP], allow_pickle=False)


def read(file: Path) -> np.ndarray:
    """uint64 (m,), sorted. Raises CannotRun when it is missing or damaged."""
    try:
        found = np.load(file, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise CannotRun(f"{file}: no readable list of samples ({error}); `dvc repro` makes it") from None
    if found.ndim != 1 or found.dtype != np.uint64:
        raise CannotRun(f"{file}: expected uint64 (m,), got {found.dtype} {found.shape}; `dvc repro -f train` makes it anew")
    return found


def unseen(table: pa.Table, seen: np.ndarray) -> np.ndarray:
    """bool (n,): whether neither the sample's picture nor its group is in `seen`, nor those of a near twin in this table."""
    known = np.isin(keys(table), seen).any(axis=1)
    unit = table["unit"].fill_null(-1).to_numpy()
    return ~(known | np.isin(unit, unit[known & (unit >= 0)]))


def digests(kind: str, names: list[str]) -> np.ndarray:
    """uint64 (n,), never 0: of names of one kind. A group is not taken for a picture of the same name."""
    whole = b"".join(hashlib.blake2b(f"{kind} {name}".encode(), digest_size=8).digest() for name in names)
    return np.maximum(np.frombuffer(whole, "<u8").astype(np.uint64), 1)
