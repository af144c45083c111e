"""The folder by which the parent tells its workers what to serve, and they tell it that somebody asked for the newest."""

import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path

from components.shared import files
from components.shared.models import package
from components.shared.models.package import Package


@dataclass(frozen=True)
class Options:
    """The limits of `darkroom serve`, as every worker needs them."""

    max_megabytes: float
    max_megapixels: float
    queue: int
    deadline: float


@dataclass(frozen=True)
class State:
    """What to serve. `closing`: accept what comes, but be ready no more."""

    name: str
    version: str
    digest: str
    folder: str
    closing: bool = False


class Place:
    """The folder. It holds the packages themselves, so that a worker that starts again needs no registry."""

    def __init__(self, folder: Path) -> None:
        self.folder, self._file, self._asked = folder, folder / "state.json", folder / "asked"
        self._stamp, self._read = 0, None
        self.metrics = folder / "metrics"  # of all workers, as prometheus_client writes them
        self.metrics.mkdir(exist_ok=True)

    def keep(self, found: Package) -> Path:
        """Copy a package; its folder. Of those before, the one that is served stays."""
        kept = self.folder / found.digest
        for old in self.folder.iterdir():
            if old.is_dir() and old not in (self.metrics, kept) and not (self._read and old == Path(self._read.folder)):
                shutil.rmtree(old)
        kept.mkdir(exist_ok=True)
        for name in (package.FILE, *found.files):
            shutil.copyfile(found.folder / name, kept / name)
        return kept

    def write(self, state: State) -> None:
        """Tell the workers."""
        files.write_json(self._file, asdict(state))
        self.read()

    def read(self) -> State:
        """What the parent said last."""
        if (stamp := self._file.stat().st_mtime_ns) != self._stamp:
            self._stamp, self._read = stamp, State(**json.loads(self._file.read_text()))
        return self._read

    def ask(self) -> None:
        """Ask the parent to look for a newer model."""
        self._asked.touch()

    def asked(self) -> bool:
        """Whether somebody asked since the last time."""
        there = self._asked.exists()
        self._asked.unlink(missing_ok=True)
        return there
