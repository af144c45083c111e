"""`pipelines serve --apply`, followed to its end through a kubectl whose cluster is a list of looks (kubectl_double)."""

import pytest
import yaml
from kubectl_double import Kubectl, condition, look, pod
from test_serving import service

from components.shared.errors import CannotRun
from pipelines import rollout, serving

REFUSED = "Downloading...\nfetch: models:/darkroom/3: is another package (sha256 9f86d0..., expected 2c26b4...)\n"
ENDED = {"terminated": {"exitCode": 2, "message": REFUSED}}
PULLING = {"waiting": {"reason": "ImagePullBackOff", "message": 'Back-off pulling image "registry.example.org/darkroom:1"'}}
BEGINNING = {"waiting": {"reason": "PodInitializing"}}
LATE = condition("Progressing", "False", "ProgressDeadlineExceeded")
WELL = [pod("a", ready=True), pod("b", ready=True)]


@pytest.fixture
def kubectl(tmp_path, monkeypatch) -> Kubectl:
    """The only kubectl there is; looks follow each other at once."""
    double = Kubectl(tmp_path / "bin")
    monkeypatch.setenv("PATH", str(double.folder))
    monkeypatch.setattr(rollout, "EVERY", 0.0)
    return double


@pytest.fixture
def applied(capsys):
    """`applied("kserve")`: the exit code, and the lines that a person reads."""

    def run(kind: str = "deployment") -> tuple[int, list[str]]:
        code = serving.apply(service(kind))
        return code, capsys.readouterr().out.splitlines()

    return run


@pytest.mark.parametrize("kind", ["deployment", "kserve"])
def test_it_ends_well_when_all_pods_are_of_the_new_version_and_ready_and_not_before(kubectl, applied, kind):
    kubectl.shows(
        None,  # KServe has made nothing yet
        look(WELL, ready=2, mark="older"),  # or has not changed it yet: all are ready, none is new
        look([], old=2, observed=1, conditions=(LATE,)),  # an update of before failed; this one has not been seen
        look([pod("a", fetching=BEGINNING)], old=2),
        look([pod("a", ready=True)], ready=1, old=1),
        look([*WELL, pod("z", ready=True, mark="older")], ready=2, old=1),
        look(WELL, ready=2),
    )
    code, lines = applied(kind)
    assert code == 0
    assert [line.split()[:2] for line in lines[-3:-1]] == [["a", "ready"], ["b", "ready"]]
    deployment = "darkroom-champion" + ("-predictor" if kind == "kserve" else "")
    assert lines[-1].startswith(f"{deployment}: all its pods are ready, and of this version alone, after ")
    assert list(yaml.safe_load_all(kubectl.applied)) == serving.rendered(service(kind))[0]
    gets = [call for call in kubectl.calls if call[:2] == ["get", "deployment"]]
    assert len(gets) == 7
    assert all(call[2] == deployment and call[call.index("-n") + 1] == "darkroom" for call in gets)


def test_a_package_that_is_refused_is_told_with_its_reason_and_ends_it_while_the_old_pods_are_ready(kubectl, applied):
    kubectl.shows(*(look([pod("a", fetching=ENDED, restarts=number)], old=2) for number in (0, 0, 1, 3)))
    code, lines = applied()
    assert code == 1
    assert len([line for line in lines if line.startswith("a ")]) == 3, "what has not changed is not said again"
    assert "waiting" in lines[1]
    assert lines[1].endswith(": models:/darkroom/3: is another package (sha256 9f86d0..., expected 2c26b4...)")
    assert "restart 3: models:/darkroom/3: is another package" in lines[3]
    assert "pods of before, where there are any, answer on; mend it, or set the alias back" in lines[-1]


