"""How runs on Kubeflow are: a run's steps, their logs and reasons, followed to its end; a failed one tried again; the latest."""

import argparse
import contextlib
import itertools
import sys
from collections.abc import Callable
from typing import NamedTuple

from components.shared.errors import CannotRun
from components.shared.masking import masked
from components.shared.runs import pipeline_run
from pipelines import advice, nodes, patience
from pipelines.kubeflow import Kubeflow

DONE, FAILED = 0, 1
EVERY = 5.0  # seconds between two requests for a run's state
OUTAGE = 90  # seconds that Kubeflow may be away before following ends
SILENCE = 60  # seconds that a step may wait before it is said what for
BAR = "{n}/{total} steps |{bar}| {elapsed} {desc}"
TAIL = 10  # lines of a failed step's log
STATES = {"PENDING": "waiting", "RUNNING": "running", "CANCELING": "stopping", "SUCCEEDED": "succeeded", "SKIPPED": "succeeded",
          "FAILED": "failed", "CANCELED": "stopped", "PAUSED": "paused"}  # fmt: skip
TOOK = {"running": "running", "waiting": "waiting", "done": "done in", "failed": "failed after", "stopped": "stopped after"}
ENDED = {"succeeded": DONE, "failed": FAILED, "stopped": FAILED, "lost": FAILED}
GOING = ("waiting", "running", "stopping", "paused")
LATE = 600  # seconds after which a run that somebody stopped has ended, unless it is lost
LOST = "its workflow is gone, so nothing runs, and Kubeflow says {} for ever (archive it there); `python -m pipelines submit` starts anew"


class Run(NamedTuple):
    """A run as it stands: waiting, running, stopping, paused, succeeded, failed, stopped or lost; `ended` is empty while it goes."""

    id: str
    name: str
    state: str
    begun: str
    ended: str
    steps: list[nodes.Step]
    reason: str = ""  # of a lost one

    def line(self) -> str:
        """How it is, and for how long."""
        if not self.begun:
            return self.state
        took = (
            "" if self.state == "lost" else f", {span((nodes.moment(self.ended) - nodes.moment(self.begun)).total_seconds())}"
        )
        return f"{self.state}{took}"


def look(kubeflow, run_id: str) -> Run:
    """The run of this id. Raises CannotRun."""
    if run := find(kubeflow, run_id):
        return run
    raise CannotRun(f"{run_id}: no run has this id; `python -m pipelines list` shows them")


def find(kubeflow, run_id: str) -> Run | None:
    """The run of this id; None where there is none. Raises CannotRun."""
    row = patience.found(kubeflow.get, "runs", run_id)
    if row is None:
        return None
    workflow = patience.found(kubeflow.workflow, run_id) or {}
    found, steps = of(row), nodes.of_workflow(workflow)
    if found.state in ("stopped", "stopping"):
        steps = [step._replace(state="stopped", reason="") if step.state == "failed" else step for step in steps]
    if found.state in GOING and _lost(kubeflow, row, nodes.still(workflow)):
        return found._replace(steps=steps, state="lost", reason=LOST.format(found.state))
    return found._replace(steps=steps)


def of(row: dict) -> Run:
    """What the row of a run tells. One that somebody stopped ends as FAILED in Kubeflow; its history alone tells."""
    # What has not come is in 1970, or in the year 1.
    begun, ended = (at if (at := row.get(name) or "") > "1971" else "" for name in ("created_at", "finished_at"))
    state, before = row.get("state") or "PENDING", [entry.get("state") for entry in row.get("state_history") or []][-2:-1]
    state = "stopped" if state == "FAILED" and before == ["CANCELING"] else STATES.get(state, "unknown")
    return Run(row["run_id"], row.get("display_name") or "", state, begun, ended, [])


