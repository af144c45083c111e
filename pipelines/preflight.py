"""`python -m pipelines check`: whether a run that is submitted now would start, and what mends what stands in its way.

Kubeflow is asked as `submit` asks it. Where a kubeconfig is at hand (KUBECONFIG, ~/.kube/config, or a pod's own account), the
cluster is looked at too; nothing is changed anywhere.
"""

import argparse
import base64
import binascii
import contextlib
import json
import time
from collections.abc import Iterator

from components.shared.errors import CannotRun
from pipelines import cluster, graph, pinning, settings
from pipelines.kubeflow import Kubeflow


def check(options: argparse.Namespace) -> int:
    """Print a line for all that is well or cannot be told. Raises CannotRun with a line for every fault, and what mends it."""
    how = settings.read(options.settings)
    faults: list[str] = []
    kubeflow, image = None, ""

    @contextlib.contextmanager
    def noted() -> Iterator[None]:
        try:
            yield
        except CannotRun as error:
            faults.extend(error.faults)

    with noted():
        kubeflow = Kubeflow()
        print(*(f"ok    {line}" for line in asked(kubeflow)), sep="\n")
    with noted():
        image = pinning.pinned(graph.image())
        print(f"ok    image {image}: a name that stays, so a node that has it pulls nothing")
    with noted():
        for state, line in cluster.lines(how, namespace=getattr(kubeflow, "namespace", "") or how.namespace, image=image):
            faults.append(line) if state == "fault" else print(f"{state:5} {line}", flush=True)
    if faults:
        raise CannotRun(*faults)
    return 0


def asked(kubeflow) -> list[str]:
    """What answers, where runs would live, and who asks. Raises CannotRun when whoever asks may not see that namespace."""
    # healthz, which was asked already, needs no token; this does.
    kubeflow.get("experiments", page_size=1, **kubeflow.here)
    where = f"for several users, in namespace {kubeflow.namespace}" if kubeflow.multi_user else "for one user"
    return [f"Kubeflow Pipelines {kubeflow.version} at {kubeflow.address}, {where}", f"asked by {_who(kubeflow.token())}"]


def _who(token: str) -> str:
    """Whom a token names, and for how long; what it claims is not checked here: the server took it."""
    if not token:
        return "nobody: without a token"
    try:
        body = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
        left = int(claims["exp"] - time.time()) // 60
        return f"{claims['sub']}, for {left} more minutes"
    except (LookupError, TypeError, ValueError, binascii.Error):
        return "a token that does not tell whom it names"
