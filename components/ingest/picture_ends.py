"""Whether a GIF, WebP, AVIF or HEIC is whole: their decoders take the first picture of one that is cut, or make up what is missing."""

from components.shared.pictures.formats import Undecodable


def check(content: bytes, kind: str) -> None:
    """Raises Undecodable for a file that ends before its parts say that it does."""
    end = {"GIF": _end_of_gif, "WEBP": _end_of_riff, "AVIF": _end_of_boxes, "HEIC": _end_of_boxes}.get(kind, lambda _: 0)(
        content
    )
    if end > len(content):
        raise Undecodable("E_TRUNCATED", f"a {kind} of which only {len(content):,} bytes are there")


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
