"""`python -m pipelines check`, against servers that speak as Kubeflow and Kubernetes do: every fault, and the command that mends it."""

import base64
import copy
import json
import os
import time

import pytest
import yaml
from cluster_double import TOKEN as CLUSTER_TOKEN
from cluster_double import Cluster
from conftest import ROOT
from kubeflow_double import TOKEN, Double

from pipelines import cluster, graph, pinning, preflight, settings
from pipelines.__main__ import main

CHECK = ["check", "--settings", str(ROOT / settings.FILE)]
ACCOUNT = list(yaml.safe_load_all((ROOT / "infra/kubernetes/steps/account.yaml").read_text()))


def made(kind: str, name: str, **fields: dict) -> dict:
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "kubeflow"}, **fields}


def node(name: str, cpu: str, memory: str, images: tuple[str, ...] = (graph.DEFAULT_IMAGE,), **spec) -> dict:
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": {"disk": "fast"}}, "spec": spec,
            "status": {"allocatable": {"cpu": cpu, "memory": memory}, "images": [{"names": [image]} for image in images]}}  # fmt: skip


def pod(name: str, cpu: str, memory: str, *, on: str = "one", phase: str = "Running") -> dict:
    container = {"name": "main", "image": "i", "resources": {"requests": {"cpu": cpu, "memory": memory}}}
    return made("Pod", name, spec={"nodeName": on, "containers": [container]}, status={"phase": phase})


def well() -> list[dict]:
    """A cluster on which a run starts: the manifests of infra/kubernetes/steps, the secrets, and room."""
    account = copy.deepcopy(ACCOUNT)
    for each in account:
        each["metadata"]["namespace"] = "kubeflow"
        for subject in each.get("subjects", []):
            subject["namespace"] = "kubeflow"
    return [*account, made("Secret", "darkroom-store", data={"access-key": "a2V5", "secret-key": "c2VjcmV0"}),
            made("Secret", cluster.STORE, data={"accesskey": "a2V5", "secretkey": "c2VjcmV0"}),
            made("ConfigMap", cluster.LAUNCHER, data={"defaultPipelineRoot": ""}),
            node("one", "2", "8Gi"), pod("kube-proxy", "100m", "0")]  # fmt: skip


@pytest.fixture
def kubeflow(monkeypatch):
    for name in list(os.environ):
        if name.startswith(("KFP_", "KF_", "KUBE", "DARKROOM_", "DOCKER_")):
            monkeypatch.delenv(name)
    double = Double()
    double.multi_user = False
    monkeypatch.setenv("KFP_HOST", double.address)
    monkeypatch.setenv("KFP_TOKEN", TOKEN)
    yield double
    double.stop()


@pytest.fixture
def kubernetes(kubeflow, monkeypatch, tmp_path):
    """A cluster that lacks nothing, and a kubeconfig that leads to it."""
    double = Cluster(well())
    monkeypatch.setenv("KUBECONFIG", str(double.kubeconfig(tmp_path / "kubeconfig")))
    yield double
    double.stop()


@pytest.fixture
def checked(capfd):
    """`checked()`: run it; exit code, what is well, and the faults. No token and no secret's value is in either."""

    def run(*more: str) -> tuple[int, str, list[str]]:
        code = main([*CHECK, *more])
        out, err = capfd.readouterr()
        for secret in (TOKEN, CLUSTER_TOKEN, "c2VjcmV0", "a2V5"):
            assert secret not in out + err
        return code, out, err.splitlines()

    return run


def test_all_is_well(kubernetes, checked):
    code, out, faults = checked()
    assert (code, faults) == (0, [])
    assert all(line.startswith("ok ") for line in out.splitlines())
    for part in ("Kubeflow Pipelines 2.17.0 at http", "for one user", "asked by", "account darkroom-step", "rights of",
                 "secret darkroom-store: access-key, secret-key", "config map kfp-launcher", cluster.STORE, "room for",
                 "image localhost/darkroom:"):  # fmt: skip
        assert part in out, part
    assert {request.split()[0] for request in kubernetes.requests} == {"GET", "POST"}  # and of these only reviews
    assert all("reviews" in request for request in kubernetes.requests if request.startswith("POST"))


