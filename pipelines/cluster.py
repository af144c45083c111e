"""What a run needs of the cluster: an account and its rights, secrets, room. Each line a pair of state and text; nothing is changed."""

from collections.abc import Callable, Iterator
from typing import Any

from components import STEPS
from components.shared import deadline
from components.shared.errors import CannotRun
from pipelines import access, patience
from pipelines.settings import Settings

WHOLE = 120  # seconds for all answers
STORE, LAUNCHER = "mlpipeline-minio-artifact", "kfp-launcher"  # Kubeflow's own secret and config map
ROLE = "darkroom-step"  # of infra/kubernetes/steps
# What is called in the name of a step's account: group, resource, name, verbs. A test holds that the role grants just this.
CALLS = (
    ("argoproj.io", "workflowtaskresults", "", ("create", "patch")),
    ("argoproj.io", "workflows", "", ("get",)),
    ("", "configmaps", LAUNCHER, ("get",)),
    ("", "secrets", STORE, ("get",)),
    ("batch", "jobs", "", ("create", "get", "delete")),
    ("", "pods", "", ("get", "list")),
)
IMAGES = 50  # a node names no more of what it holds
Lines = Iterator[tuple[str, str]]


def lines(how: Settings, *, namespace: str, image: str) -> Lines:
    """Look at the cluster of the kubeconfig: `ok` what is well, `fault` what stands in the way, `?` what one may not see.

    Raises CannotRun when it does not answer.
    """
    from kubernetes import client, config

    try:
        way = access.way_in()
    except (config.ConfigException, OSError, TypeError, ValueError) as error:  # all that a broken kubeconfig ends in
        yield "?", f"no kubeconfig that can be used, so the cluster was not looked at: {' '.join(str(error).split())[:200]}"
        return
    way.client_side_validation = False
    yield "ok", f"Kubernetes at {way.host}, namespace {namespace}"
    look = Look(client.ApiClient(way), how, namespace, image)
    yield from deadline.within(WHOLE, lambda: list(look.all()), what=f"Kubernetes at {way.host}")


