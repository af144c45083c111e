"""Submit the pipeline to Kubeflow: a version named after the commit, runs of it now or on a schedule; list them, stop them."""

import argparse
import configparser
import contextlib
import hashlib
import json
import time

from pipelines import graph, preflight

DONE, FAILED = 0, 1
PIPELINE = "darkroom"
ENDED = {"SUCCEEDED": DONE, "SKIPPED": DONE, "FAILED": FAILED, "CANCELED": FAILED}
EVERY = 5.0  # seconds between two requests for a run's state
PATIENCE = 12  # requests that may fail one after another before following ends


def submit(options: argparse.Namespace) -> int:
    """Start a run and print its page; with `--wait` the exit code says how it ended."""
    from pipelines.kubeflow import Kubeflow

    parameters, settings = _parameters(options)
    kubeflow = Kubeflow()
    preflight.asked(kubeflow)
    reference = _version(kubeflow, options)
    run = kubeflow.runs.run_service_create_run({
        "display_name": options.name or f"{PIPELINE} {_commit()}",
        "experiment_id": _experiment(kubeflow, options.experiment),
        "pipeline_version_reference": reference,
        "runtime_config": {"parameters": parameters, "pipeline_root": settings.pipeline_root},
        "service_account": settings.service_account,
    })  # fmt: skip
    print(kubeflow.run_page(run.run_id))
    return _follow(kubeflow, run.run_id) if options.wait else DONE


def schedule(options: argparse.Namespace) -> int:
    """Run on a schedule the data that is recorded now. A schedule of the same name is replaced."""
    from pipelines.kubeflow import Kubeflow

    cron = _cron(options.cron)
    parameters, settings = _parameters(options)
    kubeflow = Kubeflow()
    preflight.asked(kubeflow)
    reference = _version(kubeflow, options)
    name = options.name or PIPELINE
    former = [schedule.recurring_run_id for schedule in _schedules(kubeflow) if schedule.display_name == name]
    made = kubeflow.schedules.recurring_run_service_create_recurring_run({
        "display_name": name,
        "experiment_id": _experiment(kubeflow, options.experiment),
        "pipeline_version_reference": reference,
        "runtime_config": {"parameters": parameters, "pipeline_root": settings.pipeline_root},
        "service_account": settings.service_account,
        "trigger": {"cron_schedule": {"cron": cron}},
        "mode": "ENABLE", "no_catchup": True, "max_concurrency": "1",
    })  # fmt: skip
    for schedule_id in former:
        kubeflow.schedules.recurring_run_service_delete_recurring_run(schedule_id)
    print(f"schedule {name}: {cron} (UTC), {made.recurring_run_id}" + (", in place of the one before" if former else ""))
    return DONE


def show(options: argparse.Namespace) -> int:
    """List the latest runs and all schedules."""
    from pipelines.kubeflow import Kubeflow

    kubeflow = Kubeflow()
    answer = kubeflow.runs.run_service_list_runs(page_size=options.count, sort_by="created_at desc", **kubeflow.here)
    for run in answer.runs or []:
        print(f"{run.run_id}  {run.state or 'PENDING':10}  {run.created_at:%Y-%m-%d %H:%M}  {run.display_name}")
    for schedule in _schedules(kubeflow):
        cron = schedule.trigger and schedule.trigger.cron_schedule
        print(
            f"{schedule.recurring_run_id}  {schedule.status or '':10}  {cron.cron if cron else '':16}  {schedule.display_name}"
        )
    return DONE


def stop(options: argparse.Namespace) -> int:
    """Stop a run, or delete a schedule, by its id."""
    from pipelines.kubeflow import Kubeflow

    kubeflow = Kubeflow()
    if kubeflow.find(kubeflow.runs.run_service_terminate_run, options.id) is not None:
        print(f"run {options.id}: stopping")
    else:
        kubeflow.schedules.recurring_run_service_delete_recurring_run(options.id)
        print(f"schedule {options.id}: deleted")
    return DONE


def _follow(kubeflow, run_id: str) -> int:
    """Print changes of state until the run ends. An outage of a minute is waited out."""
    from components.shared.errors import CannotRun

    seen: dict[str, str] = {}
    away = 0
    while True:
        try:
            run, away = kubeflow.runs.run_service_get_run(run_id), 0
        except CannotRun:
            away += 1
            if away > PATIENCE:
                raise
            time.sleep(EVERY)
            continue
        tasks = [task for task in (run.run_details.task_details if run.run_details else []) or [] if task.state]
        for task in sorted(tasks, key=lambda task: str(task.start_time)):
            if seen.get(task.task_id) != task.state and not task.display_name.endswith("-driver"):
                print(f"{task.state.lower():10} {task.display_name}", flush=True)
            seen[task.task_id] = task.state
        if run.state in ENDED:
            failed = [task for task in tasks if task.state == "FAILED" and not task.child_tasks]
            first = min(failed, key=lambda task: str(task.end_time), default=None)
            reason = (first.error or run.error) if first else run.error
            at = f" at {first.display_name}" if first else ""
            print(f"{run.state.lower()}{at}" + (f": {reason.message}" if reason and reason.message else ""))
            return ENDED[run.state]
        time.sleep(EVERY)


