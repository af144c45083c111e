"""The way to Kubernetes' own API, with a pod's account or as the kubeconfig says; what goes wrong there in a line."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import urllib3

from components.shared import deadline
from components.shared.errors import CannotRun

SECONDS, WHOLE = 15, 30  # for one answer, or one piece of it; for all of it, however the server spends them
NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")


def way_in():
    """How to reach the cluster. Raises whatever a broken kubeconfig ends in."""
    from kubernetes import client, config

    access = client.Configuration()
    if "KUBERNETES_SERVICE_HOST" in os.environ and "KUBECONFIG" not in os.environ:
        config.load_incluster_config(access)
    else:  # the library itself reads the variable once, as it is loaded
        config.load_kube_config(os.environ.get("KUBECONFIG"), client_configuration=access)
    return access


def namespace() -> str:
    """Of this pod."""
    return NAMESPACE.read_text().strip() if NAMESPACE.exists() else os.environ.get("NAMESPACE", "kubeflow")


def ask(call: Callable, *arguments: Any, what: str = "", **options: Any) -> Any:
    """The answer to a call of the library's; `what` names the right that it needs, where a step's account asks.

    Raises CannotRun, with the answer's `status` where there was one.
    """
    from kubernetes.client import ApiException

    server = f"Kubernetes at {call.__self__.api_client.configuration.host}"
    try:
        return deadline.within(WHOLE, lambda: call(*arguments, _request_timeout=SECONDS, **options), what=server)
    except ApiException as error:
        right = f"; its service account may not {what} (infra/kubernetes/steps gives the right)"
        right = right if what and error.status == 403 else ""
        raise CannotRun(f"{server}: {error.reason} ({error.status}){right}", status=error.status) from None
    except urllib3.exceptions.HTTPError:
        raise CannotRun(f"{server}: no answer; does `kubectl get pods` work?") from None


def workflow(client: Any, name: str) -> dict:
    """Argo's workflow of this name, in this pod's namespace. Raises CannotRun."""
    from kubernetes.client import CustomObjectsApi

    kind = ("argoproj.io", "v1alpha1", namespace(), "workflows", name)
    return ask(CustomObjectsApi(client).get_namespaced_custom_object, *kind, what="get workflows")