class Look:
    """One look at one namespace."""

    def __init__(self, client: Any, how: Settings, namespace: str, image: str) -> None:
        from kubernetes import client as api

        self.core, self.authorization = api.CoreV1Api(client), api.AuthorizationV1Api(client)
        self.authentication = api.AuthenticationV1Api(client)
        self.how, self.namespace, self.image = how, namespace, image
        self.kubectl, self.apply = f"kubectl -n {namespace}", "kubectl apply -k infra/kubernetes/steps"
        if namespace != "kubeflow":
            renamed = f'sed "s/namespace: team$/namespace: {namespace}/"'
            self.apply = f"kubectl kustomize infra/kubernetes/profile | {renamed} | kubectl apply -f -"

    def all(self) -> Lines:
        """Every part; one that may not be seen does not keep the others from being looked at."""
        for part in (self._account, self._rights, self._secrets, self._store, self._quotas, self._room):
            try:
                yield from part()
            except CannotRun as error:
                if error.status != 403:
                    raise
                yield "?", f"{part.__name__[1:]}: you may not see it (403); ask whoever may to run this"

    def _account(self) -> Lines:
        name = self.how.service_account
        found = _ask(self.core.read_namespaced_service_account, name, self.namespace)
        if found is None:
            yield "fault", f"account {name}: none in namespace {self.namespace}; {self.apply}"
        elif found.automount_service_account_token is False:
            mend = f"""{self.kubectl} patch serviceaccount {name} -p '{{"automountServiceAccountToken": true}}'"""
            yield "fault", f"account {name}: its token is not mounted, so no pod starts; {mend}"
        else:
            yield "ok", f"account {name}, its token mounted"

    def _rights(self) -> Lines:
        """The account asks for itself, where that is who we are; for another one, whoever may."""
        name, user = self.how.service_account, f"system:serviceaccount:{self.namespace}:{self.how.service_account}"
        me = _ask(self.authentication.create_self_subject_review, {})
        ask, whom = (self.authorization.create_self_subject_access_review,), {}
        if not me or me.status.user_info.username != user:
            ask = (self.authorization.create_namespaced_local_subject_access_review, self.namespace)
            groups = ["system:serviceaccounts", f"system:serviceaccounts:{self.namespace}", "system:authenticated"]
            whom = {"user": user, "groups": groups}
        missing = []
        for group, resource, of, verbs in CALLS:
            for verb in verbs:
                call = {"group": group, "resource": resource, "name": of, "verb": verb, "namespace": self.namespace}
                if not _ask(*ask, {"spec": {"resourceAttributes": call, **whom}}).status.allowed:
                    missing.append(f"{verb} {resource} {of}".rstrip())
        if missing:
            bind = (
                f" && {self.kubectl} create rolebinding darkroom-{name} --role {ROLE} --serviceaccount {self.namespace}:{name}"
            )
            mend = self.apply + (bind if name != ROLE else "")
            yield "fault", f"rights of {name}: may not {', '.join(missing)}; {mend}"
        else:
            yield "ok", f"rights of {name}: all that steps need"

    def _secrets(self) -> Lines:
        wanted = {name: ("generic", list(keys)) for name, keys in self.how.secrets.items()}
        wanted |= {self.how.signing_secret: ("generic", ["key.pem"])} if self.how.signing_secret else {}
        wanted |= {name: ("docker-registry", [".dockerconfigjson"]) for name in self.how.image_pull_secrets}
        for name, (kind, keys) in wanted.items():
            found = _ask(self.core.read_namespaced_secret, name, self.namespace)
            missing = [key for key in keys if key not in ((found and found.data) or {})]
            if missing:
                values = " ".join(f"--from-literal={key}=…" for key in keys) if kind == "generic" else "--docker-server=… …"
                fault = f"lacks {', '.join(missing)}" if found else f"none in namespace {self.namespace}"
                mend = f"{self.kubectl} create secret {kind} {name} {values} --dry-run=client -o yaml | kubectl apply -f -"
                yield "fault", f"secret {name}: {fault}; {mend}"
            else:
                yield "ok", f"secret {name}: {', '.join(keys)}"

    def _store(self) -> Lines:
        """Where Kubeflow keeps artifacts. It needs no config map; the secret it does, unless the map names another place."""
        launcher = _ask(self.core.read_namespaced_config_map, LAUNCHER, self.namespace)
        yield "ok", f"config map {LAUNCHER}" if launcher else f"config map {LAUNCHER}: none; Kubeflow's own defaults hold"
        if _ask(self.core.read_namespaced_secret, STORE, self.namespace):
            yield "ok", f"secret {STORE}"
        elif "providers" not in ((launcher and launcher.data) or {}):
            mend = ("name the namespace where it does in KFP_NAMESPACE, or (for one user) as `namespace` in pipelines/settings.yaml: "
                    f"kubectl get secret -A --field-selector metadata.name={STORE}")  # fmt: skip
            yield "fault", f"secret {STORE}: none in namespace {self.namespace}, so Kubeflow runs nothing there; {mend}"

    def _quotas(self) -> Lines:
        for quota in _ask(self.core.list_namespaced_resource_quota, self.namespace).items:
            name, hard, used = quota.metadata.name, quota.status.hard or {}, quota.status.used or {}
            for steps, wanted in self._demands():
                keys = {"pods": 1} | {f"{kind}{what}": wanted[what] for what in wanted for kind in ("", "requests.", "limits.")}
                keys.pop("limits.cpu", None)  # there is none
                short = [f"{key} ({used.get(key, 0)} of {hard[key]} are used)" for key in keys
                         if key in hard and number(hard[key]) - number(used.get(key, 0)) < keys[key]]  # fmt: skip
                if short:
                    mend = f"wait for what runs there, or {self.kubectl} edit resourcequota {name}"
                    yield "fault", f"quota {name}: leaves too little for {steps}: {', '.join(short)}; {mend}"
                else:
                    yield "ok", f"quota {name}: leaves enough for {steps}"

    def _room(self) -> Lines:
        """Whether a node takes each step beside what runs there, and has an image that no registry has."""
        nodes = {node.metadata.name: node.status for node in _ask(self.core.list_node).items if self._usable(node)}
        if not nodes:
            which = f"nodes: none takes pods with node_selector {self.how.node_selector} and no toleration"
            yield "fault", f"{which}; kubectl get nodes --show-labels"
            return
        going = "status.phase!=Succeeded,status.phase!=Failed"
        pods = _ask(self.core.list_pod_for_all_namespaces, field_selector=going).items
        there = {name: [pod for pod in pods if pod.spec.node_name == name] for name in nodes}
        for steps, wanted in self._demands():
            free = {name: {what: number(status.allocatable.get(what, 0)) - sum(_requested(pod, what) for pod in there[name])
                           for what in wanted} for name, status in nodes.items()}  # fmt: skip
            name, left = max(free.items(), key=lambda node: min(node[1][what] / wanted[what] for what in wanted))
            most = f"{name} has {float(left['cpu']):.2f} processors and {float(left['memory']) / 2**30:.1f} GiB free"
            if all(left[what] >= wanted[what] for what in wanted):
                yield "ok", f"room for {steps}: node {most}"
            else:
                mend = "ask for less in pipelines/settings.yaml, end what runs there (kubectl get pods -A), or add a node"
                yield "fault", f"room: no node takes {steps} now, {most}; {mend}"
        images = [status.images or [] for status in nodes.values()]
        held = {name for some in images for image in some for name in image.names or []}
        if self.image.startswith("localhost/") and self.image not in held and all(len(some) < IMAGES for some in images):
            mend = f"podman save {self.image} -o darkroom.tar && kind load image-archive darkroom.tar (others: infra/README.md)"
            yield "fault", f"image {self.image}: no node holds it, and no registry; {mend}"

    def _usable(self, node: Any) -> bool:
        kept_off = any(taint.effect in ("NoSchedule", "NoExecute") for taint in node.spec.taints or [])
        labels = (node.metadata.labels or {}).items()
        return not node.spec.unschedulable and not kept_off and self.how.node_selector.items() <= labels

    def _demands(self) -> list[tuple[str, dict[str, Any]]]:
        """What steps ask for: the names of those that ask for the same, and each resource with its number."""
        alike: dict[Any, list[str]] = {}
        for name in list(STEPS)[1:]:  # the first is `ingest`, which is no part of the pipeline
            own = self.how.of(name)
            alike.setdefault((own.cpu, own.memory, own.accelerator, own.accelerators), []).append(name)
        return [(f"{', '.join(names)} ({cpu} processors, {memory}{f', {count} {kind}' if count else ''})",
                 {"cpu": number(cpu), "memory": number(memory)} | ({kind: number(count)} if count else {}))
                for (cpu, memory, kind, count), names in alike.items()]  # fmt: skip


def _ask(call: Callable, *arguments: Any, **options: Any) -> Any:
    """The answer; None for 404. Raises CannotRun when there is none, or whoever asks may not see it."""
    return patience.found(access.ask, call, *arguments, **options)


def number(quantity: Any) -> Any:
    """A quantity as Kubernetes writes it (`500m`, `2Gi`): how many processors, or bytes."""
    from kubernetes.utils.quantity import parse_quantity

    return parse_quantity(quantity)


def _requested(pod: Any, what: str) -> Any:
    """What the scheduler counts for a pod: its containers together, or the one that runs before them and asks for more."""
    own, before = ([number(((c.resources and c.resources.requests) or {}).get(what, 0)) for c in containers or []]
                   for containers in (pod.spec.containers, pod.spec.init_containers))  # fmt: skip
    return max(sum(own), *before, 0)
