"""The one run of a training: found by the training's id, or made."""

from components.shared.runs import one_run, pipeline_run
from components.shared.runs.connection import experiment_id
from components.shared.runs.pipeline_run import ENDED, PARENT, TRAINING


def find_or_make(mlflow, record: dict) -> str:
    """The id of the training's run; a new one gets its tags and its parent."""

    def tags() -> dict[str, str]:
        from mlflow.tracking.context.registry import resolve_tags

        parent = pipeline_run.parent(mlflow, record)
        return {**resolve_tags(), **record["tags"]} | ({PARENT: parent} if parent else {})

    client, experiment = mlflow.MlflowClient(), experiment_id(mlflow)
    return one_run.find_or_make(
        client, experiment, TRAINING, record["training_id"], name=record.get("run_name", record["name"]), tags=tags
    )


def take_over(mlflow, run_id: str, record: dict) -> None:
    """Go on with a training's run, which perhaps a process that was killed has left: below the present pipeline run."""
    client = mlflow.MlflowClient()
    client.update_run(run_id, status="RUNNING")
    _is_not_lost(client, run_id)
    if parent := pipeline_run.parent(mlflow, record):
        client.set_tag(run_id, PARENT, parent)


def finish(client, run_id: str) -> None:
    """All of the training has arrived."""
    _is_not_lost(client, run_id)
    client.set_terminated(run_id)


def _is_not_lost(client, run_id: str) -> None:
    if ENDED in client.get_run(run_id).data.tags:  # by someone who took it for lost
        client.delete_tag(run_id, ENDED)


def log_row(client, run_id: str, row: dict) -> None:
    """One epoch. With its own time, so that sending it twice leaves one point.

    MLflow orders its charts by prefix: a run's page opens with this one.
    """
    from mlflow.entities import Metric

    names = [name for name in row if name not in ("time", "epoch")]
    metrics = [Metric(f"by_epoch/{name}", float(row[name]), int(row["time"]), int(row["epoch"])) for name in names]
    client.log_batch(run_id, metrics=metrics)
