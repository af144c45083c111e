"""The parts of a step as one Indexed Job of Kubernetes: made by the step's own pod, of pods like it. The graph has one step all the same.

Each part computes its share of what the store lacks (`python -m pipelines.indexed_job` in its pod); the step then finds all kept.
"""

import contextlib
import json
import os
import signal
import time

from components.shared.errors import CannotRun
from pipelines import access, patience

WORK = "DARKROOM_WORK"  # what a part computes, as JSON
EVERY = 3.0  # seconds between two questions
OUTAGE = 60  # seconds that Kubernetes may be away
SILENCE = 60  # seconds without a part that ended, after which is said what they wait for
GRACE = 120  # seconds that a part has to end
KEPT = 3600  # seconds that an ended Job can be looked at
_FOREIGN = ("ARGO_", "KFP_POD_")  # variables of Argo's own in the step's container


def possible() -> bool:
    """Whether this is a pod of Kubeflow's that may ask Kubernetes."""
    return bool(os.environ.get("KFP_POD_NAME")) and (access.NAMESPACE.exists() or "KUBECONFIG" in os.environ)


def run(step: str, work: dict, *, parts: int, at_once: int) -> None:
    """Have the parts computed and wait for all of them; a Job that an earlier try of this step made is waited for, not made twice.

    Stopping the run deletes the Job. Raises CannotRun with the reason of the first part that failed.
    """
    job = _Job(step)
    body = job.body(work, parts, at_once)
    with job.deleted_when_stopped():
        job.make(body)
        print(f"{step}: {parts} parts, {at_once} at once, as Job {job.name}", flush=True)
        job.wait()


