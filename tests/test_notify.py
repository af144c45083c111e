"""What the exit handler reports of each kind of end: read from the run's workflow, else from what the steps said in MLflow."""

import pytest
from cluster_double import Cluster
from kubeflow_double import Frame, recorded
from test_wrappers import hook  # noqa: F401 - a fixture

from components.shared.config import PIPELINE_RUN
from components.shared.runs import pipeline_run
from pipelines import execution, notify

OOM = "main: OOMKilled (exit code 1)"


@pytest.fixture
def cluster(monkeypatch, tmp_path, here):
    """`cluster(frame)`: Kubernetes holds this run's workflow, as it is while the exit handler runs; returns its name."""
    servers = []
    monkeypatch.setenv("NAMESPACE", "kubeflow")
    monkeypatch.delenv(execution.REASON_FILE, raising=False)
    monkeypatch.delenv("KFP_HOST", raising=False)

    def hold(frame: Frame) -> Cluster:
        workflow = recorded("v1beta1", frame)["pipeline_runtime"]["workflow_manifest"] | {"kind": "Workflow"}
        for node in workflow["status"]["nodes"].values():
            if "onExit" in node["name"] and "driver" not in node["name"]:
                node |= {"phase": "Running", "finishedAt": None}
        servers.append(Cluster([workflow]))
        servers[-1].name = workflow["metadata"]["name"]
        monkeypatch.setenv("KUBECONFIG", str(servers[-1].kubeconfig(tmp_path / "kubeconfig")))
        return servers[-1]

    yield hold
    for server in servers:
        server.stop()


@pytest.mark.parametrize(
    ("frame", "state", "step", "reason"),
    [(Frame("succeeded"), "succeeded", "", ""), (Frame("oom"), "failed", "train cnn", "out of memory (OOMKilled)"),
     (Frame("oom", 1.0, ((OOM, "main: Error (exit code 143)"),)), "failed", "train cnn", "ended with exit code 143, and left no word"),
     (Frame("oom", 1.0, ((OOM, "main: Error (exit code 1): gate: refused: E_X: no"),)), "failed", "train cnn", "gate: refused: E_X: no"),
     (Frame("failed-validate"), "failed", "validate", "1 errors; look at ")],
)  # fmt: skip
@pytest.mark.parametrize("told", ["COMPLETE", "RUNNING", "FAILED"])  # what ML Metadata says, of whatever end
def test_the_end_of_a_run_is_read_from_its_workflow(hook, cluster, monkeypatch, frame, state, step, reason, told):  # noqa: F811
    monkeypatch.setenv("KFP_HOST", "https://kubeflow.example.org/pipeline/")
    notify.report(state=told, run="1-2", name="darkroom abc1234", workflow=cluster(frame).name)
    (post,) = hook.posts
    assert (post["state"], post["step"]) == (state, step)
    assert post["reason"].startswith(reason)
    assert (post["run"], post["name"]) == ("1-2", "darkroom abc1234")
    assert post["link"] == "https://kubeflow.example.org/pipeline/#/runs/details/1-2"
    assert post["text"].startswith(f"Darkroom: darkroom abc1234 {state}" + (f" at {step}: {reason}" if step else ""))


def test_where_the_workflow_may_not_be_read_what_the_steps_said_tells(hook, cluster, monkeypatch, tmp_path, capsys):  # noqa: F811
    server = cluster(Frame("oom"))
    server.hidden.add("workflows")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'runs.db'}")
    monkeypatch.setattr(pipeline_run, "SECONDS", 120)  # to make a database takes long here
    monkeypatch.setenv(PIPELINE_RUN, "1-2")
    pipeline_run.say("validate", "succeeded")
    pipeline_run.say("train lstm", "killed", "SIGTERM in epoch 3")
    notify.report(state="COMPLETE", run="1-2", name="darkroom abc1234", workflow=server.name)
    (post,) = hook.posts
    assert (post["state"], post["step"], post["reason"]) == ("failed", "train lstm", "SIGTERM in epoch 3")
    assert "/#/experiments/" in post["link"]
    assert "Forbidden (403)" in capsys.readouterr().out
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "nowhere"))
    notify.report(state="RUNNING", run="3-4", name="other", workflow="other-x")
    assert hook.posts[1]["state"] == "ended"  # how, nobody can tell


def test_a_run_that_stands_open_in_mlflow_is_ended_with_the_reason(cluster, monkeypatch, tmp_path):
    import mlflow

    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'runs.db'}")
    monkeypatch.setattr(pipeline_run, "SECONDS", 120)  # to make a database takes long here
    monkeypatch.setenv(PIPELINE_RUN, "1-2")
    pipeline_run.say("train cnn", "running")
    client = mlflow.MlflowClient()
    (parent,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    left = client.create_run(parent.info.experiment_id, tags={pipeline_run.PARENT: parent.info.run_id})
    notify.report(state="RUNNING", run="1-2", workflow=cluster(Frame("oom")).name)
    found = client.get_run(left.info.run_id)
    assert found.info.status == "FAILED"
    assert found.data.tags[pipeline_run.ENDED] == "the pipeline run failed at train cnn: out of memory (OOMKilled)"
