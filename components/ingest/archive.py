"""Unpack a zip or tar into a folder of our own, so that nothing lands outside it and no bomb fills the disk."""

import lzma
import shutil
import stat
import tarfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath

from components.shared.errors import CannotRun, Refused

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")
MAX_MEMBERS = 5_000_000
MAX_RATIO = 200  # unpacked bytes / packed bytes; pictures hardly compress, a bomb does by thousands
FREE_ALLOWANCE = 100 * 2**20  # bytes that any archive may unpack to


def is_archive(path: Path) -> bool:
    """Whether a file's name is that of an archive."""
    return path.is_file() and path.name.lower().endswith(ENDINGS)


def unpack(archive: Path, folder: Path) -> Path:
    """Unpack into `folder` and return where the content begins (a lone top folder is stepped into). Raises Refused."""
    try:
        if archive.name.lower().endswith(".zip"):
            _zip(archive, folder)
        else:
            _tar(archive, folder)
    except tarfile.FilterError as error:
        raise Refused(f"E_PATH_OUTSIDE {archive}: {error}") from None
    # zipfile says of a password or an unknown compression no more than RuntimeError; the others are kinds of damage.
    except (zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError) as error:
        raise CannotRun(f"{archive}: cannot be unpacked ({error})") from None
    inside = [path for path in folder.iterdir() if not path.name.startswith(".") and path.name != "__MACOSX"]
    # A lone folder with folders, a table or arrays in it is what was packed, not a class.
    packed = len(inside) == 1 and inside[0].is_dir() and any(map(_more_than_pictures, inside[0].iterdir()))
    return inside[0] if packed else folder


def _more_than_pictures(path: Path) -> bool:
    return path.is_dir() or path.suffix.lower() in (".csv", ".tsv", ".parquet", ".npz") or "-ubyte" in path.name


def _zip(archive: Path, folder: Path) -> None:
    with zipfile.ZipFile(archive) as content:
        members = content.infolist()
        _refuse_bomb(archive, folder, len(members), sum(member.file_size for member in members))
        for member in members:
            if stat.S_ISLNK(member.external_attr >> 16):
                raise Refused(f"E_SYMLINK {archive}: {member.filename!r} is a link; pack the file itself")
            # zipfile drops `..` in silence; a name that needs it is a fault to say.
            _refuse_outside(archive, member.filename)
        content.extractall(folder)  # noqa: S202 (every name was judged above)


def _tar(archive: Path, folder: Path) -> None:
    with tarfile.open(archive) as content:
        unpacked = count = 0
        # A stream is judged as it goes: its total size is known only at its end.
        for member in content:
            count, unpacked = count + 1, unpacked + member.size
            _refuse_bomb(archive, folder, count, unpacked)
            _refuse_outside(archive, member.name)
            content.extract(member, folder, filter="data")


def _refuse_outside(archive: Path, name: str) -> None:
    parts = PurePosixPath(name.replace("\\", "/"))
    if parts.is_absolute() or ".." in parts.parts or "\0" in name:
        raise Refused(f"E_PATH_OUTSIDE {archive}: {name!r} leaves the archive's folder")


def _refuse_bomb(archive: Path, folder: Path, members: int, unpacked: int) -> None:
    packed = archive.stat().st_size
    if members > MAX_MEMBERS or unpacked > max(FREE_ALLOWANCE, packed * MAX_RATIO):
        raise Refused(f"E_TOO_LARGE {archive}: {packed:,} bytes unpack to more than {unpacked:,} in {members:,} files")
    free = shutil.disk_usage(folder).free
    if unpacked > free:
        raise CannotRun(f"{archive}: needs {unpacked / 2**30:.1f} GiB unpacked, {free / 2**30:.1f} GiB are free")
