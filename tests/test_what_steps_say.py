"""What a step of a pipeline run on a cluster has to say outlives its pod: it stands on the parent run in MLflow."""

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from trained import make, project, register_these, versions

from components.shared.runs import one_run, pipeline_run, tracking, turns

pytestmark = pytest.mark.slow

RUN = "0b5ae3c0-8f2e-4f0e-9a55-f39c2e3f1d10"


@pytest.fixture
def cluster(here: Path, monkeypatch):
    """A tracking server's address and the name of a pipeline run in the environment, as a pod has them; yields MLflow's client."""
    project(here)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{here}/mlflow/runs.db")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "team")
    monkeypatch.setenv("DARKROOM_PIPELINE_RUN", RUN)
    return tracking.connect().MlflowClient()


def runs(client) -> list:
    return client.search_runs([client.get_experiment_by_name("team").experiment_id])


def test_a_refusal_its_reason_and_its_report_are_found_by_the_pipeline_runs_name(cluster, here, monkeypatch):
    (here / "report.html").write_text("<p>two pictures are broken")
    (here / "findings").mkdir()
    (here / "findings/findings.json").write_text("[]")
    pipeline_run.say("measure", "running")
    pipeline_run.say("measure", "succeeded")
    pipeline_run.say("validate", "refused", "E_DECODE: 2 pictures", [here / "report.html", here / "findings", here / "none"])
    monkeypatch.delenv("DARKROOM_PIPELINE_RUN")  # somewhere else, by whoever follows the run
    assert pipeline_run.told(RUN)["steps"] == {
        "measure": {"state": "succeeded", "reason": ""}, "validate": {"state": "refused", "reason": "E_DECODE: 2 pictures"},
    }  # fmt: skip
    assert pipeline_run.told("another") == {}
    (run,) = runs(cluster)
    assert run.info.status == "FAILED"
    assert {file.path for file in cluster.list_artifacts(run.info.run_id, "steps/validate")} == {
        "steps/validate/report.html", "steps/validate/findings",
    }  # fmt: skip
    monkeypatch.setenv("DARKROOM_PIPELINE_RUN", RUN)
    pipeline_run.say("validate", "succeeded")  # tried again
    assert runs(cluster)[0].info.status == "FINISHED"
    assert pipeline_run.told(RUN)["steps"]["validate"] == {"state": "succeeded", "reason": ""}


def test_trainings_and_verdict_stand_under_the_run_that_the_first_step_made(cluster, here):
    pipeline_run.say("measure", "succeeded")
    cnn, lstm = make(here, "cnn", training="t1", test=0.8), make(here, "lstm", training="t2", validation=0.7)
    assert register_these(here, cnn, lstm)["accepted"]
    (parent,) = [run for run in runs(cluster) if "mlflow.parentRunId" not in run.data.tags]
    assert len([run for run in runs(cluster) if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]) == 2
    assert (parent.data.tags["data_digest"], parent.data.tags["verdict.accepted"]) == ("d.dir", "True")
    assert parent.data.tags["step.measure"] == "succeeded"
    pipeline_run.say("register", "refused", "no model passes the gates")  # a result, as the verdict says
    assert cluster.get_run(parent.info.run_id).info.status == "FINISHED"


def test_a_verdict_on_cached_trainings_stands_in_this_pipeline_run_too(cluster, here, monkeypatch):
    cnn = make(here, "cnn", training="t1")
    register_these(here, cnn)
    monkeypatch.setenv("DARKROOM_PIPELINE_RUN", "a later one")
    register_these(here, cnn)
    parents = [run for run in runs(cluster) if "mlflow.parentRunId" not in run.data.tags]
    assert len(parents) == 2
    assert all(run.data.tags["verdict.accepted"] == "True" for run in parents)