def _lost(kubeflow, row: dict, still: bool) -> bool:
    """Whether the workflow of a run without an end is gone: with its schedule, since it was stopped, or since it went on."""
    schedule, history = row.get("recurring_run_id"), row.get("state_history")
    if schedule and patience.found(kubeflow.get, "recurringruns", schedule) is None:
        return True
    # One that is tried again has its old nodes alone, for a while.
    since = (nodes.moment("") - nodes.moment(history[-1]["update_time"])).total_seconds() if history else 0.0
    return since > LATE if row.get("state") == "CANCELING" else still and since > nodes.STILL


def span(seconds: float) -> str:
    """Such as `23 s`, `7 min 12 s`, `2 h 5 min`."""
    minutes, rest = divmod(max(0, round(seconds)), 60)
    if not minutes:
        return f"{rest} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min" + (f" {rest} s" if rest else "")


def line(step: nodes.Step) -> str:
    """One step as a person reads it."""
    said = f"{TOOK[step.state]} {span(step.seconds())}" if step.state in TOOK and step.begun else step.state
    thing, remedy = advice.about(step.reason) if step.state == "waiting" else ("", "")
    said += (f", {step.tries}" if step.tries else "") + (f" for {thing}" if thing else "")
    return f"{step.name:14} {said}" + (f": {step.reason}" if step.reason else "") + (f"; {remedy}" if remedy else "")


def status(options: argparse.Namespace) -> int:
    """Print a run's steps, why it waits or failed, and where to see more. The exit code is 1 when it failed or was stopped."""
    kubeflow = Kubeflow()
    run = look(kubeflow, options.id)
    for step in run.steps:
        print(line(step))
    return _end(kubeflow, run)


def follow(kubeflow, run_id: str, retries: Callable[[str], int] = lambda step: 0) -> int:
    """Print what changes until the run ends; its exit code. An outage of a minute is waited out.

    A step whose pod was taken away is tried again, where Argo does not, as often as `retries` says of it.
    """
    try:
        return _follow(kubeflow, run_id, retries)
    except CannotRun as error:
        raise CannotRun(f"{error}; the run goes on, `python -m pipelines status {run_id}` looks again") from None
    except KeyboardInterrupt:
        print(f"the run goes on; `python -m pipelines status {run_id}` looks again, `stop {run_id}` ends it", file=sys.stderr)
        raise


def _follow(kubeflow, run_id: str, retries: Callable[[str], int]) -> int:
    from tqdm import tqdm

    seen: dict[str, tuple] = {}
    again = 0
    with tqdm(total=len(nodes.STEPS), disable=None, leave=False, bar_format=BAR) as bar:
        for run in patience.answers(lambda: look(kubeflow, run_id), every=EVERY, outage=OUTAGE):
            for number, step in enumerate(run.steps):
                late = step.state == "waiting" and step.reason and step.seconds() >= SILENCE
                key = f"{step.name} {sum(other.name == step.name for other in run.steps[:number])}"
                if seen.get(key) != (now := (step.state, step.tries, late)):
                    seen[key] = now
                    if late or step.state not in ("waiting", "skipped"):
                        bar.write(line(step))
            sys.stdout.flush()
            bar.n = min(bar.total, sum(step.state in ("done", "cached", "skipped") for step in run.steps))
            bar.set_description(", ".join(step.name for step in run.steps if step.state == "running"))
            if run.state in ENDED:
                fault = nodes.fault(run.steps)
                if not (run.state == "failed" and fault and fault.lost and again < retries(fault.name)):
                    break
                again += 1
                bar.write(
                    f"{fault.name:14} its pod was taken away ({fault.reason}); tried again, {again} of {retries(fault.name)}"
                )
                kubeflow.post("runs", run_id, do="retry")
    return _end(kubeflow, run)


