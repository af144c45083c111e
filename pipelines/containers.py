"""Steps in containers, through podman or docker: another user, a read-only root, no capabilities, no network, a memory limit.

Their runs are tracked in a store of this folder. Where MLFLOW_TRACKING_URI names a server, the steps that talk to it, and no
others, have the network of this machine.
"""

import argparse
import contextlib
import os
import re
import shutil
import stat
from pathlib import Path

from components.shared import deadline
from components.shared.errors import CannotRun
from pipelines import graph
from pipelines.execution import REASON_FILE, leave
from pipelines.local import Logs

TRACKED = ("train", "package", "evaluate", "register")  # the steps that talk to the tracking server
# By SIGKILL, as the kernel does to what passes its memory; by SIGTERM; not begun.
KILLED, STOPPED, NO_CONTAINER = 137, 143, 125
MEMORY = re.compile(r"[1-9][0-9]*[bkmg]?")
DOCKER = Path("/var/run/docker.sock")  # its own service, where it runs
LOCKED = ("--user=10001:10001", "--read-only", "--cap-drop=ALL", "--security-opt=no-new-privileges", "--pids-limit=1024",
          "--tmpfs=/tmp:mode=1777", "--env=HOME=/tmp")  # fmt: skip
SERVER = "MLFLOW_TRACKING_URI"
PASSED_ON = ("MLFLOW_EXPERIMENT_NAME", SERVER, "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")
MAKE_STORE = ["python", "-c", "from components.shared.runs.connection import connect; connect()"]


def private_folder(path: Path) -> Path:
    """Make a folder with mode 0700, or take one that is so and ours already. Raises CannotRun; no mode is ever changed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
        return path
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid() or status.st_mode & 0o077:
        raise CannotRun(f"{path}: is open to other users, or not yours (mode {status.st_mode & 0o777:04o}); expected a folder of "
                        "mode 0700 that Darkroom made: remove it, or name another --root")  # fmt: skip
    return path


def open_folder(path: Path) -> Path:
    """A folder in a private one where containers write, as another user: nobody else gets past the private one."""
    path.mkdir(exist_ok=True)
    path.chmod(0o777)
    return path


class Containers:
    """A container for each step, by the command line of podman or docker; `root` is a private folder.

    Raises CannotRun when there is no engine, or no image of this code.
    """

    def __init__(self, options: argparse.Namespace, root: Path, logs: Logs) -> None:
        if not MEMORY.fullmatch(options.memory):
            raise CannotRun(f"--memory {options.memory}: expected a whole number and a unit (b, k, m or g), such as 4g")
        self.memory, self.data, self.logs, self.engine = options.memory, Path(options.data).absolute(), logs, _engine()
        self.artifacts, self.tracking = open_folder(root / "artifacts"), open_folder(root / "tracking")
        self.served = os.environ.get(SERVER, "").startswith("http")

    def check(self) -> None:
        """Look whether the engine answers, and has an image of this code. Raises CannotRun."""
        answer = deadline.command([*self.engine, "version"], seconds=60)
        if answer.returncode:
            reason = next(iter(answer.stderr.strip().splitlines()[-1:]), "no reason given")
            raise CannotRun(f"no container engine answers ({reason}); is podman or docker running?")
        label = '{{index .Config.Labels "darkroom.code"}}'
        found = deadline.command([*self.engine, "image", "inspect", f"--format={label}", graph.image()], seconds=60)
        if found.returncode:
            raise CannotRun(f"no image {graph.image()} on this machine; `make image` builds it")
        if (held := found.stdout.strip() or "unknown") != graph.code_digest():
            raise CannotRun(f"image {graph.image()} holds code {held}, this checkout is {graph.code_digest()}; `make image`")

    def make_store(self, environment: dict[str, str]) -> None:
        """Where no server keeps the runs: the store for them, before a training needs it. Raises CannotRun."""
        if not self.served and not (self.tracking / "mlflow/runs.db").exists():
            print(f"tracking: in {self.tracking}", flush=True)
            if code := self.run("tracking", MAKE_STORE, environment):
                raise CannotRun(f"{self.tracking}: the store for runs was not made (exit code {code}); log: {self.logs.latest}")

    def run(self, name: str, command: list[str], environment: dict[str, str]) -> int:
        """Run a step's command to its end and return its exit code; `logs` keeps what it says."""
        served = self.served and name.split()[0] in TRACKED
        variables = [*environment, *(PASSED_ON if served else PASSED_ON[:1])]
        folders = {self.data: "ro", self.artifacts: "rw", self.tracking: "rw"}
        started = [
            *self.engine, "run", "--rm", *LOCKED, f"--memory={self.memory}", f"--memory-swap={self.memory}",
            f"--network={'host' if served else 'none'}", *(f"--volume={folder}:{folder}:{mode}" for folder, mode in folders.items()),
            f"--workdir={self.tracking}",  # beside it lies the store of a process without a server
            *(f"--env={variable}" for variable in variables),  # their values are read from its own: no secret is in a command
            graph.image(), "python", "-m", "pipelines.first_process", *command,
        ]  # fmt: skip
        # There, since podman leaves an empty file `oom` where it was called when a container has taken too much memory.
        code = self.logs.run(name, started, environment, self.logs.folder)
        how = {
            KILLED: f": killed, perhaps out of memory (limit {self.memory}; --memory raises it)",
            STOPPED: ": told to stop; the same command goes on from here",
            NO_CONTAINER: ": the container engine could not start it",
        }
        if code:
            leave(name, f"exit code {code}{how.get(code, '')}; log: {self.logs.latest}", environment[REASON_FILE])
        return code


def _engine() -> list[str]:
    """The command of an engine: docker's where its service is, else podman's, which needs none. Raises CannotRun."""
    host = os.environ.get("DOCKER_HOST", "")
    if shutil.which("docker") and (host or DOCKER.exists()):
        return ["docker"]
    if shutil.which("podman"):
        return ["podman", *(["--url", host] if host else [])]
    raise CannotRun("no podman or docker on this machine; on Debian or Ubuntu, as root: infra/engine.sh")