def test_under_kubeflows_mlflow_plugin_ours_stands_below_the_run_that_it_made(cluster, monkeypatch):
    elsewhere = cluster.create_experiment("kubeflow")
    above = cluster.create_run(elsewhere).info.run_id
    task = cluster.create_run(elsewhere, tags={"mlflow.parentRunId": above}).info.run_id
    monkeypatch.setenv("MLFLOW_RUN_ID", task)
    pipeline_run.say("measure", "running")
    assert runs(cluster)[0].data.tags["mlflow.parentRunId"] == above
    monkeypatch.setenv("MLFLOW_RUN_ID", "of another server")
    monkeypatch.setenv("DARKROOM_PIPELINE_RUN", "a later one")
    pipeline_run.say("measure", "running")
    assert "mlflow.parentRunId" not in next(run for run in runs(cluster) if run.data.tags["darkroom.pipeline"] != RUN).data.tags


def test_steps_that_speak_at_the_same_time_make_one_run(cluster, here):
    script = ("import sys; from components.shared.runs import pipeline_run; "
              "pipeline_run.SECONDS = 120; pipeline_run.say(sys.argv[1], 'failed', 'why')")  # fmt: skip
    speakers = [subprocess.Popen([sys.executable, "-c", script, f"part {n}"], cwd=here) for n in range(4)]
    assert [speaker.wait(timeout=200) for speaker in speakers] == [0] * 4
    assert len(runs(cluster)) == 1
    assert set(pipeline_run.told(RUN)["steps"]) == {f"part {n}" for n in range(4)}


def test_runs_that_nothing_runs_any_more_are_ended_with_the_reason(cluster, here, monkeypatch):
    record = {"training_id": "t1", "name": "cnn-default", "knobs": {}, "tags": {"git_commit": "abc"}, "data_digest": "d.dir"}
    pipeline_run.say("measure", "succeeded")
    pipeline_run.say("train cnn", "running")
    with tracking.live(record):
        pass  # the pod is lost here
    tracking.send_training(make(here, "lstm", training="t2")[0])
    monkeypatch.setenv("DARKROOM_PIPELINE_RUN", "another")
    with tracking.live(record | {"training_id": "t3"}):
        pass
    assert pipeline_run.close_left_open("the pod was lost", run=RUN) == ["cnn-default"]
    assert pipeline_run.close_left_open("the pod was lost", run=RUN) == []
    found = {run.data.tags["darkroom.training"]: run for run in runs(cluster) if "darkroom.training" in run.data.tags}
    assert {name: run.info.status for name, run in found.items()} == {"t1": "FAILED", "t2": "FINISHED", "t3": "RUNNING"}
    assert found["t1"].data.tags["darkroom.ended"] == "the pod was lost"
    assert pipeline_run.told(RUN)["steps"] == {
        "measure": {"state": "succeeded", "reason": ""}, "train cnn": {"state": "killed", "reason": "the pod was lost"},
    }  # fmt: skip
    assert next(run for run in runs(cluster) if run.data.tags.get("darkroom.pipeline") == RUN).info.status == "FAILED"
    with tracking.live(record):  # a retry takes it over
        pass
    taken_over = next(run for run in runs(cluster) if run.data.tags.get("darkroom.training") == "t1")
    assert taken_over.info.status == "RUNNING"
    assert "darkroom.ended" not in taken_over.data.tags


def test_the_run_of_a_training_that_another_one_takes_the_place_of_is_ended(cluster):
    record = {"training_id": "t1", "name": "cnn-default", "knobs": {}, "tags": {"git_commit": "abc"}, "data_digest": "d.dir"}
    with tracking.live(record):
        pass  # killed here
    with tracking.live(record | {"training_id": "t2"}, given_up=["t1", "never sent"]):
        pass
    found = {run.data.tags["darkroom.training"]: run for run in runs(cluster) if "darkroom.training" in run.data.tags}
    assert {name: run.info.status for name, run in found.items()} == {"t1": "KILLED", "t2": "RUNNING"}
    assert "other knobs" in found["t1"].data.tags["darkroom.ended"]


def test_a_training_that_is_taken_over_by_a_later_pipeline_run_stands_below_it(cluster, monkeypatch):
    record = {"training_id": "t1", "name": "cnn-default", "knobs": {}, "tags": {"git_commit": "abc"}, "data_digest": "d.dir"}
    with pytest.raises(ValueError, match="lost"), tracking.live(record):
        raise ValueError("lost")
    assert [run.info.status for run in runs(cluster) if "darkroom.training" in run.data.tags] == ["FAILED"]
    monkeypatch.setenv("DARKROOM_PIPELINE_RUN", "a later one")
    with tracking.live(record):
        pass
    assert pipeline_run.close_left_open("why", run=RUN) == []
    assert pipeline_run.close_left_open("why") == ["cnn-default"]