def _end(kubeflow, run: Run) -> int:
    """Say how the run is, and of a failure what the log says last and what to do."""
    fault = nodes.fault(run.steps)
    why = f", at {fault.name}: {fault.reason or 'its log says why'}" if fault else ""
    why = f": {nodes.IDLE}" if run.state == "succeeded" and nodes.idle(run.steps) else why
    print(f"{run.name}: {run.line()}{f': {run.reason}' if run.reason else why}")
    if fault and run.state == "failed":
        tail = []
        with contextlib.suppress(CannotRun):  # it has left none
            tail = _log(kubeflow, run.id, fault).splitlines()[-TAIL:] if fault.pod else []
        if tail:
            print(f"the last lines of its log (`python -m pipelines logs {run.id} {fault.name}` shows all):")
            print("\n".join(f"  {text}" for text in tail))
        print(f"what to do: {advice.after(fault.reason, lost=fault.lost, run_id=run.id)}")
    elif run.state == "stopped":
        print(f"somebody stopped it; `python -m pipelines retry {run.id}` goes on")
    print(kubeflow.run_page(run.id))
    _mlflow(run)
    return ENDED.get(run.state, DONE)


def _mlflow(run: Run) -> None:
    """Print MLflow's page of the run, where MLFLOW_TRACKING_URI names its server; what an ended run left open there is closed."""
    try:
        if page := pipeline_run.told(run.id).get("page"):
            print(page)
    except CannotRun as error:
        return print(f"MLflow: {error}")
    if run.state in ENDED:
        fault = nodes.fault(run.steps)
        why = f"the pipeline run {run.state}" + (f" at {fault.name}: {fault.reason}" if fault else "")
        pipeline_run.close_left_open(why, run=run.id, state="KILLED" if run.state in ("stopped", "lost") else "FAILED")


def logs(options: argparse.Namespace) -> int:
    """Print a step's log; without a name that of the step that failed, or else of the latest."""
    kubeflow = Kubeflow()
    name, steps = " ".join(options.step), [step for step in look(kubeflow, options.id).steps if step.pod]
    fitting = [step for step in steps if f"{step.name} ".startswith(f"{name} ")] if name else [nodes.fault(steps), *steps[::-1]]
    step = next(filter(None, fitting), None)
    if step is None:
        there = ", ".join(dict.fromkeys(step.name for step in steps)) or "none"
        none = f"{name} has left no log in this run; these have: {there}" if name else "no step has left a log in this run"
        raise CannotRun(f"{options.id}: {none}")
    print(_log(kubeflow, options.id, step))
    return DONE


def _log(kubeflow, run_id: str, step: nodes.Step) -> str:
    return masked(kubeflow.log(run_id, step.pod)).rstrip()


def retry(options: argparse.Namespace) -> int:
    """Have Kubeflow go on with a failed run from the failed step, with the code and settings that it had."""
    kubeflow = Kubeflow()
    run = look(kubeflow, options.id)
    if run.state not in ("failed", "stopped"):
        raise CannotRun(f"run {options.id}: {run.state}; only a run that failed or was stopped can be tried again")
    kubeflow.post("runs", options.id, do="retry")
    print(f"run {options.id}: goes on")
    return follow(kubeflow, options.id) if options.wait else DONE


def show(options: argparse.Namespace) -> int:
    """List the latest runs, a line each: id, state and how long, when it began, name, page; and all schedules."""
    kubeflow = Kubeflow()
    rows = kubeflow.pages("runs", of="runs", sort_by="created_at desc", **kubeflow.here)
    for row in itertools.islice(rows, options.count):
        run = of(row)
        run = look(kubeflow, run.id) if run.state in GOING else run
        print(f"{run.id}  {run.line():24}  {run.begun[:16].replace('T', ' '):16}  {run.name}  {kubeflow.run_page(run.id)}")
    for schedule in kubeflow.schedules():
        cron = ((schedule.get("trigger") or {}).get("cron_schedule") or {}).get("cron", "")
        state = (schedule.get("status") or "").lower()
        print(f"{schedule['recurring_run_id']}  {state:24}  {cron:16}  {schedule['display_name']}")
    return DONE
