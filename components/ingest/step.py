"""Any source -> data/: Parquet shards of bounded size with the original bytes. What is there already is not written again."""

import dataclasses
import functools
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from annotated_types import Ge, Le
from tqdm import tqdm

from components.ingest import archive, find, named, privacy
from components.ingest.known import Known, Seen, array, digest
from components.ingest.sample_reader import LONG_CLIP, MAX_CLIP, escaped
from components.ingest.source import Passed, Source
from components.shared import destination, files, scratch
from components.shared.data import dataset
from components.shared.data.dataset import Sample
from components.shared.errors import CannotRun, Refused, Stop

MAX_SHARD = 1024  # MiB; a column of Arrow's holds 2 GiB at most


def ingest(
    source: Annotated[str, "a folder, table, archive or array file, or a name: " + ", ".join(named.SETS)],
    data: Annotated[Path, "the folder of shards to make or to bring up to date"],
    *,
    add: Annotated[bool, "keep samples of data/ that the source does not have"] = False,
    replace: Annotated[bool, "drop samples of data/ that the source does not have"] = False,
    kind: Annotated[Literal["auto", "stills", "clips"], "what folders inside a class folder are"] = "auto",
    group: Annotated[str, "regular expression; its first group, found in a path, is the sample's group"] = "",
    strip_metadata: Annotated[bool, "take out EXIF, GPS, names, serial numbers, comments; the pixels stay bit for bit"] = False,
    blur_faces: Annotated[bool, "blur the faces that are found; such pictures are saved anew"] = False,
    max_frames: Annotated[
        int, "animations, videos and clips of more than 1,000 pictures are thinned evenly to this many frames", Ge(1)
    ] = 64,
    shard_mebibytes: Annotated[int, "a shard is closed at this size", Ge(1), Le(MAX_SHARD)] = 64,
    shard_samples: Annotated[int, "or at this many samples", Ge(1)] = 8192,
) -> None:
    """Bring data/ to the state of a source. Old shards stay byte for byte, so that DVC stores and sends only what is new.

    Raises Refused (a line per fault, nothing written) for files that cannot be taken, CannotRun for what is ambiguous.
    """
    try:
        pattern = re.compile(group) if group else None
        if pattern and pattern.groups < 1:
            raise re.error("it has no group in brackets")
    except re.error as error:
        raise CannotRun(f"--group {group!r}: not a usable regular expression ({error})") from None
    _refuse_to_overwrite(source, data)
    with scratch.folder() as folder:
        if source in named.SETS:
            found = named.SETS[source]()
        elif archive.is_archive(Path(source)):
            found = _unpacked(Path(source), folder, kind=kind, max_frames=max_frames)
        else:
            found = find.find(Path(source), kind=kind, max_frames=max_frames)
        print(f"found {found.kind}")
        _say("W_IGNORED", found.ignored, "files or arrays that are not read")
        _say("W_UNLABELED", found.unlabelled, "pictures that the table does not name")
        limit = (shard_samples, shard_mebibytes * 2**20)
        cleaner = privacy.Cleaner(strip_metadata, blur_faces)
        prepared = functools.partial(_prepared, pattern=pattern, cleaner=cleaner)
        counts = _bring_up_to_date(found, data, add=add, replace=replace, limit=limit, prepared=prepared)
    shards = dataset.shards(data)
    _say("W_THINNED", found.thinned, f"clips of more than {LONG_CLIP:,} pictures, of which {max_frames} each were taken")
    cleaner.tell()
    size = sum(shard.stat().st_size for shard in shards)
    print(f"{data}: {counts['new']:,} new, {counts['kept']:,} unchanged, {counts['gone']:,} gone; "
          f"{len(shards):,} shards, {size / 2**20:,.1f} MiB")  # fmt: skip


def _unpacked(source: Path, folder: Path, *, kind: str, max_frames: int) -> Source:
    """What an archive holds; a fault names the archive that a person knows, not our scratch folder."""
    try:
        return find.find(archive.unpack(source, folder), kind=kind, max_frames=max_frames)
    except Stop as stop:
        raise type(stop)(*(fault.replace(str(folder), str(source)) for fault in stop.faults)) from None


def _say(code: str, passed: Passed, what: str) -> None:
    if passed.count:
        print(f"{code} {passed.count:,} {what}, such as {passed.first!r}")