def without(kind: str, name: str):
    return lambda objects: [each for each in objects if (each["kind"], each["metadata"]["name"]) != (kind, name)]


def changed(kind: str, **fields):
    def change(objects: list[dict]) -> list[dict]:
        next(each for each in objects if each["kind"] == kind).update(fields)
        return objects

    return change


def added(*more: dict, less: str = ""):
    return lambda objects: [each for each in objects if each["kind"] != less] + list(more)


def quota(name: str, used: str, hard: str) -> dict:
    return made("ResourceQuota", "small", status={"hard": {name: hard}, "used": {name: used}})


FAULTS = {
    "no account": (without("ServiceAccount", "darkroom-step"), "account darkroom-step: none in namespace kubeflow",
                   "kubectl apply -k infra/kubernetes/steps"),
    "no token": (changed("ServiceAccount", automountServiceAccountToken=False), "its token is not mounted, so no pod starts",
                 "kubectl -n kubeflow patch serviceaccount darkroom-step"),
    "no role": (without("RoleBinding", "darkroom-step"), "may not create workflowtaskresults, patch workflowtaskresults, get workflows",
                "kubectl apply -k infra/kubernetes/steps"),
    "no secret": (without("Secret", "darkroom-store"), "secret darkroom-store: none in namespace kubeflow",
                  "kubectl -n kubeflow create secret generic darkroom-store --from-literal=access-key=… --from-literal=secret-key=…"),
    "no key": (changed("Secret", data={"access-key": "a2V5"}), "secret darkroom-store: lacks secret-key",
               "--dry-run=client -o yaml | kubectl apply -f -"),
    "not Kubeflow's": (without("Secret", cluster.STORE), "none in namespace kubeflow, so Kubeflow runs nothing there",
                       "kubectl get secret -A --field-selector metadata.name=mlpipeline-minio-artifact"),
    "quota": (added(quota("requests.memory", "3Gi", "4Gi")), "quota small: leaves too little for", "requests.memory (3Gi of 4Gi are used)"),
    "quota of processors": (added(quota("cpu", "1900m", "2")), "cpu (1900m of 2 are used)", "edit resourcequota small"),
    "quota of pods": (added(quota("pods", "9", "9")), "pods (9 of 9 are used)", "edit resourcequota small"),
    "busy node": (added(pod("other", "1900m", "1Gi")), "room: no node takes", "0.00 processors"),
    "full memory": (added(pod("other", "100m", "7Gi")), "room: no node takes", "1.0 GiB free"),
    "no node": (added(node("one", "8", "64Gi", unschedulable=True), less="Node"), "nodes: none takes pods", "kubectl get nodes"),
    "a taint": (added(node("one", "8", "64Gi", taints=[{"key": "gpu", "effect": "NoSchedule"}]), less="Node"), "nodes: none takes", ""),
    "image": (added(node("one", "8", "64Gi", ("docker.io/library/other:1",)), less="Node"),
              f"image {graph.DEFAULT_IMAGE}: no node holds it", "kind load image-archive darkroom.tar"),
}  # fmt: skip


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_a_line_with_what_mends_it(name, kubernetes, checked):
    change, told, mend = FAULTS[name]
    kubernetes.objects = change(kubernetes.objects)
    code, out, faults = checked()
    assert code == 2
    assert len(faults) == 1, faults
    assert told in faults[0]
    assert mend in faults[0]
    assert "ok    Kubeflow Pipelines" in out


def test_all_faults_are_told_in_one_pass(kubernetes, checked, kubeflow, monkeypatch):
    kubernetes.objects = [node("one", "100m", "1Gi")]
    monkeypatch.setenv("DARKROOM_IMAGE", "localhost/darkroom")
    kubeflow.health = ("hello", "text/plain")
    code, _, faults = checked()
    assert code == 2
    for part in (
        "Kubeflow at",
        "image localhost/darkroom: ",
        "account",
        "rights",
        "secret darkroom-store",
        cluster.STORE,
        "room: ",
    ):
        assert [line for line in faults if line.startswith(part) or f"secret {part}" in line], (part, faults)


