"""Where a training stands, on disk: enough to go on after a kill as if nothing had happened."""

import json
import shutil
import zipfile
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.shared import files


@dataclass
class Checkpoint:
    """`arrays`: every variable of model and optimizer, random states among them; `progress`: plain numbers and lists."""

    arrays: dict[str, np.ndarray]
    progress: dict


class Checkpoints:
    """The last two checkpoints of one training, in a folder that is named after all that decides its result.

    Another configuration, other data or another seed is another folder: a checkpoint never leads a different training on.
    """

    def __init__(self, beside: Path, identity: str) -> None:
        self.folder = beside.with_name(f".{beside.name}.checkpoint.{identity[:16]}")
        for other in beside.parent.glob(f".{beside.name}.checkpoint.*"):
            if other != self.folder:
                shutil.rmtree(other)

    def save(self, checkpoint: Checkpoint) -> None:
        """Write a new one, then let go of all but the one before it."""
        step = checkpoint.progress["step"]
        with files.whole_file(self.folder / f"{step:010d}.npz") as temporary, temporary.open("wb") as stream:
            np.savez(stream, progress=np.array(json.dumps(checkpoint.progress)), **checkpoint.arrays)
        for old in self._all()[2:]:
            old.unlink()

    def last(self, names: Collection[str]) -> Checkpoint | None:
        """The newest that can be read and has arrays of these names, all finite.

        A damaged one is said, set aside, and the one before it is taken.
        """
        for file in self._all():
            fault = None
            try:
                # The zip's checksums are compared on reading: a flipped bit does not pass.
                with np.load(file, allow_pickle=False) as content:
                    arrays = {name: content[name] for name in content.files if name != "progress"}
                    progress = json.loads(str(content["progress"]))
                if arrays.keys() != set(names):
                    fault = "weights are missing"
                elif not all(np.isfinite(array).all() for array in arrays.values() if array.dtype.kind == "f"):
                    fault = "its weights are not finite"
            except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error) as error:
                fault = str(error).splitlines()[0] if str(error) else type(error).__name__
            if fault is None:
                return Checkpoint(arrays, progress)
            print(f"{file}: damaged ({fault}); going back to the one before it")
            file.unlink()
        return None

    def clear(self) -> None:
        """The training has ended well."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def _all(self) -> list[Path]:
        return sorted(self.folder.glob("*.npz"), reverse=True)