def _refuse_to_overwrite(source: str, data: Path) -> None:
    """data/ is written anew as a whole: nothing but shards may be lost by that. Raises CannotRun."""
    files.restore(data)
    inputs = [] if source in named.SETS else [Path(source)]
    destination.check_folder(data, kind="", ours=dataset.is_shard, inputs=inputs)


def _bring_up_to_date(
    found: Source, data: Path, *, add: bool, replace: bool, limit: tuple[int, int], prepared: Callable[[Sample], Sample]
) -> Counter:
    # What is there is read only now that nobody else can change it: a second writer must not lose what a first has added.
    with files.whole_folder(data, kind="", ours=dataset.is_shard) as fresh, tempfile.TemporaryDirectory(dir=fresh) as staging:
        shards = sorted(data.glob("*.parquet"))
        keys = [array(map(_key, dataset.read_facts(shard).to_pylist())) for shard in shards]
        there = Known(np.concatenate([array([]), *keys]))
        origins, written, new = _write_new(found, there, Path(staging), limit, prepared)
        if not len(origins):
            raise Refused(f"E_NO_DATA {found.kind}: no samples in it; {data} stays as it was")
        if twice := origins.twice():
            path = next(path for shard in [*written, *shards] for path in dataset.read_facts(shard)["source"].to_pylist()
                        if digest(path) in twice)  # fmt: skip
            raise Refused(f"E_DUPLICATE_ROW {path!r}: comes twice in the source; give each sample a path of its own")
        gone = ~there.seen & (not add)
        if gone.any() and not replace:
            raise CannotRun(
                f"{data}: holds {gone.sum():,} samples that the source does not have; "
                "--add keeps them, --replace drops them (dvc checkout brings them back)"
            )
        number = 1 + max((int(shard.stem) for shard in shards if shard.stem.isdecimal()), default=-1)
        start = 0
        for shard, part in zip(shards, keys, strict=True):
            dropped, start = gone[start : start + len(part)], start + len(part)
            if not dropped.any():
                dataset.keep_shard(shard, fresh / shard.name)
            elif left := [sample for sample, drop in zip(dataset.read_samples(shard), dropped, strict=True) if not drop]:
                dataset.write_shard(left, fresh / shard.name)
        for offset, shard in enumerate(written):
            shard.replace(fresh / f"{number + offset:05d}.parquet")
    return Counter(new=new, kept=int((~gone).sum()), gone=int(gone.sum()))


def _write_new(
    found: Source, there: Known, staging: Path, limit: tuple[int, int], prepared: Callable[[Sample], Sample]
) -> tuple[Seen, list[Path], int]:
    """Stream the source once; samples that data/ does not have go into new shards, one shard in memory at a time.

    Returns the samples' paths as digests, the new shards, and how many samples are new.
    """
    origins, new = Seen(), 0
    written: list[Path] = []
    waiting: list[Sample] = []
    size = 0

    def close() -> None:
        written.append(staging / f"{len(written):05d}.parquet")
        dataset.write_shard(waiting, written[-1])
        waiting.clear()

    for sample in tqdm(found.samples(), total=found.count, unit=" samples", desc="ingest", disable=None):
        sample = prepared(sample)
        origins.add(digest(sample.source))
        if there.see(_key({name: getattr(sample, name) for name in dataset.FACTS})):
            continue
        new += 1
        if waiting and (len(waiting) >= limit[0] or size + sample.size > limit[1]):
            close()
            size = 0
        waiting.append(sample)
        size += sample.size
    if waiting:
        close()
    return origins, written, new


def _prepared(sample: Sample, *, pattern: re.Pattern | None, cleaner: privacy.Cleaner) -> Sample:
    for text in (sample.label, sample.group, sample.source):
        try:
            (text or "").encode()
        except UnicodeEncodeError:
            raise Refused(f"E_NAME {escaped(text)}: is not valid Unicode; rename it") from None
    if sample.size > MAX_CLIP:
        raise Refused(f"E_TOO_LARGE {escaped(sample.source)}: {sample.size:,} bytes in one sample, at most {MAX_CLIP:,}")
    sample = cleaner.cleaned(sample)
    if pattern is None:
        return sample
    match = pattern.search(sample.source)
    if match is None or not match[1]:
        raise Refused(f"E_GROUP {sample.source!r}: --group {pattern.pattern!r} does not match it")
    return dataclasses.replace(sample, group=match[1])


def _key(facts: dict) -> bytes:
    """What stands for a sample with all that is known of it but its pixels' bytes."""
    return digest(repr([facts[name] for name in dataset.FACTS]))
