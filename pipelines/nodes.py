"""A run as steps: what Argo's nodes say of each, in Darkroom's names.

Argo has some six nodes a step. Their names are paths (`WF(0).root(0).exit-handler-1(0).train-2(0).executor(0)`), with or without
the number of the try on the outer levels, and their messages hold the reasons.
"""

import base64
import datetime
import gzip
import json
import re
from typing import NamedTuple

STEPS = ("measure", "embed", "validate", "gate", "prepare", "augment", "train cnn", "train lstm", "package cnn",
         "package lstm", "evaluate cnn", "evaluate lstm", "stress", "register", "report")  # fmt: skip
STILL = 3600  # seconds in which something happens in every workflow that is not gone: its pods start, run and end
IDLE = "nothing changed since a run that ended well"
_TRY = re.compile(r"\(\d+\)$")
_EXIT = re.compile(r"(?:(?:main|init|wait): )?Error \(exit code (\d+)\)(?:: )?(.*)")
_TAKEN = re.compile(
    r"pod deleted|evict|preempt|low on resource|shutting down|node (?:shutdown|lost)|OutOf(?:cpu|memory|pods)", re.I
)


class Step(NamedTuple):
    """State: waiting, running, cached, done, failed, stopped or skipped. `lost`: its pod was taken away, by no fault of its own."""

    name: str
    state: str
    reason: str = ""
    tries: str = ""  # such as "retry 1 of 2"
    begun: str = ""  # ISO 8601, UTC
    ended: str = ""
    pod: str = ""
    lost: bool = False

    def seconds(self) -> float:
        """How long it took, or has taken."""
        return (moment(self.ended) - moment(self.begun)).total_seconds() if self.begun else 0.0


def moment(text: str) -> datetime.datetime:
    """A time of the API; now for one that has not come."""
    return datetime.datetime.fromisoformat(text) if text else datetime.datetime.now(datetime.UTC)


def _nodes(workflow: dict) -> list[dict]:
    """Argo's nodes, by the time they began; of a large workflow they are packed."""
    status = workflow.get("status") or {}
    nodes = status.get("nodes")
    if not nodes and (packed := status.get("compressedNodes")):
        nodes = json.loads(gzip.decompress(base64.b64decode(packed)))
    return sorted((nodes or {}).values(), key=lambda node: node.get("startedAt") or "")


def still(workflow: dict) -> bool:
    """Whether nothing of a workflow can be going any more, though it has no end: it was deleted, and nobody told Kubeflow.

    No pod of it waits or runs, for an hour; or each that runs has had twice its time limit. (The limit counts from when a node
    took the pod, which is not written.) One that waits may wait for ever.
    """
    nodes = _nodes(workflow)
    pods = [node for node in nodes if node["type"] == "Pod" and node["phase"] in ("Pending", "Running")]
    ages = [
        (moment("") - moment(node.get("finishedAt") or node.get("startedAt") or "")).total_seconds() for node in pods or nodes
    ]
    if not pods:
        return bool(ages) and min(ages) > STILL
    limits = [node["phase"] == "Running" and _limit(node) for node in pods]
    return all(limit and age > 2 * limit + STILL for age, limit in zip(ages, limits, strict=True))


def _limit(node: dict) -> int:
    """Seconds that a pod may run; 0 where there is no limit."""
    given = {parameter["name"]: parameter.get("value") for parameter in (node.get("inputs") or {}).get("parameters", [])}
    try:
        return json.loads(given["pod-spec-patch"])["activeDeadlineSeconds"]
    except (LookupError, ValueError, TypeError):
        return 0


