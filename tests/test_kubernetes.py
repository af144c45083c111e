"""What stands in infra and in mlflow/compose.yaml: rendered, valid, locked down; nothing here needs a cluster."""

import copy
import json
import os
import re
import subprocess
import tomllib
from collections.abc import Iterator

import pytest
import yaml
from conftest import ROOT

from pipelines import cluster, graph, settings

MANIFESTS = ROOT / "infra/kubernetes"
SERVERS, RUNS = ("overlays/local", "overlays/team"), ("steps", "profile")  # where MLflow stands, where runs live
ALLOWED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
needs_tools = pytest.mark.slow  # `make test-all` installs infra/tools.lock


def rendered(part: str) -> list[dict]:
    text = subprocess.run(["kubectl", "kustomize", MANIFESTS / part], capture_output=True, text=True, check=True)
    return list(yaml.safe_load_all(text.stdout))


def of_kind(kind: str, manifests: list[dict]) -> dict[str, dict]:
    return {manifest["metadata"]["name"]: manifest for manifest in manifests if manifest["kind"] == kind}


@pytest.fixture(scope="module", params=SERVERS)
def manifests(request) -> list[dict]:
    return rendered(request.param)


@pytest.fixture(scope="module", params=RUNS)
def steps(request) -> list[dict]:
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
@pytest.mark.parametrize("part", [*SERVERS, *RUNS])
def test_manifests_are_valid_to_the_letter(part, tmp_path):
    file = tmp_path / "all.yaml"
    known = [manifest for manifest in rendered(part) if manifest["kind"] != "PodDefault"]  # Kubeflow's own kind
    file.write_text(yaml.safe_dump_all(known))
    done = subprocess.run(["kubernetes-validate", "--strict", file], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (done.stdout + done.stderr).count(" passed for resource ") == len(known)
    file.write_text(file.read_text().replace("name: ", "nmae: "))
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
        for container in [*pod.get("initContainers", []), *pod["containers"]]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert re.search(r":[\w.-]+$", container["image"])
            assert not container["image"].endswith(":latest")
        for container in pod["containers"]:
            assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    for manifest in manifests:
        assert manifest["kind"] == "Namespace" or manifest["metadata"]["namespace"] == "darkroom"


@needs_tools
def test_secrets_are_named_and_never_written(manifests, steps):
    assert not of_kind("Secret", manifests + steps)
    notebook = [manifest["spec"] for manifest in of_kind("PodDefault", steps).values()]
    containers = [container for _, pod in pods(manifests) for container in [*pod.get("initContainers", []), *pod["containers"]]]
    for holder in containers + notebook:
        for variable in holder["env"]:
            secret = any(word in variable["name"] for word in ("PASSWORD", "SECRET", "ACCESS_KEY"))
            assert secret == ("secretKeyRef" in variable.get("valueFrom", {})), variable
    assert "password@" not in json.dumps(manifests)


# Every call on Kubernetes' API that is made in the name of a step's account, as it was seen on a real cluster: by Argo's executor,
# Kubeflow's launcher, the step that runs its parts as a Job, and the exit handler.
CALLS = {
    ("argoproj.io", "workflowtaskresults", ""): {"create", "patch"},
    ("argoproj.io", "workflows", ""): {"get"},
    ("", "configmaps", "kfp-launcher"): {"get"},
    ("", "secrets", "mlpipeline-minio-artifact"): {"get"},
    ("batch", "jobs", ""): {"create", "get", "delete"},
    ("", "pods", ""): {"get", "list"},
}


@needs_tools
def test_a_step_may_what_it_calls_and_nothing_more(steps):
    (role,) = of_kind("Role", steps).values()
    granted: dict[tuple, set] = {}
    for rule in role["rules"]:
        for group in rule["apiGroups"]:
            for resource in rule["resources"]:
                for name in rule.get("resourceNames", [""]):
                    granted.setdefault((group, resource, name), set()).update(rule["verbs"])
    assert granted == CALLS == {(group, resource, name): set(verbs) for group, resource, name, verbs in cluster.CALLS}
    (account,) = of_kind("ServiceAccount", steps).values()
    assert account["automountServiceAccountToken"] is True  # Argo's containers have none otherwise, and no pod starts
    (binding,) = of_kind("RoleBinding", steps).values()
    namespace = account["metadata"]["namespace"]
    assert binding["subjects"] == [{"kind": "ServiceAccount", "name": "darkroom-step", "namespace": namespace}]
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert account["metadata"]["name"] == settings.read(ROOT / settings.FILE).service_account


@needs_tools
def test_the_servers_may_nothing(manifests):
    assert not of_kind("Role", manifests)
    assert not of_kind("ClusterRole", manifests)
    (account,) = of_kind("ServiceAccount", manifests).values()
    assert account["automountServiceAccountToken"] is False


@needs_tools
@pytest.mark.parametrize(("part", "kinds"), [
    ("steps", {"ServiceAccount", "Role", "RoleBinding", "NetworkPolicy"}),
    ("profile", {"ServiceAccount", "Role", "RoleBinding", "NetworkPolicy", "PodDefault"}),
])  # fmt: skip
def test_where_runs_live_nobody_else_is_touched(part, kinds):
    manifests = rendered(part)
    assert {manifest["kind"] for manifest in manifests} == kinds  # no quota, no limits, no namespace of ours
    assert len({manifest["metadata"]["namespace"] for manifest in manifests}) == 1
    (policy,) = of_kind("NetworkPolicy", manifests).values()
    assert policy["spec"]["podSelector"] == {"matchLabels": dict([settings.POD_LABEL])}
    for notebook in of_kind("PodDefault", manifests).values():
        assert notebook["spec"]["selector"]["matchLabels"].keys() == {settings.POD_LABEL[0]}
        assert notebook["spec"]["selector"] != policy["spec"]["podSelector"]  # it stays as free as it was
        (source,) = notebook["spec"]["volumes"][0]["projected"]["sources"]
        assert source["serviceAccountToken"]["audience"] == "pipelines.kubeflow.org"
        folder = notebook["spec"]["volumeMounts"][0]["mountPath"]
        paths = {variable["name"]: variable.get("value") for variable in notebook["spec"]["env"]}
        assert paths["KF_PIPELINES_SA_TOKEN_PATH"] == f"{folder}/{source['serviceAccountToken']['path']}"


@needs_tools
def test_the_profile_s_name_is_put_in_by_the_command_of_the_guide():
    lines = (ROOT / "infra/README.md").read_text().splitlines()
    (line,) = [line for line in lines if line.startswith("kubectl kustomize infra/kubernetes/profile |")]
    command = line.partition("#")[0].replace("kubectl apply -f -", "cat")
    done = subprocess.run(
        ["bash", "-c", command], cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ | {"NS": "vision"}
    )
    made = list(yaml.safe_load_all(done.stdout))
    assert {manifest["metadata"]["namespace"] for manifest in made} == {"vision"}
    assert of_kind("RoleBinding", made)["darkroom-step"]["subjects"][0]["namespace"] == "vision"
    reached = of_kind("NetworkPolicy", made)["darkroom-step"]["spec"]["egress"]
    assert {"kubeflow", "darkroom"} <= {
        peer["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"]
        for rule in reached
        for peer in rule.get("to", [])
        if "namespaceSelector" in peer
    }


@needs_tools
def test_nothing_reaches_the_servers_that_is_not_named(manifests):
    policies = {name: manifest["spec"] for name, manifest in of_kind("NetworkPolicy", manifests).items()}
    assert policies["default-deny"] == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    for name, policy in policies.items():
        for side in ("ingress", "egress"):
            for rule in policy.get(side, []):
                assert rule.get("from") or rule.get("to"), name
                for peer in rule.get("from", []) + rule.get("to", []):
                    narrow = peer.get("ipBlock", {}).get("cidr", "").endswith("/32")
                    assert peer.get("podSelector") or peer.get("namespaceSelector") or narrow, name
    services = of_kind("Service", manifests).values()
    assert {service["spec"].get("type", "ClusterIP") for service in services} == {"ClusterIP"}
    pods_kept = {
        budget["spec"]["selector"]["matchLabels"]["app.kubernetes.io/name"]
        for budget in of_kind("PodDisruptionBudget", manifests).values()
    }
    assert pods_kept == {"mlflow", "database", "store"}


def admitted(policy: dict, port: int, labels: dict) -> bool:
    """Whether a pod of another namespace with these labels gets in at a port; of selectors, what is used here."""
    for rule in policy["ingress"]:
        if port in [each["port"] for each in rule["ports"]]:
            for peer in rule["from"]:
                wanted = peer["podSelector"].get("matchExpressions", [])
                if peer.get("namespaceSelector") == {} and wanted:
                    return all(each["operator"] == "Exists" and each["key"] in labels for each in wanted)
    return False


@needs_tools
@pytest.mark.parametrize(("server", "port"), [("mlflow", 5000), ("store", 8333), ("database", 5432)])
def test_steps_and_notebooks_of_other_namespaces_reach_mlflow_and_the_store_and_others_nothing(server, port, manifests, steps):
    policy = of_kind("NetworkPolicy", manifests)[server]["spec"]
    wanted = server != "database"
    assert admitted(policy, port, dict([settings.POD_LABEL])) == wanted
    assert not admitted(policy, port, {"pipelines.kubeflow.org/v2_component": "true"})
    for notebook in of_kind("PodDefault", steps).values():
        assert admitted(policy, port, notebook["spec"]["selector"]["matchLabels"]) == wanted
    leaving = of_kind("NetworkPolicy", steps)["darkroom-step"]["spec"]["egress"]
    ports = [each["port"] for rule in leaving for each in rule.get("ports", []) if "darkroom" in json.dumps(rule)]
    assert (port in ports) == wanted


@needs_tools
def test_one_name_of_the_image_everywhere_and_it_is_pulled_once():
    assert ":" in graph.DEFAULT_IMAGE
    assert not graph.DEFAULT_IMAGE.endswith(":latest")  # which Kubernetes pulls anew for each pod
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert f"localhost/darkroom:{version}" == graph.DEFAULT_IMAGE
    assert dict(pods(rendered("overlays/local")))["mlflow"]["containers"][0]["image"] == graph.DEFAULT_IMAGE
    assert f":-{graph.DEFAULT_IMAGE}}}" in server_of_compose()["mlflow"]["image"]
    dry = subprocess.run(["make", "--dry-run", "image"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert f"infra/image.sh {graph.DEFAULT_IMAGE}\n" in dry.stdout


@needs_tools
def test_the_addresses_of_the_settings_are_those_of_the_servers(manifests):
    how, services = settings.read(ROOT / settings.FILE), of_kind("Service", manifests)
    for name, variable in (("mlflow", "MLFLOW_TRACKING_URI"), ("store", "AWS_ENDPOINT_URL")):
        metadata, (port,) = services[name]["metadata"], services[name]["spec"]["ports"]
        assert how.environment[variable] == f"http://{name}.{metadata['namespace']}.svc:{port['port']}"


def server_of_compose() -> dict:
    return yaml.safe_load((ROOT / "mlflow/compose.yaml").read_text())["services"]


@needs_tools
def test_the_server_is_the_same_in_compose_and_on_kubernetes():
    kubernetes = {name: pod["containers"][0] for name, pod in pods(rendered("overlays/local"))}
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
