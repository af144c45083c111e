"""Serving on Kubernetes: `pipelines serve` renders what infra/kubernetes/serving says of one version, applies it and follows it."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, empty_store
from test_kubernetes import MANIFESTS, admitted, faults, needs_tools, of_kind, pods, rendered

from components.shared.runs import tracking
from components.shared.runs.logged_model import DIGEST as TAG
from pipelines import graph, serving, settings
from pipelines.__main__ import main

DIGEST, OTHER = "ab" * 32, "cd" * 32
IMAGE = "registry.example.org/darkroom@sha256:" + "1" * 64
KINDS = ("deployment", "kserve")
# What a cluster with KServe took (InferenceService v1beta1, its predictor, a container); a misspelt one it refuses.
POD = {"serviceAccountName", "automountServiceAccountToken", "securityContext", "terminationGracePeriodSeconds", "volumes",
       "topologySpreadConstraints", "initContainers", "containers"}  # fmt: skip
PREDICTOR = POD | {"minReplicas", "maxReplicas", "annotations", "labels", "deploymentStrategy", "model"}
CONTAINER = {"name", "image", "command", "args", "env", "ports", "startupProbe", "readinessProbe", "livenessProbe", "lifecycle",
             "terminationMessagePolicy", "resources", "securityContext", "volumeMounts"}  # fmt: skip
RUNTIME = {"supportedModelFormats", "protocolVersions", "multiModel", "containers", "volumes"}


def service(kind: str, **changes) -> serving.Service:
    model = "models:/darkroom/3"
    wanted = {"name": "darkroom-champion", "kind": kind, "model": model, "version": "3", "digest": DIGEST, "image": IMAGE,
              "annotations": {"darkroom/model": model, "darkroom/sha256": DIGEST}, **changes}  # fmt: skip
    return serving.Service(**wanted)


def pod_of(documents: list[dict]) -> dict:
    """The specification of the pods that answer."""
    by_kind = {document["kind"]: document["spec"] for document in documents if "spec" in document}
    return by_kind["Deployment"]["template"]["spec"] if "Deployment" in by_kind else by_kind["InferenceService"]["predictor"]


@pytest.mark.parametrize("kind", KINDS)
def test_a_version_its_digest_and_the_image_stand_in_what_is_rendered_and_twice_the_same(kind):
    documents, mark = serving.rendered(service(kind, name="birds-challenger", replicas=3))
    assert yaml.safe_dump_all(documents) == yaml.safe_dump_all(
        serving.rendered(service(kind, name="birds-challenger", replicas=3))[0]
    )
    (fetching,), (answering,) = pod_of(documents)["initContainers"], pod_of(documents)["containers"]
    assert fetching["name"] == "storage-initializer"
    assert fetching["command"] + fetching["args"] == [
        "darkroom",
        "fetch",
        "models:/darkroom/3",
        "/mnt/models/package",
        "--version=3",
        f"--sha256={DIGEST}",
    ]
    assert answering["command"] + answering["args"][:1] == ["darkroom", "serve", "/mnt/models/package"]
    assert answering["args"][-1] == f"--sha256={DIGEST}"
    assert {fetching["image"], answering["image"]} == {IMAGE}
    assert "env" not in answering, "who answers needs no key, and gets none"
    text = json.dumps(documents)
    assert "champion" not in text
    assert "STORAGE_URI" not in text
    owner = (
        pod_of(documents)
        if kind == "kserve"
        else of_kind("Deployment", documents)["birds-challenger"]["spec"]["template"]["metadata"]
    )
    assert owner["annotations"] == {"darkroom/model": "models:/darkroom/3", "darkroom/sha256": DIGEST, "darkroom/pod": mark}
    for budget in of_kind("PodDisruptionBudget", documents).values():
        assert "birds-challenger" in budget["spec"]["selector"]["matchLabels"].values()


@pytest.mark.parametrize("kind", KINDS)
def test_the_mark_is_another_for_whatever_makes_other_pods_and_the_same_for_more_of_them(kind):
    other = {"annotations": {"darkroom/model": "models:/darkroom/4"}}
    marks = [
        serving.rendered(service(kind, **one))[1] for one in ({}, {"replicas": 5}, {"digest": OTHER}, {"image": "x:1"}, other)
    ]
    assert marks[0] == marks[1]
    assert len(set(marks)) == 4


def test_both_kinds_make_the_same_pods():
    own, kserves = (pod_of(serving.rendered(service(kind))[0]) for kind in KINDS)
    for one in (own, kserves):
        one["containers"][0].pop("name")
        one["containers"][0]["ports"] = [one["containers"][0]["ports"][0]["containerPort"]]
    assert own == {key: kserves[key] for key in own}


@needs_tools
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_rendered_is_what_kustomize_makes_with_the_version_put_in(kind):
    def bare(documents: list[dict]) -> dict:
        for document in documents:
            for holder in (
                document.get("spec") or {},
                ((document.get("spec") or {}).get("template") or {}).get("metadata") or {},
            ):
                holder.get("predictor", holder).pop("annotations", None)
        pod = pod_of(documents)
        for container in pod["initContainers"] + pod["containers"]:
            container["image"], container["args"] = "", container["args"][1:2]
        return {(document["kind"], document["metadata"]["name"]): document for document in documents}

    assert bare(serving.rendered(service(kind))[0]) == bare(rendered(f"serving/{kind}"))


@needs_tools
def test_manifests_of_kubernetes_are_valid_to_the_letter(tmp_path):
    file = tmp_path / "all.yaml"
    for documents in (serving.rendered(service("deployment"))[0], rendered("serving/deployment"), rendered("serving/follow")):
        file.write_text(yaml.safe_dump_all(documents))
        done = subprocess.run(["kubernetes-validate", "--strict", file], capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert (done.stdout + done.stderr).count(" passed for resource ") == len(documents) == 5
    inside = [document for document in serving.rendered(service("kserve"))[0] if document["kind"] != "InferenceService"]
    # KServe's pod is one of Kubernetes', but for what is KServe's own.
    predictor = {key: value for key, value in pod_of(serving.rendered(service("kserve"))[0]).items() if key in POD}
    inside.append({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "predictor"}, "spec": predictor})
    file.write_text(yaml.safe_dump_all(inside))
    assert subprocess.run(["kubernetes-validate", "--strict", file], capture_output=True).returncode == 0


def test_kserves_own_kinds_have_no_field_that_kserve_does_not_know():
    (made,) = of_kind("InferenceService", serving.rendered(service("kserve", replicas=2))[0]).values()
    assert made["apiVersion"] == "serving.kserve.io/v1beta1"
    assert made.keys() == {"apiVersion", "kind", "metadata", "spec"}
    assert made["metadata"]["annotations"] == {
        "serving.kserve.io/deploymentMode": "Standard",
        "serving.kserve.io/autoscalerClass": "none",
    }
    assert made["spec"].keys() == {"predictor"}
    predictor = made["spec"]["predictor"]
    assert predictor.keys() <= PREDICTOR
    assert predictor["minReplicas"] == predictor["maxReplicas"] == 2
    assert "model" not in predictor, "KServe refuses it beside containers"
    (answering,) = predictor["containers"]
    assert answering["name"] == "kserve-container"
    (runtime,) = yaml.safe_load_all((MANIFESTS / "serving/runtime/runtime.yaml").read_text())
    assert runtime["spec"].keys() <= RUNTIME, "no security of the pod, no helper that runs first, no account"
    for container in [answering, *predictor["initContainers"], *runtime["spec"]["containers"]]:
        assert container.keys() <= CONTAINER
    assert runtime["spec"]["protocolVersions"] == ["v2"]
    assert runtime["spec"]["containers"][0]["args"][0] == "/mnt/models"


def test_every_pod_meets_the_profile_restricted_and_a_rolling_update_loses_no_request():
    for kind in KINDS:
        documents = serving.rendered(service(kind))[0]
        pod = pod_of(documents)
        assert faults(pod) == []
        assert pod["automountServiceAccountToken"] is False
        for container in pod["initContainers"] + pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["resources"]["requests"].keys() == {"cpu", "memory"}
            assert container["resources"]["limits"]["memory"]
            assert container["terminationMessagePolicy"] == "FallbackToLogsOnError", (
                "what it refuses is to be read without its log"
            )
        (answering,) = pod["containers"]
        assert answering["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
        assert {answering[name]["httpGet"]["path"] for name in ("startupProbe", "livenessProbe")} == {"/v2/health/live"}
        seconds = answering["lifecycle"]["preStop"]["sleep"]["seconds"]
        assert 5 <= seconds < pod["terminationGracePeriodSeconds"] - 12, "then what was accepted is answered"
        update = {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}}
        spec = next(document["spec"] for document in documents if document["kind"] in ("Deployment", "InferenceService"))
        assert (spec.get("strategy") or spec["predictor"]["deploymentStrategy"]) == update
    (runtime,) = yaml.safe_load_all((MANIFESTS / "serving/runtime/runtime.yaml").read_text())
    assert faults(runtime["spec"]) == []


@needs_tools
def test_a_server_that_follows_its_alias_asks_the_registry_itself():
    made = rendered("serving/follow")
    assert faults(pod_of(made)) == []
    assert "initContainers" not in pod_of(made)
    (container,) = pod_of(made)["containers"]
    assert container["args"] == ["models:/darkroom@champion", "--host=0.0.0.0", "--port=8080", "--workers=2", "--follow=60"]
    assert {variable["name"] for variable in container["env"]} >= {"MLFLOW_TRACKING_URI", "DARKROOM_WEBHOOK_SECRET"}
    assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in pod_of(made)["volumes"]}
    for _, whole in pods(rendered("serving/runtime")):
        assert [one["image"] for one in whole["containers"]] == ["registry.example.org/darkroom:1"]


@needs_tools
def test_the_pods_that_answer_reach_the_servers_and_nothing_else_and_gateways_reach_them():
    documents = serving.rendered(service("deployment"))[0]
    (policy,) = of_kind("NetworkPolicy", documents).values()
    labels = of_kind("Deployment", documents)["darkroom-champion"]["spec"]["template"]["metadata"]["labels"]
    assert policy["spec"]["podSelector"]["matchLabels"].items() <= labels.items()
    assert (
        policy["spec"]["podSelector"]["matchLabels"].items()
        <= of_kind("InferenceService", serving.rendered(service("kserve"))[0])["darkroom-champion"]["metadata"][
            "labels"
        ].items()
    )
    dns, servers = policy["spec"]["egress"]
    assert {port["port"] for port in dns["ports"]} == {53}
    assert servers["to"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "darkroom"}}}]
    assert {port["port"] for port in servers["ports"]} == {5000, 8333}
    (coming,) = policy["spec"]["ingress"]
    assert coming["ports"] == [{"protocol": "TCP", "port": 8080}]
    assert all(peer.get("podSelector") or peer["namespaceSelector"] for peer in coming["from"])
    base = of_kind("NetworkPolicy", rendered("overlays/local"))
    assert admitted(base["mlflow"]["spec"], 5000, labels)
    assert admitted(base["store"]["spec"], 8333, labels)
    assert not admitted(base["database"]["spec"], 5432, labels)


def test_pods_are_told_where_the_servers_are_as_steps_are():
    known = settings.read(ROOT / settings.FILE)
    (fetching,) = pod_of(serving.rendered(service("deployment"))[0])["initContainers"]
    plain = {variable["name"]: variable["value"] for variable in fetching["env"] if "value" in variable}
    assert plain == known.environment
    named = {variable["name"]: variable["valueFrom"]["secretKeyRef"] for variable in fetching["env"] if "value" not in variable}
    for secret, keys in known.secrets.items():
        assert named == {name: {"name": secret, "key": key, "optional": True} for key, name in keys.items()}


@pytest.fixture
def registry(here: Path, monkeypatch):
    """A registry beside the project: `darkroom` with a version for each place where its package may lie."""
    monkeypatch.setenv(graph.IMAGE, IMAGE)
    (here / "mlflow").mkdir()
    (here / "mlflow/runs.db").write_bytes(empty_store())
    client = tracking.connect().MlflowClient()
    client.create_registered_model("darkroom")
    places = {
        "champion": "s3://mlflow/1/models/m-1/artifacts",
        "proxied": "mlflow-artifacts:/1/models/m-1/artifacts",
        "Home_Made": here.as_uri(),
    }
    for alias, source in places.items():
        version = client.create_model_version("darkroom", source, tags={TAG: DIGEST}).version
        client.set_registered_model_alias("darkroom", alias, version)
    return client


def test_the_version_that_an_alias_names_is_printed_and_nothing_else(registry, capsys):
    assert main(["serve"]) == 0
    documents = list(yaml.safe_load_all(capsys.readouterr().out))
    assert {document["kind"] for document in documents} == {
        "ServiceAccount",
        "NetworkPolicy",
        "Deployment",
        "Service",
        "PodDisruptionBudget",
    }
    assert "darkroom-champion" in of_kind("Deployment", documents)
    (fetching,) = pod_of(documents)["initContainers"]
    assert fetching["args"][0] == "s3://mlflow/1/models/m-1/artifacts/artifacts/package/", "KServe needs the slash"
    assert main(["serve", "--alias", "proxied", "--kind", "kserve", "--replicas", "4"]) == 0
    documents = list(yaml.safe_load_all(capsys.readouterr().out))
    (fetching,) = pod_of(documents)["initContainers"]
    assert fetching["args"][0] == "models:/darkroom/2"
    assert pod_of(documents)["annotations"].items() >= {
        "darkroom/model": "models:/darkroom/2", "darkroom/sha256": DIGEST,
        "darkroom/artifacts": "mlflow-artifacts:/1/models/m-1/artifacts/artifacts/package/"}.items()  # fmt: skip
    assert pod_of(documents)["maxReplicas"] == 4
    assert "darkroom-proxied" in of_kind("InferenceService", documents)


@pytest.mark.parametrize(("arguments", "image", "words"), [
    (["--alias", "best"], IMAGE, "models:/darkroom@best: there is no such version; there are: models:/darkroom@"),
    (["--name", "birds"], IMAGE, "models:/birds@champion: there is no such version"),
    (["--alias", "Home_Made"], IMAGE, "its files lie on this machine, where no cluster reaches them"),
    ([], "localhost/darkroom:latest", "Kubernetes would pull it for each pod"),
    (["--name", "3birds"], IMAGE, "'3birds-champion' is no name of a service"),
    (["--kind", "knative"], IMAGE, "invalid choice: 'knative'"),
    (["--replicas", "0"], IMAGE, "--replicas: "),
])  # fmt: skip
def test_what_cannot_be_served_is_one_line_and_exit_code_two(registry, monkeypatch, capsys, arguments, image, words):
    monkeypatch.setenv(graph.IMAGE, image)
    assert main(["serve", *arguments]) == 2
    out, err = capsys.readouterr()
    assert words in err
    assert out == ""
    assert len(err.splitlines()) == 1
