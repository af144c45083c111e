"""Steps in containers, through podman or docker: another user, a read-only root, no capabilities, no network, a memory limit.

KFP's own Docker runner removes containers before it has read how they ended, and then takes a failed step for a good one
(kubeflow/pipelines #13332). Here a container is kept until its exit code and its log are read.
"""

import argparse
import contextlib
import itertools
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from pipelines import graph
from pipelines.execution import REASON_FILE, leave

TRACKED = {"train", "evaluate", "register"}  # the steps that talk to the tracking server
KILLED, STOPPED = 137, 143  # by SIGKILL, as the kernel does to what passes its memory; by SIGTERM
MEMORY = re.compile(r"[1-9][0-9]*[bkmg]?")
DOOR = "/run/darkroom"
DOCKER = Path("/var/run/docker.sock")  # its own service, where it runs
LOCKED = {
    "user": "10001:10001",
    "read_only": True,
    "cap_drop": ["ALL"],
    "security_opt": ["no-new-privileges"],
    "network_mode": "none",
    "pids_limit": 1024,
    "tmpfs": {"/tmp": "mode=1777"},  # noqa: S108 the container's own
}
PASSED_ON = ("MLFLOW_TRACKING_TOKEN", "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_EXPERIMENT_NAME")


def artifacts(root: Path) -> Path:
    """The folder in the private folder `root` where containers write, as another user: nobody else gets past `root`."""
    folder = root / "artifacts"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    return folder


@contextlib.contextmanager
def runner(options: argparse.Namespace, root: Path) -> Iterator:
    """Yield KFP's DockerRunner, made to run each step locked down. Raises CannotRun when there is no engine or no image.

    `root` is a private folder: logs go there.
    """
    import docker
    from kfp import local
    from kfp.local import docker_task_handler

    from components.shared.errors import CannotRun
    from pipelines import tunnel

    if not MEMORY.fullmatch(options.memory):
        raise CannotRun(f"--memory {options.memory}: expected a whole number and a unit (b, k, m or g), such as 4g")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_engine())
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
        tracking, host, port = stack.enter_context(_tracking(root))
        step = Step(options, root, stack.enter_context(tunnel.door(host, port)), tracking)
        stock = docker_task_handler.run_docker_container
        docker_task_handler.run_docker_container = step.run
        stack.callback(setattr, docker_task_handler, "run_docker_container", stock)
        yield local.DockerRunner()


class Step:
    """One container a step."""

    def __init__(self, options: argparse.Namespace, root: Path, door: Path, tracking: str) -> None:
        self.memory, self.data, self.door = options.memory, Path(options.data).absolute(), door
        self.tracking = urlsplit(tracking)
        self.logs = root / "logs" / time.strftime("%Y%m%d-%H%M%S")
        self.logs.mkdir(parents=True)
        self.numbers = itertools.count(1)

    def run(self, client, image: str, command: list[str], volumes: dict, **options) -> int:
        """Run a command to its end and return its exit code; its log is printed and kept. KFP calls this.

        `image` is what the pipeline was compiled with: ours is the one that was asked for, and checked.
        """
        import docker

        from components.shared.config import PIPELINE_RUN
        from components.shared.store import STORE

        function = command[command.index("--function_to_execute") + 1] if "--function_to_execute" in command else "step"
        name = function.replace("_", " ")
        environment = {name: os.environ[name] for name in (REASON_FILE, PIPELINE_RUN, STORE) if name in os.environ}
        environment |= {"HOME": "/tmp", **options.pop("environment", {})}  # noqa: S108
        volumes |= {
            str(self.data): {"bind": str(self.data), "mode": "ro"},
            str(self.door): {"bind": DOOR, "mode": "ro"},
        }
        port, hosts = self.tracking.port or {"http": 80, "https": 443}[self.tracking.scheme], {}
        if name.split()[0] in TRACKED:
            environment |= {key: os.environ[key] for key in PASSED_ON if key in os.environ}
            environment["MLFLOW_TRACKING_URI"] = self.tracking.geturl()
            hosts = {self.tracking.hostname: "127.0.0.1"}
        container = None
        log = self.logs / f"{next(self.numbers):02}-{function}.log"
        try:
            container = client.containers.run(
                graph.image(),
                ["python", "-m", "pipelines.tunnel", f"{DOOR}/socket", str(port), *command],
                detach=True,
                environment=environment,
                extra_hosts=hosts,
                mem_limit=self.memory,
                memswap_limit=self.memory,
                volumes=volumes,
                # A port below 1024 is nothing special in a container's own network.
                sysctls={"net.ipv4.ip_unprivileged_port_start": "0"} if port < 1024 else {},
                **LOCKED,
                **options,
            )
            with log.open("wb") as kept:
                for piece in container.logs(stream=True, follow=True):
                    kept.write(piece)
                    print(piece.decode(errors="replace"), end="")
            code = container.wait()["StatusCode"]
        except docker.errors.APIError as error:
            leave(name, f"the container engine: {error.explanation or error}")
            return 1
        finally:
            if container is not None:
                with contextlib.suppress(docker.errors.APIError):
                    container.remove(force=True)
        how = {
            KILLED: f": killed, perhaps out of memory (limit {self.memory}; --memory raises it)",
            STOPPED: ": told to stop; the same command goes on from here",
        }
        if code:
            leave(name, f"exit code {code}{how.get(code, '')}; log: {log}")
        return code