def test_a_server_that_is_away_or_silent_costs_seconds_and_a_line(here, monkeypatch, capsys):
    monkeypatch.setenv("DARKROOM_PIPELINE_RUN", RUN)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        taken = threading.Thread(target=lambda: [silent.accept() for _ in range(9)], daemon=True)
        taken.start()
        monkeypatch.setattr(pipeline_run, "SECONDS", 1.0)
        for address in (f"http://127.0.0.1:{silent.getsockname()[1]}", "http://127.0.0.1:9"):
            monkeypatch.setenv("MLFLOW_TRACKING_URI", address)
            started = time.monotonic()
            pipeline_run.say("validate", "refused", "why")
            assert pipeline_run.close_left_open("why") == []
            assert time.monotonic() - started < 20
            told = capsys.readouterr().err.splitlines()
            assert [line.rpartition("; ")[2] for line in told] == [
                "what validate has to say is not kept", "runs that were left open are not closed",
            ]  # fmt: skip


POINTS = {
    "before its run is made": "pipeline_run.one_run.find_or_make",
    "when its run is claimed": "mlflow.MlflowClient.delete_tag",
    "before its model is sent": "logged_model.log",
    "before the version is made": "mlflow.MlflowClient.create_model_version",
    "in its turn": "registry.Registry.promote",
}


@pytest.mark.parametrize("point", POINTS)
def test_register_killed_at_an_odd_point_leaves_nothing_open_and_the_next_one_ends_well(cluster, here, monkeypatch, point):
    folders = make(here, "cnn", training="t1")
    script = ("import pathlib, sys, time, trained, mlflow\n"
              "from components.shared.runs import logged_model, pipeline_run, registry, turns\n"
              f"def wait(*_, **__): print('here', flush=True); time.sleep(600)\n{POINTS[point]} = wait\n"
              "pipeline_run.SECONDS = 100; pipeline_run.say('register', 'running')\n"
              "trained.register_these(pathlib.Path(), [pathlib.Path(name) for name in sys.argv[1:]])")  # fmt: skip
    environment = os.environ | {"PYTHONPATH": f"{Path(__file__).parent}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    with subprocess.Popen(
        [sys.executable, "-c", script, *folders], stdout=subprocess.PIPE, text=True, env=environment
    ) as killed:
        assert "here" in next(line for line in killed.stdout if "here" in line)
        killed.kill()
    monkeypatch.setattr(one_run, "PATIENCE", 1.0)
    monkeypatch.setattr(turns, "DEAD", 2.0)
    assert pipeline_run.close_left_open("register: the pod was lost") == []
    assert {run.info.status for run in runs(cluster)} <= {"FINISHED", "FAILED"}
    assert register_these(here, folders)["accepted"]
    assert [run.info.status for run in runs(cluster) if "darkroom.training" in run.data.tags] == ["FINISHED"]
    (model,) = cluster.search_registered_models()
    assert (versions(), list(model.aliases)) == ({"1": "cnn"}, ["champion"])
    assert not [tag for tag in model.tags if tag.startswith(turns.FLAG)]


@pytest.mark.parametrize("unset", ["MLFLOW_TRACKING_URI", "DARKROOM_PIPELINE_RUN"])
def test_at_home_nothing_is_said_and_nothing_loaded(here, unset):
    script = ("import sys; from components.shared.runs import pipeline_run\n"
              "pipeline_run.say('validate', 'refused', 'why'); pipeline_run.close_left_open('why')\n"
              "print('mlflow' in sys.modules)")  # fmt: skip
    environment = os.environ | {"MLFLOW_TRACKING_URI": "http://127.0.0.1:9", "DARKROOM_PIPELINE_RUN": '{"seed": 7}'}
    if unset == "MLFLOW_TRACKING_URI":
        environment |= {"DARKROOM_PIPELINE_RUN": RUN}
        environment.pop(unset)
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("False\n", "")