def test_one_right_that_is_missing_is_named(kubernetes, checked):
    role = next(each for each in kubernetes.objects if each["kind"] == "Role")
    whole = copy.deepcopy(role["rules"])
    for place, rule in enumerate(whole):
        for verb in rule["verbs"]:
            role["rules"] = copy.deepcopy(whole)
            role["rules"][place]["verbs"].remove(verb)
            code, _, (fault,) = checked()
            name = " ".join([rule["resources"][0], *rule.get("resourceNames", [])])
            assert f"may not {verb} {name}; kubectl apply" in fault
            assert code == 2


def test_an_account_asks_for_its_own_rights(kubernetes, checked):
    kubernetes.hidden = {"localsubjectaccessreviews", "nodes", "pods"}  # as from a notebook
    kubernetes.me = "system:serviceaccount:kubeflow:darkroom-step"
    code, out, faults = checked()
    assert (code, faults) == (0, [])
    assert "ok    rights of darkroom-step" in out
    assert "?     room: you may not see it (403)" in out
    kubernetes.me = "system:serviceaccount:kubeflow:default-editor"
    assert "?     rights: you may not see it (403)" in checked()[1]


def test_another_account_is_bound_to_the_role(kubernetes, checked, tmp_path):
    file = tmp_path / "settings.yaml"
    file.write_text(
        (ROOT / settings.FILE).read_text().replace("service_account: darkroom-step", "service_account: default-editor")
    )
    kubernetes.objects.append(made("ServiceAccount", "default-editor"))
    _, _, (fault,) = checked("--settings", str(file))
    bind = "create rolebinding darkroom-default-editor --role darkroom-step --serviceaccount kubeflow:default-editor"
    assert f"kubectl apply -k infra/kubernetes/steps && kubectl -n kubeflow {bind}" in fault
    kubernetes.objects.append({"kind": "RoleBinding", "metadata": {"name": "b", "namespace": "kubeflow"},
                               "subjects": [{"kind": "ServiceAccount", "name": "default-editor", "namespace": "kubeflow"}],
                               "roleRef": {"name": "darkroom-step"}})  # fmt: skip
    assert checked("--settings", str(file))[0] == 0


def test_steps_that_ask_for_other_things_are_looked_at_one_by_one(kubernetes, checked, tmp_path):
    text = (ROOT / settings.FILE).read_text().replace("image_pull_secrets: []", "image_pull_secrets: [registry]")
    text = text.replace('signing_secret: ""', "signing_secret: signing")
    gpu = "{accelerator: nvidia.com/gpu, accelerators: 1, timeout: 86400}"
    (tmp_path / "settings.yaml").write_text(text.replace("train: {timeout: 86400}", f"train: {gpu}"))
    code, out, (key, secret, room) = checked("--settings", str(tmp_path / "settings.yaml"))
    assert code == 2
    assert key.startswith("secret signing: none in namespace kubeflow; kubectl -n kubeflow create secret generic signing")
    assert secret.startswith(
        "secret registry: none in namespace kubeflow; kubectl -n kubeflow create secret docker-registry registry"
    )
    assert (
        "ok    room for measure, embed, validate, prepare, augment, package, evaluate, stress, register (500m processors, 2Gi): "
        "node one has 1.90" in out
    )
    assert room.startswith("room: no node takes train (500m processors, 2Gi, 1 nvidia.com/gpu) now")
    kubernetes.objects.append(made("Secret", "signing", data={"key.pem": "eA=="}))
    kubernetes.objects.append(made("Secret", "registry", data={".dockerconfigjson": "e30="}))
    kubernetes.one("Node")["status"]["allocatable"]["nvidia.com/gpu"] = "1"
    assert checked("--settings", str(tmp_path / "settings.yaml"))[0] == 0