@contextlib.contextmanager
def _engine() -> Iterator[None]:
    """DOCKER_HOST as it is; or docker's own socket; or a podman service for as long as the run lasts."""
    from components.shared import scratch
    from components.shared.errors import CannotRun

    if os.environ.get("DOCKER_HOST") or DOCKER.exists():
        yield
        return
    if not shutil.which("podman"):
        raise CannotRun("no podman or docker on this machine; on Debian or Ubuntu, as root: infra/engine.sh")
    with scratch.folder("podman") as folder:
        socket_file = folder / "podman.sock"
        command = ["podman", "system", "service", "--time=0", f"unix://{socket_file}"]
        with _serving(command, socket_file.exists, "podman's service", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
            os.environ["DOCKER_HOST"] = f"unix://{socket_file}"
            try:
                yield
            finally:
                del os.environ["DOCKER_HOST"]


@contextlib.contextmanager
def _tracking(root: Path) -> Iterator[tuple[str, str, int]]:
    """Address, host and port of the tracking server: the one in MLFLOW_TRACKING_URI, or one of our own while the run lasts.

    An address that is an IP number cannot be given another meaning inside: there it is 127.0.0.1.
    """
    address = os.environ.get("MLFLOW_TRACKING_URI", "")
    if address.startswith(("http://", "https://")):
        parts = urlsplit(address)
        port = parts.port or {"http": 80, "https": 443}[parts.scheme]
        inside = address.replace(parts.hostname, "127.0.0.1", 1) if parts.hostname.replace(".", "").isdigit() else address
        yield inside, parts.hostname, port
        return
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    store = root.parent / "tracking"
    store.mkdir(mode=0o700, exist_ok=True)
    from components.shared.runs.connection import sqlite_address

    address = sqlite_address(store / "runs.db")
    command = [sys.executable, "-m", "mlflow", "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"]
    command += ["--backend-store-uri", address, "--artifacts-destination", str(store / "artifacts")]
    quiet = {"MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false", "MLFLOW_DISABLE_TELEMETRY": "true"}
    name = f"MLflow's server ({store}/server.log)"
    with (
        (store / "server.log").open("wb") as log,
        _serving(command, lambda: _answers(port), name, stdout=log, stderr=log, env=os.environ | quiet),
    ):
        print(f"tracking: in {store}; mlflow ui --backend-store-uri {shlex.quote(address)} "
              f"--artifacts-destination {shlex.quote(str(store / 'artifacts'))}")  # fmt: skip
        yield f"http://127.0.0.1:{port}", "127.0.0.1", port


def _answers(port: int) -> bool:
    import requests

    with contextlib.suppress(requests.RequestException):
        return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
    return False


@contextlib.contextmanager
def _serving(command: list[str], ready: Callable[[], bool], name: str, **options) -> Iterator[None]:
    """A server while the block lasts, from when it is ready; its workers end with it. Raises CannotRun."""
    from components.shared.errors import CannotRun

    process, latest = subprocess.Popen(command, start_new_session=True, **options), time.monotonic() + 120
    try:
        while not ready():
            if process.poll() is not None or time.monotonic() > latest:
                raise CannotRun(f"{name} did not start")
            time.sleep(0.2)
        yield
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
