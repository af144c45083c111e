"""The runs of one pipeline run stand together in MLflow, under a parent, which also keeps what each step had to say."""

import contextlib
import hashlib
import json
import os
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from components.shared.config import PIPELINE_RUN, of_pipeline_run, pipeline_run_name
from components.shared.deadline import within
from components.shared.runs import one_run, origin, values
from components.shared.runs.connection import again, ask, connect, experiment_id, first_line

PIPELINE, TRAINING, PARENT = "darkroom.pipeline", "darkroom.training", "mlflow.parentRunId"
NOTE = "mlflow.note.content"  # a run's description in the UI, Markdown
ENDED = "darkroom.ended"  # why a run that nobody ended any more was ended
STEP = "step."  # and the step's name: its state, then the reason
RUNNING = "running"
BAD = ("failed", "refused", "killed")  # states of a step by which the pipeline run counts as failed
SECONDS = 10.0  # for what a step says, or for closing what was left open


def parent(mlflow, record: dict) -> str | None:
    """The id of the run that groups the trainings of this pipeline run, made by whoever needs it first; None without one.

    At home DARKROOM_PIPELINE_RUN holds the knobs: trainings that share knobs, data and code belong together. It ends when it is
    made: nobody knows which step is the last. Without it, the run that Kubeflow gives to a task (MLFLOW_RUN_ID) is the parent.
    """
    if name := pipeline_run_name():
        run_id = _named(mlflow, name)
        mlflow.MlflowClient().set_tag(run_id, "data_digest", record["data_digest"])
        return run_id
    pipeline = os.environ.get(PIPELINE_RUN)
    if not pipeline or os.environ.get("MLFLOW_RUN_ID"):
        return os.environ.get("MLFLOW_RUN_ID")
    data, code = record["data_digest"], record["tags"]["git_commit"]
    key = hashlib.sha256("\n".join((pipeline, data, code)).encode()).hexdigest()
    tags = {"data_digest": data, "git_commit": code, NOTE: f"Data `{data}`, code `{code}`."}
    return _made(mlflow, key, lambda: tags, knobs=of_pipeline_run())


def say(step: str, state: str, reason: str = "", files: Sequence[Path | str] = ()) -> None:
    """Keep what a step of a named pipeline run has to say where it outlives the step's pod: on the parent run in MLflow.

    `state`: `running`, `succeeded`, or one of BAD; the reason stands behind it, `files` (or folders) become artifacts below
    `steps/<step>`. Does nothing where MLFLOW_TRACKING_URI names no server. Takes seconds at most and never raises.
    """

    def keep(name: str) -> None:
        mlflow = connect()
        client, run_id = mlflow.MlflowClient(), again(lambda: _named(mlflow, name))
        client.set_tag(run_id, f"{STEP}{step}", (f"{state}: {reason}" if reason else state)[:5000])
        _judge(client, run_id)
        for file in map(Path, files):
            if file.is_dir():
                client.log_artifacts(run_id, str(file), f"steps/{step}/{file.name}")
            elif file.exists():
                client.log_artifact(run_id, str(file), f"steps/{step}")

    _briefly(f"what {step} has to say is not kept", keep, pipeline_run_name())


def told(run: str) -> dict:
    """What the steps of a pipeline run (on a cluster Kubeflow's run id) said, and the address of its page in MLflow's UI.

    `{"page": ..., "steps": {name: {"state": ..., "reason": ...}}}`; empty when nothing was said, or MLFLOW_TRACKING_URI names
    no server. Raises CannotRun.
    """
    if not os.environ.get("MLFLOW_TRACKING_URI"):
        return {}
    mlflow = connect()
    client, experiment = mlflow.MlflowClient(), experiment_id(mlflow)
    found = ask(mlflow, lambda: one_run.find(client, experiment, PIPELINE, run), seconds=SECONDS)
    if found is None:
        return {}
    said = {tag.removeprefix(STEP): text.partition(": ") for tag, text in found.data.tags.items() if tag.startswith(STEP)}
    address = os.environ["MLFLOW_TRACKING_URI"].rstrip("/")
    return {
        "page": f"{address}/#/experiments/{experiment}/runs/{found.info.run_id}",
        "steps": {step: {"state": state, "reason": reason} for step, (state, _, reason) in said.items()},
    }


def close_left_open(reason: str, *, run: str = "", state: str = "FAILED") -> list[str]:
    """End the runs of a pipeline run (this one, or `run`) that stand as RUNNING though nothing runs them; their names.

    They get the state (FAILED or KILLED) and, as the tag `darkroom.ended`, the reason, as do steps that went on when they spoke
    last. Takes seconds at most and never raises.
    """
    closed: list[str] = []

    def close(name: str) -> None:
        mlflow = connect()
        client, experiment = mlflow.MlflowClient(), experiment_id(mlflow)
        if group := one_run.find(client, experiment, PIPELINE, name):
            open_ones = f"tags.`{PARENT}` = '{group.info.run_id}' and attributes.status = 'RUNNING'"
            for one in client.search_runs([experiment], filter_string=open_ones):
                end(client, one, reason, state)
                closed.append(one.info.run_name)
            for tag in [tag for tag, text in group.data.tags.items() if tag.startswith(STEP) and text == RUNNING]:
                client.set_tag(group.info.run_id, tag, f"killed: {reason}"[:5000])
            _judge(client, group.info.run_id)

    _briefly("runs that were left open are not closed", close, run or pipeline_run_name())
    return closed


