"""Whether a file that holds a whole clip is whole: each format says how long it is, and decoders do not compare."""

from pathlib import Path

from components.shared.errors import Refused
from components.shared.pictures import formats

_SLACK = 0.5  # seconds that a video may end before it says: containers round, and a last frame has no successor


def check(path: Path) -> None:
    """Raises Refused when the file ends before it says that it does."""
    suffix = path.suffix.lower()
    if suffix in (".webp", ".avi"):
        _check_riff(path)
    if suffix in (".mkv", ".webm"):
        _check_matroska(path)
    if suffix in (".mpg", ".mpeg"):
        _check_mpeg(path)
    if suffix == ".gif":
        _check_gif(path.read_bytes(), path)
    elif suffix in (".png", ".apng"):
        _check_apng(path.read_bytes(), path)
    elif suffix != ".webp":
        _check_video(path)


def _cut(path: Path, reason: str) -> Refused:
    return Refused(f"E_TRUNCATED {path.name}: {reason}; get the whole file again, or leave it out")


def _check_riff(path: Path) -> None:
    with path.open("rb") as stream:
        head = stream.read(8)
    claimed = 8 + int.from_bytes(head[4:8], "little")
    if head[:4] == b"RIFF" and claimed > path.stat().st_size:
        raise _cut(path, f"{path.stat().st_size:,} bytes of the {claimed:,} that its header says")


def _check_matroska(path: Path) -> None:
    """The size of its one segment (RFC 8794: an id, a size of 1 to 8 bytes, where all ones mean that it is unknown)."""

    def size(at: int) -> tuple[int, int]:
        length = 9 - head[at].bit_length()
        value = int.from_bytes(head[at : at + length]) & ~(1 << 7 * length)
        return value if value != (1 << 7 * length) - 1 else 0, at + length

    with path.open("rb") as stream:
        head = stream.read(4096)
    if head.startswith(b"\x1a\x45\xdf\xa3") and (at := head.find(b"\x18\x53\x80\x67")) > 0 and at + 12 <= len(head):
        inside, begin = size(at + 4)
        if begin + inside > path.stat().st_size:
            raise _cut(path, f"{path.stat().st_size:,} bytes of the {begin + inside:,} that its header says")


def _check_mpeg(path: Path) -> None:
    """Each packet by its length (ISO 13818-1). A whole file has no length and no end: a cut between two packets cannot be told."""
    size, at = path.stat().st_size, 0
    with path.open("rb") as stream:
        head = stream.read(189)
        if head[:1] == head[188:] == b"G" and size % 188:
            raise _cut(path, f"{size % 188} bytes of the 188 of its last packet")
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
        raise _cut(path, f"{size:,} bytes, where its last packet ends at {max(at, size + 1):,}")


def _check_gif(content: bytes, path: Path) -> None:
    """Walk over the blocks (GIF89a, 1990) to the trailer."""
    try:
        at = 13 + (3 * 2 ** ((content[10] & 7) + 1) if content[10] & 0x80 else 0)
        while content[at] != 0x3B:
            if content[at] == 0x2C:  # an image: its descriptor, colours, and the size of its codes
                at += 10 + (3 * 2 ** ((content[at + 9] & 7) + 1) if content[at + 9] & 0x80 else 0) + 1
            elif content[at] == 0x21:  # an extension and its kind
                at += 2
            elif content[at] == 0:  # padding, which some programs write
                at += 1
                continue
            else:
                raise Refused(f"E_CORRUPT {path.name}: byte {at:,} begins no block of a GIF; get the file again")
            while size := content[at]:
                at += 1 + size
            at += 1
    except IndexError:
        raise _cut(path, "no end of the GIF") from None


def _check_apng(content: bytes, path: Path) -> None:
    """Each chunk by its checksum, up to the end; as many frames as the header says."""
    try:
        chunks = [(name, bytes(data[:4])) for name, data in formats.chunks(content)]
    except formats.Undecodable as fault:
        raise Refused(f"{fault.code} {path.name}: {fault.reason}; get the whole file again, or leave it out") from None
    if not chunks or chunks[-1][0] != b"IEND":
        raise _cut(path, "no IEND")
    claimed = next((int.from_bytes(start) for name, start in chunks if name == b"acTL"), 0)
    there = sum(name == b"fcTL" for name, _ in chunks)
    if there < claimed:
        raise _cut(path, f"{there} frames of the {claimed} that its header says")


def _check_video(path: Path) -> None:
    """Packets against the number of frames, and their times against the duration, where the container says these."""
    import av

    with av.open(str(path)) as container:
        if not container.streams.video:
            raise Refused(f"E_CORRUPT {path.name}: holds no pictures")
        video = container.streams.video[0]
        claimed, duration, packets, end = video.frames, container.duration, 0, 0.0
        begin = (container.start_time or 0) / av.time_base
        for packet in container.demux():
            if packet.size and packet.stream is video:
                packets += 1
                if packet.is_corrupt:
                    raise _cut(path, f"frame {packets} is damaged")
            if packet.size and packet.pts is not None:
                end = max(end, float((packet.pts + (packet.duration or 0)) * packet.time_base) - begin)
    if packets < claimed:
        raise _cut(path, f"{packets} frames of the {claimed} that its header says")
    if duration and end + _SLACK + 0.02 * duration / av.time_base < duration / av.time_base:
        raise _cut(path, f"{end:.1f} seconds of the {duration / av.time_base:.1f} that its header says")
