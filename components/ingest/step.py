"""Any source -> data/: Parquet shards of bounded size with the original bytes. What is there already is not written again."""

import dataclasses
import functools
import hashlib
import re
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Literal

from tqdm import tqdm

from components.ingest import archive, find, named, privacy
from components.ingest.source import Source
from components.shared import destination, files, scratch
from components.shared.data import dataset
from components.shared.data.dataset import Sample
from components.shared.errors import CannotRun, Refused


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
    max_frames: Annotated[int, "animations and videos are thinned evenly to this many frames"] = 64,
    shard_mebibytes: Annotated[int, "a shard is closed at this size"] = 64,
    shard_samples: Annotated[int, "or at this many samples"] = 8192,
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
            found = find.find(archive.unpack(Path(source), folder), kind=kind, max_frames=max_frames)
        else:
            found = find.find(Path(source), kind=kind, max_frames=max_frames)
        print(f"found {found.kind}")
        if found.ignored:
            print(f"W_IGNORED {len(found.ignored):,} files that are no pictures, or hidden, such as {found.ignored[0]!r}")
        if found.unlabelled:
            print(
                f"W_UNLABELED {len(found.unlabelled):,} pictures that the table does not name, such as {found.unlabelled[0]!r}"
            )
        limit = (shard_samples, shard_mebibytes * 2**20)
        cleaner = privacy.Cleaner(strip_metadata, blur_faces)
        prepared = functools.partial(_prepared, pattern=pattern, cleaner=cleaner)
        counts = _bring_up_to_date(found, data, add=add, replace=replace, limit=limit, prepared=prepared)
    shards = dataset.shards(data)
    cleaner.tell()
    size = sum(shard.stat().st_size for shard in shards)
    print(f"{data}: {counts['new']:,} new, {counts['kept']:,} unchanged, {counts['gone']:,} gone; "
          f"{len(shards):,} shards, {size / 2**20:,.1f} MiB")  # fmt: skip


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
        old = {shard: [_key(row) for row in dataset.read_facts(shard).to_pylist()] for shard in sorted(data.glob("*.parquet"))}
        there = {key for keys in old.values() for key in keys}
        seen, written = _write_new(found, there, Path(staging), limit, prepared)
        gone = there - seen if not add else set()
        if gone and not replace:
            raise CannotRun(
                f"{data}: holds {len(gone):,} samples that the source does not have; "
                "--add keeps them, --replace drops them (dvc checkout brings them back)"
            )
        number = 1 + max((int(shard.stem) for shard in old if shard.stem.isdigit()), default=-1)
        for shard, keys in old.items():
            if gone.isdisjoint(keys):
                dataset.keep_shard(shard, fresh / shard.name)
            elif left := [sample for sample in dataset.read_samples(shard) if _key(_facts(sample)) not in gone]:
                dataset.write_shard(left, fresh / shard.name)
        for offset, shard in enumerate(written):
            shard.replace(fresh / f"{number + offset:05d}.parquet")
    return Counter(new=len(seen - there), kept=len(there - gone), gone=len(gone))


def _write_new(
    found: Source, there: set[bytes], staging: Path, limit: tuple[int, int], prepared: Callable[[Sample], Sample]
) -> tuple[set[bytes], list[Path]]:
    """Stream the source once; samples that data/ does not have go into new shards, one shard in memory at a time."""
    seen: set[bytes] = set()
    sources: set[bytes] = set()
    written: list[Path] = []
    waiting: list[Sample] = []
    size = 0

    def close() -> None:
        written.append(staging / f"{len(written):05d}.parquet")
        dataset.write_shard(waiting, written[-1])
        waiting.clear()

    for sample in tqdm(found.samples(), total=found.count, unit=" samples", desc="ingest", disable=None):
        sample = prepared(sample)
        key, origin = _key(_facts(sample)), hashlib.blake2b(sample.source.encode(), digest_size=16).digest()
        if origin in sources:
            raise Refused(f"E_DUPLICATE_ROW {sample.source!r}: comes twice in the source; give each sample a path of its own")
        sources.add(origin)
        seen.add(key)
        if key in there:
            continue
        if waiting and (len(waiting) >= limit[0] or size + sample.size > limit[1]):
            close()
            size = 0
        waiting.append(sample)
        size += sample.size
    if waiting:
        close()
    return seen, written


def _prepared(sample: Sample, *, pattern: re.Pattern | None, cleaner: privacy.Cleaner) -> Sample:
    sample = cleaner.cleaned(sample)
    if pattern is None:
        return sample
    match = pattern.search(sample.source)
    if match is None or not match[1]:
        raise Refused(f"E_GROUP {sample.source!r}: --group {pattern.pattern!r} does not match it")
    return dataclasses.replace(sample, group=match[1])


def _facts(sample: Sample) -> dict:
    return {name: getattr(sample, name) for name in dataset.FACTS}


def _key(facts: dict) -> bytes:
    """16 bytes that stand for a sample, so that a million of them fit in memory."""
    return hashlib.blake2b(repr([facts[name] for name in dataset.FACTS]).encode("utf-8", "replace"), digest_size=16).digest()
