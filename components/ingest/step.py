"""Any source -> data/: Parquet shards of bounded size with the original bytes. What is there already is not written again."""

import contextlib
import dataclasses
import re
import shlex
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from textwrap import indent
from typing import Annotated, Literal

from annotated_types import Ge, Le

from components.ingest import charsets, named, privacy
from components.ingest.broken import Broken
from components.ingest.form import Options, Reading, understand
from components.ingest.forms import FORMS
from components.ingest.known import Known
from components.ingest.opened import opened
from components.ingest.sample_reader import MAX_CLIP, Reader, escaped
from components.ingest.source import LeftOut
from components.ingest.taken import summary_of, tell
from components.shared import destination, files, scratch, screen
from components.shared.data import dataset
from components.shared.data.dataset import Sample
from components.shared.errors import CannotRun, Refused, Stop
from components.shared.progress_bar import progress_bar

FORM_NAMES = ("auto", *FORMS)
MAX_SHARD = 1024  # MiB; a column of Arrow's holds 2 GiB at most


def ingest(
    source: Annotated[str, "a folder, table, archive or array file, or a name: " + ", ".join(named.SETS)],
    data: Annotated[Path, "the folder of shards to make or to bring up to date"],
    *,
    add: Annotated[bool, "keep samples of data/ that the source does not have"] = False,
    replace: Annotated[bool, "drop samples of data/ that the source does not have"] = False,
    form: Annotated[Literal[FORM_NAMES], "how to read it, where two readings fit"] = "auto",
    dry_run: Annotated[bool, "print what would be taken, and take nothing"] = False,
    name_encoding: Annotated[str, "of the names in a zip that does not say it: cp932, gb18030, cp1251 and so on"] = "",
    label_field: Annotated[str, "the column or field that has the label, where records have several"] = "",
    kind: Annotated[
        Literal["auto", "stills", "clips"], "what folders inside a class folder are, and pictures that move"
    ] = "auto",
    label_level: Annotated[
        int, "the folder that is the class: 1 is the first below the source, -1 holds the picture; 0: told by the tree"
    ] = 0,
    crop_boxes: Annotated[bool, "take each box of a detection export as a picture of its class"] = False,
    group: Annotated[str, "regular expression; its first group, found in a path, is the sample's group"] = "",
    strip_metadata: Annotated[bool, "take out EXIF, GPS, names, serial numbers, comments; the pixels stay bit for bit"] = False,
    blur_faces: Annotated[bool, "blur the faces that are found; such pictures are saved anew"] = False,
    max_frames: Annotated[
        int, "animations, videos and clips of more than 1,000 pictures are thinned evenly to this many frames", Ge(1)
    ] = 64,
    quarantine: Annotated[
        str, "leave out what cannot be read, broken PNG and JPEG too, and list it in this folder (ingest.csv)"
    ] = "",
    shard_mebibytes: Annotated[int, "a shard is closed at this size", Ge(1), Le(MAX_SHARD)] = 64,
    shard_samples: Annotated[int, "or at this many samples", Ge(1)] = 8192,
) -> None:
    """Bring data/ to the state of a source, and say before what is taken and why.

    Old shards stay byte for byte, so that DVC stores and sends only what is new. Raises Refused (a line per fault, nothing
    written) for files that cannot be taken, CannotRun for what is ambiguous.
    """
    try:
        pattern = re.compile(group) if group else None
        if pattern and pattern.groups < 1:
            raise re.error("it has no group in brackets")
    except re.error as error:
        raise CannotRun(f"--group {group!r}: not a usable regular expression ({error})") from None
    if not dry_run:
        _refuse_to_overwrite(source, data)
    name_encoding = charsets.checked(name_encoding)
    with scratch.folder() as folder, _naming(source, folder / "opened"):
        options = Options(kind, crop_boxes=crop_boxes, label_level=label_level, label_field=label_field)
        reading = _understood(source, folder / "opened", options, "" if form == "auto" else form, name_encoding)
        summary = summary_of(reading.source, kind)
        if not summary.samples:
            read_as = f"no samples in it; it was read as {reading.form} ({reading.why})"
            raise Refused(f"E_NO_DATA {source}: {read_as}", *summary.left_out.lines())
        tell(reading, summary)
        if dry_run:
            return
        left_out = LeftOut()
        broken = Broken(quarantine, left_out, inputs=[data, Path(source)])
        reader = Reader(reading.source.root, max_frames, left_out, first_frames=summary.first_frames, whole=bool(quarantine))
        cleaner = privacy.Cleaner(strip_metadata, blur_faces)
        entries = progress_bar(reading.source.entries(LeftOut()), total=summary.samples, name="ingest")
        samples = _prepared(broken.read(entries, reader), pattern, cleaner)
        counts = _bring_up_to_date(data, samples, add=add, replace=replace, limit=(shard_samples, shard_mebibytes * 2**20))
    shards = dataset.shards(data)
    left_out.tell()
    cleaner.tell()
    size = sum(shard.stat().st_size for shard in shards)
    print(f"{data}: {counts['new']:,} new, {counts['kept']:,} unchanged, {counts['gone']:,} gone; "
          f"{screen.number(len(shards), 'shard')}, {size / 2**20:,.1f} MiB")  # fmt: skip
    named = shlex.quote(str(data))
    in_project = Path("dvc.yaml").exists() and data.absolute() == Path("data").absolute()
    print("next:", f"dvc add {named} && dvc repro" if in_project else
          f"darkroom measure --data {named} --config measure --manifest outputs/manifest")  # fmt: skip


