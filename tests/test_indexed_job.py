"""A step spreads its missing parts over a Job's pods: taken over, stopped, failing; the pods are real processes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import job_double
import pytest
import yaml
from conftest import ROOT, cannot_run_here, draw_shards
from kfp.dsl import Dataset
from toy_package import make_package

from components.__main__ import call, parts
from components.predict.of_shards import FILE
from components.predict.step import predict
from components.shared.errors import CannotRun
from components.shared.store import STORE
from pipelines import execution, graph, indexed_job

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
CONFIG = json.dumps(PARAMS["measure"])


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return draw_shards(tmp_path)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch):
    """A pod of Kubeflow's on the double, which does one shard itself."""
    set_here = {STORE: (tmp_path / "store").as_uri(), "PYTHONPATH": str(ROOT)}
    double = job_double.Double(tmp_path, set_here)
    (tmp_path / "words").touch()
    own = {"KFP_POD_NAME": job_double.POD, "KUBECONFIG": str(double.kubeconfig), execution.PARTS: "1/2",
           execution.REASON_FILE: str(tmp_path / "words"), "DARKROOM_PIPELINE_RUN": job_double.RUN_ID}  # fmt: skip
    for name, value in (set_here | own).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    monkeypatch.setattr(indexed_job, "EVERY", 0.2)
    yield double
    double.server.shutdown()


def step(data: Path, to: Path) -> None:
    manifest = Dataset(name="manifest", uri=str(to), metadata={})
    execution.call("measure", data=str(data), digest="", config=CONFIG, code=graph.code_digest(), manifest=manifest)


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_many_parts_are_a_job_s_and_few_are_done_here(cluster, data, tmp_path, capsys):
    step(data, tmp_path / "spread")
    assert "0 shards measured, 3 kept" in capsys.readouterr().out  # the parts did it all
    assert [body["metadata"]["name"] for body in cluster.made] == [f"measure-{job_double.RUN_ID}"]
    assert cluster.tries == {0: [0], 1: [0], 2: [0]}
    kept = parts("measure", section="measure", data=str(data), digest="", config=PARAMS["measure"])
    kept.store.delete(kept._key("00001.parquet"))
    step(data, tmp_path / "few")
    assert len(cluster.made) == 1
    del os.environ[STORE]
    call("measure", data=data, section="measure", config=PARAMS["measure"], manifest=tmp_path / "home")
    assert content(tmp_path / "spread") == content(tmp_path / "few") == content(tmp_path / "home")


def test_answers_of_a_job_s_parts_are_those_of_one_pod_and_of_darkroom_predict(cluster, data, tmp_path):
    package = make_package(tmp_path / "toy")

    def answered(name: str) -> bytes:
        answers = Dataset(name="answers", uri=str(tmp_path / name), metadata={})
        execution.call("predict", data=str(data), digest="", config=execution.chosen(str(package.folder)), output="",
                       code=graph.code_digest(), answers=answers)  # fmt: skip
        return (tmp_path / name / FILE).read_bytes()

    spread = answered("spread")
    assert [body["metadata"]["name"] for body in cluster.made] == [f"predict-{job_double.RUN_ID}"]
    assert cluster.tries == {0: [0], 1: [0], 2: [0]}
    assert answered("kept") == spread
    assert len(cluster.made) == 1
    del os.environ[STORE]
    predict(str(package.folder), [str(data)], output=tmp_path / "home.parquet")
    assert spread == answered("alone") == (tmp_path / "home.parquet").read_bytes()


def test_a_part_refuses_another_package(cluster, data, tmp_path):
    config = execution.chosen(str(make_package(tmp_path / "toy").folder))
    make_package(tmp_path / "toy", seed=1)
    with pytest.raises(SystemExit):
        execution.part("predict", share="1/3", data=str(data), digest="", config=config, code="")
    assert "is another package" in (tmp_path / "words").read_text()


def test_the_job_is_of_pods_like_the_step_s_own_without_argo_and_without_a_token(cluster, data, tmp_path):
    step(data, tmp_path / "spread")
    (body,) = cluster.made
    spec, pod = body["spec"], body["spec"]["template"]["spec"]
    (part,) = pod["containers"]
    assert (spec["completions"], spec["parallelism"], spec["completionMode"]) == (3, 2, "Indexed")
    assert (spec["backoffLimitPerIndex"], spec["maxFailedIndexes"], spec["activeDeadlineSeconds"]) == (1, 0, 3600)
    assert [rule["action"] for rule in spec["podFailurePolicy"]["rules"]] == ["Ignore", "FailIndex"]
    assert body["metadata"]["ownerReferences"][0]["kind"] == "Workflow"
    assert pod["automountServiceAccountToken"] is False
    assert pod["restartPolicy"] == "Never"
    own, main = cluster.pod["spec"], cluster.pod["spec"]["containers"][1]
    for name in ("nodeSelector", "tolerations", "imagePullSecrets", "securityContext"):
        assert pod[name] == own[name]
    for name in ("image", "resources", "securityContext"):
        assert part[name] == main[name]
    names = {variable["name"] for variable in part["env"]}
    assert STORE in names
    assert "ARGO_TEMPLATE" not in names
    assert spec["template"]["metadata"]["labels"] == {
        "pipeline/runid": job_double.RUN_ID, "darkroom": "step", "sidecar.istio.io/inject": "false"
    }  # fmt: skip


