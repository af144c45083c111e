"""Submit the pipeline to Kubeflow: a run of the version that is named after the commit, with the knobs, data and image of now."""

import argparse
import configparser
import json
import sys

from pipelines import graph
from pipelines.version import PIPELINE

DONE = 0
SECONDS = 30  # for a look into the store


def submit(options: argparse.Namespace) -> int:
    """Start a run and print its page; with `--wait` the exit code says how it ended."""
    from components.shared.errors import CannotRun
    from pipelines import status
    from pipelines.kubeflow import Kubeflow

    content, settings = prepared(options)
    kubeflow = Kubeflow()
    run = kubeflow.runs.run_service_create_run(placed(kubeflow, content, options))
    if not run.run_id:
        raise CannotRun(f"Kubeflow at {kubeflow.address}: took the run, and gave it no id; `python -m pipelines list` shows it")
    print(kubeflow.run_page(run.run_id))
    if not options.wait:
        return DONE
    return status.follow(kubeflow, run.run_id, lambda step: settings.of(step.split()[0]).retries)


def prepared(options: argparse.Namespace, **kind: bool) -> tuple[dict, object]:
    """A run as Kubeflow takes it, but for what only Kubeflow knows: checked before anything is sent; and the settings.

    With `newest=True` it is one that reads the newest data when it starts.
    All parameters are in it: Kubeflow's page does not show those that stand at their defaults.
    """
    from components.shared.data import remote
    from components.shared.errors import CannotRun
    from pipelines import newest, pinning
    from pipelines.version import commit

    pipeline, settings = graph.for_cluster(options, **kind)
    data = options.data or default_remote()
    follow = kind.get("newest") and (options.follow or f"{data.rstrip('/')}/data.dvc")  # as `publish` puts it there
    digest = follow or options.digest or graph.recorded_digest()
    if "://" not in data:
        raise CannotRun(f"data {data}: a cluster cannot reach a folder of this machine; name an object store with --data s3://…, "
                        "or make one DVC's default remote, and `dvc push`")  # fmt: skip
    if not options.unchecked:
        remote.listing(data, newest.digest_of(follow) if follow else digest)  # late on the cluster, early here
    parameters = {name: spec.default for name, spec in pipeline.component_spec.inputs.items()} | {
        "data": data,
        "digest": digest,
    }
    if not options.unchecked and not kind.get("newest"):  # that one looks itself, each time
        _again(parameters, settings.store)
    at, differs = commit(), ", ".join(options.set)
    return {
        # Plain characters: not every installation's database takes others.
        "display_name": options.name or f"{PIPELINE} {at}" + (f": {differs}"[:100] if differs else ""),
        "description": f"Data {digest} of {data}; image {pinning.pinned(graph.image())}; code {parameters['code']}"
        + (f"; changed: {differs}" if differs else ""),
        "runtime_config": {"parameters": parameters, "pipeline_root": settings.pipeline_root},
        "service_account": settings.service_account,
    }, settings  # fmt: skip


def placed(kubeflow, content: dict, options: argparse.Namespace, **kind: bool) -> dict:
    """The run with the version and the experiment that it belongs to."""
    from pipelines import preflight
    from pipelines.version import commit, experiment, version

    preflight.asked(kubeflow)
    reference = version(kubeflow, options, commit(), **kind)
    return content | {
        "experiment_id": experiment(kubeflow, options.experiment),
        "pipeline_version_reference": reference,
    }


def _again(parameters: dict, address: str) -> None:
    """Mark the sections of steps whose result a later step found damaged: Kubeflow's cache holds it, and is left for them."""
    from components.shared import deadline
    from components.shared.errors import CannotRun
    from components.shared.store import Store
    from pipelines.execution import AGAIN
    from pipelines.newest import marks

    try:
        found = deadline.within(SECONDS, lambda: marks(Store(address)), what=address)
    except CannotRun as error:
        print(f"{error}; what was found damaged there is not made again", file=sys.stderr)
        return
    for section, mark in found.items():
        name = section.replace(".", "_")
        if name in parameters:
            parameters[name] = json.dumps(json.loads(parameters[name]) | {AGAIN: mark})


def default_remote() -> str:
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