ingest.epilog = "\n\n".join(
    ["forms:", *(f"  {form.name}: {form.what}\n{indent(form.example, '    ')}" for form in FORMS.values())]
)


def _understood(source: str, folder: Path, options: Options, form: str, name_encoding: str) -> Reading:
    if source in named.SETS:
        return Reading(source, "by its name", named.SETS[source](), LeftOut())
    folder.mkdir()
    return understand(opened(Path(source), folder, encoding=name_encoding), FORMS, options, asked=form)


@contextlib.contextmanager
def _naming(source: str, folder: Path) -> Iterator[None]:
    """A fault names the archive that a person knows, not the folder of ours in which it lies."""
    try:
        yield
    except Stop as stop:
        raise type(stop)(*(fault.replace(str(folder), source) for fault in stop.faults)) from None


def _refuse_to_overwrite(source: str, data: Path) -> None:
    """data/ is written anew as a whole: nothing but shards may be lost by that. Raises CannotRun."""
    files.restore(data)
    inputs = [] if source in named.SETS else [Path(source)]
    destination.check_folder(data, kind="", ours=dataset.is_shard, inputs=inputs)


def _bring_up_to_date(data: Path, samples: Iterator[Sample], *, add: bool, replace: bool, limit: tuple[int, int]) -> Counter:
    # What is there is read only now that nobody else can change it: a second writer must not lose what a first has added.
    with files.whole_folder(data, kind="", ours=dataset.is_shard) as fresh, tempfile.TemporaryDirectory(dir=fresh) as staging:
        shards = sorted(data.glob("*.parquet"))
        there = Known(_key(facts) for shard in shards for facts in dataset.read_facts(shard).to_pylist())
        new = 0
        for part, waiting in enumerate(_new(samples, there, limit)):
            dataset.write_shard(waiting, Path(staging) / f"{part:08d}.parquet")
            new += len(waiting)
        if not new and not there.seen.any():
            raise Refused(f"E_NO_DATA {data}: the source has no samples in it; what was there stays")
        gone = ~there.seen & (not add)
        if gone.any() and not replace:
            raise CannotRun(
                f"{data}: holds {screen.number(gone.sum(), 'sample')} that the source does not have; "
                "--add keeps them, --replace drops them (dvc checkout brings them back)"
            )
        start = 0
        for shard in shards:
            dropped = gone[start : start + dataset.count(shard)]
            start += len(dropped)
            if not dropped.any():
                dataset.keep_shard(shard, fresh / shard.name)
            elif left := [sample for sample, drop in zip(dataset.read_samples(shard), dropped, strict=True) if not drop]:
                dataset.write_shard(left, fresh / shard.name)
        number = 1 + max((int(shard.stem) for shard in shards if shard.stem.isdecimal()), default=-1)
        for offset, shard in enumerate(sorted(Path(staging).iterdir())):
            shard.replace(fresh / f"{number + offset:05d}.parquet")
    return Counter(new=new, kept=int((~gone).sum()), gone=int(gone.sum()))


def _new(samples: Iterator[Sample], there: Known, limit: tuple[int, int]) -> Iterator[list[Sample]]:
    """The samples that data/ does not have, as many as go into one shard at a time."""
    waiting: list[Sample] = []
    size = 0
    for sample in samples:
        if there.see(_key({name: getattr(sample, name) for name in dataset.FACTS})):
            continue
        if waiting and (len(waiting) >= limit[0] or size + sample.size > limit[1]):
            yield waiting
            waiting, size = [], 0
        waiting.append(sample)
        size += sample.size
    if waiting:
        yield waiting


def _prepared(samples: Iterator[Sample], pattern: re.Pattern | None, cleaner: privacy.Cleaner) -> Iterator[Sample]:
    """The samples of a source as they go into shards."""
    for sample in map(cleaner.cleaned, samples):
        if sample.size > MAX_CLIP:
            raise Refused(f"E_TOO_LARGE {escaped(sample.source)}: {sample.size:,} bytes in one sample, at most {MAX_CLIP:,}")
        if pattern:
            match = pattern.search(sample.source)
            if match is None or not match[1]:
                raise Refused(f"E_GROUP {sample.source!r}: --group {pattern.pattern!r} does not match it")
            sample = dataclasses.replace(sample, group=match[1])
        yield sample


def _key(facts: dict) -> str:
    """What stands for a sample with all that is known of it but its pixels' bytes."""
    return repr([facts[name] for name in dataset.FACTS])
