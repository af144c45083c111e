"""What a person names -> lots of samples in order, and the bytes of each: files, folders, shards, archives, object stores."""

import contextlib
import itertools
import os
import posixpath
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq
from natsort import natsorted

from components.shared.data import dataset
from components.shared.errors import CannotRun
from components.shared.masking import masked
from components.shared.pictures.formats import SIGNATURES, Undecodable

# A row in any case; a file with another ending is one only if it begins as a picture does.
PICTURES = {".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".avif", ".heic", ".heif"}
ARCHIVES = {".zip", ".tar"}  # read without being unpacked
CLOSED = {".gz", ".tgz", ".bz2", ".xz", ".7z", ".rar", ".mp4", ".avi", ".mov", ".mkv", ".webm", ".m4v"}
EXPECTED = "expected pictures, folders, shards, a .zip, a .tar or an address"
SIZE, BYTES = 256, 2**24  # samples of a lot at most, and bytes of their files: a few seconds of work, and little memory
LARGEST = 2**28  # bytes of a file
HEAD = 8  # bytes by which pictures are known
_STAMPS = ("size", "ETag", "mtime", "LastModified", "CRC", "created")  # what other content changes, by kind of store


class File(NamedTuple):
    """`size` in bytes; with another `stamp` its content is another."""

    name: str
    size: int
    stamp: str


@dataclass(frozen=True)
class Place:
    """`path`: as it was named. `address`: what fsspec takes, empty for files and folders here. `root`: what names begin with."""

    path: str
    address: str
    root: str

    @property
    def packed(self) -> bool:
        """Whether it is an archive here, of which one member may be damaged and the others not."""
        return bool(self.address) and "://" not in self.path

    def folders(self) -> Iterator[dict[str, File | None]]:
        """The files of each folder in order, hidden ones left out; of a store, also what it tells about each. Raises CannotRun."""
        if self.address:
            with _reached(self.path, self.address) as (system, _):
                told = {name: about or system.info(name) for name, about in system.find(self.root, detail=True).items()}
            files = [File(name, told[name]["size"] or 0, repr([told[name].get(key) for key in _STAMPS])) for name in told]
            shown = [file for file in files if not posixpath.basename(file.name).startswith(".")]
            shown.sort(key=lambda file: posixpath.split(file.name))
            for _, inside in itertools.groupby(shown, lambda file: posixpath.dirname(file.name)):
                yield {file.name: file for file in inside}
        elif not Path(self.path).is_dir():
            yield {self.root: None}
        else:
            for folder, folders, names in os.walk(self.path, onerror=_stop):
                folders[:] = sorted(name for name in folders if not name.startswith("."))
                names += [name for name in folders if Path(folder, name).is_symlink()]  # counted, not followed
                yield {posixpath.join(folder, name): None for name in sorted(names) if not name.startswith(".")}

    def below(self, name: str) -> str:
        """The path of a file below what was named, of that itself its name."""
        return name[len(self.root) :].lstrip("/") or posixpath.basename(name)

    def shown(self, name: str) -> str:
        """The path of a file, or a folder, as a person knows it, without secrets and bytes that are no text."""
        path, below = masked(self.path) if self.address else self.path, name[len(self.root) :].lstrip("/")
        return os.fsencode(f"{path.rstrip('/')}/{below}" if below else path).decode(errors="backslashreplace")

    @contextlib.contextmanager
    def opened(self, name: str) -> Iterator:
        """What Parquet can be read from."""
        if self.address:
            with _reached(self.path, self.address) as (system, _), system.open(name) as stream:
                yield stream
        else:
            yield Path(name)

    def read(self, files: Sequence[tuple[str, int]]) -> list[bytes | Undecodable]:
        """So many bytes of each file. What cannot be read here, or of an archive here, is a fault; of a store a CannotRun."""
        if not self.address:
            return [_read(*file) for file in files]
        some = [(name, size) for name, size in files if size]  # an object store takes no range of nothing
        with _reached(self.path, self.address) as (system, _):
            names, sizes, how = [name for name, _ in some], [size for _, size in some], "return" if self.packed else "raise"
            found = iter(system.cat_ranges(names, [0] * len(some), sizes, on_error=how) if some else ())
        read = [next(found) if size else b"" for _, size in files]
        return [Undecodable("E_UNREADABLE", _reason(each)) if isinstance(each, Exception) else each for each in read]


class Lot(NamedTuple):
    """Samples that are answered together: source and files of each; or `rows` of a shard, which is the only file then."""

    place: Place
    samples: list[tuple[str, list[File]]]
    rows: range | None = None


class Encoded(NamedTuple):
    """A sample as it was found; without frames and without a `fault` it is none.

    `frames`: encoded bytes of each, and a path below what was named. `files`: those here that hold them, where there are.
    """

    source: str
    frames: list[tuple[bytes, str]]
    files: list[str]
    fault: str | None = None
    left_out: int = 0  # files that are no pictures


def places(paths: Sequence[str]) -> list[Place]:
    """Raises CannotRun for what is not there, and for what cannot be read as it is."""
    found, faults = [], []
    for path in paths:
        ending, packed = posixpath.splitext(path)[1].lower(), Path(path).is_file()
        if "://" not in path and not Path(path).exists():
            faults.append(f"{path}: no such file or folder; {EXPECTED}")
        elif packed and ending in CLOSED:
            faults.append(f"{path}: {EXPECTED}; unpack it, or `darkroom ingest` it and name the folder of shards")
        elif "://" in path or (packed and ending in ARCHIVES):
            address = path if "://" in path else f"{ending[1:]}://::{Path(path).resolve()}"
            with _reached(path, address) as (_, root):
                found.append(Place(path, address, root.rstrip("/")))
        else:
            found.append(Place(path, "", path.rstrip("/")))
    if faults:
        raise CannotRun(*faults)
    return found


@contextlib.contextmanager
def _reached(path: str, address: str) -> Iterator[tuple]:
    """The file system and the path in it. What a store raises becomes a CannotRun."""
    import fsspec

    try:
        yield fsspec.core.url_to_fs(address)
    except (CannotRun, pa.ArrowException):  # the latter of a file that was reached, and is no Parquet
        raise
    except Exception as error:  # each kind of store has its own
        remedy = "are the address and its credentials right?" if "://" in path else "is the archive whole?"
        raise CannotRun(f"{masked(path)}: {masked(_reason(error))}; {remedy}") from None


def _reason(error: Exception) -> str:
    return next(iter(str(error).splitlines()), "") or type(error).__name__


def count(named: Sequence[Place], *, clips: bool) -> int:
    """How many samples there are, with files that will be found to be no pictures."""
    return sum(rows or 1 for place in named for _, rows in _samples(place, clips))


def lots(named: Sequence[Place], *, clips: bool) -> Iterator[Lot]:
    """All samples in order. Of `clips`, the pictures in a folder are the frames of one."""
    for place in named:
        held, size = [], 0
        for of_sample, rows in _samples(place, clips):
            files = [about or _about(name) for name, about in of_sample.items()]
            first = files[0].name
            if held and (rows or len(held) == SIZE or size > BYTES):
                yield Lot(place, held)
                held, size = [], 0
            if rows:
                few = max(1, min(SIZE, BYTES * rows // max(files[0].size, 1)))
                for start in range(0, rows, few):
                    yield Lot(place, [(place.shown(first), files)], range(start, min(start + few, rows)))
            else:
                held.append((place.shown(posixpath.dirname(first) if clips and first != place.root else first), files))
                size += sum(file.size for file in files)
        if held:
            yield Lot(place, held)


def _samples(place: Place, clips: bool) -> Iterator[tuple[dict[str, File | None], int]]:
    """The files of each sample and 0; or a shard and how many rows it has."""
    for files in place.folders():
        shards = {name: rows for name in files if name.endswith(".parquet") and (rows := _rows(place, name)) is not None}
        yield from (({name: files[name]}, rows) for name, rows in shards.items() if rows)
        others = {name: files[name] for name in files if name not in shards}
        if clips and others and place.root not in others:
            yield {name: others[name] for name in natsorted(others)}, 0
        else:
            yield from (({name: about}, 0) for name, about in others.items())


def _rows(place: Place, name: str) -> int | None:
    """Of a shard; None for a table of something else."""
    try:
        with place.opened(name) as shard:
            return dataset.count(shard) if dataset.is_shard(shard) else None
    except (OSError, pa.ArrowException):
        return None


def _is_table(place: Place, name: str) -> bool:
    try:
        with place.opened(name) as file:
            return bool(pq.read_schema(file))
    except (OSError, pa.ArrowException):
        return False


def encoded(lot: Lot) -> Iterator[Encoded]:
    """The samples of a lot with their bytes, in order; rows of a shard here that cannot be read are one fault. Raises CannotRun."""
    if lot.rows is not None:
        ((source, (file,)),) = lot.samples
        with lot.place.opened(file.name) as shard:
            try:
                for _, sample in dataset.read_stored(shard, lot.rows):
                    fault = None if sample.frames else "E_SEQ_EMPTY: a clip without frames"
                    yield Encoded(sample.source, list(sample.frames), [], fault)
            except CannotRun as damaged:
                reason = str(damaged).partition(": ")[2]  # without what was opened
                if lot.place.address and not lot.place.packed:  # a store that is away is no damage
                    raise CannotRun(f"{source}: {reason}") from None
                yield Encoded(source, [], [], f"E_UNREADABLE: of rows {lot.rows.start:,} to {lot.rows.stop - 1:,}: {reason}")
        return
    contents = iter(_contents(lot.place, [file for _, files in lot.samples for file in files]))
    for source, files in lot.samples:
        read = [(content, file) for file, content in zip(files, contents, strict=False) if content is not None]
        faults = [f"{content} in {file.name}" for content, file in read if isinstance(content, Undecodable)]
        frames = [] if faults else [(content, lot.place.below(file.name)) for content, file in read]
        here = [] if lot.place.address else [file.name for _, file in read]
        yield Encoded(source, frames, here, faults[0] if faults else None, len(files) - len(read))


def _contents(place: Place, files: list[File]) -> list[bytes | Undecodable | None]:
    """The bytes of each file, or why there are none; None for what is no picture."""
    unsure = [file for file in files if file.name != place.root and posixpath.splitext(file.name)[1].lower() not in PICTURES]
    heads = place.read([(file.name, min(file.size, HEAD)) for file in unsure])
    signatures = tuple(SIGNATURES.values())
    looks = [isinstance(head, bytes) and head.startswith(signatures) for head in heads]
    foreign = {file.name for file, picture in zip(unsure, looks, strict=True) if not picture}
    tables = [file.name for file, head in zip(unsure, heads, strict=True) if file.name in foreign and head[:4] == b"PAR1"]
    damaged = {name for name in tables if not _is_table(place, name)}
    wanted = [(file.name, file.size) for file in files if file.name not in foreign and file.size <= LARGEST]
    found = dict(zip([name for name, _ in wanted], place.read(wanted), strict=True))
    found |= dict.fromkeys(damaged, Undecodable("E_UNREADABLE", "a damaged Parquet file"))
    too_large = Undecodable("E_TOO_LARGE", f"a file of more than {LARGEST // 2**20} MiB")
    return [None if file.name in foreign - damaged else found.get(file.name, too_large) for file in files]


def _read(name: str, size: int) -> bytes | Undecodable:
    try:
        with open(name, "rb") as stream:  # noqa: PTH123, a Path of each would take as long as to read it
            return stream.read(size)
    except OSError as error:
        return Undecodable("E_UNREADABLE", error.strerror or type(error).__name__)


def _about(name: str) -> File:
    try:
        about = os.stat(name)  # noqa: PTH116, as in _read
    except OSError:  # whoever reads it says why
        return File(name, 0, "")
    # What is no file, such as a pipe, is not opened: it could wait for ever.
    return File(name if stat.S_ISREG(about.st_mode) else os.devnull, about.st_size, str(about.st_mtime_ns))


def _stop(error: OSError) -> None:
    raise error
