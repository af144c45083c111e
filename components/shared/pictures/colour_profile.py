"""ICC colour profiles: what a display needs to show the right colours is kept, the texts around it are not.

A profile names its maker, its owner's display and its day, in texts and in private tags (Apple's `mmod` holds a serial number).
Kept are the tags that turn numbers into colours (ICC.1:2022, section 9), in the header what they need.
"""

import struct

MAX_BYTES = 4 * 2**20  # press profiles with large tables have 3 MiB
_TAGS = {
    b"rXYZ", b"gXYZ", b"bXYZ", b"wtpt", b"bkpt", b"chad", b"lumi", b"rTRC", b"gTRC", b"bTRC", b"kTRC", b"cicp",
    b"A2B0", b"A2B1", b"A2B2", b"B2A0", b"B2A1", b"B2A2", b"gamt",
}  # fmt: skip
_TABLES = {b"mft1", b"mft2", b"mAB ", b"mBA "}
# What the standard demands of every profile, without a word in it.
_EMPTY = {
    2: {b"desc": b"desc" + bytes(4) + b"\0\0\0\x01\0" + bytes(78), b"cprt": b"text" + bytes(5)},
    4: dict.fromkeys((b"desc", b"cprt"), b"mluc" + bytes(8) + b"\0\0\0\x0c"),
}


def stripped(profile: bytes) -> bytes | None:
    """The profile without texts, dates and private tags; None for what is no valid profile."""
    if not 132 <= len(profile) <= MAX_BYTES or profile[36:40] != b"acsp" or int.from_bytes(profile[:4]) != len(profile):
        return None
    tags = {}
    for index in range(min(int.from_bytes(profile[128:132]), 100)):
        name, start, size = struct.unpack_from(">4sII", profile.ljust(132 + 1200), 132 + 12 * index)
        if start < 128 or start + size > len(profile):
            return None
        if name in _TAGS and (content := _numbers(profile[start : start + size])):
            tags.setdefault(name, content)
    if not tags:
        return None
    return _written(profile, tags | _EMPTY[4 if profile[8] >= 4 else 2])


def _numbers(content: bytes) -> bytes | None:
    """A tag's content cut to the length that its type has; None for a type that holds texts."""
    kind, rest = content[:4], len(content) - 12
    if kind in _TABLES:
        return content
    if rest < 0:
        return None
    lengths = {b"XYZ ": 20, b"sf32": 44, b"cicp": 12, b"curv": 12 + 2 * int.from_bytes(content[8:12])}
    if kind == b"para":
        lengths[kind] = 12 + 4 * {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}.get(int.from_bytes(content[8:10]), 10**9)
    return content[: lengths[kind]] if kind in lengths and len(content) >= lengths[kind] else None


def _written(profile: bytes, tags: dict[bytes, bytes]) -> bytes:
    """A profile of these tags. Of the header: version, kind, colour spaces, rendering intent and white point."""
    table, data, at = b"", b"", 132 + 12 * len(tags)
    places: dict[bytes, int] = {}  # three equal curves are stored once
    for name in sorted(tags):
        content = tags[name]
        if content not in places:
            places[content] = at + len(data)
            data += content + bytes(-len(content) % 4)
        table += struct.pack(">4sII", name, places[content], len(content))
    header = bytes(4) + profile[8:24] + bytes(12) + b"acsp" + bytes(24) + profile[64:80] + bytes(48)
    return struct.pack(">I", at + len(data)) + header + struct.pack(">I", len(tags)) + table + data
