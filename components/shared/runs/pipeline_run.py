"""The runs of one pipeline run stand together in MLflow, under a parent."""

import hashlib
import json
import os

from components.shared.config import PIPELINE_RUN
from components.shared.runs import one_run, values
from components.shared.runs.connection import ask, connect, experiment_id

PIPELINE, TRAINING = "darkroom.pipeline", "darkroom.training"


def parent(mlflow, record: dict) -> str | None:
    """The id of the run that groups the trainings of this pipeline run, made by whoever needs it first; None without one.

    Kubeflow can give each task a run of its own (MLFLOW_RUN_ID): that one is it. Else what DARKROOM_PIPELINE_RUN says, data and
    code are its key: trainings that share all three belong together. It ends when it is made: nobody knows which step is the last.
    """
    if given := os.environ.get("MLFLOW_RUN_ID"):
        return given
    pipeline = os.environ.get(PIPELINE_RUN)
    if not pipeline:
        return None
    data, code = record["data_digest"], record["tags"]["git_commit"]
    key = hashlib.sha256("\n".join((pipeline, data, code)).encode()).hexdigest()
    client = mlflow.MlflowClient()
    name = f"pipeline run {key[:8]}"
    tags = {
        "data_digest": data,
        "git_commit": code,
        "mlflow.note.content": f"The trainings of one pipeline run. Data {data}, code {code}.",
    }
    run_id = one_run.find_or_make(client, experiment_id(mlflow), PIPELINE, key, name=name, tags=lambda: tags)
    if client.get_run(run_id).info.status != "FINISHED":
        client.set_terminated(run_id)
    return run_id


def send_verdict(records: list[dict], verdict: dict, used: dict) -> None:
    """What `register` decided: on the run of each training (`records`: their run.json), and both side by side on their parent.

    `verdict` is what registration.json holds, `used` the knobs of `register`. Raises CannotRun.
    """
    mlflow = connect()
    ask(mlflow, lambda: _send_verdict(mlflow, records, verdict, used))


def _send_verdict(mlflow, records: list[dict], verdict: dict, used: dict) -> None:
    client, experiment = mlflow.MlflowClient(), experiment_id(mlflow)
    figures, groups = {}, {os.environ.get("MLFLOW_RUN_ID")}
    for record, row in zip(records, verdict["candidates"], strict=True):
        if run := one_run.find(client, experiment, TRAINING, record["training_id"]):
            champion = verdict["accepted"] and row["version"] == verdict["version"]
            state = "champion" if champion else f"version {row['version']}" if row["version"] else "; ".join(row["reasons"])
            client.set_tag(run.info.run_id, "verdict", state[:5000])
            client.set_tag(run.info.run_id, "knobs.register", json.dumps(used, sort_keys=True))
            groups.add(run.data.tags.get("mlflow.parentRunId"))
        figures |= {f"{row['architecture']}.test_{name}": value for name, value in row["metrics"].items()}
        figures |= {f"{row['architecture']}.validation_{name}": value for name, value in row["validation"].items()}
    # Where the trainings stand: a knob of `register` that was changed since then makes no group of its own.
    tags = {"accepted": verdict["accepted"], "version": verdict["version"], "reasons": " ".join(verdict["reasons"])}
    for group in groups - {None}:
        for name, value in tags.items():
            client.set_tag(group, f"verdict.{name}", str(value)[:5000])
        values.log_metrics(client, group, figures)