def of_workflow(workflow: dict) -> list[Step]:
    """The steps that have begun, were skipped or wait, and a driver of Kubeflow's that failed; in order."""
    groups: dict[tuple, list[dict]] = {}
    for node in _nodes(workflow):
        *above, last = (_TRY.sub("", part) for part in node["name"].split("."))
        if last == "executor":
            path, role = (*above,), "executor"
        elif last.endswith("-driver"):  # of a step; or of what holds steps, which is told of when it fails
            of_step = node.get("templateName") != "system-dag-driver"
            path, role = (*above, last.removesuffix("-driver") if of_step else last), "driver"
        elif (node.get("templateName") or "").endswith("system-container-executor"):
            path, role = (*above, last), "step"
        else:
            continue
        groups.setdefault(path, []).append(node | {"role": role})
    name = (workflow.get("metadata") or {}).get("name", "")
    found = [_step(_name(path[-1]), group, name) for path, group in groups.items()]
    found = [step for step in found if not step.name.startswith("kubeflow ") or step.reason]

    def order(step: Step) -> tuple:
        """By the time they began; those that were left out last, as the graph has them."""
        out = step.state == "skipped"
        return out, "" if out else step.begun, STEPS.index(step.name) if step.name in STEPS else -1

    return sorted(found, key=order)


def _name(task: str) -> str:
    return ("kubeflow " if task.endswith("-driver") else "") + task.replace("-", " ")


def _step(name: str, group: list[dict], workflow: str) -> Step:
    """One step from its nodes, oldest first."""
    pods = {role: [n for n in group if n["role"] == role and n["type"] == "Pod"] for role in ("executor", "driver")}
    tries = pods["executor"] or pods["driver"]
    phases = {node["phase"] for node in group}
    begun = group[0].get("startedAt") or ""
    if not pods["executor"] and "Skipped" in phases:
        return Step(name, "cached", begun=begun, ended=begun)
    if not tries:
        out = "Omitted" in phases
        return Step(name, "skipped" if out else "waiting", begun=begun, ended=begun if out else "")
    last = tries[-1]
    phase, message = last["phase"], last.get("message") or ""
    again = any(node["type"] == "Retry" and node["phase"] == "Running" for node in group)
    state = {"Pending": "waiting", "Running": "running", "Succeeded": "done"}.get(phase, "waiting" if again else "failed")
    if not pods["executor"] and state in ("running", "done"):
        state = "waiting"
    limit = next((p["value"] for p in (last.get("inputs") or {}).get("parameters", []) if p["name"] == "retry-max-count"), "")
    pod = f"{workflow}-{last.get('templateName')}"[:242] + f"-{last['id'].rpartition('-')[2]}"
    tried = f"retry {len(tries) - 1}" + (f" of {limit}" if limit else "") if len(tries) > 1 else ""
    return Step(name, state, plain(message, name) if phase != "Succeeded" else "", tried, tries[0].get("startedAt") or "",
                last.get("finishedAt") or "", pod, state == "failed" and lost(message))  # fmt: skip


def lost(message: str) -> bool:
    """Whether a pod was taken away (drained, evicted, deleted), by Argo's and Kubernetes' words and not by the step's own."""
    ended = _EXIT.match(message)
    return ended[1] == "143" if ended else bool(_TAKEN.search(message))


def plain(message: str, step: str) -> str:
    """A node's message without Argo's wrapping, and without the step's own name before it."""
    text = " ".join(message.split())
    if "OOMKilled" in text:
        return "out of memory (OOMKilled)"
    if match := _EXIT.match(text):
        text = match[2] or f"ended with exit code {match[1]}, and left no word"
    own = re.compile(rf"(?:{re.escape(step)}|{re.escape(step.replace(' ', '.'))}|{re.escape(step.split()[0])}): ")
    while match := own.match(text):
        text = text[match.end() :]
    return text[:1000]


def idle(steps: list[Step]) -> bool:
    """Whether a schedule's run found nothing new, and so did nothing."""
    begun = {step.name for step in steps if step.state != "skipped"}
    return "newest" in begun and "measure" not in begun


def fault(steps: list[Step]) -> Step | None:
    """The step that failed first."""
    return min((step for step in steps if step.state == "failed"), key=lambda step: step.ended, default=None)
