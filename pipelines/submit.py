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
from pipelines import graph, patience, pinning, preflight, status
from pipelines.kubeflow import Kubeflow
from pipelines.newest import again, digest_of

DONE = 0
SECONDS = 30  # for a look into the store


def submit(options: argparse.Namespace) -> int:
    """Start a run and print its page; with `--wait` the exit code says how it ended."""
    content, settings = prepared(options)
    return start(content, as_committed(options), settings, options)


def start(content: dict, pipeline, settings, options: argparse.Namespace) -> int:
    """Start a run of a pipeline (see `placed`) and print its page; with `--wait` the exit code says how it ended."""
    kubeflow = Kubeflow()
    run = kubeflow.post("runs", json=placed(kubeflow, content, pipeline, options.experiment))["run_id"]
    print(kubeflow.run_page(run))
    if not options.wait:
        return DONE
    return status.follow(kubeflow, run, lambda step: settings.of(step.split()[0]).retries)


def prepared(options: argparse.Namespace, **kind: bool) -> tuple[dict, object]:
    """A run as Kubeflow takes it, but for what only Kubeflow knows: checked before anything is sent; and the settings.

    With `newest=True` it is one that reads the newest data when it starts.
    """
    pipeline, settings = graph.for_cluster(options, **kind)
    data, digest = data_of(options, **kind)
    graph.send_backbones(graph.knobs(options), settings.store)
    given = {"data": data, "digest": digest}
    if not options.unchecked and not kind.get("newest"):  # that one looks itself, each time
        given["code"] = graph.code_digest() + _again(settings.store)
    return as_run(pipeline, settings, given, options, differs=", ".join(options.set)), settings


def data_of(options: argparse.Namespace, *, newest: bool = False) -> tuple[str, str]:
    """The remote, and which data there, or the address of what names the newest. Raises CannotRun for what a cluster cannot reach."""
    from components.shared.data import remote

    data = options.data or graph.default_remote()
    follow = newest and (options.follow or f"{data.rstrip('/')}/data.dvc")  # as `publish` puts it there
    digest = follow or options.digest or graph.recorded_digest()
    if "://" not in data:
        raise CannotRun(f"data {data}: a cluster cannot reach a folder of this machine; name an object store with --data s3://…, "
                        "or make one DVC's default remote, and `dvc push`")  # fmt: skip
    if not options.unchecked:
        remote.listing(data, digest_of(follow) if follow else digest)  # late on the cluster, early here
    return data, digest


def as_run(pipeline, settings, given: dict, options: argparse.Namespace, *, differs: str = "") -> dict:
    """A run with these values of parameters, but for what only Kubeflow knows.

    All parameters are in it: Kubeflow's page does not show those that stand at their defaults.
    """
    parameters, at = {name: spec.default for name, spec in pipeline.component_spec.inputs.items()} | given, commit()
    return {
        # Plain characters: not every installation's database takes others.
        "display_name": options.name or f"{pipeline.name} {at}" + (f": {differs}"[:100] if differs else ""),
        "description": f"Data {given['digest']} of {given['data']}; image {pinning.pinned(graph.image())}; code {parameters['code']}"
        + (f"; changed: {differs}" if differs else ""),
        "runtime_config": {"parameters": parameters, "pipeline_root": settings.pipeline_root},
        "service_account": settings.service_account,
    }  # fmt: skip


def as_committed(options: argparse.Namespace, **kind: bool):
    """The pipeline as the commit has it: what `--set` changes is the run's."""
    return graph.for_cluster(argparse.Namespace(**{**vars(options), "set": []}), **kind)[0]


def placed(kubeflow, content: dict, pipeline, experiment: str) -> dict:
    """The run with the experiment and the version of the pipeline that it belongs to; each is made unless it is there."""
    preflight.asked(kubeflow)
    name, here = pipeline.name, kubeflow.here
    named = {"display_name": name, "name": name, "description": pipeline.description}
    known = kubeflow.made(
        lambda: kubeflow.post("pipelines", json=named | here),
        lambda: patience.found(kubeflow.get, "pipelines", "names", name, **here),
    )["pipeline_id"]
    version = _version(kubeflow, known, pipeline)
    wanted = json.dumps({"predicates": [{"operation": "EQUALS", "key": "name", "stringValue": experiment}]})
    found = kubeflow.made(
        lambda: kubeflow.post("experiments", json={"display_name": experiment, **here}),
        lambda: _named(experiment, kubeflow.get("experiments", filter=wanted, **here).get("experiments") or []),
    )
    return content | {
        "experiment_id": found["experiment_id"],
        "pipeline_version_reference": {"pipeline_id": known, "pipeline_version_id": version},
    }


def _version(kubeflow, known: str, pipeline) -> str:
    """The id of the version that is named after the commit and the graph."""
    at = commit()
    about = f"Code of commit {at.partition('+')[0]}" + (", with changes that no commit holds" if "+" in at else "")
    text = graph.compiled(pipeline)
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    name = f"{at}-{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:8]}"
    query = {"name": name, "pipelineid": known, "description": about}
    version = kubeflow.made(
        lambda: kubeflow.post("pipelines", "upload_version", params=query, files={"uploadfile": ("pipeline.yaml", text)}),
        lambda: _named(name, kubeflow.pages("pipelines", known, "versions", of="pipeline_versions")),
    )
    print(
        f"pipeline {pipeline.name}, version {name}" + (": the checkout has changes that no commit holds" if "+" in at else "")
    )
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
        return deadline.within(SECONDS, lambda: again(Store(address)), what=address)
    except CannotRun as error:
        print(f"{error}; what was found damaged there is not made again", file=sys.stderr)
        return ""
