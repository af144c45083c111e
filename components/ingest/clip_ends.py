"""Whether a video is whole where its decoder does not tell: Matroska by its header, MPEG by its packets."""

from pathlib import Path

from components.shared.pictures.formats import Undecodable


def check(path: Path) -> None:
    """Raises Undecodable when the file ends before its container says that it does."""
    suffix = path.suffix.lower()
    if suffix in (".mkv", ".webm"):
        _check_matroska(path)
    if suffix in (".mpg", ".mpeg"):
        _check_mpeg(path)


def cut(reason: str) -> Undecodable:
    """What is said of a file that is cut short."""
    return Undecodable("E_TRUNCATED", reason)


def _check_matroska(path: Path) -> None:
    """The size of its one segment (RFC 8794: an id, a size of 1 to 8 bytes, where all ones mean that it is unknown)."""
    with path.open("rb") as stream:
        head = stream.read(4096)
    at = head.find(b"\x18\x53\x80\x67") + 4
    if at < 4 or at + 8 > len(head):
        return
    length = 9 - head[at].bit_length()
    unknown = (1 << 7 * length) - 1
    inside = int.from_bytes(head[at : at + length]) & unknown
    there = path.stat().st_size - at - length
    if there < inside != unknown:
        raise cut(f"{there:,} bytes of the {inside:,} that its header says")


def _check_mpeg(path: Path) -> None:
    """Each packet by its length (ISO 13818-1). A whole file has no length and no end: a cut between two packets cannot be told."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as stream:
        head = stream.read(189)
        if head[:1] == head[188:] == b"G" and size % 188:
            raise cut(f"{size % 188} bytes of the 188 of its last packet")
        while at < size:
            stream.seek(at)
            head = stream.read(14)
            if head[:3] != b"\0\0\1" or head[3] < 0xB9:
                return  # no packet: a bare stream of frames, or padding
            match head[3], head[4:5]:
                case 0xB9, _:  # the end
                    return
                case 0xBA, mark:  # a pack: of MPEG-2 with padding behind it, or of MPEG-1
                    at += 14 + (head[-1] & 7) if mark and mark[0] >> 6 == 1 else 12
                case _:
                    at += 6 + int.from_bytes(head[4:6])
    if at > size or len(head) < 6:
        raise cut(f"{size:,} bytes, where its last packet ends at {max(at, size + 1):,}")
