"""What a training and an evaluation left on disk -> a run in MLflow; nothing is lost when the server is down.

The truth is on disk. Sending it is idempotent: a run is found again by its training's id, and what it has is not sent twice.
So each later step can send what an earlier one could not.
"""

import csv
import hashlib
import json
from pathlib import Path

from components.shared import files
from components.shared.errors import CannotRun, Refused
from components.shared.models import keras_file
from components.shared.models.package import Package
from components.shared.runs import logged_model, training_run, values
from components.shared.runs.connection import ask, connect, seconds_for
from components.shared.runs.follow import live
from components.shared.runs.pipeline_run import Judged, send_verdict

__all__ = [
    "Judged",
    "connect",
    "live",
    "send_evaluation",
    "send_package",
    "send_training",
    "send_verdict",
    "try_to",
    "verified_model",
]

COMPLETE, EVALUATED = "darkroom.complete", "darkroom.evaluated"
# Of a model's folder; the model goes with its package. MLflow shows a file by its suffix, and knows no `.diff`.
SENT = ("history.csv", "curves.png", "run.json", "params.yaml", "git.diff.txt", "preview.png", "seen.npy")


def send_training(folder: Path) -> str:
    """Send the record of a training (see train) and return its run's id. What is there already is not sent again."""
    record = files.read_json(folder / "run.json")
    mlflow = connect()
    run_id = ask(mlflow, lambda: training_run.find_or_make(mlflow, record))
    run = ask(mlflow, lambda: mlflow.get_run(run_id))
    if COMPLETE not in run.data.tags:
        ask(mlflow, lambda: _send(mlflow, run_id, folder, record), seconds=seconds_for(folder))
    elif run.info.status != "FINISHED":  # whoever sent it was told to stop, or lost, at the last moment
        ask(mlflow, lambda: training_run.finish(mlflow.MlflowClient(), run_id))
    return run_id


def _send(mlflow, run_id: str, folder: Path, record: dict) -> None:
    client = mlflow.MlflowClient()
    values.log_knobs(client, run_id, values.knobs_of(record))
    with (folder / "history.csv").open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            training_run.log_row(client, run_id, {name: float(value) for name, value in row.items()})
    figures = {f"validation/{name}": value for name, value in record.get("validation", {}).items()}
    # Of the epoch that was kept: MLflow's table shows the last one's.
    figures |= {
        f"best_{name}": value for name, value in record.get("best", {}).items() if name.startswith(("epoch", "validation_"))
    }
    values.log_metrics(client, run_id, figures)
    _log_lineage(client, run_id, record)
    for name in SENT:
        if (folder / name).exists():
            client.log_artifact(run_id, str(folder / name))
    client.set_tag(run_id, COMPLETE, "true")
    training_run.finish(client, run_id)


def send_package(model: Path, package: Path) -> str:
    """Log a package, with the Keras model that it was made of, as the MLflow model of the training's run. Returns the run's id.

    Raises CannotRun when the two are not whole or not of one training, Refused when the model is another than was trained.
    """
    from components.shared.models.package import read

    run_id, record, made = send_training(model), files.read_json(model / "run.json"), read(package)
    if made.facts.get("training_id") != record["training_id"]:
        raise CannotRun(f"{package}: is of another training than {model}; `dvc repro` brings them together")
    keras_file.check(model / keras_file.FILE, sha256=record["model"]["sha256"])
    mlflow = connect()

    def send() -> None:
        client = mlflow.MlflowClient()
        if logged_model.holds(client, client.get_run(run_id).data.tags.get(logged_model.ID, ""), made.digest):
            return
        logged = logged_model.log(mlflow, run_id, model, made, record)
        if logged_model.holds(client, client.get_run(run_id).data.tags.get(logged_model.ID, ""), made.digest):
            client.delete_logged_model(logged)  # another process sent the same one meanwhile
        else:
            client.set_tag(run_id, logged_model.ID, logged)

    ask(mlflow, send, seconds=2 * seconds_for(model, package))
    return run_id


def send_evaluation(model: Path, evaluation: Path) -> str:
    """Add an evaluation to the run of its training: metrics of the test split, plots and tables. Returns the run's id."""
    run_id = send_training(model)
    mlflow = connect()
    parts = sorted(file for file in evaluation.iterdir() if file.is_file() and file.name != "cost.json")
    done = hashlib.sha256("".join(map(files.digest, parts)).encode()).hexdigest()
    metrics = {f"test/{name}": value for name, value in files.read_json(evaluation / "metrics.json").items()}
    metrics |= {f"cost/{name}": value for name, value in files.read_json(evaluation / "cost.json").items()}
    used = files.read_json(evaluation / "test.json").get("knobs")

    def send() -> None:
        client = mlflow.MlflowClient()
        if client.get_run(run_id).data.tags.get(EVALUATED) == done:
            return
        values.log_metrics(client, run_id, metrics)
        client.log_artifacts(run_id, str(evaluation), "evaluation")
        if used:  # a tag, since parameters of a run cannot change
            client.set_tag(run_id, "knobs.evaluate", json.dumps(used, sort_keys=True))
        client.set_tag(run_id, EVALUATED, done)

    ask(mlflow, send, seconds=seconds_for(evaluation))
    return run_id


def try_to(send, *arguments: object) -> None:
    """Call a `send_...`; when the server is down say so and go on: `register` sends what is missing."""
    try:
        send(*arguments)
    except CannotRun as error:
        print(f"tracking: {error}; results are on disk, `dvc repro register` sends them")
    except Refused as refused:
        print(f"tracking: {refused}; the run stays without a model")


def verified_model(mlflow, folder: Path, package: Package) -> tuple[str, str]:
    """Of a package that was sent: the id of its model in MLflow, and the digest of the Keras file there, read back just now.

    Raises CannotRun when the store gives back another model than was trained; then the next call of `send_package` sends it.
    """
    record = files.read_json(folder / "run.json")

    def read() -> tuple[str, str]:
        client = mlflow.MlflowClient()
        run_id = training_run.find_or_make(mlflow, record)
        model = client.get_run(run_id).data.tags.get(logged_model.ID, "")
        try:
            address = logged_model.find(client, model).artifact_location
            return model, logged_model.read_back(address, record["model"], package.digest)
        except logged_model.Unusable as error:
            if logged_model.ID in client.get_run(run_id).data.tags:
                client.delete_tag(run_id, logged_model.ID)
            raise CannotRun(f"{folder}: the store does not give back the model that was trained: {error}; "
                            "nothing was registered, the same command again sends the model anew") from None  # fmt: skip

    return ask(mlflow, read, seconds=seconds_for(folder, package.folder))


def _log_lineage(client, run_id: str, record: dict) -> None:
    """The data as MLflow's dataset: its digest is the one in data.dvc, its source the commit of the code."""
    from mlflow.data.code_dataset_source import CodeDatasetSource
    from mlflow.data.meta_dataset import MetaDataset
    from mlflow.entities import DatasetInput, InputTag

    source = CodeDatasetSource({"data.dvc": record["data_digest"], "mlflow.source.git.commit": record["tags"]["git_commit"]})
    data = MetaDataset(source, name="data", digest=record["data_digest"])._to_mlflow_entity()
    client.log_inputs(run_id, datasets=[DatasetInput(data, [InputTag("mlflow.data.context", "training")])])
