"""The names in a zip. Most have no encoding written beside them: UTF-8, or what a detector is sure of, or what a person says."""

import codecs
import contextlib
import re
import zipfile
from pathlib import Path

from components.shared.errors import CannotRun

_UTF8 = 0x800  # the flag that says that a name is UTF-8
_UNIX = 3  # the system that made a member; a backslash in its names is a letter, on others it stands between folders
_UNICODE_PATH = b"\x75\x70"  # the extra field in which some tools put the name once more, as UTF-8
# What systems write, in the order in which readings are offered; of encodings that read alike, the first counts.
_USUAL = ("cp437", "cp850", "cp932", "gb18030", "big5", "cp949", "cp866", "cp1251", "cp1252", "cp1250", "cp1253", "cp1256")
_SURE = 0.1  # by how much a reading must look less like noise than any other (charset-normalizer's `chaos`, 0 to 1)


def checked(encoding: str) -> str:
    """A name of an encoding, or of none. Raises CannotRun."""
    try:
        return encoding and codecs.lookup(encoding).name
    except LookupError:
        raise CannotRun(f"--name-encoding {encoding!r}: no such encoding; there are {', '.join(_USUAL)} and others") from None


def names(members: list[zipfile.ZipInfo], archive: Path, encoding: str) -> list[str]:
    """The path of each member with `/` between folders. Raises CannotRun where it takes a person to say the encoding."""
    found = [_told(member) for member in members]
    raw = [member.filename.encode("cp437") if name is None else b"" for member, name in zip(members, found, strict=True)]
    parts = sorted({part for name in raw if not name.isascii() for part in name.split(b"/") if not part.isascii()})
    if parts:
        encoding = encoding or _detected(parts, archive)
        try:
            found = [name or content.decode(encoding) for name, content in zip(found, raw, strict=True)]
        except UnicodeDecodeError as error:
            raise CannotRun(f"{archive}: the name {error.object!a} is not {encoding}; "
                            f"say another --name-encoding: {_offered(parts)}") from None  # fmt: skip
    else:
        found = [name if name is not None else content.decode() for name, content in zip(found, raw, strict=True)]
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
    from charset_normalizer import from_bytes

    # Less is known of few short names than of a text: what two encodings read equally well is for a person to say.
    readings = _readings(parts)
    likely = list(from_bytes(b"\n".join(parts), cp_isolation=list(readings), threshold=1)) if readings else []
    if not likely or any(other.chaos < likely[0].chaos + _SURE for other in likely[1:]):
        raise CannotRun(f"{archive}: does not say in which encoding its names are; say --name-encoding: {_offered(parts)}")
    encoding = likely[0].encoding
    print(f"names     {archive.name} does not say their encoding; read as {encoding}, such as {readings[encoding]!r}; "
          "--name-encoding takes another")  # fmt: skip
    return encoding


def _readings(parts: list[bytes]) -> dict[str, str]:
    """Each usual encoding in which all are letters -> how one looks in it, for each look the first encoding."""
    readings: dict[str, str] = {}
    for encoding in _USUAL:
        with contextlib.suppress(UnicodeDecodeError):
            texts = [part.decode(encoding) for part in parts]
            if all(re.fullmatch(r"[\w\s!-/:-@[-`{-~]+", text) for text in texts) and texts[0] not in readings.values():
                readings[encoding] = texts[0][:40]
    return readings


def _offered(parts: list[bytes]) -> str:
    return ", ".join(f"{encoding} for {text!r}" for encoding, text in _readings(parts).items()) or "no usual one fits"