@pytest.mark.slow
def test_the_manifest_of_the_job_is_one_of_kubernetes(cluster, data, tmp_path):
    if not shutil.which("kubernetes-validate"):
        cannot_run_here("kubernetes-validate is missing; infra/tools.sh installs it")
    step(data, tmp_path / "spread")
    (tmp_path / "job.yaml").write_text(yaml.safe_dump(cluster.made[0]))
    done = subprocess.run(["kubernetes-validate", "--strict", tmp_path / "job.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_a_part_that_fails_is_tried_again_and_tells_why_through_the_step(cluster, data, tmp_path):
    shard = data / "00001.parquet"
    shard.write_bytes(shard.read_bytes()[:2000])
    with pytest.raises(SystemExit) as stopped:
        step(data, tmp_path / "spread")
    assert stopped.value.code == CannotRun.exit_code
    assert (tmp_path / "words").read_text().startswith("measure: part 2: ")
    assert "00001.parquet: not a shard that can be read" in (tmp_path / "words").read_text()
    assert cluster.tries[1] == [2, 2]
    assert cluster.tries[0] == cluster.tries[2] == [0]
    # Tried again by hand, in the same run: the Job that failed makes room, and what was computed is kept.
    with pytest.raises(SystemExit):
        step(data, tmp_path / "spread")
    assert len(cluster.made) == 1  # one shard is left: the step does it itself, and says why it cannot
    assert (tmp_path / "words").read_text().splitlines()[-1].startswith("measure: ")


WAITS = """
import sys; from pipelines import indexed_job
indexed_job.EVERY = 0.2
sys.path.insert(0, {tests!r})
from test_indexed_job import Path, step
step(Path({data!r}), Path({to!r}))
"""


@pytest.fixture
def waiting(cluster, data, tmp_path):
    """The step in a process of its own, which waits for parts that do not start yet."""
    cluster.hold.clear()
    script = WAITS.format(tests=str(ROOT / "tests"), data=str(data), to=str(tmp_path / "killed"))
    process = subprocess.Popen([sys.executable, "-c", script])
    end = time.monotonic() + 120
    while not cluster.made and time.monotonic() < end and process.poll() is None:
        time.sleep(0.1)
    assert cluster.made
    time.sleep(1)
    yield process
    process.kill()
    process.wait()


@pytest.mark.slow
def test_the_next_try_waits_for_the_same_job(cluster, waiting, data, tmp_path):
    waiting.kill()
    waiting.wait()
    cluster.hold.set()
    step(data, tmp_path / "spread")
    assert len(cluster.made) == 1
    assert len(content(tmp_path / "spread")) == 4  # a part a shard, and the marker


@pytest.mark.slow
def test_a_run_that_is_stopped_takes_its_job_along(cluster, waiting):
    cluster.workflow["spec"]["shutdown"] = "Terminate"
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(60) == 143
    assert cluster.deleted == [f"measure-{job_double.RUN_ID}"]


@pytest.mark.slow
def test_a_step_that_is_evicted_leaves_its_job_for_the_next_try(cluster, waiting):
    waiting.send_signal(signal.SIGTERM)
    assert waiting.wait(60) == 143
    assert not cluster.deleted


@pytest.mark.slow
def test_a_job_that_failed_makes_room_for_a_new_one(cluster, data, tmp_path):
    name = f"measure-{job_double.RUN_ID}"
    cluster.jobs[name] = {"metadata": {"name": name}, "spec": {"template": {"spec": {"containers": []}}},
                          "status": {"conditions": [{"type": "Failed", "status": "True"}]}}  # fmt: skip
    step(data, tmp_path / "spread")
    assert cluster.deleted == [name]
    assert len(cluster.made) == 1


def test_what_parts_wait_for_is_said(cluster, data, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(indexed_job, "SILENCE", 0)
    cluster.hold.clear()
    no_room = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/1 nodes: Insufficient cpu"}
    cluster.pods.append({"metadata": {"name": "p"}, "status": {"phase": "Pending", "conditions": [no_room]}})
    ask = cluster.answer

    def answer(method: str, path: str, body: dict) -> tuple[int, dict]:
        if path.endswith("/pods"):
            cluster.hold.set()  # it was asked for: now there is room
        return ask(method, path, body)

    monkeypatch.setattr(cluster, "answer", answer)
    step(data, tmp_path / "spread")
    assert capsys.readouterr().out.count("measure: a part waits: Unschedulable: 0/1 nodes: Insufficient cpu") == 1


def test_a_right_that_is_missing_is_named(cluster, data, tmp_path, monkeypatch):
    ask = cluster.answer
    forbidden = lambda method, *rest: (403, {}) if method == "POST" else ask(method, *rest)  # noqa: E731
    monkeypatch.setattr(cluster, "answer", forbidden)
    with pytest.raises(SystemExit):
        step(data, tmp_path / "spread")
    assert "its service account may not create jobs" in (tmp_path / "words").read_text()