class _Job:
    def __init__(self, step: str) -> None:
        from kubernetes import client

        self.step, self.client = step, client.ApiClient(access.way_in())
        self.batch, self.core = client.BatchV1Api(self.client), client.CoreV1Api(self.client)
        self.here = {"namespace": access.namespace()}
        pod = access.ask(self.core.read_namespaced_pod, os.environ["KFP_POD_NAME"], **self.here, what="get pods")
        self.pod = self.client.sanitize_for_serialization(pod)
        self.above = self.pod["metadata"]["ownerReferences"][0]  # the workflow, which outlives the tries of the step
        self.labels = self.pod["metadata"].get("labels") or {}
        self.name = f"{step}-{self.labels.get('pipeline/runid') or self.above['uid']}"  # the same in every try of the step

    def body(self, work: dict, parts: int, at_once: int) -> dict:
        """The Job: pods like the step's own, without Argo and without a token."""
        spec = self.pod["spec"]
        main = next(container for container in spec["containers"] if container["name"] == "main")
        own = [variable for variable in main.get("env", []) if not variable["name"].startswith(_FOREIGN)]
        container = {
            key: main[key] for key in ("image", "imagePullPolicy", "resources", "envFrom", "securityContext") if key in main
        }
        container |= {
            "name": "part",
            "command": ["python", "-m", "pipelines.indexed_job"],
            "env": [*own, {"name": WORK, "value": json.dumps(work | {"step": self.step, "parts": parts})}],
        }
        alike = ("serviceAccountName", "securityContext", "nodeSelector", "tolerations", "affinity", "imagePullSecrets")
        pod = {key: spec[key] for key in alike if key in spec} | {
            "containers": [container],
            "restartPolicy": "Never",
            "terminationGracePeriodSeconds": GRACE,
            "automountServiceAccountToken": False,
        }
        evicted = {"type": "DisruptionTarget", "status": "True"}  # a part that was is made again
        refused = {"containerName": "part", "operator": "In", "values": [1]}  # once is refused again
        labels = {key: value for key, value in self.labels.items() if "argoproj.io" not in key}
        limit = {"activeDeadlineSeconds": spec["activeDeadlineSeconds"]} if "activeDeadlineSeconds" in spec else {}
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {
                "name": self.name,
                "labels": labels,
                "ownerReferences": [{key: self.above[key] for key in ("apiVersion", "kind", "name", "uid")}],
            },
            "spec": limit
            | {
                "completions": parts,
                "parallelism": min(parts, at_once),
                "completionMode": "Indexed",
                "backoffLimitPerIndex": 1,
                "maxFailedIndexes": 0,
                "ttlSecondsAfterFinished": KEPT,
                "podFailurePolicy": {
                    "rules": [
                        {"action": "Ignore", "onPodConditions": [evicted]},
                        {"action": "FailIndex", "onExitCodes": refused},
                    ]
                },
                # By labels network policies and variables know a pod. Istio's helper, as Profiles have it, would not let it end.
                "template": {"metadata": {"labels": labels | {"sidecar.istio.io/inject": "false"}}, "spec": pod},
            },
        }

    def make(self, body) -> None:
        """Make the Job, or take over the one of this name; one that has ended already makes room for a new one."""
        end = time.monotonic() + OUTAGE
        while time.monotonic() < end:
            try:
                access.ask(self.batch.create_namespaced_job, **self.here, body=body, what="create jobs")
                return
            except CannotRun as error:
                if error.status != 409:
                    raise
            if (there := self.read()) and not _ended(there):
                return
            self.delete()
            time.sleep(EVERY)
        raise CannotRun(f"Kubernetes: Job {self.name} of an earlier try cannot be replaced; `kubectl delete job {self.name}`")

    def read(self):
        """The Job as it stands; None when there is none. (Its status stands in it; `jobs/status` would be a right of its own.)"""
        return patience.found(access.ask, self.batch.read_namespaced_job, self.name, **self.here, what="get jobs")

    def wait(self) -> None:
        """Until all parts are done. Raises CannotRun when one failed."""
        done, told, since = -1, "", time.monotonic()
        for job in patience.answers(self.read, every=EVERY, outage=OUTAGE):
            if job is None:
                raise CannotRun(f"{self.step}: Job {self.name} was deleted; run again, what is computed is kept")
            if (job.status.succeeded or 0) != done:
                done, since = job.status.succeeded or 0, time.monotonic()
                print(f"{self.step}: {done} of {job.spec.completions} parts", flush=True)
            elif time.monotonic() - since > SILENCE:
                why, since = self.waits_for(), time.monotonic()
                if why and why != told:
                    print(f"{self.step}: a part waits: {why}", flush=True)
                told = why
            if ended := _ended(job):
                if ended.type == "Complete":
                    return
                raise CannotRun(self.reason() or f"{self.step}: {ended.reason}: {ended.message}")

    def pods(self) -> list:
        """Of the Job, those that ended, too."""
        selector = f"batch.kubernetes.io/job-name={self.name}"
        return access.ask(self.core.list_namespaced_pod, **self.here, label_selector=selector, what="list pods").items

    def waits_for(self) -> str:
        """Why a part does not start: no room on the nodes, no image; empty when all that may run do."""
        for pod in [pod for pod in self.pods() if pod.status.phase == "Pending"]:
            for status in pod.status.container_statuses or []:
                if status.state and status.state.waiting and status.state.waiting.message:
                    return f"{status.state.waiting.reason}: {status.state.waiting.message}"
            for condition in pod.status.conditions or []:
                if condition.type == "PodScheduled" and condition.status == "False":
                    return f"{condition.reason}: {condition.message}"
        return ""

    def reason(self) -> str:
        """What the first part that failed left as its message, or how its container ended."""
        ends = [
            (status.state.terminated, pod)
            for pod in self.pods() for status in pod.status.container_statuses or []
            if status.state and status.state.terminated and status.state.terminated.exit_code
        ]  # fmt: skip
        if not ends:
            return ""
        end, pod = min(ends, key=lambda end: (end[0].finished_at is None, str(end[0].finished_at)))
        said = (end.message or f"{end.reason}, exit code {end.exit_code}").strip().removeprefix(f"{self.step}: ")
        part = (pod.metadata.annotations or {}).get("batch.kubernetes.io/job-completion-index", "")
        return f"part {int(part) + 1}: {said}" if part else said

    def delete(self) -> None:
        """Delete the Job and its pods, if it is there."""
        with contextlib.suppress(CannotRun):
            kind = {"propagation_policy": "Background", "what": "delete jobs"}
            access.ask(self.batch.delete_namespaced_job, self.name, **self.here, **kind)

    def stopped(self) -> bool:
        """Whether somebody stops the whole run; a pod that is evicted gets the same signal, and its Job goes on."""
        try:
            return bool((access.workflow(self.client, self.above["name"]).get("spec") or {}).get("shutdown"))
        except CannotRun:
            return True

    @contextlib.contextmanager
    def deleted_when_stopped(self):
        """While this lasts, SIGTERM ends the process, and the Job with it when the run is stopped."""

        def end(*_: object) -> None:
            # No print: what reads it is gone already, and the Job would go on.
            try:
                if self.stopped():
                    self.delete()
            finally:
                os._exit(128 + signal.SIGTERM)

        before = signal.signal(signal.SIGTERM, end)
        try:
            yield
        finally:
            signal.signal(signal.SIGTERM, before)


def _ended(job):
    """The condition by which a Job has ended; None while it goes on."""
    conditions = job.status.conditions or []
    return next((each for each in conditions if each.type in ("Complete", "Failed") and each.status == "True"), None)


def main() -> None:
    """Compute one part, in its pod."""
    from pipelines import execution

    work = json.loads(os.environ[WORK])
    share = f"{int(os.environ['JOB_COMPLETION_INDEX']) + 1}/{work.pop('parts')}"
    execution.part(work.pop("step"), share=share, **work)


if __name__ == "__main__":
    main()
