"""What is uploaded to Kubeflow: the pipeline, its version named after the commit and the graph, the experiment that groups its runs."""

import argparse
import contextlib
import hashlib
import json

from pipelines import graph

PIPELINE = "darkroom"
DESCRIPTION = (
    "A recogniser of pictures, from labelled data to a registered model: measured, checked, trained, evaluated, compared."
)


def version(kubeflow, options: argparse.Namespace, at: str, **kind: bool) -> dict:
    """The version of the pipeline for this commit: uploaded, unless the server has it already."""
    from components.shared import scratch

    service = kubeflow.pipelines
    named = {"display_name": PIPELINE, "name": PIPELINE, "description": DESCRIPTION, **kubeflow.here}
    about = f"Code of commit {at.partition('+')[0]}" + (", with changes that no commit holds" if "+" in at else "")

    def known():
        return kubeflow.find(service.pipeline_service_get_pipeline_by_name, PIPELINE, **kubeflow.here)

    pipeline = (known() or kubeflow.made(lambda: service.pipeline_service_create_pipeline(named), known)).pipeline_id
    with scratch.folder() as folder:
        file = folder / "pipeline.yaml"
        plain = argparse.Namespace(**{**vars(options), "set": []})
        graph.write(graph.for_cluster(plain, **kind)[0], file)
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        name = f"{at}-{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:8]}"

        def uploaded():
            pages = kubeflow.pages(service.pipeline_service_list_pipeline_versions, "pipeline_versions", pipeline)
            return next((version for version in pages if name in (version.display_name, version.name)), None)

        version = uploaded() or kubeflow.made(
            lambda: kubeflow.uploads.upload_pipeline_version(str(file), name=name, pipelineid=pipeline, description=about),
            uploaded,
        )
    print(f"pipeline {PIPELINE}, version {name}" + (": the checkout has changes that no commit holds" if "+" in at else ""))
    return {"pipeline_id": pipeline, "pipeline_version_id": version.pipeline_version_id}


def experiment(kubeflow, name: str) -> str:
    """The id of the experiment of this name, made when there is none."""
    wanted = json.dumps({"predicates": [{"operation": "EQUALS", "key": "name", "stringValue": name}]})
    service, named = kubeflow.experiments, {"display_name": name, **kubeflow.here}

    def known():
        listed = service.experiment_service_list_experiments(filter=wanted, **kubeflow.here).experiments
        return next((experiment for experiment in listed or [] if experiment.display_name == name), None)

    return (known() or kubeflow.made(lambda: service.experiment_service_create_experiment(named), known)).experiment_id


def commit() -> str:
    """Where the checkout stands, with `+changes` where no commit holds all of it."""
    from components.shared import deadline
    from components.shared.errors import CannotRun

    with contextlib.suppress(CannotRun):  # no git
        ask = ["git", "describe", "--always", "--exclude=*", "--abbrev=12", "--dirty=+changes"]
        return deadline.command(ask, seconds=30).stdout.strip() or "uncommitted"
    return "uncommitted"
