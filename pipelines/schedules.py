"""Runs again and again: schedules are made, replaced and deleted, without ending the run that is going."""

import argparse
import contextlib
import sys
import time

from pipelines import status
from pipelines.version import PIPELINE

DONE = 0


def schedule(options: argparse.Namespace) -> int:
    """Run the newest data on a schedule, or always that of `--digest`.

    One of the same name is replaced: disabled first, deleted when its run has ended.
    """
    from pipelines.kubeflow import Kubeflow
    from pipelines.submit import placed, prepared

    cron = _cron(options.cron)
    kind = {"newest": not options.digest}
    content, _ = prepared(options, **kind)
    kubeflow = Kubeflow()
    name = options.name or PIPELINE
    content = placed(kubeflow, content, options, **kind) | {
        "display_name": name, "trigger": {"cron_schedule": {"cron": cron}}, "mode": "DISABLE", "no_catchup": True, "max_concurrency": "1",
    }  # fmt: skip
    former = [known for known in all_of(kubeflow) if known.display_name == name]
    service = kubeflow.schedules
    made = service.recurring_run_service_create_recurring_run(content)
    for known in former:  # before the new one starts runs
        service.recurring_run_service_disable_recurring_run(known.recurring_run_id)
    service.recurring_run_service_enable_recurring_run(made.recurring_run_id)
    print(f"schedule {name}: {cron} (UTC), {made.recurring_run_id}" + (", in place of the one before" if former else ""))
    for known in former:
        _delete(kubeflow, known.recurring_run_id, now=options.now)
    return DONE


def stop(options: argparse.Namespace) -> int:
    """Stop a run, or delete a schedule, by its id."""
    from components.shared.errors import CannotRun
    from pipelines.kubeflow import Kubeflow

    kubeflow = Kubeflow()
    if run := kubeflow.find(kubeflow.runs.run_service_get_run, options.id):
        state = status.state_of(run)
        if state in status.ENDED:
            print(f"run {options.id}: ended already: {state}")
            return DONE
        try:
            kubeflow.runs.run_service_terminate_run(options.id)
        except CannotRun as error:
            if getattr(error, "status", None) != 500:
                raise
            raise CannotRun(
                f"run {options.id}: its workflow is gone, so nothing runs; Kubeflow shows it as {state} for ever ({error})"
            ) from None
        print(f"run {options.id}: stopping")
    elif kubeflow.find(kubeflow.schedules.recurring_run_service_get_recurring_run, options.id):
        kubeflow.schedules.recurring_run_service_disable_recurring_run(options.id)
        _delete(kubeflow, options.id, now=options.now)
    else:
        raise CannotRun(f"{options.id}: no run or schedule has this id; `python -m pipelines list` shows them")
    return DONE


def all_of(kubeflow) -> list:
    """Every schedule."""
    return list(kubeflow.pages(kubeflow.schedules.recurring_run_service_list_recurring_runs, "recurring_runs", **kubeflow.here))


def _delete(kubeflow, schedule_id: str, *, now: bool) -> None:
    """Delete a disabled schedule. Kubeflow deletes what its runs are made of with it, so one that is going ends first."""
    from components.shared.errors import CannotRun

    said = False
    try:
        while going := _going(kubeflow, schedule_id):
            names = ", ".join(f"{run.display_name} ({run.run_id})" for run in going)
            if now:
                for run in going:
                    with contextlib.suppress(CannotRun):  # one whose workflow is gone already cannot be ended
                        kubeflow.runs.run_service_terminate_run(run.run_id)
                print(f"schedule {schedule_id}: ended with it: {names}")
                break
            if not said:
                print(
                    f"schedule {schedule_id}: starts no more runs; deleted when this one has ended: {names}; --now ends it",
                    flush=True,
                )
            said = True
            time.sleep(status.EVERY)
    except KeyboardInterrupt:
        print(f"it starts no more runs; `python -m pipelines stop {schedule_id}` deletes it later", file=sys.stderr)
        raise
    kubeflow.schedules.recurring_run_service_delete_recurring_run(schedule_id)
    print(f"schedule {schedule_id}: deleted")


def _going(kubeflow, schedule_id: str) -> list:
    answer = kubeflow.runs.run_service_list_runs(page_size=100, sort_by="created_at desc", **kubeflow.here)
    return [
        run for run in answer.runs or [] if run.recurring_run_id == schedule_id and status.state_of(run) not in status.ENDED
    ]


def _cron(text: str) -> str:
    """Kubeflow's cron has six fields, seconds first; the five that everybody knows are taken too."""
    from components.shared.errors import CannotRun

    fields = text.split()
    if len(fields) not in (5, 6) or not all(set(field) <= set("0123456789*/,-?LW#") for field in fields):
        raise CannotRun(f"--cron {text!r}: expected five fields (minute hour day month weekday), such as '0 2 * * *'")
    return " ".join(["0", *fields] if len(fields) == 5 else fields)
