"""Serve the version that an alias names on Kubernetes: its manifests with everything resolved, applied, and followed to their end.

What stands in infra/kubernetes/serving is written out with one version in place of the alias: a pod that starts in a month answers
as those of today do, until somebody runs this again.
"""

import argparse
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import yaml

from components.shared import scratch
from components.shared.errors import CannotRun
from pipelines import graph, pinning, rollout

MANIFESTS = Path(__file__).parents[1] / "infra/kubernetes/serving"
NAME = "darkroom-champion"  # of the service, as it stands there
OWNER = {  # by which label a service's pods are known, and what its Deployment's name ends in
    "deployment": ("app.kubernetes.io/name", ""),
    "kserve": ("serving.kserve.io/inferenceservice", "-predictor"),
}
MARK = "darkroom/pod"  # annotation: a digest over all that a pod is made from


class Service(NamedTuple):
    """One version as it is served. `model`: what a pod fetches; `annotations`: by which people know it."""

    name: str
    kind: str
    model: str
    version: str
    digest: str
    image: str
    annotations: dict[str, str]
    replicas: int | None = None


def serve(options: argparse.Namespace) -> int:
    """Print the manifests of the version that an alias names; with `--apply` apply them instead, and follow that to its end."""
    service = resolved(options)
    if options.apply:
        return apply(service)
    print(_text(rendered(service)[0]), end="")
    return 0


def apply(service: Service) -> int:
    """Have kubectl apply the manifests, and follow the rollout: 0, or 1 when it failed. Raises CannotRun."""
    documents, mark = rendered(service)
    with scratch.folder() as folder:
        (folder / "serving.yaml").write_text(_text(documents), encoding="utf-8")
        print(rollout.kubectl("apply", "-f", str(folder / "serving.yaml")).rstrip(), flush=True)
    label, suffix = OWNER[service.kind]
    namespace = documents[0]["metadata"]["namespace"]
    return rollout.follow(rollout.Target(namespace, service.name + suffix, f"{label}={service.name}", (MARK, mark)))


def _text(documents: list[dict]) -> str:
    return yaml.safe_dump_all(documents, sort_keys=False, width=1000)


def resolved(options: argparse.Namespace) -> Service:
    """The version that the alias names now. Raises CannotRun when there is none, or none that a cluster can reach."""
    from components.shared.runs import packages

    alias = f"models:/{options.name}@{options.alias}"
    name = re.sub(r"[^a-z0-9]+", "-", f"{options.name}-{options.alias}".lower()).strip("-")
    if not re.fullmatch(r"[a-z][a-z0-9-]{0,49}", name):
        raise CannotRun(f"{alias}: {name!r} is no name of a service; expected a letter first, and 50 characters at most")
    image = pinning.pinned(graph.image())
    version, address, digest = packages.resolve(alias)
    if urlsplit(address).scheme in ("", "file"):
        raise CannotRun(f"{alias}: its files lie on this machine, where no cluster reaches them; register it at the team's server "
                        "(MLFLOW_TRACKING_URI)")  # fmt: skip
    address = f"{address.rstrip('/')}/"  # without the slash KServe also takes what begins with the same letters
    numbered = f"models:/{options.name}/{version}"
    annotations = {"darkroom/model": numbered, "darkroom/artifacts": address, "darkroom/sha256": digest}
    model = address if address.startswith("s3://") else numbered  # MLflow itself hands out all others
    return Service(name, options.kind, model, version, digest, image, annotations, options.replicas)


def rendered(service: Service) -> tuple[list[dict], str]:
    """The manifests with this service's names, image, version and digest; and the mark of its pods, over all they are made from."""
    documents, mark = list(_read(MANIFESTS / service.kind, service.name)), ""
    for document in documents:
        spec = document.get("spec") or {}
        if document["kind"] == "Deployment":
            scaled, numbers = spec, ("replicas",)
            annotated, pod = spec["template"]["metadata"], spec["template"]["spec"]
        elif document["kind"] == "InferenceService":
            scaled, numbers = spec["predictor"], ("minReplicas", "maxReplicas")
            annotated = pod = scaled
        else:
            continue
        (fetching,), (serving,) = pod["initContainers"], pod["containers"]
        fetching["args"][0] = service.model
        fetching["args"].append(f"--version={service.version}")
        for container in (fetching, serving):
            container["image"] = service.image
            container["args"].append(f"--sha256={service.digest}")
        mark = hashlib.sha256(json.dumps([pod, service.annotations], sort_keys=True).encode()).hexdigest()[:16]
        annotated["annotations"] = service.annotations | {MARK: mark}
        scaled |= dict.fromkeys(numbers, service.replicas) if service.replicas else {}
    return documents, mark


def _read(folder: Path, name: str) -> Iterator[dict]:
    """What kustomize makes of a folder, with another name of the service; no more of it is understood than is used there."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    for resource in kustomization["resources"]:
        place = folder / resource
        text = "" if place.is_dir() else place.read_text(encoding="utf-8").replace(NAME, name)
        for document in _read(place, name) if place.is_dir() else yaml.safe_load_all(text):
            if "namespace" in kustomization:
                document["metadata"]["namespace"] = kustomization["namespace"]
            yield document
