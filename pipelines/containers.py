"""Steps in containers, through podman or docker: another user, a read-only root, no capabilities, no network, a memory limit.

Their runs are tracked in a store of this folder. Where MLFLOW_TRACKING_URI names a server, the steps that talk to it, and no
others, have the network of this machine.
"""

import argparse
import contextlib
import itertools
import os
import re
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from components.shared import scratch
from components.shared.errors import CannotRun
from pipelines import graph
from pipelines.execution import REASON_FILE, leave

TRACKED = ("train", "evaluate", "register")  # the steps that talk to the tracking server
KILLED, STOPPED = 137, 143  # by SIGKILL, as the kernel does to what passes its memory; by SIGTERM
MEMORY = re.compile(r"[1-9][0-9]*[bkmg]?")
DOCKER = Path("/var/run/docker.sock")  # its own service, where it runs
LOCKED = {
    "user": "10001:10001",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "pids_limit": 1024,
    "tmpfs": {"/tmp": "mode=1777"},  # noqa: S108 the container's own
}
SERVER = "MLFLOW_TRACKING_URI"
PASSED_ON = ("MLFLOW_EXPERIMENT_NAME", SERVER, "MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD")


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


@contextlib.contextmanager
def runner(options: argparse.Namespace, root: Path, stream: TextIO) -> Iterator["Containers"]:
    """Yield what runs each step locked down; what steps say goes to `stream`. `root` is a private folder.

    Raises CannotRun when there is no engine, or no image of this code.
    """
    import docker

    if not MEMORY.fullmatch(options.memory):
        raise CannotRun(f"--memory {options.memory}: expected a whole number and a unit (b, k, m or g), such as 4g")
    with _engine():
        try:
            with contextlib.closing(docker.from_env()) as client:
                held = client.images.get(graph.image()).labels.get("darkroom.code", "unknown")
        except docker.errors.ImageNotFound:
            raise CannotRun(f"no image {graph.image()} on this machine; `make image` builds it") from None
        except docker.errors.DockerException as error:
            raise CannotRun(
                f"no container engine answers ({str(error).splitlines()[0]}); is podman or docker running?"
            ) from None
        if held != graph.code_digest():
            raise CannotRun(f"image {graph.image()} holds code {held}, this checkout is {graph.code_digest()}; `make image`")
        yield Containers(options, root, stream)


class Containers:
    """A container for each step; `tracking` holds the runs, where no server does."""

    def __init__(self, options: argparse.Namespace, root: Path, stream: TextIO) -> None:
        self.memory, self.data, self.stream = options.memory, Path(options.data).absolute(), stream
        self.artifacts, self.tracking = open_folder(root / "artifacts"), open_folder(root / "tracking")
        self.logs = root / "logs" / time.strftime("%Y%m%d-%H%M%S")
        self.logs.mkdir(parents=True)
        self.numbers = itertools.count(1)

    def run(self, name: str, command: list[str], environment: dict[str, str]) -> int:
        """Run a step's command to its end and return its exit code; its log is shown and kept.

        KFP's own Docker runner removes containers before it has read how they ended, and then takes a failed step for a good one
        (kubeflow/pipelines #13332). Here a container is kept until its exit code and its log are read.
        """
        import docker

        served = name.split()[0] in TRACKED and os.environ.get(SERVER, "").startswith("http")
        server = {key: os.environ[key] for key in (PASSED_ON if served else PASSED_ON[:1]) if key in os.environ}
        folders = {self.data: "ro", self.artifacts: "rw", self.tracking: "rw"}
        log = self.logs / f"{next(self.numbers):02}-{name.replace(' ', '_')}.log"
        try:
            with contextlib.closing(docker.from_env()) as client, contextlib.ExitStack() as stack:
                container = client.containers.run(
                    graph.image(),
                    ["python", "-m", "pipelines.first_process", *command],
                    detach=True,
                    environment={"HOME": "/tmp", **environment, **server},  # noqa: S108
                    mem_limit=self.memory,
                    memswap_limit=self.memory,
                    network_mode="host" if served else "none",
                    volumes={str(folder): {"bind": str(folder), "mode": mode} for folder, mode in folders.items()},
                    working_dir=str(self.tracking),  # beside it lies the store of a process without a server
                    **LOCKED,
                )
                stack.callback(_remove, container)
                kept = stack.enter_context(log.open("wb"))
                for piece in container.logs(stream=True, follow=True):
                    kept.write(piece)
                    self.stream.write(piece.decode(errors="replace"))
                code = container.wait()["StatusCode"]
        except docker.errors.APIError as error:
            leave(name, f"the container engine: {error.explanation or error}", environment[REASON_FILE])
            return 1
        how = {
            KILLED: f": killed, perhaps out of memory (limit {self.memory}; --memory raises it)",
            STOPPED: ": told to stop; the same command goes on from here",
        }
        if code:
            leave(name, f"exit code {code}{how.get(code, '')}; log: {log}", environment[REASON_FILE])
        return code


def _remove(container) -> None:
    import docker

    with contextlib.suppress(docker.errors.APIError):
        container.remove(force=True)


@contextlib.contextmanager
def _engine() -> Iterator[None]:
    """DOCKER_HOST as it is; or docker's own socket; or a podman service for as long as the run lasts. Raises CannotRun."""
    if os.environ.get("DOCKER_HOST") or DOCKER.exists():
        yield
        return
    if not shutil.which("podman"):
        raise CannotRun("no podman or docker on this machine; on Debian or Ubuntu, as root: infra/engine.sh")
    with scratch.folder("podman") as folder:
        socket, latest = folder / "podman.sock", time.monotonic() + 120
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        service = subprocess.Popen(
            ["podman", "system", "service", "--time=0", f"unix://{socket}"], start_new_session=True, **quiet
        )
        try:
            while not socket.exists():
                if service.poll() is not None or time.monotonic() > latest:
                    raise CannotRun("podman's service did not start")
                time.sleep(0.2)
            os.environ["DOCKER_HOST"] = f"unix://{socket}"
            yield
        finally:
            os.environ.pop("DOCKER_HOST", None)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(service.pid, signal.SIGKILL)
            service.wait()
