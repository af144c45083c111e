"""What forms over records share: which files hold them, the splits that these are of, labels, and a path for each picture inside."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from components.ingest.kinds import kind_of_bytes
from components.ingest.listing import Listing
from components.ingest.source import LeftOut, split_of
from components.shared.errors import Refused
from components.shared.files import as_folder

_MOST_NUMBERED = 100_000  # files of one split
_CLASS_LISTS = ("classnames.txt", "classes.txt", "labels.txt", "label.labels.txt", "label_map.txt")


def leave_out_others(listing: Listing, taken: Sequence[Path], left_out: LeftOut) -> None:
    """Whatever lies beside the files that are taken, and what their numbers say is missing: `train-00003-of-00005`."""
    known = {*taken}
    numbered = [re.match(r"(.*-)(\d+)(-of-(\d+))", listing.relative(file)) for file in taken] if not listing.file else []
    there = {match[0] for match in numbered if match}
    for start, width, end, count in sorted({(match[1], len(match[2]), match[3], int(match[4])) for match in numbered if match}):
        for name in (f"{start}{number:0{width}d}{end}" for number in range(min(count, _MOST_NUMBERED))):
            if name not in there:
                left_out.add("W_MISSING", "numbered files that are not there", name)
    for path in listing.folders if not listing.file else ():
        for name in listing.scan(listing.root / path).files:
            if (file := listing.root / path / name) not in known:
                left_out.add("W_IGNORED", "files beside the records", listing.relative(file))


def splits(names: Sequence[str]) -> list[str | None]:
    """The official split of each path by a word in it, the nearest to its end; none where all are of the same."""
    found = [split_of(name) for name in names]
    return found if len(set(found)) > 1 else [None] * len(found)


def class_list(listing: Listing) -> dict[int, str]:
    """What numbers stand for, by the one list of classes beside the records: a name a line, or `0:name`. Raises Refused."""
    lists = [file for file in listing.others(".txt") if file.name.lower() in _CLASS_LISTS]
    if len(lists) != 1:
        return {}
    try:
        lines = lists[0].read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        raise Refused(f"E_NAME {lists[0]}: its names are not UTF-8; save it as UTF-8") from None
    numbered = [re.fullmatch(r"(\d+)\s*[:\t]\s*(.+)", line) for line in lines]
    if lines and all(numbered):
        return {int(match[1]): match[2].strip() for match in numbered if match}
    return {number: line.strip() for number, line in enumerate(lines) if line.strip()}


def label_of(value: object, classes: Mapping[int, str], where: str) -> str | None:
    """A label as text: of a number its name, where `classes` has names; None where there is none.

    Where numbers have names, -1 is no label, as Hugging Face and TensorFlow have it. Raises Refused.
    """
    if isinstance(value, (list, tuple)) and len(value) == 1:
        value = value[0]
    if isinstance(value, (list, tuple, dict)):
        raise Refused(f"E_LABEL {where}: expected one label, got {str(value)[:60]}")
    if isinstance(value, bytes):
        try:
            value = value.decode()
        except UnicodeDecodeError:
            raise Refused(f"E_LABEL {where}: a label that is not UTF-8") from None
    if isinstance(value, float):
        value = int(value) if value.is_integer() else None if value != value else value
    text = "" if value is None else str(value).strip()
    if not classes or not re.fullmatch(r"[+-]?\d{1,18}", text):
        return text or None
    if (number := int(text)) == -1:
        return None
    if number not in classes:
        raise Refused(f"E_LABEL {where}: label {number} is not among the {len(classes)} classes that are named")
    return classes[number]


def path_of(file: str, number: int, name: str, *, label: str, split: str | None) -> str:
    """Where a picture goes that is record `number` of a file: a path that leads nowhere else when it is exported.

    `name` is the picture's own, or no more than an ending.
    """
    name = re.split(r"[/\\]", name)[-1][-60:]
    own = f"{file.partition('.')[0].replace('/', '-')}-{number:06d}{'' if name[:1] in ('', '.') else '-'}{as_folder(name) if name else ''}"
    return "/".join([*([split] if split else []), as_folder(label), own])


def ending_of(content: bytes) -> str:
    """The ending of a picture without a name, by its first bytes."""
    kind = kind_of_bytes(content).lower()
    return {"": "", "jpeg": ".jpg"}.get(kind, f".{kind}")