def _briefly(loss: str, work: Callable[[str], None], name: str) -> None:
    if not name or not os.environ.get("MLFLOW_TRACKING_URI"):
        return
    try:
        import mlflow  # noqa: F401 - before its time runs

        within(SECONDS, lambda: work(name), what="MLflow")
    except Exception as error:  # whatever goes wrong there is no fault of the step
        with contextlib.suppress(OSError):  # nobody reads any more
            print(f"tracking: {first_line(error)}; {loss}", file=sys.stderr, flush=True)


def _judge(client, run_id: str) -> None:
    """A pipeline run has failed when a step has; that `register` refuses all candidates is a result."""
    said = {tag: text.partition(":")[0] for tag, text in client.get_run(run_id).data.tags.items() if tag.startswith(STEP)}
    failed = any(state in BAD for tag, state in said.items() if (tag, state) != (f"{STEP}register", "refused"))
    client.set_terminated(run_id, "FAILED" if failed else "FINISHED")


def end(client, run, reason: str, state: str) -> None:
    """End a run that nothing runs any more, and keep the reason."""
    client.set_tag(run.info.run_id, ENDED, reason[:5000])
    client.set_terminated(run.info.run_id, state)


def _named(mlflow, name: str) -> str:
    """The parent run of a named pipeline run. It stands below the one that Kubeflow's MLflow plugin made for it, if there is one."""

    def tags() -> dict[str, str]:
        from mlflow.exceptions import MlflowException

        found = {"git_commit": code} if (code := os.environ.get("DARKROOM_COMMIT")) else {}
        if given := os.environ.get("MLFLOW_RUN_ID"):  # of this task; the run above it is the pipeline run's
            with contextlib.suppress(MlflowException):  # of another server
                found[PARENT] = mlflow.MlflowClient().get_run(given).data.tags.get(PARENT, given)
        return found | {NOTE: f"Pipeline run {name}: what its steps said, its trainings below."}

    return _made(mlflow, name, tags)


def _made(mlflow, key: str, tags: Callable[[], dict], knobs: dict | None = None) -> str:
    client, knobs = mlflow.MlflowClient(), knobs or {}
    name = origin.run_name(knobs) or f"pipeline run {key[:8]}"  # what differs first: the table shows few letters
    run_id = one_run.find_or_make(client, experiment_id(mlflow), PIPELINE, key, name=name, tags=tags)
    if client.get_run(run_id).info.status == "RUNNING":
        each = {f"train.{name}": section for name, section in knobs.get("train", {}).items()}
        values.log_knobs(client, run_id, {name: section for name, section in knobs.items() if name != "train"} | each)
        client.set_terminated(run_id)
    return run_id


class Judged(NamedTuple):
    """What a training's run gets beside its verdict: `card` becomes its description, `stress` is what stress.json holds."""

    record: dict  # run.json
    card: str
    stress: dict


def send_verdict(judged: list[Judged], verdict: dict, used: dict, shown: dict[str, list[Path]]) -> None:
    """What `register` decided: on the run of each training, and all side by side on their parent.

    `verdict` is what registration.json holds, `used` the knobs of `register`; `shown`: folder of artifacts -> the files that each
    of these runs gets there, as far as they exist. Raises CannotRun.
    """
    mlflow = connect()

    def send() -> None:
        client, experiment = mlflow.MlflowClient(), experiment_id(mlflow)
        figures, groups = {}, {_named(mlflow, name) if (name := pipeline_run_name()) else os.environ.get("MLFLOW_RUN_ID")}
        for each, row in zip(judged, verdict["candidates"], strict=True):
            if run := one_run.find(client, experiment, TRAINING, each.record["training_id"]):
                champion = verdict["accepted"] and row["version"] == verdict["version"]
                state = "champion" if champion else f"version {row['version']}" if row["version"] else "; ".join(row["reasons"])
                client.set_tag(run.info.run_id, "verdict", state[:5000])
                client.set_tag(run.info.run_id, "knobs.register", json.dumps(used, sort_keys=True))
                client.set_tag(run.info.run_id, NOTE, (each.card or f"Not registered: {state}")[:5000])
                values.log_metrics(client, run.info.run_id, _damage(each.stress))
                keep(client, run.info.run_id)
                groups.add(run.data.tags.get(PARENT))
            figures |= {f"{row['architecture']}/test/{name}": value for name, value in row["metrics"].items()}
            figures |= {f"{row['architecture']}/validation/{name}": value for name, value in row["validation"].items()}
        # Where the trainings stand: a knob of `register` that was changed since then makes no group of its own.
        tags = {"accepted": verdict["accepted"], "version": verdict["version"], "reasons": " ".join(verdict["reasons"])}
        for group in groups - {None}:
            for name, value in tags.items():
                client.set_tag(group, f"verdict.{name}", str(value)[:5000])
            client.set_tag(group, NOTE, f"**Verdict**: {tags['reasons']}"[:5000])
            keep(client, group)
            values.log_metrics(client, group, figures)

    def keep(client, run_id: str) -> None:
        client.log_dict(run_id, verdict, "registration.json")
        for folder, files in shown.items():
            for file in filter(Path.exists, files):
                client.log_artifact(run_id, str(file), folder)

    ask(mlflow, send)


def _damage(stress: dict) -> dict[str, float]:
    """Of stress.json what charts show: the mean error, the worst case, and the mean accuracy under each damage."""
    if not stress:
        return {}
    found = {"mean_corruption_error": stress["mean_corruption_error"], "worst_accuracy": stress["worst"]["accuracy"]}
    for name, scores in stress.get("damages", {}).items():
        found[f"accuracy_{name.replace(' ', '_')}"] = statistics.fmean(scores["accuracy"])
    return {f"stress/{name}": value for name, value in found.items()}
