"""A data set by reference -> a file of answers, shard by shard: what `python -m pipelines predict` runs, in one pod or in many."""

import atexit
import contextlib
import functools
import itertools
import sys
from pathlib import Path

import pyarrow as pa

from components.predict import answer_files, step
from components.predict import lots as inputs
from components.predict.answer_files import SCHEMA
from components.shared import files, parallel, scratch, screen
from components.shared.config import Section
from components.shared.data import dataset
from components.shared.data.parts import Parts, code_of
from components.shared.data.remote import Shards
from components.shared.errors import CannotRun
from components.shared.masking import masked
from components.shared.models.package import Package
from components.shared.runs import packages
from components.shared.store import Store, open_store

FILE = "answers.parquet"


class PredictConfig(Section):
    """The name of a model, and the digest of its package: another one is refused."""

    model: str
    package: str


def predict(*, data: str, digest: str, config: PredictConfig, answers: Path, output: str = "") -> None:
    """Answer every sample, in order, into a folder with one file, which is put at the address `output`, too: a .parquet or a folder.

    With a store, what was answered there before by whomever is not answered again. Raises CannotRun when none can be answered.
    """
    shards, package = Shards(data, digest), _package(config.model, config.package)
    place, _, name = output.rpartition("/")
    if not name.endswith(".parquet"):
        place, name = output.rstrip("/"), f"{digest[:12]}-{config.package[:12]}.parquet"
    with files.whole_folder(answers, kind="answers") as fresh, scratch.folder("answers") as folder:
        outside, there = Store(place, known_as="--output"), folder / "there.parquet"
        with dataset.readable(Path(name), what="a file of answers", remedy="name another --output"):
            if output and outside.get(name, there) and not answer_files.is_answers(there):
                raise pa.ArrowInvalid("a table of something else")
        kept = parts(shards, config, open_store() or Store((folder / "store").as_uri()))
        new, rows, faults = kept.missing(), 0, 0
        kept.make(new)
        with answer_files.writer(fresh / FILE)(fresh / FILE, step.about(package)) as write:
            for shard in shards.names:
                kept.get(shard, folder / shard)
                with pa.OSFile(str(folder / shard)) as stream, pa.ipc.open_file(stream) as reader:
                    for number in range(reader.num_record_batches):
                        table = pa.Table.from_batches([reader.get_batch(number)])
                        write(table)
                        rows, faults = rows + len(table), faults + len(table) - table["fault"].null_count
                (folder / shard).unlink()
        if rows == faults:
            raise CannotRun(f"{masked(data)}: none of its {rows:,} samples could be answered; is it data for this model?")
        if output:
            outside.put(name, fresh / FILE)
            print(f"{masked(place)}/{name}: the answers are there, too")
    print(f"{answers}: {rows - faults:,} answered, {screen.number(faults, 'fault')}; "
          f"{len(new)} of {screen.number(len(shards.names), 'shard')} answered now")  # fmt: skip


def parts(shards: Shards, config: PredictConfig, store: Store | None = None) -> Parts | None:
    """What is kept of these shards, in this store or in the one of the environment; None without one."""
    decided_by, store = f"{code_of(sys.modules[__name__])} {step.code()} {config.package}", store or open_store()
    return store and Parts(store, "predict", shards, decided_by, functools.partial(_answer, config=config))


def _answer(results: dict[Path, Path], config: PredictConfig) -> None:
    """The answers of each shard into a file of Arrow's, in batches as they were answered."""
    package = _package(config.model, config.package)
    for shard, result in results.items():
        with dataset.readable(shard):
            if not dataset.is_shard(shard):
                raise pa.ArrowInvalid("a table of something else")
        pa.ipc.new_file(result, SCHEMA).close()  # of a shard without samples
    with scratch.folder("lots") as folder:
        work = step.Work(package.folder, package.digest, step.TOP, None, folder, "")
        lots = list(inputs.lots(inputs.places(list(map(str, results))), clips=package.preprocessing.time is not None))
        done = zip(lots, parallel.in_order(step.answer, ((lot, work) for lot in lots)), strict=True)
        for shard, same in itertools.groupby(done, lambda one: one[0].place.path):
            with pa.ipc.new_file(results[Path(shard)], SCHEMA) as writer:
                for _, (part, *_) in same:
                    writer.write_table(pa.ipc.open_file(part.read_bytes()).read_all().replace_schema_metadata())
                    part.unlink()


@functools.lru_cache(1)
def _package(model: str, digest: str) -> Package:
    """Fetched once for a process: shards come a few at a time."""
    held = contextlib.ExitStack()
    atexit.register(held.close)
    return held.enter_context(packages.fetched(model, digest=digest))
