"""Unpack a zip or tar into a folder of our own: whole or not at all, nothing outside it, and no bomb fills the disk."""

import bz2
import contextlib
import gzip
import lzma
import os
import stat
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from components.ingest import zip_names
from components.shared import files
from components.shared.errors import CannotRun, Refused

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
MAX_MEMBERS = 50_000_000
MAX_RATIO = 200  # unpacked bytes / packed bytes; pictures hardly compress, a bomb does by thousands
FREE_ALLOWANCE = 100 * 2**20  # bytes that any archive may unpack to
_END = 22  # bytes of the end of a zip, and of one without files as a whole
# Bytes of which the whole of a tar is a multiple, by whoever wrote it; GNU tar and Python pad it with zeros to 20 blocks.
_RECORDS = (*range(tarfile.BLOCKSIZE, tarfile.RECORDSIZE + 1, tarfile.BLOCKSIZE), *(2**power for power in range(14, 21)),
            5 * tarfile.RECORDSIZE, 10 * tarfile.RECORDSIZE)  # fmt: skip
_PIECE = 2**20  # bytes that are copied at once
_LONGEST_HEADER = 2**24  # bytes; tarfile reads a header whole, and a bomb claims gigabytes
_COMPRESSED = ((b"\x1f\x8b", gzip.open), (b"BZh", bz2.open), (b"\xfd7zXZ\0", lzma.open))
_DAMAGED = (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, struct.error, EOFError, OSError, RuntimeError,
            ValueError, OverflowError, KeyError)  # fmt: skip


# First bytes of what is packed in another way -> what it is.
_UNREAD = {
    b"7z\xbc\xaf\x27\x1c": "a 7z archive", b"Rar!\x1a\x07": "a RAR archive", b"\x28\xb5\x2f\xfd": "packed by zstd",
    b"\x1f\x8b": "packed by gzip", b"BZh": "packed by bzip2", b"\xfd7zXZ\0": "packed by xz",
}  # fmt: skip


@dataclass
class Allowance:
    """Bytes that an archive and all archives in it may unpack to."""

    left: int

    @classmethod
    def of(cls, archive: Path) -> "Allowance":
        """So many for each packed byte."""
        return cls(max(FREE_ALLOWANCE, archive.stat().st_size * MAX_RATIO))


def is_archive(path: Path) -> bool:
    """Whether a file's name is that of an archive."""
    return path.is_file() and path.name.lower().endswith(ENDINGS)


def unread(file: Path) -> str:
    """What is said of a file that is packed in another way; nothing of others."""
    with file.open("rb") as stream:
        head = stream.read(8)
    if is_archive(file) and any(head.startswith(magic) for magic, _ in _COMPRESSED):
        return ""
    what = next((what for magic, what in _UNREAD.items() if head.startswith(magic)), "")
    return f"{file}: {what}, which is not read; unpack it and give its folder, or pack it anew as zip or tar" if what else ""


