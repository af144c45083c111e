"""What the benchmarks share: a command and its cost; the stages of dvc.yaml, run in a folder of their own with some knobs changed."""

import argparse
import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import psutil
import yaml

from components.shared import config, files

ROOT = Path(__file__).parent.parent
INSTRUCTIONS = ("amx_bf16", "avx512_bf16", "avx512_vnni", "avx512f", "avx2")  # as Linux names them, the best first
PYTHON = (sys.executable, "-m", "components")
# No server to track: what a run leaves is kept on disk.
_ENVIRONMENT = {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


class Cost(NamedTuple):
    """Of one command with all its processes: seconds of wall time, and the most memory at any time, in GiB."""

    seconds: float
    memory: float  # proportional set size: what each has for itself, and its part of what is shared
    private: float  # without pages of mapped files: those are the kernel's, which takes them back


def cost(*command: object, cwd: Path | None = None, codes: tuple[int, ...] = (0,)) -> Cost:
    """Run a command to its end. An exit code that is none of `codes` shows its output and ends the benchmark."""
    started, memory, private = time.monotonic(), 0, 0
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(
        [str(part) for part in command], cwd=cwd, env=os.environ | _ENVIRONMENT, stdout=log, stderr=log
    ) as process:  # fmt: skip
        watched = psutil.Process(process.pid)
        while process.poll() is None:
            looked = time.monotonic()
            with contextlib.suppress(psutil.Error):
                found = [one.memory_full_info() for one in (watched, *watched.children(recursive=True))]
                memory = max(memory, sum(one.pss for one in found))
                private = max(private, sum(one.rss - one.shared for one in found))
            # To ask for shared memory holds up whoever is asked: it is done for a twentieth of the time at most.
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.2, 20 * (time.monotonic() - looked)))
        seconds = time.monotonic() - started
        if process.returncode not in codes:
            log.seek(0)
            sys.exit(log.read())
    return Cost(seconds, memory / 2**30, private / 2**30)


def arguments(about: str, **options: dict) -> argparse.Namespace:
    """The command line of a benchmark; `about` is its docstring, an option's value what argparse's `add_argument` takes."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, how in options.items():
        parser.add_argument(f"--{name}", **how)
    return parser.parse_args()


def processor() -> str:
    """What a benchmark ran on: name, number, and the best instructions that oneDNN may use."""
    told = dict(re.findall(r"^(model name|flags)\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE))
    best = next((name for name in INSTRUCTIONS if name in told.get("flags", "").split()), "none of AVX2 or later")
    used = os.environ.get("ONEDNN_MAX_CPU_ISA", best).lower()
    return f"{os.cpu_count()} processors, {told.get('model name', 'unknown')}, {used}"


def darkroom(folder: Path, *arguments: object, codes: tuple[int, ...] = (0,)) -> Cost:
    """Run one command of Darkroom there."""
    return cost(*PYTHON, *arguments, cwd=folder, codes=codes)


def command(stage: str, **options: object) -> list[str]:
    """The arguments of a stage such as `measure` or `train@lstm` in dvc.yaml, some options with other values."""
    name, _, item = stage.partition("@")
    described = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][name]
    arguments = described.get("do", described)["cmd"].replace("${item}", item).split()[1:]
    for option, value in options.items():
        arguments[arguments.index(f"--{option}") + 1] = str(value)
    return arguments


def set_knobs(folder: Path, *changes: dict) -> dict:
    """Write and return the folder's params.yaml: the project's with changes such as `{"train": {"cnn": {"epochs": 3}}}`."""
    params = config.read_params(ROOT / "params.yaml")
    for change in changes:
        _merge(params, change)
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    return params


def _merge(params: dict, change: dict) -> None:
    for key, value in change.items():
        if isinstance(value, dict):
            _merge(params[key], value)
        else:
            params[key] = value


def prepare(folder: Path, source: object = "fashion-mnist", *changes: dict) -> None:
    """All stages of `dvc repro` in front of training."""
    set_knobs(folder, *changes)
    darkroom(folder, "ingest", source, "data")
    for stage in ("measure", "embed", "validate", "prepare", "augment"):
        darkroom(folder, *command(stage))


def learn(folder: Path, name: str, *changes: dict, augmented: str = "outputs/augmented", test: bool = True) -> dict:
    """Train the cnn or the lstm: its run.json and, where the test split may be looked at, its metrics.json as `test`."""
    set_knobs(folder, *changes)
    darkroom(folder, *command(f"train@{name}", augmented=augmented))
    record = files.read_json(folder / f"outputs/models/{name}/run.json")
    if test:
        darkroom(folder, *command(f"package@{name}"))
        darkroom(folder, *command(f"evaluate@{name}"))
        record["test"] = files.read_json(folder / f"outputs/evaluation/{name}/metrics.json")
    return record
