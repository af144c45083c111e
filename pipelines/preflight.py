"""`python -m pipelines check`: whether a run that is submitted now would start, and what mends what stands in its way.

Kubeflow is asked as `submit` asks it. Where a kubeconfig is at hand (KUBECONFIG, ~/.kube/config, or a pod's own account), the
cluster is looked at too; nothing is changed anywhere.
"""

import argparse
import base64
import binascii
import json
import time
from collections.abc import Callable, Iterator
from typing import Any

from pipelines import cluster, graph

OK, UNKNOWN, FAULT = "ok", "?", "fault"


def check(options: argparse.Namespace) -> int:
    """Print a line for all that is well or cannot be told. Raises CannotRun with a line for every fault, and what mends it."""
    from components.shared.errors import CannotRun
    from pipelines import pinning, settings
    from pipelines.kubeflow import Kubeflow

    how = settings.read(options.settings)
    faults: list[str] = []
    found: dict[str, Any] = {}

    def part(lines: Callable[[], Iterator[tuple[str, str]]]) -> None:
        try:
            for state, line in lines():
                faults.append(line) if state == FAULT else print(f"{state:5} {line}", flush=True)
        except CannotRun as error:
            faults.extend(error.faults)

    def kubeflow() -> Iterator[tuple[str, str]]:
        found["kubeflow"] = Kubeflow()
        yield from ((OK, line) for line in asked(found["kubeflow"]))

    def image() -> Iterator[tuple[str, str]]:
        found["image"] = pinning.pinned(graph.image())
        yield OK, f"image {found['image']}: a name that stays, so a node that has it pulls nothing"

    part(kubeflow)
    part(image)
    namespace = getattr(found.get("kubeflow"), "namespace", "") or how.namespace
    part(lambda: cluster.lines(how, namespace=namespace, image=found.get("image", "")))
    if faults:
        raise CannotRun(*faults)
    return 0


def asked(kubeflow) -> list[str]:
    """What answers, where runs would live, and who asks. Raises CannotRun when whoever asks may not see that namespace."""
    kubeflow.experiments.experiment_service_list_experiments(
        page_size=1, **kubeflow.here
    )  # needs a token, where healthz does not
    where = f"for several users, in namespace {kubeflow.namespace}" if kubeflow.multi_user else "for one user"
    return [
        f"Kubeflow Pipelines {kubeflow.version} at {kubeflow.address}, {where}",
        f"whoever asks may: {_who(kubeflow.token())}",
    ]


def _who(token: str) -> str:
    """Whom a token names, and for how long; what it claims is not checked here: the server took it."""
    if not token:
        return "no token was needed, or cookies were taken"
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        left = int(claims["exp"] - time.time()) // 60
        return f"{claims['sub']}, for {left} more minutes"
    except (LookupError, TypeError, ValueError, binascii.Error):
        return "a token that does not tell whom it names"
