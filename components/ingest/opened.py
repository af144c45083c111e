"""A source -> the folder or file in which its content lies: archives are unpacked into a folder of our own, also those in them."""

import shutil
from pathlib import Path

from components.ingest import archive
from components.ingest.listing import Listing
from components.ingest.sample_reader import kind_of
from components.shared.errors import CannotRun, Refused

_DEEPEST = 3  # archives in archives in archives; more is a bomb, or a riddle
_LITTLE = 2**20  # bytes of files beside archives that are copied in any case


def opened(source: Path, folder: Path, *, encoding: str = "") -> Path:
    """Where the content of a source begins: an archive, or a folder of nothing but archives, is unpacked into `folder`.

    Each of several archives becomes a folder of its name, and the files beside them stay beside them. Raises Refused, CannotRun.
    """
    root, allowance = source, None
    if archive.is_archive(source):
        allowance = archive.Allowance.of(source)
        root = archive.unpack(source, folder, allowance, encoding=encoding)
    for _ in range(_DEEPEST):
        archives, others = _packed(root)
        if not archives:
            return root
        target = folder if root == source else root
        for packed in archives:
            _unpack_beside(packed, target / packed.relative_to(root), allowance or archive.Allowance.of(packed), encoding)
        for other in others if target != root else []:
            (target / other.relative_to(root)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(other, target / other.relative_to(root))
        for packed in archives if target == root else []:
            packed.unlink()
        root = target
    raise CannotRun(f"{source}: archives in archives in archives; unpack them and give the folder")


def _packed(root: Path) -> tuple[list[Path], list[Path]]:
    """The archives and the other files of a folder, where these are but little beside them: no pictures, no records."""
    archives, others, listing, waiting = [], [], Listing(root), [root] if root.is_dir() else []
    while waiting:
        folder = waiting.pop()
        scan = listing.scan(folder)
        if scan.faults:
            return [], []
        for file in (folder / name for name in scan.files):
            if archive.is_archive(file):
                archives.append(file)
            elif kind_of(file):
                return [], []
            else:
                others.append(file)
        waiting += [folder / name for name in reversed(scan.folders)]
    if sum(file.stat().st_size for file in others) > max(_LITTLE, *(file.stat().st_size for file in archives), 0):
        return [], []
    return archives, others


def _unpack_beside(packed: Path, place: Path, allowance: archive.Allowance, encoding: str) -> None:
    """Unpack `a.zip` into a folder `a` at its place; a lone folder `a` in it is that folder."""
    ending = max((ending for ending in archive.ENDINGS if packed.name.lower().endswith(ending)), key=len)
    place = place.with_name(packed.name[: -len(ending)] or "archive")
    if place.exists():
        raise Refused(f"E_DUPLICATE_ROW {packed}: there is a {place.name!r} beside it; rename one of them")
    place.mkdir(parents=True)
    archive.unpack(packed, place, allowance, encoding=encoding)
    inside = list(place.iterdir())
    if [path.name for path in inside] == [place.name] and inside[0].is_dir():
        inside[0].rename(place.with_name(f"{place.name}.inside"))
        place.rmdir()
        place.with_name(f"{place.name}.inside").rename(place)
