"""What is uploaded to Kubeflow: the pipeline, its version named after the commit and the graph, the experiment that groups its runs."""

import argparse
import hashlib
import json
from typing import NamedTuple

from pipelines import graph

PIPELINE = "darkroom"
DESCRIPTION = (
    "A recogniser of pictures, from labelled data to a registered model: measured, checked, trained, evaluated, compared."
)


class Commit(NamedTuple):
    """Where the checkout stands; `dirty`: it has changes that no commit holds."""

    name: str
    subject: str = ""
    dirty: bool = False


def version(kubeflow, options: argparse.Namespace, at: Commit, **kind: bool) -> dict:
    """The version of the pipeline for this commit: uploaded, unless the server has it already."""
    from components.shared import scratch

    service = kubeflow.pipelines
    named = {"display_name": PIPELINE, "name": PIPELINE, "description": DESCRIPTION, **kubeflow.here}
    about = (at.subject or "of no commit") + (", and changes that no commit holds" if at.dirty else "")

    def known():
        return kubeflow.find(service.pipeline_service_get_pipeline_by_name, PIPELINE, **kubeflow.here)

    pipeline = (known() or kubeflow.made(lambda: service.pipeline_service_create_pipeline(named), known)).pipeline_id
    with scratch.folder() as folder:
        file = folder / "pipeline.yaml"
        plain = argparse.Namespace(**{**vars(options), "set": []})
        graph.write(graph.for_cluster(plain, **kind)[0], file)
        lines = [line for line in file.read_text(encoding="utf-8").splitlines() if not line.startswith("#")]
        name = f"{at.name}-{hashlib.sha256(chr(10).join(lines).encode()).hexdigest()[:8]}"

        def uploaded():
            pages = kubeflow.pages(service.pipeline_service_list_pipeline_versions, "pipeline_versions", pipeline)
            return next((version for version in pages if name in (version.display_name, version.name)), None)

        version = uploaded() or kubeflow.made(
            lambda: kubeflow.uploads.upload_pipeline_version(str(file), name=name, pipelineid=pipeline, description=about),
            uploaded,
        )
    print(f"pipeline {PIPELINE}, version {name}" + (", with changes of the checkout that no commit holds" if at.dirty else ""))
    return {"pipeline_id": pipeline, "pipeline_version_id": version.pipeline_version_id}


def experiment(kubeflow, name: str) -> str:
    """The id of the experiment of this name, made when there is none."""
    wanted = json.dumps({"predicates": [{"operation": "EQUALS", "key": "name", "stringValue": name}]})
    service, named = kubeflow.experiments, {"display_name": name, **kubeflow.here}

    def known():
        listed = service.experiment_service_list_experiments(filter=wanted, **kubeflow.here).experiments
        return next((experiment for experiment in listed or [] if experiment.display_name == name), None)

    return (known() or kubeflow.made(lambda: service.experiment_service_create_experiment(named), known)).experiment_id


def commit() -> Commit:
    """Where the checkout stands."""
    from components.shared import deadline
    from components.shared.errors import CannotRun

    def git(*arguments: str) -> str:
        answer = deadline.command(["git", *arguments], seconds=30)
        return "" if answer.returncode else answer.stdout.strip()

    try:
        name, _, subject = git("log", "-1", "--abbrev=12", "--format=%h %s").partition(" ")
        return (
            Commit(name, subject, bool(git("status", "--porcelain", "--untracked-files=no"))) if name else Commit("uncommitted")
        )
    except CannotRun:  # no git
        return Commit("uncommitted")
