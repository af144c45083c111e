"""Report how a run ended: in the exit handler's log, and to a webhook where one is set.

What Kubeflow tells its exit handler comes from ML Metadata, which knows neither a step that was killed nor one that was cached, and
no reasons. So the run's workflow is read, with the pod's own account; where that is forbidden, what the steps said in MLflow.
"""

import os
from pathlib import Path
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import Retry

from components.shared import deadline
from components.shared.errors import CannotRun
from components.shared.runs import pipeline_run
from pipelines import access, nodes
from pipelines.execution import REASON_FILE

WEBHOOK = "DARKROOM_WEBHOOK"
TRIES, SECONDS = 3, 10  # seconds for one answer, or one piece of it
WHOLE = 30  # seconds for all of it, however the server spends them


def report(*, state: str, run: str, name: str = "", workflow: str = "") -> None:
    """Print how the run ended and post it as JSON: `text` (as Slack and others take it), state, run, name, link, step, reason.

    `state` is what Kubeflow says, `run` the run's id, `name` its name, `workflow` Argo's name for it. A webhook that cannot be
    reached is a line in the log and fails nothing. Runs in MLflow that nothing runs any more are ended.
    """
    said = _said(run)
    ended, step, reason = _end(state, workflow, said.get("steps", {}))
    host = os.environ.get("KFP_HOST", "").rstrip("/")
    link = f"{host}/#/runs/details/{run}" if host else said.get("page", "")
    text = f"Darkroom: {name or run} {ended}" + (f" at {step}: {reason}" if step else f": {reason}" if reason else "")
    text += f" ({link})" if link else ""
    print(text)
    pipeline_run.close_left_open(f"the pipeline run {ended}" + (f" at {step}: {reason}" if step else ""))
    address = os.environ.get(WEBHOOK)
    if not address:
        return
    content = {"text": text, "state": ended, "run": run, "name": name, "link": link, "step": step, "reason": reason}
    if reason := _post(address, content):
        print(f"report: the webhook was not notified: {reason}")  # its address may be a secret, but for the host


def _end(state: str, workflow: str, said: dict) -> tuple[str, str, str]:
    """State (succeeded, failed, or ended where nobody can tell), the step that failed first, and why."""
    if file := os.environ.get(REASON_FILE):  # here, where Kubeflow's local runner is right about the state
        lines = Path(file).read_text(encoding="utf-8", errors="replace").splitlines() if Path(file).exists() else []
        step, _, reason = lines[0].partition(": ") if lines and state == "FAILED" else ("", "", "")
        return "failed" if state == "FAILED" else "succeeded", step, reason
    if workflow and (steps := _steps(workflow)):
        fault = nodes.fault(steps)
        return ("failed", fault.name, fault.reason) if fault else ("succeeded", "", nodes.IDLE if nodes.idle(steps) else "")
    for step, told in said.items():
        if told["state"] in pipeline_run.BAD and (step, told["state"]) != (
            "register",
            "refused",
        ):  # a candidate that is no better is no fault
            return "failed", step, told["reason"]
    return "succeeded" if "register" in said else {"SUCCEEDED": "succeeded", "FAILED": "failed"}.get(state, "ended"), "", ""


def _steps(workflow: str) -> list[nodes.Step]:
    """The run's steps as Argo has them now; none where they cannot be read, which is said."""
    try:
        from kubernetes.client import ApiClient

        return nodes.of_workflow(access.workflow(ApiClient(access.way_in()), workflow))
    except Exception as error:  # of several libraries; a report is not worth a failure
        print(f"report: workflow {workflow} cannot be read: {' '.join(str(error).split())[:200]}")
        return []


def _said(run: str) -> dict:
    """What the steps said in MLflow, and its page of the run; nothing where it does not answer."""
    try:
        return pipeline_run.told(run)
    except CannotRun as error:
        print(f"report: {error}")
        return {}


def _post(address: str, content: dict) -> str:
    """Post to a webhook; return why it was not notified, or an empty text."""
    # Retry only on answers that ask for it: a webhook that took the call is not called twice.
    again = Retry(
        TRIES - 1, backoff_factor=0.5, status_forcelist=(429, 502, 503, 504), allowed_methods=None, retry_after_max=SECONDS
    )

    def ask() -> int:
        with requests.Session() as session:
            for scheme in ("http://", "https://"):
                session.mount(scheme, HTTPAdapter(max_retries=again))
            # Of the answer only its status is read: a body may be endless.
            with session.post(address, json=content, timeout=SECONDS, allow_redirects=False, stream=True) as answer:
                return answer.status_code

    where = WEBHOOK
    try:
        where = (urlsplit(address).hostname or where).encode("ascii", "replace").decode()
        status = deadline.within(WHOLE, ask, what=where)
    except CannotRun as error:
        return str(error)
    except (requests.RequestException, ValueError) as error:  # no address, or one that is no text
        return f"{where}: {type(error).__name__}"
    return "" if status < 300 else f"{where}: HTTP {status}"
