"""A model and pictures -> a file of answers, a row a sample in the order of what was named; what cannot be answered says why."""

import contextlib
import functools
import hashlib
import itertools
import math
import os
import shutil
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Annotated, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from annotated_types import Ge

from components.predict import answer_files, sorting
from components.predict import lots as inputs
from components.predict.answer_files import SCHEMA
from components.predict.lots import Encoded, Lot
from components.shared import destination, files, parallel, screen
from components.shared.data.dataset import Sample
from components.shared.data.parts import code_of
from components.shared.errors import CannotRun
from components.shared.models import answers, observed, package, recogniser
from components.shared.models.package import Package
from components.shared.models.recogniser import SPATIAL, Recogniser
from components.shared.pictures import decode, fit, formats, metadata, padding, preprocessing
from components.shared.pictures.formats import Undecodable
from components.shared.progress_bar import progress_bar
from components.shared.runs import packages

TOP = 5  # classes
SORTED, PARTS = "sorted pictures", "parts of answers"  # kinds of folders
ANSWER = ["label", "probability", "prediction_set", "abstained", "top"]  # what an Answer has
LEFT_OUT = b"left_out"  # in the metadata of a part: how many files were no pictures


def predict(
    model: Annotated[str, "a folder that package wrote, models:/NAME@champion, models:/NAME/3, runs:/ID, or s3://..."],
    paths: Annotated[list[str], "pictures, folders of them, folders of shards, .zip, .tar, or addresses such as s3://..."],
    *,
    output: Annotated[Path, "the file of answers: .parquet, .csv or .jsonl"],
    sort_into: Annotated[
        Path | None, "a new folder: pictures (links, where that can be) into a folder per label, and _abstained"
    ] = None,
    public_key: Annotated[Path | None, "of whoever must have signed the model; what is not signed is refused"] = None,
    top: Annotated[int, "so many of the most probable classes of each", Ge(1)] = TOP,
) -> None:
    """Answer every picture; of a model of clips every folder of frames. Killed, the same command goes on from there.

    A picture that cannot be answered is a row with its fault. Raises CannotRun when none can be.
    """
    write_as = answer_files.writer(output)
    places = inputs.places(paths)
    destination.check_file(output, ours=answer_files.is_answers)
    if sort_into:
        destination.check_folder(sort_into, kind=SORTED, inputs=[Path(place.path) for place in places if not place.address])
    with (
        packages.fetched(model, public_key=public_key) as found,
        files.whole_file(output, ours=answer_files.is_answers) as temporary,
    ):
        clips = found.preprocessing.time is not None
        total = inputs.count(places, clips=clips)
        parts = temporary.with_name(f".{output.name}.parts.tmp")
        _make(parts, PARTS)
        made = _make(sort_into, SORTED) if sort_into else 0
        work = Work(found.folder, found.digest, top, sort_into and sort_into.absolute(), parts, code(), made)
        counts, first, begun = Counter(), "", time.monotonic()
        with write_as(temporary, about(found)) as write, progress_bar(total=total, name="predict") as bar:
            done = parallel.in_order(answer, ((lot, work) for lot in inputs.lots(places, clips=clips)))
            for part, looked_at, new in done:
                table = pa.ipc.open_file(part.read_bytes()).read_all()
                write(table)
                bar.update(looked_at)
                faults = table.filter(pc.is_valid(table["fault"]))
                first = first or next(
                    (f", such as {row['source']}: {row['fault']}" for row in faults.slice(0, 1).to_pylist()), ""
                )
                counts += Counter(rows=len(table), faults=len(faults), abstained=pc.sum(table["abstained"]).as_py() or 0)
                counts += Counter(left_out=int(table.schema.metadata[LEFT_OUT]), new=new * len(table))
        if not counts["rows"]:  # of an older file the answers stay
            shutil.rmtree(parts)
            raise CannotRun(
                f"{output}: not written; no picture was found, {screen.number(counts['left_out'], 'other file')}; {inputs.EXPECTED}"
            )
    shutil.rmtree(parts)
    seconds, answered = time.monotonic() - begun, counts["rows"] - counts["faults"]
    said = (f"{output}: {answered:,} answered, {counts['abstained']:,} of them abstained; "
            f"{screen.number(counts['faults'], 'fault')}{first}; {screen.number(counts['left_out'], 'other file')} left out; "
            f"{counts['new'] / seconds:,.0f} samples a second")  # fmt: skip
    if not answered:
        raise CannotRun(f"{said}; none could be answered; {inputs.EXPECTED}")
    kept = counts["rows"] - counts["new"]
    print(f"{said}; {kept:,} answered before" if kept else said)