def test_where_kubeflow_is_for_several_users_the_profile_s_namespace_counts(kubernetes, checked, kubeflow, monkeypatch):
    kubeflow.multi_user = True
    monkeypatch.setenv("KFP_NAMESPACE", "vision")
    code, out, faults = checked()
    assert code == 2
    assert "for several users, in namespace vision" in out
    assert any("account darkroom-step: none in namespace vision" in fault and "namespace: vision/" in fault for fault in faults)
    kubernetes.objects = [
        yaml.safe_load(yaml.safe_dump(each).replace("namespace: kubeflow", "namespace: vision")) for each in kubernetes.objects
    ]
    assert checked()[0] == 0


def test_without_a_kubeconfig_kubeflow_alone_is_checked(kubeflow, checked, monkeypatch, tmp_path):
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    code, out, faults = checked()
    assert (code, faults) == (0, [])
    assert "?     no kubeconfig that can be used" in out
    (tmp_path / "none").write_text("clusters: 5")
    assert checked()[0] == 0


def test_a_cluster_that_does_not_answer_is_told(kubernetes, checked):
    kubernetes.stop()
    code, out, (fault,) = checked()
    assert code == 2
    assert "ok    Kubeflow Pipelines" in out
    assert fault.startswith("Kubernetes at http://127.0.0.1:")
    assert "no answer" in fault


def test_whom_the_token_names_and_a_token_that_is_not_taken(kubeflow, checked, monkeypatch):
    claims = {"sub": "system:serviceaccount:team:default-editor", "exp": time.time() + 1800, "aud": ["pipelines.kubeflow.org"]}
    token = f"e30.{base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip('=')}.sig"
    assert preflight._who(token) == "system:serviceaccount:team:default-editor, for 29 more minutes"
    for odd in ("opaque", "a.b.c", "..", "a.bnVsbA.c"):
        assert preflight._who(odd) == "a token that does not tell whom it names"
    monkeypatch.setenv("KFP_TOKEN", "wrong")
    code, _, faults = checked()
    assert code == 2
    assert "does not know who asks (401" in faults[0]


# --- the image's name -----------------------------------------------------------------------------------------------------------
DIGEST = "sha256:" + "5" * 64


@pytest.fixture(params=["skopeo", "docker"])
def engine(request, monkeypatch, tmp_path):
    """A program that tells the digest that one registry holds now, and fails for others; returns the file of what it was asked."""
    program, asked = tmp_path / request.param, tmp_path / "asked"
    known = 'case "$*" in *registry.example.org*/d*:latest) echo ' + DIGEST + ";; *) exit 1;; esac"
    program.write_text(f'#!/bin/sh\necho "$*" >> {asked}\n{known}\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    pinning.pinned.cache_clear()
    yield asked
    pinning.pinned.cache_clear()


STAY = ["registry.example.org:5000/darkroom:1.2", f"darkroom@{DIGEST}", f"a/b:latest@{DIGEST}", graph.DEFAULT_IMAGE]


@pytest.mark.parametrize("image", STAY)
def test_a_name_that_stays_is_left_alone(image, engine):
    assert pinning.pinned(image) == image
    assert not engine.exists()


@pytest.mark.parametrize("image", ["registry.example.org:5000/darkroom", "registry.example.org:5000/darkroom:latest"])
def test_a_name_that_would_be_pulled_for_each_pod_is_pinned_to_what_the_registry_holds(image, engine):
    assert pinning.pinned(image) == f"registry.example.org:5000/darkroom@{DIGEST}"


@pytest.mark.parametrize("image", ["localhost/darkroom:latest", "localhost/darkroom", "elsewhere.example.org/darkroom"])
def test_one_that_nobody_tells_is_refused_with_the_way_out(image, engine, monkeypatch, capfd, tmp_path):
    monkeypatch.setenv("DARKROOM_IMAGE", image)
    assert main(["compile", "--params", str(ROOT / "params.yaml"), *CHECK[1:], "--output", str(tmp_path / "p.yaml")]) == 2
    told = capfd.readouterr().err
    assert told.startswith(f"image {image}: Kubernetes would pull it for each pod")
    assert "make image IMAGE=registry.example.org/darkroom:1" in told
    assert "kind" in told
    assert not (tmp_path / "p.yaml").exists()
