"""Submit the pipeline to Kubeflow: a run of the version that is named after the commit, with the knobs, data and image of now."""

import argparse
import contextlib
import hashlib
import json
import sys
from collections.abc import Iterable

from components.shared import deadline
from components.shared.errors import CannotRun
from components.shared.store import Store
from pipelines import graph, newest, patience, pinning, preflight, status
from pipelines.kubeflow import Kubeflow

DONE = 0
SECONDS = 30  # for a look into the store
PIPELINE = "darkroom"
DESCRIPTION = (
    "A recogniser of pictures, from labelled data to a registered model: measured, checked, trained, evaluated, compared."
)


def submit(options: argparse.Namespace) -> int:
    """Start a run and print its page; with `--wait` the exit code says how it ended."""
    content, settings = prepared(options)
    kubeflow = Kubeflow()
    run = kubeflow.post("runs", json=placed(kubeflow, content, options))["run_id"]
    print(kubeflow.run_page(run))
    if not options.wait:
        return DONE
    return status.follow(kubeflow, run, lambda step: settings.of(step.split()[0]).retries)


def prepared(options: argparse.Namespace, **kind: bool) -> tuple[dict, object]:
    """A run as Kubeflow takes it, but for what only Kubeflow knows: checked before anything is sent; and the settings.

    With `newest=True` it is one that reads the newest data when it starts.
    All parameters are in it: Kubeflow's page does not show those that stand at their defaults.
    """
    from components.shared.data import remote

    pipeline, settings = graph.for_cluster(options, **kind)
    data = options.data or graph.default_remote()
    follow = kind.get("newest") and (options.follow or f"{data.rstrip('/')}/data.dvc")  # as `publish` puts it there
    digest = follow or options.digest or graph.recorded_digest()
    if "://" not in data:
        raise CannotRun(f"data {data}: a cluster cannot reach a folder of this machine; name an object store with --data s3://…, "
                        "or make one DVC's default remote, and `dvc push`")  # fmt: skip
    if not options.unchecked:
        remote.listing(data, newest.digest_of(follow) if follow else digest)  # late on the cluster, early here
    graph.send_backbones(graph.knobs(options), settings.store)
    parameters = {name: spec.default for name, spec in pipeline.component_spec.inputs.items()} | {
        "data": data,
        "digest": digest,
    }
    if not options.unchecked and not kind.get("newest"):  # that one looks itself, each time
        parameters["code"] += _again(settings.store)
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
    """The run with the experiment and the version of the pipeline that it belongs to; each is made unless it is there."""
    preflight.asked(kubeflow)
    named, here = {"display_name": PIPELINE, "name": PIPELINE, "description": DESCRIPTION}, kubeflow.here
    pipeline = kubeflow.made(
        lambda: kubeflow.post("pipelines", json=named | here),
        lambda: patience.found(kubeflow.get, "pipelines", "names", PIPELINE, **here),
    )["pipeline_id"]
    version = _version(kubeflow, pipeline, options, **kind)
    wanted = json.dumps({"predicates": [{"operation": "EQUALS", "key": "name", "stringValue": options.experiment}]})
    experiment = kubeflow.made(
        lambda: kubeflow.post("experiments", json={"display_name": options.experiment, **here}),
        lambda: _named(options.experiment, kubeflow.get("experiments", filter=wanted, **here).get("experiments") or []),
    )
    return content | {
        "experiment_id": experiment["experiment_id"],
        "pipeline_version_reference": {"pipeline_id": pipeline, "pipeline_version_id": version},
    }


def _version(kubeflow, pipeline: str, options: argparse.Namespace, **kind: bool) -> str:
    """The id of the version that is named after the commit and the graph."""
    at = commit()
    about = f"Code of commit {at.partition('+')[0]}" + (", with changes that no commit holds" if "+" in at else "")
    text = graph.compiled(graph.for_cluster(argparse.Namespace(**{**vars(options), "set": []}), **kind)[0])
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    name = f"{at}-{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:8]}"
    query = {"name": name, "pipelineid": pipeline, "description": about}
    version = kubeflow.made(
        lambda: kubeflow.post("pipelines", "upload_version", params=query, files={"uploadfile": ("pipeline.yaml", text)}),
        lambda: _named(name, kubeflow.pages("pipelines", pipeline, "versions", of="pipeline_versions")),
    )
    print(f"pipeline {PIPELINE}, version {name}" + (": the checkout has changes that no commit holds" if "+" in at else ""))
    return version["pipeline_version_id"]


def _named(name: str, things: Iterable[dict]) -> dict | None:
    return next((thing for thing in things if name in (thing.get("display_name"), thing.get("name"))), None)


def commit() -> str:
    """Where the checkout stands, with `+changes` where no commit holds all of it."""
    with contextlib.suppress(CannotRun):  # no git
        ask = ["git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+changes"]
        return deadline.command(ask, seconds=30).stdout.strip() or "uncommitted"
    return "uncommitted"


def _again(address: str) -> str:
    try:
        return deadline.within(SECONDS, lambda: newest.again(Store(address)), what=address)
    except CannotRun as error:
        print(f"{error}; what was found damaged there is not made again", file=sys.stderr)
        return ""
