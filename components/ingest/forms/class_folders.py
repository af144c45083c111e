"""A folder per class, with or without `train/ validation/ test/` folders above.

The tree is walked anew for each use, one folder in memory at a time: ten million files take no more memory than the largest
folder's names.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from components.ingest.form import FITS, Fit, Form, Options
from components.ingest.listing import Listing
from components.ingest.sample_reader import LONG_CLIP, escaped, kind_of
from components.ingest.source import SPLIT_NAMES, Entry, LeftOut, Source
from components.shared.errors import CannotRun, Refused

EXAMPLE = """\
train/cat/1.jpg
train/dog/1.jpg
test/cat/2.jpg"""


def fit(listing: Listing) -> Fit | None:
    """Pictures, or folders of pictures, in folders below the root."""
    if listing.file or not listing.folders[""].folders:
        return None
    if not any(folder.stills or folder.videos for path, folder in listing.folders.items() if path):
        return None
    return Fit(FITS, "pictures lie in folders")


def read(listing: Listing, options: Options) -> Source:
    """A sample for each picture, video, or folder of numbered frames. Raises Refused, CannotRun."""
    names = listing.folders[""].folders
    splits = {SPLIT_NAMES.get(name.lower()) for name in names}
    official = None not in splits and "train" in splits and len(names) > 1
    if not official and "train" in splits and len(splits - {None}) > 1:
        others = ", ".join(name for name in names if name.lower() not in SPLIT_NAMES)
        raise CannotRun(
            f"{listing.root}: splits and other folders side by side ({others}); move the others out, or name one split"
        )
    shape = "official splits, a folder per class" if official else "a folder per class"

    def entries(left_out: LeftOut) -> Iterator[Entry]:
        walk = _Walk(listing, options.kind, left_out, [])
        for name in names if official else [""]:
            yield from walk.entries(listing.root / name, SPLIT_NAMES[name.lower()] if official else None)
        if walk.faults:
            raise Refused(*walk.faults)

    return Source(shape, listing.root, entries)


@dataclass
class _Walk:
    """One way through the tree."""

    listing: Listing
    kind: str
    left_out: LeftOut
    faults: list[str]

    def entries(self, top: Path, split: str | None) -> Iterator[Entry]:
        """Every sample of the class folders in a folder, in natural order."""
        scan = self.listing.scan(top)
        self._leave_out(top, scan.files)
        for name in scan.folders:
            yield from self._class(top / name, split)

    def _class(self, folder: Path, split: str | None) -> Iterator[Entry]:
        scan = self.listing.scan(folder)
        for name in scan.files:
            if kind_of(folder / name):
                yield Entry(folder.name, self.listing.relative(folder / name), [folder / name], split=split)
            else:
                self._leave_out(folder, [name])
        for name in scan.folders:
            yield from self._subfolder(folder / name, folder.name, split)

    def _subfolder(self, path: Path, label: str, split: str | None) -> Iterator[Entry]:
        """A folder inside a class: one clip when its pictures are numbered, and said so by --kind otherwise."""
        scan = self.listing.scan(path)
        frames = [name for name in scan.files if kind_of(path / name) == "still"]
        self._leave_out(path, [name for name in scan.files if kind_of(path / name) != "still"])
        if self.kind == "stills":
            for name in frames:
                yield Entry(label, self.listing.relative(path / name), [path / name], split=split)
            for name in scan.folders:
                yield from self._subfolder(path / name, label, split)
            return
        where, numbered = escaped(self.listing.relative(path)), self.listing.folders[self.listing.relative(path)].numbered
        if scan.folders or (self.kind == "auto" and not numbered):
            self.faults.append(f"E_AMBIGUOUS {where}: a clip, or more stills? say --kind clips or --kind stills")
        elif not frames:
            self.faults.append(f"E_SEQ_EMPTY {where}: a clip without frames")
        elif self.kind == "auto" and len(frames) > LONG_CLIP:
            self.faults.append(f"E_AMBIGUOUS {where}: a clip of {len(frames):,} pictures, or more stills? say --kind stills, "
                               "or --kind clips, which thins such a clip evenly to --max-frames")  # fmt: skip
        else:
            yield Entry(label, self.listing.relative(path), [path / name for name in frames], split=split)

    def _leave_out(self, folder: Path, names: list[str]) -> None:
        for name in names:
            self.left_out.add("W_IGNORED", "files that are no pictures", self.listing.relative(folder / name))


FORM = Form("class-folders", "a folder per class of pictures, of videos, or of folders of frames", EXAMPLE, fit, read)