def _parameters(options: argparse.Namespace) -> tuple[dict, object]:
    """Parameters that differ from the version's defaults, checked before anything is sent; and the settings."""
    from components.shared import config
    from components.shared.data import remote
    from components.shared.errors import CannotRun
    from pipelines import pinning, settings

    own, changed = config.read_params(options.params), graph.knobs(options)
    how = settings.read(options.settings)
    data, digest = options.data or _dvc_remote(), options.digest or graph.recorded_digest()
    if "://" not in data:
        raise CannotRun(f"data {data}: a cluster cannot reach a folder of this machine; name an object store with --data s3://…, "
                        "or make one DVC's default remote, and `dvc push`")  # fmt: skip
    if not options.unchecked:
        remote.listing(data, digest)  # late on the cluster, early here
    parameters = {"data": data, "digest": digest, "image": pinning.pinned(graph.image()), "code": graph.code_digest()}
    for name, values in changed.items():
        if name == "train":
            parameters |= {f"train_{key}": knobs for key, knobs in values.items() if knobs != own["train"][key]}
        elif values != own[name]:
            parameters[name] = values
    return parameters, how


def _version(kubeflow, options: argparse.Namespace) -> dict:
    """The version of the pipeline for this commit: uploaded, unless the server has it already."""
    from components.shared import scratch

    service, named = kubeflow.pipelines, {"display_name": PIPELINE, "name": PIPELINE, **kubeflow.here}

    def known():
        return kubeflow.find(service.pipeline_service_get_pipeline_by_name, PIPELINE, **kubeflow.here)

    pipeline = (known() or kubeflow.made(lambda: service.pipeline_service_create_pipeline(named), known)).pipeline_id
    with scratch.folder() as folder:
        file = folder / "pipeline.yaml"
        plain = argparse.Namespace(**{**vars(options), "set": []})
        graph.write(graph.for_cluster(plain)[0], file)
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        name = f"{_commit()}-{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:8]}"

        def uploaded():
            pages = kubeflow.pages(service.pipeline_service_list_pipeline_versions, "pipeline_versions", pipeline)
            return next((version for version in pages if name in (version.display_name, version.name)), None)

        version = uploaded() or kubeflow.made(
            lambda: kubeflow.uploads.upload_pipeline_version(str(file), name=name, pipelineid=pipeline), uploaded
        )
    print(f"pipeline {PIPELINE}, version {name}")
    return {"pipeline_id": pipeline, "pipeline_version_id": version.pipeline_version_id}


def _experiment(kubeflow, name: str) -> str:
    wanted = json.dumps({"predicates": [{"operation": "EQUALS", "key": "name", "stringValue": name}]})
    service, named = kubeflow.experiments, {"display_name": name, **kubeflow.here}

    def known():
        listed = service.experiment_service_list_experiments(filter=wanted, **kubeflow.here).experiments
        return next((experiment for experiment in listed or [] if experiment.display_name == name), None)

    return (known() or kubeflow.made(lambda: service.experiment_service_create_experiment(named), known)).experiment_id


def _schedules(kubeflow) -> list:
    return list(kubeflow.pages(kubeflow.schedules.recurring_run_service_list_recurring_runs, "recurring_runs", **kubeflow.here))


def _cron(text: str) -> str:
    """Kubeflow's cron has six fields, seconds first; the five that everybody knows are taken too."""
    from components.shared.errors import CannotRun

    fields = text.split()
    if len(fields) not in (5, 6) or not all(set(field) <= set("0123456789*/,-?LW#") for field in fields):
        raise CannotRun(f"--cron {text!r}: expected five fields (minute hour day month weekday), such as '0 2 * * *'")
    return " ".join(["0", *fields] if len(fields) == 5 else fields)


def _commit() -> str:
    from components.shared import deadline
    from components.shared.errors import CannotRun

    with contextlib.suppress(CannotRun):  # no git
        return deadline.command(["git", "rev-parse", "--short=12", "HEAD"], seconds=30).stdout.strip() or "uncommitted"
    return "uncommitted"


def _dvc_remote() -> str:
    """The address of DVC's default remote."""
    from components.shared.errors import CannotRun

    known = configparser.ConfigParser(interpolation=None)
    try:
        known.read([".dvc/config", ".dvc/config.local"], encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise CannotRun(f".dvc/config: cannot be read ({reason}); `dvc remote list` says more") from None
    name = known.get("core", "remote", fallback="")
    address = known.get(f"'remote \"{name}\"'", "url", fallback="")
    if not address:
        raise CannotRun("DVC has no default remote; `dvc remote add -d storage s3://bucket/path`, or name it with --data")
    return address
