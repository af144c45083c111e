"""A rollout on Kubernetes through kubectl, followed to its end: what each new pod waits for or fails at, and whether all are ready.

`Ready` alone tells nothing of the new version: after a bad update the pods of before answer on.
"""

import json
import sys
import time
from typing import NamedTuple

from components.shared import deadline
from components.shared.errors import CannotRun
from components.shared.masking import masked
from pipelines import advice, nodes, patience, status

SECONDS = 60  # for one answer of kubectl's
EVERY = 3.0  # seconds between two looks
WHOLE = 900  # seconds after which a rollout that has not ended has failed
RESTARTS = 3  # of a container that are enough to know that it never works
STARTS = ("PodInitializing", "ContainerCreating")  # no reason to wait, but how every pod begins


class Target(NamedTuple):
    """A Deployment, its pods' label, and the annotation by which those that are made now are known."""

    namespace: str
    deployment: str
    selector: str
    mark: tuple[str, str]


class Stand(NamedTuple):
    """How a rollout stands: `ended` is None while it goes, then an exit code; the new pods, and why it does not go on."""

    ended: int | None
    pods: list[nodes.Step]
    reason: str = ""


def kubectl(*arguments: str) -> str:
    """What it prints. Raises CannotRun with its first line, where it refuses."""
    done = deadline.command(["kubectl", *arguments], seconds=SECONDS)
    if done.returncode:
        lines = [line for line in done.stderr.splitlines() if line.strip() and not line.startswith("Warning: ")]
        hint = (
            "; KServe is not installed there, --kind deployment needs none" if 'kind "InferenceService"' in done.stderr else ""
        )
        said = masked(lines[0] if lines else f"exit code {done.returncode}")[:1000]
        raise CannotRun(f"kubectl {arguments[0]}: {said}{hint}", status=403 if "(Forbidden)" in said else 0)
    return done.stdout


def follow(target: Target) -> int:
    """Print what changes until all pods are of the new version and ready (0), or it is known that they will not be (1)."""
    at = f"`kubectl -n {target.namespace} rollout status deployment/{target.deployment}`"
    try:
        return _follow(target)
    except CannotRun as error:
        raise CannotRun(f"{error}; the rollout goes on, {at} looks again") from None
    except KeyboardInterrupt:
        print(f"the rollout goes on; {at} looks again", file=sys.stderr)
        raise


def _follow(target: Target) -> int:
    seen: dict[str, str] = {}
    begun = time.monotonic()
    for stand in patience.answers(lambda: look(target), every=EVERY, outage=status.OUTAGE):
        for pod in stand.pods:
            key = f"{pod.state} {pod.tries} {pod.reason}"
            if seen.get(pod.name) != key and (pod.reason or pod.state == "ready"):
                print(_line(pod, target), flush=True)
            seen[pod.name] = key
        if stand.reason and seen.get("") != stand.reason:
            print(f"{target.deployment}: {stand.reason}", flush=True)
            seen[""] = stand.reason
        took = time.monotonic() - begun
        if stand.ended is not None or took > WHOLE:
            break
    if stand.ended == status.DONE:
        print(f"{target.deployment}: all its pods are ready, and of this version alone, after {status.span(took)}")
        return status.DONE
    print(f"{target.deployment}: failed after {status.span(took)}; pods of before, where there are any, answer on; mend it, or set "
          "the alias back, and run the same command again")  # fmt: skip
    return status.FAILED


def _line(pod: nodes.Step, target: Target) -> str:
    """As `status` tells of a step; what mends it stands elsewhere."""
    described = f"`kubectl -n {target.namespace} describe pod {pod.name}` says more"
    return status.line(pod).replace(advice.STEPS, "in infra/kubernetes/serving").replace(advice.CHECK, described)


def look(target: Target) -> Stand:
    """One look at the Deployment and its new pods. Raises CannotRun."""
    found = _get(target, "deployment", target.deployment, "--ignore-not-found")
    if not found or not _is_new(found["spec"]["template"], target):
        return Stand(None, [], "not made yet")  # by KServe
    pods = [_pod(pod, target) for pod in _get(target, "pods", "-l", target.selector)["items"] if _is_new(pod, target)]
    now, wanted = found.get("status") or {}, found["spec"].get("replicas", 1)
    conditions = {each["type"]: each for each in now.get("conditions") or []}
    refused = conditions.get("ReplicaFailure") or {}
    reason = masked(" ".join(refused["message"].split()))[:1000] if refused.get("status") == "True" else ""
    if now.get("observedGeneration", 0) < found["metadata"]["generation"]:
        return Stand(None, pods, reason)
    counts = [now.get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")]
    if counts == [wanted] * 3:
        return Stand(status.DONE, pods, reason)
    late = (conditions.get("Progressing") or {}).get("reason") == "ProgressDeadlineExceeded"
    broken = any(pod.state == "failed" for pod in pods)
    return Stand(status.FAILED if late or broken else None, pods, reason)


def _get(target: Target, *what: str) -> dict:
    """As Kubernetes has it; empty where it has none."""
    return json.loads(kubectl("get", *what, "-n", target.namespace, "-o", "json") or "{}")


def _is_new(made: dict, target: Target) -> bool:
    """Whether a pod, or what pods are made from, is of the new version."""
    key, value = target.mark
    return (made["metadata"].get("annotations") or {}).get(key) == value


def _pod(pod: dict, target: Target) -> nodes.Step:
    """A pod as a step: ready, running, waiting for what, or failed since it always ends again."""
    name, now = pod["metadata"]["name"], pod.get("status") or {}
    conditions = {each["type"]: each for each in now.get("conditions") or []}
    containers = (now.get("initContainerStatuses") or []) + (now.get("containerStatuses") or [])
    restarts = max([each.get("restartCount", 0) for each in containers], default=0)
    begun = pod["metadata"]["creationTimestamp"]
    if (conditions.get("Ready") or {}).get("status") == "True":
        return nodes.Step(name, "ready", begun=begun)
    reasons = [reason for each in containers if (reason := _of_container(each))]
    unscheduled = conditions.get("PodScheduled") or {}
    if unscheduled.get("status") == "False":
        reasons.append(f"{unscheduled.get('reason')}: {unscheduled.get('message')}")
    step = nodes.Step(name, "waiting", tries=f"restart {restarts}" if restarts else "", begun=begun)
    if not reasons and step.seconds() > status.SILENCE:  # a probe that fails, a volume that is not there
        own = f"involvedObject.name={name},type=Warning"
        reasons = [each["message"] for each in _get(target, "events", f"--field-selector={own}")["items"]][-1:]
    reason = masked(" ".join(reasons[0].split()))[:1000] if reasons else ""
    return step._replace(reason=reason, state="failed" if restarts >= RESTARTS else "waiting")


def _of_container(container: dict) -> str:
    """Why a container does not run: what it said last where it ended, what Kubernetes says where it has not begun."""
    state = container.get("state") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    if ended.get("exitCode"):
        said = [f"Error (exit code {ended['exitCode']})", *(ended.get("message") or "").strip().splitlines()[-1:]]
        return nodes.plain("OOMKilled" if ended.get("reason") == "OOMKilled" else ": ".join(said), "fetch")
    waiting = state.get("waiting") or {}
    return "" if waiting.get("reason") in (None, *STARTS) else f"{waiting['reason']}: {waiting.get('message') or ''}"