REASONS = {
    "image": ({"fetching": PULLING}, (), "for its image: ImagePullBackOff: Back-off pulling image", "DARKROOM_IMAGE names one"),
    "room": ({"conditions": (condition("PodScheduled", "False", "Unschedulable", "0/1 nodes are available"),)}, (),
             "for room: Unschedulable: 0/1 nodes are available", "`kubectl -n darkroom describe pod a` says more"),
    "memory": ({"serving": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}}}, (),
               "out of memory (OOMKilled)", "give it more `memory` in infra/kubernetes/serving"),
    "probe": ({"serving": {"running": {}}}, ("Readiness probe failed: HTTP probe failed with statuscode: 503",),
              "Readiness probe failed: HTTP probe failed with statuscode: 503", ""),
    "silent": ({"serving": {"terminated": {"exitCode": 3}}}, (), "ended with exit code 3, and left no word", ""),
}  # fmt: skip


@pytest.mark.parametrize("name", REASONS)
def test_why_a_pod_waits_is_told_with_what_mends_it_and_the_deadline_ends_it(kubectl, applied, name):
    states, events, reason, remedy = REASONS[name]
    kubectl.shows(
        look([pod("a", **states)], old=2, events=events), look([pod("a", **states)], old=2, events=events, conditions=(LATE,))
    )
    code, lines = applied()
    assert code == 1
    (line,) = [line for line in lines if line.startswith("a ")]
    assert reason in line
    assert remedy in line


def test_what_failed_before_it_is_asked_for_again_may_go_well(kubectl, applied):
    before = {"old": 2, "conditions": (LATE,)}
    kubectl.shows(
        look([pod("a", fetching=ENDED, restarts=7)], **before), look([pod("a", restarts=8)], **before), look(WELL, ready=2)
    )
    assert applied()[0] == 0


def test_pods_that_may_not_be_made_are_told_in_kubernetes_own_words(kubectl, applied):
    said = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": allowPrivilegeEscalation != false'
    refused = condition("ReplicaFailure", "True", "FailedCreate", said)
    kubectl.shows(look([], old=2, conditions=(refused,)), look([], old=2, conditions=(refused, LATE)))
    code, lines = applied("kserve")
    assert code == 1
    assert lines[1] == f"darkroom-champion-predictor: {said}"


REFUSALS = {
    'error: resource mapping not found for name: "darkroom-champion": no matches for kind "InferenceService" in version "v1beta1"\n'
    "ensure CRDs are installed first": "KServe is not installed there, --kind deployment needs none",
    'Warning: old\nError from server (Forbidden): User "x" cannot patch resource "deployments"': "kubectl apply: Error from server",
    "Unable to connect to the server: https://me:canary@host refused": "Unable to connect to the server: https://",
}


@pytest.mark.parametrize("said", REFUSALS)
def test_what_kubectl_refuses_is_one_line(kubectl, applied, said):
    kubectl.shows(refusal=said)
    with pytest.raises(CannotRun) as stopped:
        applied()
    assert REFUSALS[said] in str(stopped.value)
    assert "\n" not in str(stopped.value)
    assert "canary" not in str(stopped.value)


def test_without_kubectl_it_says_so(tmp_path, monkeypatch, applied):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(CannotRun, match=r"^kubectl: No such file"):
        applied()


def test_a_moment_without_kubernetes_is_waited_out_and_a_right_that_is_missing_is_not(kubectl, applied, monkeypatch):
    kubectl.shows(look([], old=2), "Unable to connect to the server: EOF", look(WELL, ready=2))
    assert applied()[0] == 0
    kubectl.shows('Error from server (Forbidden): deployments.apps is forbidden: User "x" cannot get it')
    with pytest.raises(
        CannotRun, match=r"the rollout goes on, `kubectl -n darkroom rollout status deployment/darkroom-champion` looks again$"
    ):
        applied()


def test_a_rollout_without_an_end_has_failed_after_a_while(kubectl, applied, monkeypatch):
    monkeypatch.setattr(rollout, "WHOLE", -1)
    kubectl.shows(None)
    code, lines = applied("kserve")
    assert code == 1
    assert lines[1] == "darkroom-champion-predictor: not made yet"
