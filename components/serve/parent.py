"""The parent of the workers: it fetches models, tries them, and starts again what was killed. It answers no request itself."""

import functools
import os
import re
import resource
import socket
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

from uvicorn import Config
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess

from components.serve.place import Options, Place, State
from components.shared import failures, files
from components.shared.errors import CannotRun
from components.shared.models import package
from components.shared.runs import packages

METRICS = "PROMETHEUS_MULTIPROC_DIR"  # where the workers count, told before they load prometheus_client
DRAIN = 1.0  # seconds between "not ready" and the last connection that is accepted
_HEADERS = [
    ("x-content-type-options", "nosniff"), ("referrer-policy", "no-referrer"), ("cache-control", "no-store"),
    ("x-frame-options", "DENY"), ("content-security-policy", "frame-ancestors 'none'; base-uri 'none'; form-action 'none'"),
    ("cross-origin-resource-policy", "same-origin"),
]  # fmt: skip


class Source:
    """Where the model comes from, and what is served of it."""

    def __init__(self, model: str, place: Place, *, digest: str = "", public_key: Path | None = None) -> None:
        self.model, self._place, self._expected, self._said = model, place, digest, ""
        self._public_key = public_key
        named = re.match(r"models:/([^@/]+)", model)
        self._name = named[1] if named else "darkroom"
        self.state: State | None = None

    def take(self) -> None:
        """Fetch the model, try it where another one is served, and tell the workers where it lies. Raises CannotRun."""
        with packages.fetched(self.model, digest=self._expected, public_key=self._public_key) as found:
            folder = self._place.keep(found)
        version = str(found.facts.get("version") or found.digest[:12])
        new = State(self._name, version, found.digest, str(folder))
        if self.state:
            from components.serve.worker import Model

            served = package.read(Path(self.state.folder)).preprocessing.shape
            if (shape := Model(new).package.preprocessing.shape) != served:
                raise CannotRun(f"it takes pictures of {shape}, what is served {served}; start the server again for it")
            new = replace(new, closing=self.state.closing)
        self.state = new
        self._place.write(new)

    def close(self) -> None:
        """Tell the workers to be ready no more."""
        self.state = replace(self.state, closing=True)
        self._place.write(self.state)

    def newest(self) -> None:
        """Take the model if it is another one by now; what fails is said once, and the old one stays."""
        try:
            digest = packages.resolve(self.model)[2] or files.digest(Path(self.model) / package.FILE)
            if digest != self.state.digest:
                self.take()
                _say(f"serve: version {self.state.version} (sha256 {self.state.digest[:12]}...) is served now")
            self._said = ""
        except Exception as error:  # whatever it is, what is served goes on
            reason = failures.explain(error).reason
            if reason != self._said:
                _say(f"serve: {self.model}: not taken, version {self.state.version} is served on: {reason}")
            self._said = reason


class _Workers(Multiprocess):
    """uvicorn's supervisor, which says "not ready" before it stops accepting."""

    def __init__(self, config: Config, sockets: list[socket.socket], source: Source) -> None:
        super().__init__(config, sockets)
        self._source = source

    def handle_term(self) -> None:
        """Not ready; wait until who sends requests has seen it; then end."""
        self._source.close()
        time.sleep(DRAIN)
        self.should_exit.set()

    def keep_subprocess_alive(self) -> None:
        """Start again what was killed, at once: as long as this process holds a worker's end of their pipe, too, no end is seen."""
        for worker in self.processes:
            worker.child_conn.close()
        super().keep_subprocess_alive()

    handle_int = handle_term
    handle_hup = handle_ttin = handle_ttou = None  # uvicorn would start and stop workers


def run(source: Source, place: Place, options: Options, *, host: str, port: int, workers: int, follow: float) -> None:
    """Serve until SIGTERM or SIGINT. `follow`: seconds between looks for a newer model, 0 for none. Raises CannotRun."""
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, UnicodeError) as error:
        reason = getattr(error, "strerror", None) or "no address"
        raise CannotRun(f"serve: cannot listen on {host}:{port} ({reason}); choose another --host or --port") from None
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection is an open file
    config = Config(
        functools.partial(_application, options, place), factory=True, lifespan="on", loop="uvloop", ws="none",
        http="components.serve.gate:Connection", workers=workers, headers=_HEADERS, server_header=False, proxy_headers=False,
        log_config=None, access_log=False, timeout_keep_alive=30, timeout_graceful_shutdown=int(options.deadline) + 1,
        timeout_worker_healthcheck=30,
    )  # fmt: skip
    supervisor = _Workers(config, [listening], source)
    address = f"[{host}]" if ":" in host else host
    _say(f"serve: {source.state.name} {source.state.version} (sha256 {source.state.digest[:12]}...) on "
         f"http://{address}:{listening.getsockname()[1]}, {workers} workers")  # fmt: skip
    threading.Thread(target=_follow, args=(source, place, follow, supervisor.should_exit), daemon=True).start()
    os.environ[METRICS] = str(place.metrics)
    try:
        supervisor.run()
    finally:
        del os.environ[METRICS]  # whatever this process starts next would write into a folder that is gone
    if any(worker.exitcode == STARTUP_FAILURE for worker in supervisor.processes):
        raise CannotRun("serve: a worker could not start, for the reason above")


def _application(options: Options, place: Place):
    """In a worker: the application, or an end that uvicorn knows as a failure to start."""
    from components.serve.routes import create

    made = []
    if failures.guarded(lambda: made.append(create(options, place)), name="serve"):
        sys.exit(STARTUP_FAILURE)
    return made[0]


def _follow(source: Source, place: Place, seconds: float, ended: threading.Event) -> None:
    last = time.monotonic()
    while not ended.wait(0.25):
        if place.asked() or (seconds and time.monotonic() - last >= seconds):
            source.newest()
            last = time.monotonic()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
