"""What the benchmarks share: a command line, and the stages of dvc.yaml, run in a folder of their own with some knobs changed."""

import argparse
import json
import multiprocessing
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any

import yaml
from cost import cost

from components.shared import config
from components.shared.data import arrays

ROOT = Path(__file__).parent.parent
# No server to track: what a run leaves is kept on disk.
ENVIRONMENT = {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0"}


def arguments(about: str, options: dict[str, dict] | None = None) -> argparse.Namespace:
    """The command line of a benchmark; `about` is its docstring, an option's value what argparse's `add_argument` takes."""
    parser = argparse.ArgumentParser(description=about, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, how in (options or {}).items():
        parser.add_argument(name, **how)
    return parser.parse_args()


def darkroom(folder: Path, *arguments: object) -> None:
    """Run one command there; its output is shown where it fails, and ends the benchmark."""
    cost(sys.executable, "-m", "components", *arguments, cwd=folder, memory=None, **ENVIRONMENT)


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


def prepare(folder: Path, source: object = "fashion-mnist", *changes: dict) -> None:
    """All stages of `dvc repro` in front of training."""
    set_knobs(folder, *changes)
    darkroom(folder, "ingest", source, "data")
    for stage in ("measure", "validate", "prepare", "augment"):
        darkroom(folder, *command(stage))


def learn(
    folder: Path, name: str, *changes: dict,
    prepared: str = "outputs/prepared", augmented: str = "outputs/augmented", test: bool = True,
) -> dict:  # fmt: skip
    """Train the cnn or the lstm: its run.json and, where the test split may be looked at, its metrics.json as `test`."""
    set_knobs(folder, *changes)
    darkroom(folder, *command(f"train@{name}", prepared=prepared, augmented=augmented))
    record = json.loads((folder / f"outputs/models/{name}/run.json").read_text())
    if test:
        darkroom(folder, *command(f"evaluate@{name}", prepared=prepared))
        record["test"] = json.loads((folder / f"outputs/evaluation/{name}/metrics.json").read_text())
    return record


def write_split(folder: Path, images: Any, labels: Any, samples: list[dict]) -> None:
    """The arrays of a split, as `prepare` leaves them."""
    written = arrays.create(folder, len(labels), images.shape[1:])
    written[:] = images
    written.flush()
    arrays.describe(folder, labels, samples)


def alone(work: Callable, *arguments: object) -> Any:
    """What `work` returns, called in a process of its own: TensorFlow gives back no memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def _merge(params: dict, change: dict) -> None:
    for key, value in change.items():
        if isinstance(value, dict):
            _merge(params[key], value)
        else:
            params[key] = value
