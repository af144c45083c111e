"""Runs again and again: schedules are made, replaced and deleted, without ending the run that is going."""

import argparse
import contextlib
import itertools
import sys

from components.shared.errors import CannotRun
from pipelines import patience, status
from pipelines.kubeflow import Kubeflow
from pipelines.submit import as_committed, placed, prepared

DONE = 0
LATEST = 200  # runs in which one that a schedule has going is looked for


def schedule(options: argparse.Namespace) -> int:
    """Run the newest data on a schedule, or always that of `--digest`.

    One of the same name is replaced: disabled first, deleted when its run has ended.
    """
    if options.digest and options.follow:
        raise CannotRun("--digest, --follow: a schedule takes always the same data, or the newest; name one of them")
    if options.digest and options.when_drifted:
        raise CannotRun("--digest, --when-drifted: against drift helps the newest data alone; leave out --digest")
    cron = _cron(options.cron)
    kind = {"newest": not options.digest}
    content, _ = prepared(options, **kind)
    kubeflow, pipeline = Kubeflow(), as_committed(options, **kind)
    name = options.name or pipeline.name
    content = placed(kubeflow, content, pipeline, options.experiment) | {
        "display_name": name, "trigger": {"cron_schedule": {"cron": cron}}, "mode": "DISABLE", "no_catchup": True, "max_concurrency": "1",
    }  # fmt: skip
    former = [known["recurring_run_id"] for known in kubeflow.schedules() if known["display_name"] == name]
    made = kubeflow.post("recurringruns", json=content)["recurring_run_id"]
    try:
        for known in former:  # before the new one starts runs
            kubeflow.post("recurringruns", known, do="disable")
        kubeflow.post("recurringruns", made, do="enable")
    except CannotRun as error:
        raise CannotRun(f"{error}; schedule {name} starts no runs now: the same command again replaces it") from None
    print(f"schedule {name}: {cron} (UTC), {made}" + (", in place of the one before" if former else ""))
    for known in former:
        _delete(kubeflow, known, now=options.now)
    return DONE


def stop(options: argparse.Namespace) -> int:
    """Stop a run, or delete a schedule, by its id."""
    kubeflow = Kubeflow()
    if run := status.find(kubeflow, options.id):
        _stop_run(kubeflow, run)
    elif patience.found(kubeflow.get, "recurringruns", options.id):
        kubeflow.post("recurringruns", options.id, do="disable")
        _delete(kubeflow, options.id, now=options.now)
    else:
        raise CannotRun(f"{options.id}: no run or schedule has this id; `python -m pipelines list` shows them")
    return DONE


def _stop_run(kubeflow, run: status.Run) -> None:
    if run.state not in status.ENDED and run.state != "stopping":
        try:
            kubeflow.post("runs", run.id, do="terminate")
            return print(f"run {run.id}: stopping")
        except CannotRun as error:
            if error.status == 500 and "not found" in str(error):
                raise CannotRun(f"run {run.id}: lost: {status.LOST.format(run.state)} ({error})") from None
            if error.status != 400 or (run := status.look(kubeflow, run.id)).state not in status.ENDED:  # meanwhile
                raise
    ended = "ended already: " if run.state in status.ENDED else ""
    print(f"run {run.id}: {ended}{run.state}" + (f": {run.reason}" if run.reason else ""))


def _delete(kubeflow, schedule_id: str, *, now: bool) -> None:
    """Delete a disabled schedule. Kubeflow deletes what its runs are made of with it, so one that is going ends first."""
    said = False
    try:
        for going in patience.answers(lambda: _going(kubeflow, schedule_id), every=status.EVERY, outage=status.OUTAGE):
            names = ", ".join(f"{run.name} ({run.id})" for run in going)
            if going and now:
                for run in going:
                    with contextlib.suppress(CannotRun):  # one whose workflow is gone already cannot be ended
                        kubeflow.post("runs", run.id, do="terminate")
                print(f"schedule {schedule_id}: ended with it: {names}")
            elif going and not said:
                said = True
                print(
                    f"schedule {schedule_id}: starts no more runs; deleted when this one has ended: {names}; --now ends it",
                    flush=True,
                )
            if now or not going:
                break
    except KeyboardInterrupt:
        print(f"it starts no more runs; `python -m pipelines stop {schedule_id}` deletes it later", file=sys.stderr)
        raise
    kubeflow.delete("recurringruns", schedule_id)
    print(f"schedule {schedule_id}: deleted")


def _going(kubeflow, schedule_id: str) -> list[status.Run]:
    """Its runs that are going; one that is lost, or that somebody deleted meanwhile, is not."""
    rows = itertools.islice(kubeflow.pages("runs", of="runs", sort_by="created_at desc", **kubeflow.here), LATEST)
    own = [row["run_id"] for row in rows if row.get("recurring_run_id") == schedule_id and status.of(row).state in status.GOING]
    return [run for run in (status.look(kubeflow, run_id) for run_id in own) if run.state in status.GOING]


def _cron(text: str) -> str:
    """Kubeflow's cron has six fields, seconds first; the five that everybody knows are taken too."""
    fields = text.split()
    if len(fields) not in (5, 6) or not all(set(field) <= set("0123456789*/,-?LW#") for field in fields):
        raise CannotRun(f"--cron {text!r}: expected five fields (minute hour day month weekday), such as '0 2 * * *'")
    return " ".join(["0", *fields] if len(fields) == 5 else fields)
