"""The names in a zip. Most have no encoding written beside them: UTF-8, or what a detector is sure of, or what a person says."""

import contextlib
import zipfile
from pathlib import Path

from components.ingest import charsets
from components.shared.errors import CannotRun

_UTF8 = 0x800  # the flag that says that a name is UTF-8
_UNIX = 3  # the system that made a member; a backslash in its names is a letter, on others it stands between folders
_UNICODE_PATH = b"\x75\x70"  # the extra field in which some tools put the name once more, as UTF-8


def names(members: list[zipfile.ZipInfo], archive: Path, encoding: str) -> list[str]:
    """The path of each member with `/` between folders. Raises CannotRun where it takes a person to say the encoding."""
    found = [_told(member) for member in members]
    raw = [member.filename.encode("cp437") if name is None else b"" for member, name in zip(members, found, strict=True)]
    parts = sorted({part for name in raw if not name.isascii() for part in name.split(b"/") if not part.isascii()})
    encoding = (encoding or _detected(parts, archive)) if parts else "ascii"
    try:
        found = [content.decode(encoding) if name is None else name for name, content in zip(found, raw, strict=True)]
    except UnicodeDecodeError as error:
        raise CannotRun(f"{archive}: the name {error.object!a} is not {encoding}; "
                        f"say another --name-encoding: {_offered(parts)}") from None  # fmt: skip
    # Only now: in Shift-JIS and others the byte of a backslash is half of a letter.
    return [
        name if member.create_system == _UNIX else name.replace("\\", "/") for member, name in zip(members, found, strict=True)
    ]


def _told(member: zipfile.ZipInfo) -> str | None:
    """The name, where the archive says in which encoding it is."""
    if member.flag_bits & _UTF8:
        return member.filename
    extra = member.extra
    while len(extra) >= 4:
        size = int.from_bytes(extra[2:4], "little")
        if extra[:2] == _UNICODE_PATH and (name := extra[9 : 4 + size].decode(errors="ignore")):
            return name
        extra = extra[4 + size :]
    return None


def _detected(parts: list[bytes], archive: Path) -> str:
    """The encoding of parts of names that are not ASCII. It is printed where it is no more than likely."""
    with contextlib.suppress(UnicodeDecodeError):
        return b"".join(parts).decode() and "utf-8"
    if not (encoding := charsets.detected(parts)):
        raise CannotRun(f"{archive}: does not say in which encoding its names are; say --name-encoding: {_offered(parts)}")
    print(f"names     {archive.name} does not say their encoding; read as {encoding}, such as {parts[0].decode(encoding)[:40]!r}; "
          "--name-encoding takes another")  # fmt: skip
    return encoding


def _offered(parts: list[bytes]) -> str:
    return ", ".join(f"{name} for {text!r}" for name, text in charsets.readings(parts).items()) or "no usual one fits"
