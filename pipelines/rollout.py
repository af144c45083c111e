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
    """How a rollout stands: each new pod, with how often a container of it began again; whether all is done, or too late; why."""

    pods: list[tuple[nodes.Step, int]]
    done: bool = False
    late: bool = False
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
    begun, before = time.monotonic(), None
    for stand in patience.answers(lambda: look(target), every=EVERY, outage=status.OUTAGE):
        before = before or stand  # what failed before may go well now
        for pod, _ in stand.pods:
            key = f"{pod.state} {pod.tries} {pod.reason}"
            if seen.get(pod.name) != key and (pod.reason or pod.state == "ready"):
                print(_told(pod, target), flush=True)
            seen[pod.name] = key
        if stand.reason and seen.get("") != stand.reason:
            print(f"{target.deployment}: {stand.reason}", flush=True)
            seen[""] = stand.reason
        took = time.monotonic() - begun
        known = {pod.name: count for pod, count in before.pods}
        broken = any(pod.state != "ready" and count - known.get(pod.name, 0) >= RESTARTS for pod, count in stand.pods)
        if stand.done or broken or took > WHOLE or (stand.late and not before.late):
            break
    if stand.done:
        print(f"{target.deployment}: all its pods are ready, and of this version alone, after {status.span(took)}")
        return status.DONE
    print(f"{target.deployment}: failed after {status.span(took)}; pods of before, where there are any, answer on; mend it, or set "
          "the alias back, and run the same command again")  # fmt: skip
    return status.FAILED


def _told(pod: nodes.Step, target: Target) -> str:
    """As `status` tells of a step; what mends it stands elsewhere."""
    described = f"`kubectl -n {target.namespace} describe pod {pod.name}` says more"
    return status.line(pod).replace(advice.STEPS, "in infra/kubernetes/serving").replace(advice.CHECK, described)


def look(target: Target) -> Stand:
    """One look at the Deployment and its new pods. Raises CannotRun."""
    found = _get(target, "deployment", target.deployment, "--ignore-not-found")
    if not found or not _is_new(found["spec"]["template"], target):
        return Stand([], reason="not made yet")  # by KServe
    pods = [_step(pod, target) for pod in _get(target, "pods", "-l", target.selector)["items"] if _is_new(pod, target)]
    conditions = _conditions(found)
    stand = Stand(pods, reason=_line(conditions.get("ReplicaFailure", {}).get("message", "")))
    if found["status"].get("observedGeneration", 0) < found["metadata"]["generation"]:
        return stand
    counts = [found["status"].get(key, 0) for key in ("updatedReplicas", "replicas", "availableReplicas")]
    late = conditions.get("Progressing", {}).get("reason") == "ProgressDeadlineExceeded"
    return stand._replace(done=counts == [found["spec"]["replicas"]] * 3, late=late)


def _get(target: Target, *what: str) -> dict:
    """As Kubernetes has it; empty where it has none."""
    return json.loads(kubectl("get", *what, "-n", target.namespace, "-o", "json") or "{}")


def _is_new(made: dict, target: Target) -> bool:
    """Whether a pod, or what pods are made from, is of the new version."""
    key, value = target.mark
    return made["metadata"].get("annotations", {}).get(key) == value


def _conditions(of: dict) -> dict[str, dict]:
    return {each["type"]: each for each in of["status"].get("conditions", [])}


def _line(text: str) -> str:
    return masked(" ".join(text.split()))[:1000]


def _step(pod: dict, target: Target) -> tuple[nodes.Step, int]:
    """A pod as a step that is ready, or waits for what; and how often a container of it began again."""
    name, conditions = pod["metadata"]["name"], _conditions(pod)
    containers = pod["status"].get("initContainerStatuses", []) + pod["status"].get("containerStatuses", [])
    restarts = max([each["restartCount"] for each in containers], default=0)
    step = nodes.Step(name, "waiting", begun=pod["metadata"]["creationTimestamp"])
    if conditions.get("Ready", {}).get("status") == "True":
        return step._replace(state="ready"), restarts
    reasons = [reason for each in containers if (reason := _of_container(each))]
    if (unscheduled := conditions.get("PodScheduled", {})).get("status") == "False":
        reasons.append(f"{unscheduled['reason']}: {unscheduled['message']}")
    if not reasons and step.seconds() > status.SILENCE:  # a probe that fails, a volume that is not there
        own = f"involvedObject.name={name},type=Warning"
        reasons = [each["message"] for each in _get(target, "events", f"--field-selector={own}")["items"]][-1:]
    return step._replace(reason=_line("".join(reasons[:1])), tries=f"restart {restarts}" if restarts else ""), restarts


def _of_container(container: dict) -> str:
    """Why a container does not run: what it said last where it ended, what Kubernetes says where it has not begun."""
    state = container["state"]
    ended = state.get("terminated") or container.get("lastState", {}).get("terminated", {})
    if ended.get("exitCode"):
        said = [f"Error (exit code {ended['exitCode']})", *ended.get("message", "").strip().splitlines()[-1:]]
        return nodes.plain("OOMKilled" if ended.get("reason") == "OOMKilled" else ": ".join(said), "fetch")
    waiting = state.get("waiting", {})
    return "" if waiting.get("reason", STARTS[0]) in STARTS else f"{waiting['reason']}: {waiting.get('message', '')}"
