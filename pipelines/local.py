"""The pipeline on this machine, without a cluster, through KFP's own local runner: as processes, or in containers."""

import argparse
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path

from pipelines import graph, private
from pipelines.execution import REASON_FILE, SEAL, seal
from pipelines.terminal import Terminal

DONE, FAILED = 0, 1


def run(options: argparse.Namespace) -> int:
    """Run it; the exit code is 0 done, 1 a step failed. Steps whose code, knobs and inputs are as before are not run again."""
    from kfp import local

    signal.signal(signal.SIGTERM, _as_interrupted)
    params = graph.knobs(options)
    pipeline = graph.for_here(params)
    data, digest = _data(options)
    root = options.root.absolute() / ("containers" if options.containers else "processes")
    if options.containers:
        from pipelines import containers

        artifacts = containers.artifacts(private.folder(root))
    else:
        artifacts = root
        artifacts.mkdir(parents=True, exist_ok=True)
    cache = root / ".cache"
    sweep(cache)
    with contextlib.ExitStack() as stack:
        # Among the artifacts, where containers see it, too.
        store = "" if options.no_cache else f"file://{artifacts}/store"
        reason_file = stack.enter_context(_scratch(artifacts, params, store))
        runner = local.SubprocessRunner(use_venv=False)
        if options.containers:
            reason_file.chmod(0o666)  # a container writes to it as another user
            runner = stack.enter_context(containers.runner(options, root))
        local.init(runner, pipeline_root=str(artifacts), enable_caching=not options.no_cache, cache_root=str(cache))
        # KFP warns that display names and the image have no effect here, which is right without a cluster.
        warnings.filterwarnings("ignore", module="kfp.local")
        log = root / "run.log"
        stream = stack.enter_context(log.open("w", encoding="utf-8", errors="backslashreplace"))
        stack.enter_context(contextlib.redirect_stdout(Terminal(sys.stdout, stream)))
        stack.enter_context(_like_the_launcher())
        ended = ""
        try:
            pipeline(data=data, digest=digest)
        except RuntimeError as error:
            ended = " ".join(str(error).split())
        reasons = reason_file.read_text(encoding="utf-8").splitlines()  # of what register refuses, too
        if reasons or ended:
            reason = f"failed at {reasons[0]}" if reasons else ended
            print(f"pipelines run: {reason}; the whole log: {log}", file=sys.stderr)
            return FAILED
    return DONE


def _as_interrupted(*_: object) -> None:
    """SIGTERM: the step that is going is told to stop, too, and servers and containers of the run end as after Ctrl-C."""
    import psutil

    for child in psutil.Process().children():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(child.pid) == os.getpgrp():  # a step; a server is ended by whoever started it
                child.terminate()
    raise KeyboardInterrupt


def _data(options: argparse.Namespace) -> tuple[str, str]:
    """Place and digest of the data, checked before anything starts. Raises CannotRun."""
    from components.shared import files
    from components.shared.data import dataset, remote
    from components.shared.errors import CannotRun

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
def _like_the_launcher() -> Iterator[None]:
    """KFP's local runner keeps to what holds on a cluster.

    A command that fails leaves no outputs. The exit handler is told COMPLETE or FAILED and no reason, and its placeholders mean
    something. A process may be of any command, such as ours: KFP itself wants its own.
    """
    from kfp import dsl
    from kfp.local import status, task_dispatcher
    from kfp.local.orchestrator.orchestrator_utils import OrchestratorUtils
    from kfp.local.subprocess_task_handler import SubprocessTaskHandler

    wanted = SubprocessTaskHandler.validate_not_container_component
    run_task, arguments_of = task_dispatcher.run_single_task_implementation, OrchestratorUtils.make_task_arguments

    def run(pipeline_resource_name: str, component_name: str, **options):
        outputs, ended = run_task(pipeline_resource_name=pipeline_resource_name, component_name=component_name, **options)
        if ended == status.Status.FAILURE:
            task = component_name.removeprefix("comp-")
            shutil.rmtree(Path(options["pipeline_root"], pipeline_resource_name, task), ignore_errors=True)
        return outputs, ended

    def arguments(*given, **named) -> dict:
        made = arguments_of(*given, **named)
        for name, value in made.items():
            if isinstance(value, dict) and "pipeline_job_resource_name" in value:
                made[name] = value | {"state": value["state"].replace("SUCCEEDED", "COMPLETE"), "error": {}}
            elif value == dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER:
                made[name] = dsl.PIPELINE_JOB_NAME_PLACEHOLDER
        return made

    task_dispatcher.run_single_task_implementation, OrchestratorUtils.make_task_arguments = run, arguments
    SubprocessTaskHandler.validate_not_container_component = lambda *_: None
    try:
        yield
    finally:
        task_dispatcher.run_single_task_implementation, OrchestratorUtils.make_task_arguments = run_task, arguments_of
        SubprocessTaskHandler.validate_not_container_component = wanted


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


@contextlib.contextmanager
def _scratch(artifacts: Path, params: dict, store: str) -> Iterator[Path]:
    """A folder for what steps leave behind in TMPDIR, and a file for the reasons of failing ones.

    The tasks' runs in MLflow are grouped by these knobs, unless the caller groups them otherwise. Their store is this one.
    """
    from components.shared import config, scratch
    from components.shared.config import PIPELINE_RUN
    from components.shared.store import STORE

    before = {name: os.environ.get(name) for name in ("TMPDIR", REASON_FILE, PIPELINE_RUN, STORE)}
    with scratch.folder() as folder, tempfile.NamedTemporaryFile(dir=artifacts) as reason_file:
        os.environ.update({"TMPDIR": str(folder), REASON_FILE: reason_file.name, STORE: store})
        os.environ.setdefault(PIPELINE_RUN, config.as_text(params))
        tempfile.tempdir = None
        try:
            yield Path(reason_file.name)
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})
            tempfile.tempdir = None
