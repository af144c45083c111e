"""What stands in infra and in mlflow/compose.yaml: rendered, valid, locked down; nothing here needs a cluster."""

import copy
import json
import subprocess
from collections.abc import Iterator

import pytest
import yaml
from conftest import ROOT

MANIFESTS = ROOT / "infra/kubernetes"
OVERLAYS = ("local", "team")
ALLOWED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
needs_tools = pytest.mark.slow  # `make test-all` installs infra/tools.lock


def rendered(overlay: str) -> list[dict]:
    text = subprocess.run(
        ["kubectl", "kustomize", MANIFESTS / "overlays" / overlay], capture_output=True, text=True, check=True
    )
    return list(yaml.safe_load_all(text.stdout))


@pytest.fixture(scope="module", params=OVERLAYS)
def manifests(request) -> list[dict]:
    return rendered(request.param)


def pods(manifests: list[dict]) -> Iterator[tuple[str, dict]]:
    """The specification of every pod that a manifest makes."""
    for manifest in manifests:
        spec = manifest.get("spec") or {}
        if manifest["kind"] == "Pod":
            yield manifest["metadata"]["name"], spec
        elif "template" in spec:
            yield manifest["metadata"]["name"], spec["template"]["spec"]


def faults(pod: dict) -> list[str]:
    """Against the profile `restricted` of the Pod Security Standards (kubernetes.io, version 1.37): every rule that is broken."""
    whole = pod.get("securityContext") or {}
    found = [f"{key}" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    found += [
        f"volume {volume['name']}" for volume in pod.get("volumes", []) if not (set(volume) - {"name"}) <= ALLOWED_VOLUMES
    ]
    if whole.get("sysctls"):
        found.append("sysctls")
    for container in [*pod.get("containers", []), *pod.get("initContainers", []), *pod.get("ephemeralContainers", [])]:
        own = container.get("securityContext") or {}
        both = whole | own
        if both.get("runAsNonRoot") is not True:
            found.append("runAsNonRoot")
        if both.get("runAsUser") == 0:
            found.append("runAsUser")
        if (both.get("seccompProfile") or {}).get("type") not in ("RuntimeDefault", "Localhost"):
            found.append("seccompProfile")
        if own.get("allowPrivilegeEscalation") is not False:
            found.append("allowPrivilegeEscalation")
        capabilities = own.get("capabilities") or {}
        if capabilities.get("drop") != ["ALL"]:
            found.append("capabilities.drop")
        if set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"}:
            found.append("capabilities.add")
        if own.get("privileged"):
            found.append("privileged")
        if own.get("procMount", "Default") != "Default":
            found.append("procMount")
        if any(port.get("hostPort") for port in container.get("ports", [])):
            found.append("hostPort")
    return found


def locked_down() -> dict:
    container = {
        "name": "c",
        "image": "i",
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
    }
    context = {"runAsNonRoot": True, "runAsUser": 10001, "seccompProfile": {"type": "RuntimeDefault"}}
    return {"securityContext": context, "containers": [container], "volumes": [{"name": "tmp", "emptyDir": {}}]}


MUTATIONS = {
    "hostNetwork": lambda pod: pod.update(hostNetwork=True),
    "hostPID": lambda pod: pod.update(hostPID=True),
    "hostIPC": lambda pod: pod.update(hostIPC=True),
    "volume host": lambda pod: pod["volumes"].append({"name": "host", "hostPath": {"path": "/"}}),
    "runAsNonRoot": lambda pod: pod["securityContext"].pop("runAsNonRoot"),
    "runAsUser": lambda pod: pod["containers"][0]["securityContext"].update(runAsUser=0),
    "seccompProfile": lambda pod: pod["securityContext"].update(seccompProfile={"type": "Unconfined"}),
    "allowPrivilegeEscalation": lambda pod: pod["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
    "capabilities.drop": lambda pod: pod["containers"][0]["securityContext"].update(capabilities={}),
    "capabilities.add": lambda pod: pod["containers"][0]["securityContext"]["capabilities"].update(add=["SYS_ADMIN"]),
    "privileged": lambda pod: pod["containers"][0]["securityContext"].update(privileged=True),
    "hostPort": lambda pod: pod["containers"][0].update(ports=[{"containerPort": 80, "hostPort": 80}]),
    "procMount": lambda pod: pod["containers"][0]["securityContext"].update(procMount="Unmasked"),
    "sysctls": lambda pod: pod["securityContext"].update(sysctls=[{"name": "kernel.msgmax", "value": "1"}]),
}


def test_the_check_itself_lets_a_locked_down_pod_pass():
    assert faults(locked_down()) == []


@pytest.mark.parametrize("rule", MUTATIONS)
def test_the_check_itself_refuses_each_broken_rule_by_its_name(rule):
    pod = copy.deepcopy(locked_down())
    MUTATIONS[rule](pod)
    assert faults(pod) == [rule]
    helper = copy.deepcopy(locked_down())
    if rule not in ("hostNetwork", "hostPID", "hostIPC", "volume host", "sysctls", "runAsNonRoot", "seccompProfile"):
        helper["initContainers"] = pod["containers"]  # a helper that runs first is no way around it
        assert faults(helper) == [rule]


@needs_tools
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_manifests_are_valid_to_the_letter(overlay, tmp_path):
    file = tmp_path / "all.yaml"
    file.write_text(yaml.safe_dump_all(rendered(overlay)))
    done = subprocess.run(["kubernetes-validate", "--strict", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    file.write_text(file.read_text().replace("readOnlyRootFilesystem", "readonlyRootFilesystem"))
    assert subprocess.run(["kubernetes-validate", "--strict", file], capture_output=True).returncode != 0


@needs_tools
def test_every_pod_meets_the_profile_that_its_namespace_enforces(manifests):
    (namespace,) = [manifest for manifest in manifests if manifest["kind"] == "Namespace"]
    assert namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"] == "restricted"
    found = dict(pods(manifests))
    assert set(found) == {"mlflow", "database", "store"}
    for name, pod in found.items():
        assert faults(pod) == [], name
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
            assert not container["image"].endswith(":latest") or container["image"].startswith("localhost/")
    for manifest in manifests:
        assert manifest["kind"] == "Namespace" or manifest["metadata"]["namespace"] == "darkroom"


@needs_tools
def test_secrets_are_named_and_never_written(manifests):
    assert not [manifest for manifest in manifests if manifest["kind"] == "Secret"]
    for name, pod in pods(manifests):
        for variable in pod["containers"][0]["env"]:
            secret = any(word in variable["name"] for word in ("PASSWORD", "SECRET", "ACCESS_KEY"))
            assert secret == ("valueFrom" in variable), (name, variable)
    assert "password@" not in json.dumps(manifests)


@needs_tools
def test_nobody_may_do_more_than_needed(manifests):
    roles = [manifest for manifest in manifests if manifest["kind"] in ("Role", "ClusterRole")]
    assert [role["kind"] for role in roles] == ["Role"]
    for rule in roles[0]["rules"]:
        words = {word for values in rule.values() for word in values}
        assert not words & {"*", "secrets", "pods/exec", "pods", "impersonate", "escalate", "bind"}
    for account in [manifest for manifest in manifests if manifest["kind"] == "ServiceAccount"]:
        assert account["automountServiceAccountToken"] is False


@needs_tools
def test_nothing_reaches_anything_that_is_not_named(manifests):
    policies = {manifest["metadata"]["name"]: manifest["spec"] for manifest in manifests if manifest["kind"] == "NetworkPolicy"}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, policy in policies.items():
        for side in ("ingress", "egress"):
            for rule in policy.get(side, []):
                assert rule.get("from") or rule.get("to"), name
                for peer in rule.get("from", []) + rule.get("to", []):
                    assert (
                        peer.get("podSelector") or peer.get("namespaceSelector") or peer["ipBlock"]["cidr"].endswith("/32")
                    ), name
    services = [manifest for manifest in manifests if manifest["kind"] == "Service"]
    assert {service["spec"].get("type", "ClusterIP") for service in services} == {"ClusterIP"}
    pods_kept = {
        m["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"] for m in manifests if m["kind"] == "PodDisruptionBudget"
    }
    assert pods_kept == {"mlflow", "database", "store"}


def server_of_compose() -> dict:
    return yaml.safe_load((ROOT / "mlflow/compose.yaml").read_text())["services"]


@needs_tools
def test_the_server_is_the_same_in_compose_and_on_kubernetes():
    kubernetes = {name: pod["containers"][0] for name, pod in pods(rendered("local"))}
    compose = server_of_compose()
    assert compose["mlflow"]["command"] == kubernetes["mlflow"]["command"] + kubernetes["mlflow"]["args"]
    assert (
        compose["store"]["entrypoint"] + compose["store"]["command"]
        == kubernetes["store"]["command"] + kubernetes["store"]["args"]
    )
    for name in ("database", "store"):
        assert compose[name]["image"] == kubernetes[name]["image"]
    there = {variable["name"]: variable.get("value") for variable in kubernetes["mlflow"]["env"]}
    here = compose["mlflow"]["environment"]
    assert there.keys() == here.keys()
    assert {k: v for k, v in there.items() if v} == {k: here[k].replace("$$", "$") for k, v in there.items() if v}


def test_the_server_lets_in_whom_it_names_loads_no_pickle_and_starts_no_jobs():
    compose = server_of_compose()
    assert any(argument.startswith("--allowed-hosts=mlflow") for argument in compose["mlflow"]["command"])
    environment = compose["mlflow"]["environment"]
    assert environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    for service in compose.values():
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges"]
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))
        for name, value in service["environment"].items():
            assert not any(word in name for word in ("PASSWORD", "ACCESS_KEY")) or value.startswith("${")


@needs_tools
def test_the_containerfile_is_clean_to_hadolint():
    done = subprocess.run(["hadolint", ROOT / "infra/Containerfile"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