def _make(folder: Path, kind: str) -> int:
    """When it was made, in nanoseconds: another folder of the same name holds nothing of what was put there."""
    marker = destination.check_folder(folder, kind=kind) / destination.MARKER
    if not marker.exists():
        marker.parent.mkdir(parents=True, exist_ok=True)
        destination.mark(marker.parent, kind)
    return marker.stat().st_mtime_ns


def code() -> str:
    """A digest of the code that decides what is answered."""
    pixels = (decode, fit, formats, metadata, padding, preprocessing)
    return code_of(sys.modules[__name__], answer_files, answers, inputs, observed, recogniser, sorting, *pixels)


def about(found: Package) -> dict:
    """What a file of answers says of the model that gave them."""
    return {"model": found.name, "version": found.facts.get("version", ""), "package": found.digest}


class Work(NamedTuple):
    """How lots are answered; `parts`: the folder of their answers, `made`: when `sort_into` was."""

    package: Path
    digest: str
    top: int
    sort_into: Path | None
    parts: Path
    code: str
    made: int = 0


def answer(lot: Lot, work: Work) -> tuple[Path, int, bool]:
    """Answer a lot into a file of Arrow's; also how many samples it has, and whether it was not there before.

    It is known by all that decides its content: with another model, another picture or other options it is another file.
    """
    decided_by = repr((lot, work._replace(package=None, parts=None))).encode(errors="surrogateescape")
    part, count = work.parts / hashlib.sha256(decided_by).hexdigest(), len(lot.samples if lot.rows is None else lot.rows)
    with contextlib.suppress(OSError, pa.ArrowInvalid):
        pa.ipc.open_file(part.read_bytes())
        return part, count, False
    model = _loaded(work.package, work.digest)
    at_once = max(1, SPATIAL // math.prod(model.package.preprocessing.shape))
    samples, tables, left_out = inputs.encoded(lot), [SCHEMA.empty_table()], 0
    while some := list(itertools.islice(samples, at_once)):
        tables.append(_answered([sample for sample in some if sample.frames or sample.fault], model, work))
        left_out += sum(sample.left_out for sample in some)
    table = pa.concat_tables(tables).replace_schema_metadata({LEFT_OUT: str(left_out)})
    temporary = part.with_suffix(f".{os.getpid()}")
    with pa.ipc.new_file(temporary, table.schema) as stream:
        stream.write_table(table.combine_chunks())
    temporary.replace(part)
    return part, count, True


@functools.lru_cache(1)
def _loaded(folder: Path, digest: str) -> Recogniser:
    return Recogniser(package.read(folder, digest=digest))


def _answered(samples: list[Encoded], model: Recogniser, work: Work) -> pa.Table:
    """A row each, of SCHEMA."""
    way, classes = model.package.preprocessing, model.package.classes
    images, faults = [np.empty((0, *way.shape), np.uint8)], []
    for sample in samples:
        try:
            faults.append(sample.fault)
            if not sample.fault:
                images.append(way.sample([content for content, _ in sample.frames])[None])
        except Undecodable as fault:
            faults[-1] = str(fault)
    images = np.concatenate(images)
    probabilities, features = model.both(images)
    found = answers.answers(probabilities, classes, model.package.calibration, top=work.top)
    if work.sort_into:
        names, answered = sorting.folders(classes), (sample for sample, fault in zip(samples, faults, strict=True) if not fault)
        for sample, said in zip(answered, found, strict=True):
            sorting.put(sample, work.sort_into / (sorting.ABSTAINED if said.abstained else names[said.label]))
    columns = {name: [getattr(said, name) for said in found] for name in ANSWER}
    columns["top"] = [[{"label": label, "probability": value} for label, value in top] for top in columns["top"]]
    seen = observed.observed(images, probabilities, features)
    columns |= {name: seen[name] for name in seen.column_names}
    numbers = itertools.count()
    rows = pa.array([None if fault else next(numbers) for fault in faults], pa.int32())
    table = pa.table(columns, schema=pa.schema([SCHEMA.field(name) for name in columns])).take(rows)
    told = {
        "id": [Sample(None, sample.source, sample.frames).id if sample.frames else None for sample in samples],
        "source": [sample.source for sample in samples],
        "fault": [fault and " ".join(fault.split()) for fault in faults],
    }
    return pa.table([told[name] if name in told else table[name] for name in SCHEMA.names], schema=SCHEMA)
