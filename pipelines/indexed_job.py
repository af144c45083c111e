"""The parts of a step as one Indexed Job of Kubernetes: made by the step's own pod, of pods like it. The graph has one step all the same.

Each part computes its share of what the store lacks (`python -m pipelines.indexed_job` in its pod); the step then finds all kept.
"""

import contextlib
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORK = "DARKROOM_WORK"  # what a part computes, as JSON
EVERY = 3.0  # seconds between two questions
PATIENCE = 20  # questions that may fail one after another
WHOLE = 30  # seconds for the answer to one
SILENCE = 60  # seconds without a part that ended, after which is said what they wait for
GRACE = 120  # seconds that a part has to end
KEPT = 3600  # seconds that an ended Job can be looked at
NAMESPACE = Path("/var/run/secrets/kubernetes.io/serviceaccount/namespace")
_FOREIGN = ("ARGO_", "KFP_POD_")  # variables of Argo's own in the step's container


def possible() -> bool:
    """Whether this is a pod of Kubeflow's that may ask Kubernetes."""
    return bool(os.environ.get("KFP_POD_NAME")) and (NAMESPACE.exists() or "KUBECONFIG" in os.environ)


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

        from pipelines import cluster

        self.step, access = step, client.ApiClient(cluster.way_in())
        self.batch, self.core, self.argo = (
            api(access) for api in (client.BatchV1Api, client.CoreV1Api, client.CustomObjectsApi)
        )
        self.namespace = NAMESPACE.read_text() if NAMESPACE.exists() else os.environ.get("NAMESPACE", "kubeflow")
        self.pod = self.ask(self.core.read_namespaced_pod, os.environ["KFP_POD_NAME"], what="get pods")
        run = (self.pod.metadata.labels or {}).get("pipeline/runid") or self.pod.metadata.owner_references[0].uid
        self.name = f"{step}-{run}"  # the same in every try of the step

    def ask(self, question: Callable, *arguments: Any, what: str, **options: Any):
        """The answer of Kubernetes. Raises CannotRun with its `status`."""
        import urllib3
        from kubernetes.client import ApiException

        from components.shared import deadline
        from components.shared.errors import CannotRun

        try:
            return deadline.within(WHOLE, lambda: question(*arguments, self.namespace, **options), what="Kubernetes")
        except ApiException as error:
            advice = (
                f"; its service account may not {what} (infra/kubernetes/steps gives the right)" if error.status == 403 else ""
            )
            refused = CannotRun(f"Kubernetes: {what}: {error.status} {error.reason}{advice}")
            refused.status = error.status
            raise refused from None
        except urllib3.exceptions.HTTPError as error:
            raise CannotRun(f"Kubernetes: {what}: {type(error).__name__}") from None

    def body(self, work: dict, parts: int, at_once: int):
        """The Job: pods like the step's own, without Argo and without a token."""
        from kubernetes import client as k8s

        spec = self.pod.spec
        main = next(container for container in spec.containers if container.name == "main")
        own = [variable for variable in main.env or [] if not variable.name.startswith(_FOREIGN)]
        container = k8s.V1Container(
            name="part", image=main.image, image_pull_policy=main.image_pull_policy, resources=main.resources,
            command=["python", "-m", "pipelines.indexed_job"], env_from=main.env_from, security_context=main.security_context,
            env=[*own, k8s.V1EnvVar(name=WORK, value=json.dumps(work | {"step": self.step, "parts": parts}))],
        )  # fmt: skip
        labels = {key: value for key, value in (self.pod.metadata.labels or {}).items() if "argoproj.io" not in key}
        template = k8s.V1PodTemplateSpec(
            # By labels network policies and variables know a pod. Istio's helper, as Profiles have it, would not let it end.
            metadata=k8s.V1ObjectMeta(labels=labels | {"sidecar.istio.io/inject": "false"}),
            spec=k8s.V1PodSpec(
                containers=[container], restart_policy="Never", termination_grace_period_seconds=GRACE,
                automount_service_account_token=False, service_account_name=spec.service_account_name,
                security_context=spec.security_context, node_selector=spec.node_selector, tolerations=spec.tolerations,
                affinity=spec.affinity, image_pull_secrets=spec.image_pull_secrets,
            ),
        )  # fmt: skip
        rules = [
            k8s.V1PodFailurePolicyRule(
                action="Ignore", on_pod_conditions=[{"type": "DisruptionTarget", "status": "True"}]
            ),  # a part that was evicted is made again
            k8s.V1PodFailurePolicyRule(
                action="FailIndex", on_exit_codes={"containerName": "part", "operator": "In", "values": [1]}
            ),  # what is refused once is refused again
        ]
        above = self.pod.metadata.owner_references[0]  # the workflow, which outlives the tries of the step
        owner = k8s.V1OwnerReference(above.api_version, kind=above.kind, name=above.name, uid=above.uid)
        return k8s.V1Job(
            api_version="batch/v1", kind="Job",
            metadata=k8s.V1ObjectMeta(name=self.name, labels=labels, owner_references=[owner]),
            spec=k8s.V1JobSpec(
                completions=parts, parallelism=min(parts, at_once), completion_mode="Indexed", backoff_limit_per_index=1,
                max_failed_indexes=0, active_deadline_seconds=spec.active_deadline_seconds,
                ttl_seconds_after_finished=KEPT, pod_failure_policy=k8s.V1PodFailurePolicy(rules=rules), template=template,
            ),
        )  # fmt: skip

    def make(self, body) -> None:
        """Make the Job, or take over the one of this name; one that has ended already makes room for a new one."""
        from components.shared.errors import CannotRun

        for _ in range(PATIENCE):
            try:
                self.ask(lambda namespace: self.batch.create_namespaced_job(namespace, body), what="create jobs")
                return
            except CannotRun as error:
                if getattr(error, "status", None) != 409:
                    raise
            if (there := self.read()) and not _ended(there):
                return
            self.delete()
            time.sleep(EVERY)
        raise CannotRun(f"Kubernetes: Job {self.name} of an earlier try cannot be replaced; `kubectl delete job {self.name}`")

    def read(self):
        """The Job as it stands; None when there is none. (Its status stands in it; `jobs/status` would be a right of its own.)"""
        from components.shared.errors import CannotRun

        try:
            return self.ask(self.batch.read_namespaced_job, self.name, what="get jobs")
        except CannotRun as error:
            if getattr(error, "status", None) != 404:
                raise
            return None

    def wait(self) -> None:
        """Until all parts are done. Raises CannotRun when one failed."""
        from components.shared.errors import CannotRun

        away, done, told, since = 0, -1, "", time.monotonic()
        while True:
            try:
                job, away = self.read(), 0
            except CannotRun:
                away += 1
                if away > PATIENCE:
                    raise
                time.sleep(EVERY)
                continue
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
            time.sleep(EVERY)

    def pods(self) -> list:
        """Of the Job, those that ended, too."""
        selector = f"batch.kubernetes.io/job-name={self.name}"
        return self.ask(
            lambda namespace: self.core.list_namespaced_pod(namespace, label_selector=selector), what="list pods"
        ).items

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
        from components.shared.errors import CannotRun

        with contextlib.suppress(CannotRun):
            self.ask(self.batch.delete_namespaced_job, self.name, what="delete jobs", propagation_policy="Background")

    def stopped(self) -> bool:
        """Whether somebody stops the whole run; a pod that is evicted gets the same signal, and its Job goes on."""
        from components.shared.errors import CannotRun

        above = self.pod.metadata.owner_references[0]
        try:
            workflow = self.ask(
                lambda namespace: self.argo.get_namespaced_custom_object(
                    "argoproj.io", "v1alpha1", namespace, "workflows", above.name
                ),
                what="get workflows",
            )
        except CannotRun:
            return True
        return bool((workflow.get("spec") or {}).get("shutdown"))

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