def unpack(archive: Path, folder: Path, allowance: Allowance | None = None, *, encoding: str = "") -> Path:
    """Unpack into `folder` and return where the content begins (a lone top folder is stepped into).

    `encoding` is that of a zip's names where it does not say it. What is unpacked is taken from the allowance.
    Raises Refused for content that is not taken, CannotRun for an archive that is damaged or cut short.
    """
    allowance = allowance or Allowance.of(archive)
    try:
        if fault := unread(archive):
            raise CannotRun(fault)
        with files.room(folder):
            if archive.name.lower().endswith(".zip"):
                _zip(archive, folder, allowance, encoding)
            else:
                _tar(archive, folder, allowance)
    # zipfile says of a password or an unknown compression no more than RuntimeError; the others are kinds of damage.
    except _DAMAGED as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise CannotRun(f"{archive}: cannot be unpacked ({reason}); get it again, or pack it anew") from None
    inside = [path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX"]
    # A lone folder with folders, a table or arrays in it is what was packed, not a class.
    packed = len(inside) == 1 and inside[0].is_dir() and any(map(_more_than_pictures, inside[0].iterdir()))
    return inside[0] if packed else folder


def _more_than_pictures(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() in (".csv", ".tsv", ".parquet", ".npz") or "-ubyte" in path.name


def _zip(archive: Path, folder: Path, allowance: Allowance, encoding: str) -> None:
    with zipfile.ZipFile(archive) as content:
        members = members_of(content, archive)
        unpacked = sum(member.file_size for member in members)
        _refuse_bomb(archive, len(members), unpacked, allowance)
        allowance.left -= unpacked
        for member, name in zip(members, zip_names.names(members, archive, encoding), strict=True):
            if stat.S_ISLNK(member.external_attr >> 16):
                raise Refused(f"E_SYMLINK {archive}: {name!r} is a link; pack the file itself")
            target = _target(archive, folder, name)
            if name.endswith("/"):
                target.mkdir(parents=True, exist_ok=True)
                continue
            with content.open(member) as stream:
                _write(archive, stream, target, name, member.file_size)


def members_of(content: zipfile.ZipFile, archive: Path) -> list[zipfile.ZipInfo]:
    """What is in a zip, as much as its end says, which zipfile does not compare. Raises BadZipFile."""
    members = content.infolist()
    with archive.open("rb") as stream:
        stream.seek(max(0, archive.stat().st_size - 2**16 - _END))
        tail = stream.read()
    end = tail.rfind(b"PK\5\6")
    listed = int.from_bytes(tail[end + 10 : end + 12], "little") if end >= 0 else 0xFFFF  # of more it says no number
    if len(members) & 0xFFFF != listed != 0xFFFF:
        raise zipfile.BadZipFile(f"its directory lists {len(members)} files, its end says {listed}")
    if not members and content.start_dir + _END < archive.stat().st_size - len(content.comment):
        raise zipfile.BadZipFile("its directory is empty, though there is more in it")
    return members


def _tar(archive: Path, folder: Path, allowance: Allowance) -> None:
    links: list[tuple[Path, Path, str]] = []
    with contextlib.closing(_Stream(archive, allowance.left)) as stream, tarfile.open(fileobj=stream, mode="r:") as content:
        unpacked = count = 0
        # A stream is judged as it goes: its total size is known only at its end.
        for member in content:
            content.members = []  # or it keeps an object for each
            if member.size < 0:
                raise tarfile.ReadError(f"{member.name!r} has a negative size")
            count, unpacked = count + 1, unpacked + member.size
            _refuse_bomb(archive, count, unpacked, allowance)
            target = _target(archive, folder, member.name)
            if member.isdir():
                target.mkdir(parents=True, exist_ok=True)
            elif member.isreg():
                _write(archive, content.fileobject(content, member), target, member.name, member.size)
            elif member.islnk() or member.issym():
                above = PurePosixPath(member.name).parent if member.issym() else PurePosixPath()
                links.append((target, _target(archive, folder, os.path.normpath(above / member.linkname)), member.name))
            else:
                raise Refused(f"E_SPECIAL_FILE {archive}: {member.name!r} is neither a file nor a folder; leave it out")
        _refuse_cut(stream)
    allowance.left -= unpacked
    for target, file, name in links:  # last, since a link may come before its file
        if not file.is_file():
            raise Refused(f"E_SYMLINK {archive}: {name!r} is a link to what is no file in the archive; pack the file itself")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.hardlink_to(file)


class _Stream:
    """The uncompressed content of a tar, read only as far as no bomb goes."""

    def __init__(self, archive: Path, limit: int) -> None:
        with archive.open("rb") as file:
            head = file.read(6)
        opener = next((opener for magic, opener in _COMPRESSED if head.startswith(magic)), open)
        self.archive, self.limit = archive, limit
        self.file: IO[bytes] = opener(archive, "rb")
        self.tell, self.close = self.file.tell, self.file.close
        self.last = b""

    def read(self, size: int = _PIECE) -> bytes:
        """As a file's. Raises Refused for a bomb, tarfile.ReadError for a header that claims too much."""
        if not 0 <= size <= _LONGEST_HEADER:
            raise tarfile.ReadError(f"a header claims {size:,} bytes")
        self._refuse_beyond(self.tell() + size)
        self.last = self.file.read(size)
        return self.last

    def seek(self, place: int) -> int:
        """As a file's, forward alone."""
        if place < self.tell():
            raise tarfile.ReadError("a header leads back")
        self._refuse_beyond(place)
        return self.file.seek(place)

    def _refuse_beyond(self, place: int) -> None:
        if place > self.limit:
            raise Refused(f"E_TOO_LARGE {self.archive}: unpacks to more than {self.limit:,} bytes")


def _refuse_cut(stream: _Stream) -> None:
    """A tar ends with two blocks of zeros, padded to whole records: tarfile takes any end, also where a copy was left zeros.

    To read on to the end also compares the checksum of a compressed one.
    """
    block = stream.last  # what tarfile took for the end
    start = stream.tell() - len(block)
    if len(block) < tarfile.BLOCKSIZE:
        raise tarfile.ReadError("it is cut short: the zeros at its end are missing")
    while block:
        if block.strip(b"\0"):
            raise tarfile.ReadError("its headers are damaged, or two archives were put together")
        block = stream.read()
    size, least = stream.tell(), 2 * tarfile.BLOCKSIZE
    zeros = size - start
    if zeros < least or not any(size % record == 0 and zeros < least + record for record in _RECORDS):
        raise tarfile.ReadError(f"its last {zeros:,} bytes are zeros, which is not how an archive ends: copied only in part?")


def _target(archive: Path, folder: Path, name: str) -> Path:
    if not name:
        raise ValueError("a file without a name")
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or "\0" in name:
        raise Refused(f"E_PATH_OUTSIDE {archive}: {name!r} leaves the archive's folder")
    return folder / name


def _write(archive: Path, stream: IO[bytes], target: Path, name: str, size: int) -> None:
    """Copy one file, and be sure that all of it came."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        with target.open("xb") as file:
            while piece := stream.read(_PIECE):
                file.write(piece)
            written = file.tell()
    except FileExistsError:
        raise Refused(f"E_DUPLICATE_ROW {archive}: {name!r} stands twice in it; pack it anew with each file once") from None
    if written != size:
        raise EOFError(f"{name!r} has {written:,} bytes, expected {size:,}")


def _refuse_bomb(archive: Path, members: int, unpacked: int, allowance: Allowance) -> None:
    packed = archive.stat().st_size
    if members > MAX_MEMBERS or unpacked > allowance.left:
        raise Refused(f"E_TOO_LARGE {archive}: {packed:,} bytes unpack to more than {unpacked:,} in {members:,} files")
