"""MLflow: what a training and an evaluation left on disk -> a run; nothing is lost when the server is down.

The truth is on disk. Sending it is idempotent: a run is found again by its training's id, and what it has is not sent twice.
So each later step can send what an earlier one could not.
"""

import contextlib
import csv
import hashlib
import logging
import os
import subprocess
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from components.shared import files
from components.shared.errors import CannotRun

STORE = Path("mlflow/runs.db")  # sqlite, where MLFLOW_TRACKING_URI names no server
ARTIFACTS = Path("mlflow/artifacts")
EXPERIMENT = "darkroom"
TRAINING, COMPLETE, EVALUATED, MODEL = "darkroom.training", "darkroom.complete", "darkroom.evaluated", "darkroom.model_id"
SHA256 = "darkroom.model_sha256"
# A server that does not answer costs seconds. MLflow's own defaults wait for minutes.
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "10",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
    "MLFLOW_SYSTEM_METRICS_SAMPLING_INTERVAL": "5",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "GIT_PYTHON_REFRESH": "quiet",
}


def connect():
    """MLflow, set up for the server in MLFLOW_TRACKING_URI or the store beside the project. Raises CannotRun when it is down."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    import mlflow

    for name in ("mlflow", "alembic"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="mlflow")
    address = os.environ.get("MLFLOW_TRACKING_URI")
    own = None
    if not address:
        STORE.parent.mkdir(exist_ok=True)
        # Absolute: MLflow keeps one connection per address, wherever the working folder has gone since.
        address, own = f"sqlite:///{STORE.absolute()}", ARTIFACTS.absolute().as_uri()
    try:
        mlflow.set_tracking_uri(address)
        if mlflow.get_experiment_by_name(experiment()) is None:
            # A server keeps artifacts where it was told to; only our own file store has to be told here.
            mlflow.create_experiment(experiment(), artifact_location=own)
        mlflow.set_experiment(experiment())
    except Exception as error:  # MLflow, requests and SQLAlchemy raise their own
        raise CannotRun(f"MLflow at {masked(address)}: not reachable ({_first_line(error)})") from None
    return mlflow


def experiment() -> str:
    """The experiment that runs belong to."""
    return os.environ.get("MLFLOW_EXPERIMENT_NAME", EXPERIMENT)


def masked(address: str) -> str:
    """An address without the user and password that may stand in it."""
    scheme, found, rest = address.partition("://")
    return f"{scheme}://{rest.rpartition('@')[2]}" if found else address


def code_version() -> str:
    """The git commit of the code, with `+changes` when files differ from it; `unknown` outside a repository.

    In an image there is no repository: DARKROOM_COMMIT says it there.
    """
    if commit := os.environ.get("DARKROOM_COMMIT"):
        return commit
    here = Path(__file__).parents[1]  # all of components
    try:
        ask = ["git", "-C", str(here)]
        commit = subprocess.run([*ask, "rev-parse", "HEAD"], capture_output=True, text=True, check=True).stdout.strip()
        changed = subprocess.run(
            [*ask, "status", "--porcelain", "-uno", "."], capture_output=True, text=True, check=True
        ).stdout
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return commit + ("+changes" if changed else "")


@contextlib.contextmanager
def live(record: dict) -> Iterator["Live"]:
    """Follow a training as it goes. Whatever the server does, the training goes on; `send_training` completes the run later."""
    follower = Live(record)
    try:
        yield follower
    except BaseException:
        follower.end("KILLED")
        raise
    follower.end(None)


class Live:
    """A run that is written to while its training lasts, until the server first fails."""

    def __init__(self, record: dict) -> None:
        self._mlflow: Any = None
        self._run_id: str | None = None
        with self._forgiving():
            mlflow = connect()
            runs = _find(mlflow, record["training_id"])
            run = _start(mlflow, runs, record, log_system_metrics=True)
            self._mlflow, self._run_id = mlflow, run.info.run_id
            mlflow.log_params(_params(record))

    def epoch(self, row: dict) -> None:
        """Send one row of the history."""
        if self._mlflow:
            with self._forgiving():
                _log_row(self._mlflow, self._run_id, row)

    def end(self, status: str | None) -> None:
        """Stop following; without a status the run stays open for `send_training`."""
        if self._mlflow:
            with self._forgiving():
                self._mlflow.end_run(status or "RUNNING")

    @contextlib.contextmanager
    def _forgiving(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # whatever goes wrong there must not end a training
            if self._mlflow:
                with contextlib.suppress(Exception):
                    self._mlflow.end_run("RUNNING")  # or the next run in this process could not start
            self._mlflow = None
            print(f"tracking: {_first_line(error)}; the training goes on, its run is sent by a later step")


def send_training(folder: Path) -> str:
    """Send a trained model's folder (see train) and return its run's id. What is there already is not sent again."""
    record = files.read_json(folder / "run.json")
    mlflow = connect()
    with said(mlflow):
        run_id = _find(mlflow, record["training_id"])
        if run_id and COMPLETE in mlflow.get_run(run_id).data.tags:
            return run_id
        with _start(mlflow, run_id, record) as run:
            run_id = run.info.run_id
            mlflow.log_params(_params(record))
            with (folder / "history.csv").open(encoding="utf-8", newline="") as stream:
                for row in csv.DictReader(stream):
                    _log_row(mlflow, run_id, {name: float(value) for name, value in row.items()})
            _log_lineage(mlflow, record)
            for name in ("history.csv", "curves.png", "run.json"):
                mlflow.log_artifact(str(folder / name))
            model = mlflow.get_run(run_id).data.tags.get(MODEL) or _log_model(mlflow, folder, record)
            mlflow.set_tag(MODEL, model)  # at once: killed after this, the next try does not log it again
            logged = Path(mlflow.artifacts.download_artifacts(f"models:/{model}")) / "data/model.keras"
            # Keras writes the date into the file that MLflow saves: its digest is not that of ours.
            mlflow.set_tag(SHA256, files.digest(logged))
            mlflow.set_tag(COMPLETE, "true")
    return run_id


def send_evaluation(model: Path, evaluation: Path) -> str:
    """Add an evaluation to the run of its training: metrics of the test split, plots and tables. Returns the run's id."""
    run_id = send_training(model)
    mlflow = connect()
    with said(mlflow):
        parts = sorted(file for file in evaluation.iterdir() if file.name != "cost.json")
        done = hashlib.sha256("".join(map(files.digest, parts)).encode()).hexdigest()
        if mlflow.get_run(run_id).data.tags.get(EVALUATED) == done:
            return run_id
        metrics = {f"test_{name}": value for name, value in files.read_json(evaluation / "metrics.json").items()}
        metrics |= files.read_json(evaluation / "cost.json")
        with mlflow.start_run(run_id=run_id):
            mlflow.log_metrics(metrics)
            mlflow.log_artifacts(str(evaluation), "evaluation")
            mlflow.set_tag(EVALUATED, done)
    return run_id


