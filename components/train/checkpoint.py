"""Where a training stands, on disk and in the store: enough to go on after a kill as if nothing had happened."""

import contextlib
import hashlib
import json
import queue
import shutil
import threading
import zipfile
import zlib
from collections.abc import Callable, Collection
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from components.shared import files, scratch, store
from components.shared.config import pipeline_run_name
from components.shared.deadline import within
from components.shared.errors import CannotRun

BEGUN = "begun.json"  # beside the checkpoints: what is decided once for a training, its id first
KEPT = 2  # checkpoints, so that there is one when the newest is damaged
SECONDS = 30.0  # for one look into the store while the training waits for it
T = TypeVar("T")


@dataclass
class Checkpoint:
    """`arrays`: every variable of model and optimizer, random states among them; `progress`: plain numbers and lists."""

    arrays: dict[str, np.ndarray]
    progress: dict


class Checkpoints:
    """The last two checkpoints of one training, known by all that decides its result (`identity`), and what it began with.

    They lie beside the model, and in the store (see shared/store) for a pod that is lost: there under the identity alone,
    which names nothing of a machine. Other knobs, data or seed are another identity: no checkpoint leads a different training
    on. The training never waits for the store: a thread sends the newest. A store that is away is said once.
    """

    def __init__(self, beside: Path, identity: str) -> None:
        self.folder = beside.with_name(f".{beside.name}.checkpoint.{identity[:16]}")
        self.given_up: list[str] = []  # ids of trainings in whose place this one stands
        for other in beside.parent.glob(f".{beside.name}.checkpoint.*"):
            if other != self.folder:
                with contextlib.suppress(CannotRun):
                    self.given_up.append(files.read_json(other / BEGUN, "training_id")["training_id"])
                shutil.rmtree(other)
        self._store, self._prefix, run = store.open_store(), f"checkpoints/{identity}", pipeline_run_name()
        self._finished = run and f"{self._prefix}/finished/{hashlib.sha256(run.encode()).hexdigest()}"
        self._new: queue.Queue[bool] = queue.Queue()  # a sign for each file that the store may want; False is the last
        self._said = False
        self._thread = threading.Thread(target=self._send, name="checkpoints", daemon=True)

    def once(self, name: str, decide: Callable[[], T]) -> T:
        """What `decide()` said of this training the first time it was asked: by the clock it might say otherwise today."""
        file, key = self.folder / BEGUN, f"{self._prefix}/{BEGUN}"
        if not file.exists():
            self._ask(lambda kept: kept.get(key, file), None)
        decided = {}
        with contextlib.suppress(CannotRun):  # none, or damaged
            decided = files.read_json(file, "training_id")
        if name not in decided:
            decided[name] = decide()
            files.write_json(file, decided)
            # At once: whoever takes over after a kill must know whose run in MLflow it is.
            self._ask(lambda kept: kept.put(key, file), None)
        return decided[name]

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a new one, then let go of all but the one before it."""
        step = checkpoint.progress["step"]
        with files.whole_file(self.folder / f"{step:010d}.npz") as temporary, temporary.open("wb") as stream:
            np.savez(stream, progress=np.array(json.dumps(checkpoint.progress)), **checkpoint.arrays)
        for old in self._all()[KEPT:]:
            old.unlink()
        self._tell()

    def last(self, names: Collection[str]) -> Checkpoint | None:
        """The newest, here or in the store, that can be read and has arrays of these names, all finite.

        A damaged one is said, set aside, and the one before it is taken.
        """
        self._tell()  # of what it began with
        here = [(file.name, True) for file in self._all()]
        for name, is_here in sorted(here + [(name, False) for name in self._ask(self._stored, [])], reverse=True):
            file, key = self.folder / name, f"{self._prefix}/{name}"
            if not is_here and not self._ask(lambda kept, key=key, file=file: kept.get(key, file), False):
                continue
            found = _read(file, names)
            if isinstance(found, Checkpoint):
                return found
            print(f"{file}: damaged ({found}); going back to the one before it")
            file.unlink()
            if not is_here:
                self._ask(lambda kept, key=key: kept.delete(key), None)
        return None

    def wait(self) -> None:
        """Until the store has the newest, or does not take it."""
        if self._thread.ident:
            self._new.join()

    def keep_finished(self, model: Path) -> None:
        """Keep a finished model for this pipeline run: until its outputs are sent the pod may be lost, and the next one needs it."""
        if self._finished:
            with scratch.folder("finished") as folder:
                file = Path(shutil.make_archive(str(folder / "model"), "zip", model))
                self._ask(lambda kept: kept.put(self._finished, file), None)

    def finished(self, folder: Path) -> bool:
        """Bring into a folder the model that an earlier pod of this pipeline run finished, byte for byte; whether there is one."""
        with scratch.folder("finished") as place:
            file = place / "model.zip"
            if not self._finished or not self._ask(lambda kept: kept.get(self._finished, file), False):
                return False
            try:
                shutil.unpack_archive(file, folder)  # which compares checksums
            except (OSError, zipfile.BadZipFile, zlib.error) as error:
                print(f"train: the finished model in the store is damaged ({error}); it is made anew")
                return False
        return True

    def clear(self) -> None:
        """The training has ended well."""
        self._new.put(False)
        if self._thread.ident:
            self._thread.join(SECONDS)
        for name in [*self._ask(self._stored, []), BEGUN]:
            self._ask(lambda kept, name=name: kept.delete(f"{self._prefix}/{name}"), None)
        self._ask(lambda kept: kept.clean("checkpoints"), None)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _all(self) -> list[Path]:
        return sorted(self.folder.glob("*.npz"), reverse=True)

    def _stored(self, kept: store.Store) -> list[str]:
        """Names of the checkpoints in the store."""
        return [name for key in kept.names(self._prefix) if (name := key.rpartition("/")[2]).endswith(".npz")]

    def _ask(self, work: Callable[[store.Store], T], otherwise: T) -> T:
        """What the store answers, in time; `otherwise` where there is none, or none that answered the last time."""
        if self._store is None or self._said:
            return otherwise
        try:
            return within(SECONDS, lambda: work(self._store), what="the store")
        except (CannotRun, OSError) as error:
            self._say(error)
            return otherwise

    def _tell(self) -> None:
        """That there is something new, to a thread which starts only when the network is built: see `_fit`."""
        if self._store and not self._thread.ident:
            self._thread.start()
        self._new.put(True)

    def _send(self) -> None:
        """The newest that there is, whenever one has been sent: slower than the training, it leaves some out."""
        sent: list[Path] = []
        while self._new.get():
            newest = [self.folder / BEGUN, *self._all()[:1]]
            try:
                for file in newest:
                    if file not in sent:
                        self._store.put(f"{self._prefix}/{file.name}", file)
                for old in sorted(self._stored(self._store), reverse=True)[KEPT:] if newest != sent else ():
                    self._store.delete(f"{self._prefix}/{old}")
                sent, self._said = newest, False
            except (CannotRun, OSError) as error:
                if newest[-1].exists():  # else two newer ones have come meanwhile
                    self._say(error)
            self._new.task_done()

    def _say(self, error: Exception) -> None:
        if not self._said:
            self._said = True
            with contextlib.suppress(OSError):  # nobody reads any more
                print(f"train: {error}; the training goes on, its checkpoints lie on this machine alone", flush=True)


def _read(file: Path, names: Collection[str]) -> Checkpoint | str:
    """The checkpoint, or what is wrong with it."""
    try:
        # The zip's checksums are compared on reading: a flipped bit does not pass.
        with np.load(file, allow_pickle=False) as content:
            arrays = {name: content[name] for name in content.files if name != "progress"}
            progress = json.loads(str(content["progress"]))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
        return str(error).splitlines()[0] if str(error) else type(error).__name__
    if arrays.keys() != set(names):
        return "weights are missing"
    if not all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f"):
        return "its weights are not finite"
    return Checkpoint(arrays, progress)
