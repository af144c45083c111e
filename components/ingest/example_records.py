"""TFRecord files -> their `tf.train.Example`s, without TensorFlow: framing, checksums and Protocol Buffers."""

import functools
import gzip
import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from components.shared.errors import CannotRun

_LARGEST = 2**30  # bytes of a record
# tensorflow/core/example/{example,feature}.proto as (message, field, number, type); a map is a list of keys and values.
_MESSAGES = (
    ("Bytes", "value", 1, "*bytes"), ("Floats", "value", 1, "*float"), ("Ints", "value", 1, "*int64"),
    ("Feature", "bytes", 1, "Bytes"), ("Feature", "floats", 2, "Floats"), ("Feature", "ints", 3, "Ints"),
    ("Pair", "key", 1, "string"), ("Pair", "value", 2, "Feature"),
    ("Features", "pairs", 1, "*Pair"),
    ("Example", "features", 1, "Features"), ("Example", "lists", 2, "bytes"),  # what a SequenceExample has
)  # fmt: skip


def looks_so(file: Path) -> bool:
    """Whether a file begins as a TFRecord: with a length and its checksum."""
    try:
        with _open(file) as stream:
            head = stream.read(12)
            return len(head) == 12 and _masked(head[:8]) == head[8:]
    except (OSError, EOFError, zlib.error):
        return False


def examples(file: Path) -> Iterator[dict[str, list]]:
    """The features of each record by name. Raises CannotRun for a file that is damaged or cut, or holds something else."""
    from google.protobuf.message import DecodeError

    number = 0
    for number, record in enumerate(_records(file)):
        try:
            example = _message().FromString(record)
        except DecodeError:
            raise CannotRun(f"{file} record {number}: is no tf.train.Example") from None
        if example.lists:
            raise CannotRun(f"{file} record {number}: is a tf.train.SequenceExample, whose steps are not read; "
                            "write a tf.train.Example for each picture")  # fmt: skip
        # A feature is one of three lists, and the others are empty.
        yield {
            pair.key: [*pair.value.bytes.value, *pair.value.ints.value, *pair.value.floats.value]
            for pair in example.features.pairs
        }


def _open(file: Path) -> IO[bytes]:
    """The uncompressed content, whatever the name says."""
    with file.open("rb") as stream:
        head = stream.read(12)
    packed = head.startswith(b"\x1f\x8b") and _masked(head[:8]) != head[8:]
    return gzip.open(file) if packed else file.open("rb")


def _records(file: Path) -> Iterator[bytes]:
    number = 0
    try:
        with _open(file) as stream:
            while head := stream.read(12):
                if len(head) < 12 or _masked(head[:8]) != head[8:]:
                    raise ValueError("the checksum of its length is wrong")
                size = int.from_bytes(head[:8], "little")
                if size > _LARGEST:
                    raise ValueError(f"it claims {size:,} bytes")
                record, check = stream.read(size), stream.read(4)
                if len(record) < size or _masked(record) != check:
                    raise ValueError("its checksum is wrong, or it is cut short")
                yield record
                number += 1
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise CannotRun(f"{file} record {number}: cannot be read ({error}); get the file again") from None


def _masked(data: bytes) -> bytes:
    """CRC-32C, turned and shifted as TensorFlow does (tensorflow/core/lib/hash/crc32c.h)."""
    import google_crc32c

    crc = google_crc32c.value(data)
    return struct.pack("<I", ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF)


@functools.cache
def _message():
    """The class of a message, in a pool of its own: TensorFlow may be there with its own."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

    proto = descriptor_pb2.FileDescriptorProto(name="example.proto", syntax="proto3")
    messages = {name: proto.message_type.add(name=name) for name in dict.fromkeys(row[0] for row in _MESSAGES)}
    for message, name, number, kind in _MESSAGES:
        field = messages[message].field.add(name=name, number=number, label=3 if kind.startswith("*") else 1)
        if (kind := kind.removeprefix("*")) in messages:
            field.type, field.type_name = field.TYPE_MESSAGE, f".{kind}"
        else:
            field.type = getattr(field, f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(proto)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("Example"))
