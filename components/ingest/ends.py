"""Whether a picture or video is whole where its decoder does not tell: it takes what comes before a cut, or makes up what is missing."""

from pathlib import Path

from components.shared.pictures.formats import Undecodable


def check_picture(content: bytes, kind: str) -> None:
    """Raises Undecodable for a GIF, WebP, AVIF or HEIC that ends before its parts say that it does."""
    ends = {"GIF": _end_of_gif, "WEBP": _end_of_riff, "AVIF": _end_of_boxes, "HEIC": _end_of_boxes}
    if kind in ends and ends[kind](content) > len(content):
        raise cut(f"a {kind} of which only {len(content):,} bytes are there")


def check_video(path: Path) -> None:
    """Raises Undecodable for Matroska and MPEG when the file ends before its container says that it does."""
    if path.suffix.lower() in (".mkv", ".webm"):
        _check_matroska(path)
    if path.suffix.lower() in (".mpg", ".mpeg"):
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


def _end_of_gif(content: bytes) -> int:
    """Behind its last mark (GIF89a): pieces of a length each, up to one of length 0, in blocks of three kinds."""
    at = 13 + _colours(content[10:11])
    while content[at : at + 1] != b";":
        match content[at : at + 1]:
            case b",":
                at += 11 + _colours(content[at + 9 : at + 10])
            case b"!":
                at += 2
            case b"":
                return at + 1
            case _:
                return 0  # no GIF's: the decoder says more
        while content[at : at + 1] > b"\0":
            at += 1 + content[at]
        at += 1
    return at + 1


def _colours(flags: bytes) -> int:
    """Bytes of the table of colours that follows these flags."""
    return 3 << (flags[0] & 7) + 1 if flags and flags[0] & 0x80 else 0


def _end_of_riff(content: bytes) -> int:
    return 8 + int.from_bytes(content[4:8], "little")


def _end_of_boxes(content: bytes) -> int:
    """Behind the last box (ISO 14496-12): a length and a name; a length of 1 stands behind the name, one of 0 is up to the end."""
    at = 0
    while at < len(content):
        length = int.from_bytes(content[at : at + 4])
        if length == 1:
            length = int.from_bytes(content[at + 8 : at + 16])
        if length < 8:
            return len(content) if length == 0 else 0
        at += length
    return at
