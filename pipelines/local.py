"""The pipeline on this machine, without a cluster, through KFP's own local runner: as processes, or in containers."""

import argparse
import contextlib
import itertools
import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

from components.shared import config, files, scratch
from components.shared.config import PIPELINE_RUN
from components.shared.errors import CannotRun
from components.shared.store import STORE
from pipelines import graph
from pipelines.execution import REASON_FILE, SEAL, seal

DONE, FAILED = 0, 1
Start = Callable[[str, list[str], dict[str, str]], int]  # name, command and variables of a step -> its exit code


def run(options: argparse.Namespace) -> int:
    """Run it; the exit code is 0 done, 1 a step failed. Steps whose code, knobs and inputs are as before are not run again."""
    from kfp import local

    options.data = options.data or "data"
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # servers and containers of the run end as after Ctrl-C
    params = graph.knobs(options)
    if not any(change.startswith("register.enabled=") for change in options.set):
        params["register"]["enabled"] = False  # a trial, unless somebody asks for a version
    pipeline = graph.for_here(params)
    data, digest = _data(options)
    root = options.root.absolute() / ("containers" if options.containers else "processes")
    if options.containers:
        from pipelines import containers

        artifacts = containers.open_folder(containers.private_folder(root) / "artifacts")
    else:
        artifacts = root
        artifacts.mkdir(parents=True, exist_ok=True)
    cache, logs = root / ".cache", Logs(root / "logs" / time.strftime("%Y%m%d-%H%M%S"), verbose=options.verbose)
    sweep(cache)
    with contextlib.ExitStack() as stack:
        # Reasons and store lie among the artifacts, where containers see them, too. By these knobs the runs in MLflow are grouped.
        reason_file = Path(stack.enter_context(tempfile.NamedTemporaryFile(dir=artifacts)).name)
        environment = {REASON_FILE: str(reason_file), STORE: "" if options.no_cache else f"file://{artifacts}/store",
                       PIPELINE_RUN: os.environ.get(PIPELINE_RUN, config.as_text(params))}  # fmt: skip
        if options.containers:
            reason_file.chmod(0o666)  # a container writes to it as another user
            steps = containers.Containers(options, root, logs)
            steps.check()
            steps.make_store(environment)
            start = steps.run
            graph.send_backbones(params, environment[STORE])
        else:
            start, environment["TMPDIR"] = logs.process, str(stack.enter_context(scratch.folder()))
        caching = {"enable_caching": not options.no_cache, "cache_root": str(cache)}
        local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(artifacts), **caching)
        stack.enter_context(like_the_launcher(start, environment))
        ended = ""
        try:
            pipeline(data=data, digest=digest)
        except RuntimeError as error:
            ended = " ".join(str(error).split())
        reasons = reason_file.read_text(encoding="utf-8").splitlines()  # of what register refuses, too
        if reasons or ended:
            reason = f"failed at {reasons[0]}" if reasons else ended
            print(f"pipelines run: {reason}; logs: {logs.folder}", file=sys.stderr)
            return FAILED
    from components.register.summary import closing

    newest = max(artifacts.glob("darkroom-*"), key=lambda folder: folder.stat().st_mtime)
    made, said = (Path(os.path.relpath(folder)) for folder in (newest / "register", logs.folder))
    print(closing(files.read_json(made / "registration"), made / "registration"))
    print(f"\nreport: {made}/page.folder/index.html\nlogs:   {said}")
    return DONE


