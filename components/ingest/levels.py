"""Which level of a tree of folders are splits, which are classes: told by the tree alone, without a look into a file."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

from natsort import natsorted

from components.ingest.form import Options
from components.ingest.listing import Listing
from components.ingest.sample_reader import escaped
from components.ingest.source import SPLIT_NAMES
from components.shared.errors import CannotRun, Refused

# What stands beside `train` in the name of a split, and means nothing.
_NEUTRAL = {"data", "dataset", "set", "images", "image", "imgs", "img", "pictures", "photos", "videos", "frames", "dir"}


class Place(NamedTuple):
    """What a folder is: of which class and split, and how many folders below the class folder it lies (a clip, or more stills)."""

    label: str
    split: str | None
    inside: int


@dataclass
class Levels:
    """The meaning of each folder of a listing that has pictures in or below it.

    `tops` hold the class folders; `splits` names the split folders, `left` the folders that are left out, and why; `level` is
    where the label stands, if a person says it. `clips` says that pictures in folders inside class folders are frames of clips.
    """

    what: str = "a folder per class"
    tops: list[str] = field(default_factory=list)
    splits: dict[str, str] = field(default_factory=dict)
    left: dict[str, str] = field(default_factory=dict)
    level: int = 0
    clips: bool = False

    def place(self, path: str) -> Place | None:
        """The meaning of a folder; None of one that is above the class folders, or left out."""
        every = _ancestors(path)
        parts = [part for part in every if part not in self.splits]
        if self.level:
            counted = every if self.level > 0 else parts
            at = self.level - 1 if self.level > 0 else len(parts) + self.level
            label = counted[at] if 0 <= at < len(counted) else None
        else:
            top = next((top for top in self.tops if not top or path.startswith(f"{top}/")), None)
            label = next((part for part in parts if top is not None and len(part) > len(top)), None)
        if label is None or any(part in self.left for part in every):
            return None
        split = next((self.splits[part] for part in every if part in self.splits), None)
        return Place(_name(label), split, len(parts) - 1 - parts.index(label))


def levels(listing: Listing, options: Options) -> Levels:
    """Find out. Raises CannotRun, Refused for what has no classes, or could have them at more than one level."""
    found = _official(listing, options)
    if options.label_level:
        found.level, found.what = options.label_level, f"classes by --label-level {options.label_level}"
        if any(path.count("/") == found.level - 1 for path in found.splits):
            found.splits, found.left = {}, {}
    else:
        stepped = [_stepped(listing, top, options.kind) for top in found.tops]
        if stepped != found.tops:
            found.what += f", below {', '.join(stepped)}"
        found.tops = stepped
    found.clips = _are_clips(listing, found, options)
    return found


def _official(listing: Listing, options: Options) -> Levels:
    """The split folders: side by side, below folders that have no other beside them; or inside each class folder."""
    node = ""
    while True:
        children = listing.folders[node].full
        splits = _splits_of(children)
        deep = [child for child in children if listing.folders[child].full]
        distinct = {splits[child] for child in deep if child in splits}
        whole = len(splits) == len(children) > 1 or len(set(splits.values())) > 1
        if whole and ("train" in distinct or (len(distinct) > 1 and len(splits) == len(children))):
            return _side_by_side(listing, children, splits, options)
        if children and len(splits) == len(children) and not deep and not options.label_level:
            names = ", ".join(f"{escaped(child)}/" for child in children)
            raise CannotRun(f"{listing.root}: pictures without labels in {names}, which is how splits are called; put each class "
                            "into a folder of its own, add a table, or say --label-level to take these for classes")  # fmt: skip
        if len(children) != 1 or listing.folders[node].pictures:
            break
        node = children[0]
    inner = [folder for child in children for folder in listing.folders[child].full]
    splits = _splits_of(inner)
    every = inner and len(splits) == len(inner) and not any(listing.folders[child].pictures for child in children)
    if every and "train" in splits.values() and len(set(splits.values())) > 1 and len(children) > 1:
        return Levels("a folder per class with splits inside", [node], splits)
    return Levels(tops=[""])


def _side_by_side(listing: Listing, children: list[str], splits: dict[str, str], options: Options) -> Levels:
    classes = {
        _name(each)
        for child in children
        if splits.get(child) == "train"
        for each in listing.folders[_stepped(listing, child, options.kind)].full
    }
    left, others = [], []
    for child in children:
        inner = listing.folders[child].full
        # `test/unknown`, `seg_pred/seg_pred`: one folder, and no class of those to train on.
        if not inner or (len(inner) == 1 and not listing.folders[inner[0]].full and classes and _name(inner[0]) not in classes):
            left.append(child)
        elif child not in splits:
            others.append(child)
    if others:
        names = ", ".join(others)
        raise CannotRun(
            f"{listing.root}: splits and other folders side by side ({names}); move the others out, or name one split"
        )
    kept = {child: splits[child] for child in children if child not in left}
    reasons = dict.fromkeys(left, "pictures without labels, beside splits that have class folders")
    if len(set(kept.values())) == 1:
        return Levels(f"a folder per class in {', '.join(kept)}", list(kept), {}, reasons)
    for child in kept:
        inner = [_name(each) for each in listing.folders[_stepped(listing, child, options.kind)].full]
        if classes and classes.isdisjoint(inner) and not options.label_level:
            raise CannotRun(
                f"{listing.root}: {escaped(child)}/ has no class of those to train on, but {_some(inner)} where train has "
                f"{_some(sorted(classes))}; if these are clips or sources, add a table with their labels; if they are classes, say "
                f"--label-level {child.count('/') + 2}"
            )
    return Levels("official splits, a folder per class", list(kept), kept, reasons)


def _some(names: list[str]) -> str:
    return ", ".join(map(escaped, names[:3])) + (", …" if len(names) > 3 else "")


def _splits_of(paths: Iterable[str]) -> dict[str, str]:
    """Those of sibling folders that are called like splits: `train_data`, `Testing`; `seg_train`, where `seg_test` is beside it."""
    found: dict[str, tuple[str, str]] = {}
    for path in paths:
        words = re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(set|data)(?![a-z])", r" \1", _name(path).lower()))
        named = [word for word in words if word in SPLIT_NAMES]
        if len(named) == 1:
            found[path] = SPLIT_NAMES[named[0]], " ".join(word for word in words if word not in {*named, *_NEUTRAL})
    # Of `bullet_train` and `crash_test` no other word is the same: these are classes.
    splits = {rest: {split for split, other in found.values() if other == rest} for _, rest in found.values()}
    return {path: split for path, (split, rest) in found.items() if not rest or len(splits[rest]) > 1}


def _stepped(listing: Listing, top: str, kind: str) -> str:
    """Down from a folder, as long as it holds but one folder and in that there are more."""
    while not listing.folders[top].pictures and len(children := listing.folders[top].full) == 1:
        inner = listing.folders[children[0]].full
        leaves = all(listing.folders[path].stills and not listing.folders[path].full for path in inner)
        one_clip = kind == "auto" and len(inner) == 1 and listing.folders[inner[0]].numbered
        if not inner or listing.folders[children[0]].pictures or (leaves and (kind == "clips" or one_clip)):
            break
        top = children[0]
    return top


def _are_clips(listing: Listing, found: Levels, options: Options) -> bool:
    """Whether pictures in folders inside class folders are frames. Raises Refused where that, or the class, could be otherwise."""
    places = {path: place for path in listing.folders if listing.folders[path].pictures and (place := found.place(path))}
    if not places and found.level:
        raise CannotRun(f"{listing.root}: --label-level {found.level}: no picture lies so deep in its folders")
    if not places:
        raise CannotRun(f"{listing.root}: pictures without labels; put each class into a folder of its own, or add a table")
    inside = natsorted(path for path, place in places.items() if place.inside)
    frames = [path for path in inside if listing.folders[path].stills]
    deeper = any(places[path].inside > 1 for path in frames)
    classes = {places[path].label for path in frames}
    nested = not found.level and len(inside) == len(places)  # no class folder has a picture of its own
    if not inside or options.kind == "stills":
        return False
    if not frames:
        if nested:
            raise Refused(f"E_AMBIGUOUS {escaped(inside[0])}: which folder is the class? say {_choices(found, inside[0])}")
        return False
    if deeper and not found.level:
        raise Refused(f"E_AMBIGUOUS {escaped(frames[0])}: which folder is the class? say {_choices(found, frames[0])}")
    if options.kind == "clips":
        return True
    coded = sum(bool(re.search(r"\d", _name(path))) for path in frames) * 2 >= len(frames)
    # Folders of the same name, one in each class (`cat/images`, `dog/images`), say nothing.
    if nested and not coded and len(frames) == len(classes) > 1 and len({_name(path) for path in frames}) == 1:
        return False
    # A clip is called by a number or a code, a class by a word; and where a class has stills, folders in it may hold more.
    unclear = [path for path in frames if not listing.folders[path].numbered]
    beside = any(listing.folders[path].stills for path, place in places.items() if not place.inside)
    if not unclear and ((not coded and len(frames) > 1) or beside):
        unclear = frames
    if unclear:
        raise Refused(f"E_AMBIGUOUS {escaped(unclear[0])}: a clip, or more stills? say --kind clips or --kind stills"
                      + ("" if found.level else f", or where the class stands: {_choices(found, unclear[0])}"))  # fmt: skip
    return True


def _choices(found: Levels, path: str) -> str:
    """What a person can say of a folder's levels, without splits and those that all have in common."""
    above = {*found.splits, *(part for top in found.tops for part in _ancestors(top))}
    named = [(level, part) for level, part in enumerate(_ancestors(path), 1) if part not in above]
    return " or ".join(f"--label-level {level} ({escaped(_name(part))})" for level, part in named)


def _ancestors(path: str) -> list[str]:
    """`a/b/c`: a, a/b and a/b/c; of the root none."""
    parts = path.split("/") if path else []
    return ["/".join(parts[:count]) for count in range(1, len(parts) + 1)]


def _name(path: str) -> str:
    return path.rpartition("/")[2]