def try_to(send, *folders: Path) -> None:
    """Call a `send_...`; when the server is down say so and go on: `register` sends what is missing."""
    try:
        send(*folders)
    except CannotRun as error:
        print(f"tracking: {error}; results are on disk, `dvc repro register` sends them")


@contextlib.contextmanager
def said(mlflow) -> Iterator[None]:
    """Whatever MLflow raises inside becomes one line that names the server."""
    try:
        yield
    except CannotRun:
        raise
    except Exception as error:
        raise CannotRun(f"MLflow at {masked(mlflow.get_tracking_uri())}: {_first_line(error)}") from None


def logged_model(mlflow, training: str) -> tuple[str, str]:
    """Of a training that was sent: the id under which MLflow knows its model, and the digest of the file there."""
    tags = mlflow.get_run(_find(mlflow, training)).data.tags
    return tags[MODEL], tags[SHA256]


def _find(mlflow, training: str) -> str | None:
    runs = mlflow.search_runs(
        experiment_names=[experiment()], filter_string=f"tags.`{TRAINING}` = '{training}'", output_format="list", max_results=1
    )
    return runs[0].info.run_id if runs else None


def _start(mlflow, run_id: str | None, record: dict, **options: bool):
    """Open the run of a training, or make it.

    Kubeflow can give each task a run of its own (MLFLOW_RUN_ID). Ours has to be found again by the tasks after it, so that
    one becomes its parent, and does not take its place.
    """
    parent = os.environ.pop("MLFLOW_RUN_ID", None)
    tags = {TRAINING: record["training_id"], **record["tags"]} | ({"mlflow.parentRunId": parent} if parent else {})
    try:
        return mlflow.start_run(run_id=run_id, run_name=record["name"], tags=None if run_id else tags, **options)
    finally:
        if parent:
            os.environ["MLFLOW_RUN_ID"] = parent


def _params(record: dict) -> dict:
    """The knobs of the training, its seed, and how large network and data are."""
    knobs = record["knobs"]
    sizes = {name: record[name] for name in ("parameters", "training_samples")}
    return {**knobs["train"], "seed": knobs["seed"], **sizes}


def _log_row(mlflow, run_id: str, row: dict) -> None:
    """One epoch. With its own time, so that sending it twice leaves one point."""
    from mlflow.entities import Metric

    metrics = [
        Metric(name, float(value), int(row["time"]), int(row["epoch"]))
        for name, value in row.items()
        if name not in ("time", "epoch")
    ]
    mlflow.MlflowClient().log_batch(run_id, metrics=metrics)


def _log_lineage(mlflow, record: dict) -> None:
    """The data as MLflow's dataset: its digest is the one in data.dvc, its source the commit of the code."""
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset

    source = CodeDatasetSource({"data.dvc": record["data_digest"], "mlflow.source.git.commit": record["tags"]["git_commit"]})
    mlflow.log_input(MetaDataset(source, name="data", digest=record["data_digest"]), context="training")


def _log_model(mlflow, folder: Path, record: dict) -> str:
    """The model with a uint8 signature, by Keras's flavour: it writes no pickle. Returns the model's id."""
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import Schema, TensorSpec

    from components.shared.models import keras_file

    signature = ModelSignature(
        inputs=Schema([TensorSpec(np.dtype("uint8"), (-1, *record["shape"]))]),
        outputs=Schema([TensorSpec(np.dtype("float32"), (-1, len(record["classes"])))]),
    )
    import keras

    model = keras_file.load(folder / keras_file.FILE, sha256=record["model"]["sha256"])
    logged = mlflow.keras.log_model(
        model,
        name="model",
        signature=signature,
        # Given, not guessed: guessing starts TensorFlow in another process.
        pip_requirements=[f"keras=={keras.__version__}", f"numpy=={np.__version__}", "tensorflow"],
        metadata={"classes": record["classes"], "sha256": record["model"]["sha256"]},
    )
    return logged.model_id


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return masked_text(lines[0][:300]) if lines else type(error).__name__


def masked_text(text: str) -> str:
    """A message without the passwords that addresses in it may carry."""
    return " ".join(masked(word) if "://" in word and "@" in word else word for word in text.split(" "))