class Logs:
    """Commands of steps: a line on the terminal for each, and what it says in a file of its own; `verbose` shows that, too."""

    def __init__(self, folder: Path, *, verbose: bool = False) -> None:
        self.folder, self.verbose, self.latest, self.numbers = folder, verbose, folder, itertools.count(1)

    def process(self, name: str, command: list[str], environment: dict[str, str]) -> int:
        """Run a step's command as a process, by this Python; its exit code."""
        from kfp.local.subprocess_task_handler import replace_python_executable

        return self.run(name, replace_python_executable(command, sys.executable), environment)

    def run(self, name: str, command: list[str], environment: dict[str, str], folder: Path | None = None) -> int:
        """Run a command to its end, in this folder where one is named; its exit code. `latest` is the file of what it says."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self.latest = self.folder / f"{next(self.numbers):02}-{name.replace(' ', '_')}.log"
        print(f"{name:16}", end="\n" if self.verbose else "", flush=True)
        begun = time.monotonic()
        streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True, "errors": "replace"}
        with (
            self.latest.open("w", encoding="utf-8", errors="backslashreplace", buffering=1) as kept,
            subprocess.Popen(command, cwd=folder, env=os.environ | environment, **streams) as process,
        ):
            try:
                for line in process.stdout:
                    kept.write(line)
                    if self.verbose:
                        print(line, end="", flush=True)
            except KeyboardInterrupt:
                process.terminate()  # a terminal tells it by itself
                print()
                raise
        print(f"{'failed' if process.returncode else 'done':6}{time.monotonic() - begun:8,.0f} s", flush=True)
        return process.returncode


def _data(options: argparse.Namespace) -> tuple[str, str]:
    """Place and digest of the data, checked before anything starts. Raises CannotRun."""
    from components.shared.data import dataset, remote

    if not remote.is_remote(options.data):
        shards = dataset.shards(Path(options.data))
        digest = dataset.data_digest({file.name: files.digest(file, "md5") for file in shards})
        if options.digest not in ("", digest):
            raise CannotRun(f"{options.data}: holds {digest}, expected --digest {options.digest}; `dvc checkout` brings it")
        return str(Path(options.data).absolute()), digest
    if options.containers:
        raise CannotRun(f"--data {options.data}: containers have no network; `dvc pull`, and name the folder")
    digest = options.digest or graph.recorded_digest()
    remote.listing(options.data, digest)
    return options.data, digest


@contextlib.contextmanager
def like_the_launcher(start: Start, environment: dict[str, str]) -> Iterator[None]:
    """KFP's local runner runs each step by `start`, with these variables, and keeps to what holds on a cluster.

    A command that fails leaves no outputs. The exit handler is told COMPLETE or FAILED and no reason, and its placeholders mean
    something. KFP's own lines are not said.
    """
    from kfp import dsl
    from kfp.local import logging_utils, status
    from kfp.local import subprocess_task_handler as handlers
    from kfp.local.orchestrator.orchestrator_utils import OrchestratorUtils

    class Task:
        def __init__(self, *, full_command: list[str], env_vars: dict[str, str], **_: object) -> None:
            self.command, self.environment = full_command, environment | env_vars

        def run(self) -> status.Status:
            code = start(self.command[-1].replace("_", " "), self.command, self.environment)
            if code:
                given = json.loads(self.command[self.command.index("--executor_input") + 1])
                shutil.rmtree(Path(given["outputs"]["outputFile"]).parent, ignore_errors=True)
            return status.Status.FAILURE if code else status.Status.SUCCESS

    def arguments(*given, **named) -> dict:
        made = arguments_of(*given, **named)
        for name, value in made.items():
            if isinstance(value, dict) and "pipeline_job_resource_name" in value:
                made[name] = value | {"state": value["state"].replace("SUCCEEDED", "COMPLETE"), "error": {}}
            elif value == dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER:
                made[name] = dsl.PIPELINE_JOB_NAME_PLACEHOLDER
        return made

    handler, line, indented = handlers.SubprocessTaskHandler, logging_utils.print_horizontal_line, logging_utils.indented_print
    arguments_of = OrchestratorUtils.make_task_arguments
    handlers.SubprocessTaskHandler, logging_utils.print_horizontal_line = Task, lambda: None
    logging_utils.indented_print = contextlib.nullcontext
    OrchestratorUtils.make_task_arguments = arguments
    logging.disable()
    try:
        with warnings.catch_warnings(action="ignore"):  # that display names and the image have no effect here, which is right
            yield
    finally:
        logging.disable(logging.NOTSET)
        handlers.SubprocessTaskHandler, logging_utils.print_horizontal_line = handler, line
        logging_utils.indented_print = indented
        OrchestratorUtils.make_task_arguments = arguments_of


def sweep(cache: Path) -> None:
    """Delete cache entries whose artifacts do not match their seal: KFP only checks that the artifacts exist."""
    for entry in cache.glob("*.json"):
        try:
            outputs = json.loads(entry.read_text(encoding="utf-8")).values()
            artifacts = [output for output in outputs if isinstance(output, dict)]  # the others are parameters
            flat = [item for output in artifacts for item in output.get("artifacts", [output])]
            whole = all(seal(Path(item["uri"])) == item["metadata"][SEAL] for item in flat if SEAL in item.get("metadata", {}))
        except (OSError, ValueError, AttributeError, TypeError, KeyError):
            whole = False
        if not whole:
            entry.unlink()
