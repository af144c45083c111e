"""Runs in MLflow, on a real store (sqlite): what they hold, where they lie, and servers that misbehave."""

import contextlib
import http.server
import json
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import trained
from conftest import ROOT, png
from trained import KNOBS, champion, facts, make, network, package_of, register_these, split_of, versions

from components.register.summary import summary
from components.shared import files
from components.shared.config import as_text, read_params
from components.shared.errors import CannotRun, Refused
from components.shared.models import keras_file
from components.shared.runs import connection, follow, origin, tracking


def runs() -> list:
    return tracking.connect().search_runs(experiment_names=["darkroom"], output_format="list")


@pytest.fixture
def project(here: Path) -> Path:
    return trained.project(here)


# What the store gives back is what was trained.


def logged_files(place: Path) -> list[Path]:
    return sorted((place / "mlflow").rglob("artifacts/model.keras"))


def test_a_model_that_is_damaged_in_the_store_is_not_registered_but_sent_anew(project):
    folders = make(project, "cnn", training="t1")
    tracking.send_package(folders[0], package_of(folders[0]))
    (logged,) = logged_files(project)
    logged.write_bytes(logged.read_bytes()[:-200])
    with pytest.raises(CannotRun, match="does not give back the model that was trained") as caught:
        register_these(project, folders)
    assert len(str(caught.value).splitlines()) == 1
    assert "the same command again sends the model anew" in str(caught.value)
    assert versions() == {}
    assert register_these(project, folders)["accepted"]
    assert facts()["weights_sha256"] == files.read_json(folders[0] / "run.json")["model"]["weights_sha256"]
    assert len(logged_files(project)) == 2
    assert len(runs()) == 1


def test_of_two_models_that_are_damaged_in_the_store_none_is_registered_and_the_next_call_sends_both(project):
    pair = [make(project, architecture, training=architecture) for architecture in ("cnn", "lstm")]
    for folders in pair:
        tracking.send_package(folders[0], package_of(folders[0]))
    for logged in logged_files(project):
        logged.write_bytes(logged.read_bytes()[:-200])
    with pytest.raises(CannotRun) as caught:
        register_these(project, *pair)
    assert ["models/cnn" in fault or "models/lstm" in fault for fault in caught.value.faults] == [True, True]
    assert versions() == {}
    assert register_these(project, *pair)["accepted"]
    assert versions() == {"1": "cnn", "2": "lstm"}


def test_a_model_that_another_took_the_place_of_is_not_registered(project):
    folders = make(project, "cnn", training="t1")
    tracking.send_package(folders[0], package_of(folders[0]))
    (logged,) = logged_files(project)
    keras_file.save(network(-1.0), project / "other")
    shutil.copy(project / "other/model.keras", logged)
    with pytest.raises(CannotRun, match="its weights are not those that were trained"):
        register_these(project, folders)
    assert versions() == {}


def test_a_run_that_is_not_complete_is_sent_again_and_keeps_its_model(project):
    folders = make(project, "cnn", training="t1")
    run_id = tracking.send_package(folders[0], package_of(folders[0]))
    client = tracking.connect().MlflowClient()
    client.delete_tag(run_id, tracking.COMPLETE)  # as after a kill in between
    assert tracking.send_training(folders[0]) == run_id
    assert tracking.COMPLETE in client.get_run(run_id).data.tags
    assert register_these(project, folders)["accepted"]
    assert len(logged_files(project)) == 1


@pytest.mark.parametrize("content", ["evil_module\n", "custom_objects\n../../evil_module\n"])
def test_nothing_that_a_registered_models_files_name_is_imported(project, monkeypatch, content):
    (project / "evil_module.py").write_text("from pathlib import Path\nPath('imported').touch()\n")
    monkeypatch.syspath_prepend(project)
    register_these(project, make(project, "cnn", training="first", weight=-1.0))
    (logged,) = logged_files(project)
    (logged.parents[1] / "data").mkdir()
    (logged.parents[1] / "data/keras_module.txt").write_text(content)
    (logged.parents[1] / "pyfunc.py").write_text("import evil_module")
    (logged.parents[1] / "data/custom_objects.cloudpickle").write_bytes(b"cos\nsystem\n(S'touch imported'\ntR.")
    settings = logged.parents[1] / "MLmodel"
    settings.write_text(settings.read_text().replace("mlflow.pyfunc.loaders.code_model", "evil_module"))
    split_of(project / "prepared/test", 60)  # so that the champion is scored anew
    assert register_these(project, make(project, "lstm", training="second"))["accepted"]
    assert "evil_module" not in sys.modules
    assert not (project / "imported").exists()


# What a run holds.


def test_a_run_has_every_knob_so_that_runs_which_differ_in_one_differ_in_mlflow(project):
    for training, shift in (("t1", 0.0), ("t2", 0.1)):
        tracking.send_training(make(project, "cnn", training=training, knobs={**KNOBS, "augment": {"shift": shift}})[0])
    first, second = sorted((run.data.params for run in runs()), key=lambda params: params["augment.shift"])
    assert {name for name in first if first[name] != second[name]} == {"augment.shift"}
    assert first["prepare.height"] == "8"
    assert first["train.epochs"] == "3"
    assert (first["seed"], first["measure.faces"]) == ("7", "false")
    assert json.loads(first["validate.severity"]) == {"E_NO_DATA": "error", "W_DARK": "warning"}
    assert (first["parameters"], first["training_samples"]) == ("4", "60")


def test_a_run_is_named_by_what_differs_and_ranks_by_the_epoch_that_was_kept(project):
    best = {"epoch": 1, "validation_balanced_accuracy": 0.8, "train_loss": 0.5, "time": 1000}
    model, _ = make(project, "cnn", training="t1", run_name="cnn · epochs=2", best=best)
    (model / "git.diff.txt").write_text("-epochs = 4\n+epochs = 2\n")
    (model / "params.yaml").write_text("seed: 7\n")
    tracking.send_training(model)
    (run,) = runs()
    assert run.info.run_name == "cnn · epochs=2"
    kept = {name: value for name, value in run.data.metrics.items() if name.startswith("best_")}
    assert kept == {"best_epoch": 1, "best_validation_balanced_accuracy": 0.8}
    assert run.data.metrics["validation/accuracy"] == 0.9
    listed = {file.path for file in tracking.connect().MlflowClient().list_artifacts(run.info.run_id)}
    assert listed == {"git.diff.txt", "params.yaml", "run.json", "history.csv", "curves.png", "seen.npy"}


def test_the_parent_has_all_knobs_by_the_names_that_they_have_in_params_yaml(project, monkeypatch):
    params = read_params(ROOT / "params.yaml")
    params["train"]["lstm"]["epochs"] = 5000
    monkeypatch.setenv("DARKROOM_PIPELINE_RUN", as_text(params))
    monkeypatch.setenv(origin.EXPERIMENT, "hardy-lynx")
    tracking.send_training(make(project, "cnn", training="t1")[0])
    (parent,) = [run for run in runs() if "mlflow.parentRunId" not in run.data.tags]
    assert re.fullmatch(r"(.*, )?train.lstm.epochs=5000(, .*)? · hardy-lynx", parent.info.run_name)
    assert parent.data.params["train.lstm.epochs"] == "5000"
    assert parent.data.params["augment.shift"] == "0.0"
    assert len(parent.data.params) > 100


def test_a_version_has_few_tags_and_the_rest_in_one(project):
    register_these(project, make(project, "cnn", training="t1"))
    own = {"identity", "architecture", "data_digest", "git_commit", "package_sha256", "facts"}
    assert set(champion().tags) - {"champion_since"} == own
    assert {"weights_sha256", "test_digest", "classes", "test_accuracy"} <= facts().keys()


def test_trainings_that_differ_in_their_seed_alone_share_a_recipe():
    def recipe(data: str = "d.dir", **changes) -> str:
        return origin.recipe(KNOBS | changes, data)

    assert recipe() == recipe(seed=8) == recipe(validate={}, measure={})
    others = [recipe("e.dir"), recipe(train={"epochs": 4}), recipe(augment={"shift": 0.1}), recipe(prepare={"split_seed": 4})]
    assert len({recipe(), *others}) == 5


def test_knobs_of_later_steps_are_tags_of_the_run(project):
    model, evaluation = make(project, "cnn", training="t1")
    test = files.read_json(evaluation / "test.json")
    (evaluation / "test.json").write_text(json.dumps({**test, "knobs": {"calibration_bins": 15}}))
    register_these(project, (model, evaluation), class_harm=0.25)
    (run,) = runs()
    assert json.loads(run.data.tags["knobs.evaluate"]) == {"calibration_bins": 15}
    assert json.loads(run.data.tags["knobs.register"])["class_harm"] == 0.25
    assert run.data.tags["verdict"] == "champion"


def test_the_trainings_of_one_pipeline_run_stand_under_one_parent_with_the_verdict(project, monkeypatch):
    monkeypatch.setenv("DARKROOM_PIPELINE_RUN", "digest-of-params")
    cnn, lstm = make(project, "cnn", training="t1", test=0.8), make(project, "lstm", training="t2", validation=0.7)
    assert register_these(project, cnn, lstm)["accepted"]
    (parent,) = [run for run in runs() if "mlflow.parentRunId" not in run.data.tags]
    children = [run for run in runs() if run is not parent and run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    assert sorted(run.data.tags["architecture"] for run in children) == ["cnn", "lstm"]
    assert parent.info.status == "FINISHED"
    assert parent.info.run_name.startswith("pipeline run ")
    assert parent.data.tags["verdict.accepted"] == "True"
    assert "There was no champion before." in parent.data.tags["verdict.reasons"]
    assert parent.data.metrics["cnn/test/accuracy"] == 0.8
    assert parent.data.metrics["lstm/validation/balanced_accuracy"] == 0.7
    register_these(project, cnn, lstm)
    assert len(runs()) == 3
    monkeypatch.setenv("DARKROOM_PIPELINE_RUN", "other-knobs")
    tracking.send_training(make(project, "cnn", training="t3")[0])
    assert len([run for run in runs() if "mlflow.parentRunId" not in run.data.tags]) == 2


def test_metrics_that_are_none_are_left_out_and_a_second_evaluation_shows(project):
    model, evaluation = make(project, "cnn", training="t1", test=0.9)
    for value in (0.9, 0.6):
        metrics = {**files.read_json(evaluation / "metrics.json"), "accuracy": value, "odd": float("nan")}
        (evaluation / "metrics.json").write_text(json.dumps(metrics))
        tracking.send_evaluation(model, evaluation)
    (run,) = runs()
    assert run.data.metrics["test/accuracy"] == 0.6
    assert "test/odd" not in run.data.metrics


def test_no_secret_of_the_environment_gets_into_runs_or_artifacts(project, monkeypatch, capfd):
    canary = "c4n4ry-5ecret"
    for name in ("AWS_SECRET_ACCESS_KEY", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN", "PGPASSWORD", "MY_TOKEN"):
        monkeypatch.setenv(name, canary)
    monkeypatch.setenv("DARKROOM_PIPELINE_RUN", "digest")
    register_these(project, make(project, "cnn", training="t1"))
    holders = [file for file in project.rglob("*") if file.is_file() and canary.encode() in file.read_bytes()]
    assert holders == []
    assert canary not in "".join(capfd.readouterr())


def test_a_git_that_hangs_keeps_no_training(tmp_path, monkeypatch):
    (tmp_path / "git").write_text("#!/bin/sh\nsleep 1000\n")
    (tmp_path / "git").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("DARKROOM_COMMIT", raising=False)
    monkeypatch.setattr(origin, "GIT", 0.5)
    assert origin.code_version() == "unknown"


# Where a store lies.


def addresses(store: Path) -> list[str]:
    with sqlite3.connect(store) as database:
        found = [row[0] for table, column in (("experiments", "artifact_location"), ("runs", "artifact_uri"),
                                              ("logged_models", "artifact_location"), ("model_versions", "source"),
                                              ("model_versions", "storage_location"))
                 for row in database.execute(f"SELECT {column} FROM {table}")]  # fmt: skip
    return [address for address in found if address and address.startswith("file:")]


@pytest.mark.parametrize("how", ["moved", "copied"])
def test_a_project_that_is_moved_or_copied_keeps_its_own_store(project, monkeypatch, how):
    old, new = project / "my project 100%", project / "elsewhere/mein Prüfling #1 50% fertig?mode=ro&x"
    old.mkdir()
    monkeypatch.chdir(old)
    split_of(old / "prepared/test")
    register_these(old, make(old, "cnn", training="first", weight=-1.0))
    new.parent.mkdir()
    monkeypatch.chdir(project)
    if how == "moved":
        old.rename(new)
    else:
        shutil.copytree(old, new)
    before = {path: path.stat().st_mtime_ns for path in old.rglob("*")}
    monkeypatch.chdir(new)
    split_of(new / "prepared/test", 60)  # so that the champion is read and scored
    assert register_these(new, make(new, "lstm", training="second"))["accepted"]
    home = (new / "mlflow/artifacts").as_uri()
    assert len(addresses(new / "mlflow/runs.db")) > 5
    assert all(address.startswith(f"{home}/") or address == home for address in addresses(new / "mlflow/runs.db"))
    loaded = tracking.connect().pyfunc.load_model("models:/darkroom@champion")
    assert len(loaded.predict([png(np.full((8, 8), 200, np.uint8))])) == 1
    assert {path: path.stat().st_mtime_ns for path in old.rglob("*")} == before
    # What MLflow makes of an address it does not unescape lies beside the project.
    assert sorted(path.name for path in new.parent.iterdir()) == [new.name]
    if how == "copied":
        monkeypatch.chdir(old)
        assert sorted(versions()) == ["1"]
        assert register_these(old, make(old, "lstm", training="third"))["version"] == "2"
        assert all(address.startswith(old.as_uri()) for address in addresses(old / "mlflow/runs.db"))


def test_a_path_that_mlflow_would_read_as_another_one_is_refused_in_a_line(here, monkeypatch):
    place = here / "my%20project"
    place.mkdir()
    monkeypatch.chdir(place)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(CannotRun, match="rename the folder, or set MLFLOW_TRACKING_URI") as refused:
        connection.connect()
    assert len(str(refused.value).splitlines()) == 1
    assert [path.name for path in here.iterdir() if "project" in path.name] == [place.name]
    assert list(place.iterdir()) == []


def test_addresses_that_are_not_of_this_store_stay_and_so_does_a_store_reached_by_a_link(project, monkeypatch):
    tracking.send_training(make(project, "cnn", training="t1")[0])
    client = tracking.connect().MlflowClient()
    client.create_experiment("mine", "s3://bucket/mine")
    before = addresses(project / "mlflow/runs.db")
    link = project.parent / "link"
    link.symlink_to(project)
    monkeypatch.chdir(link)
    monkeypatch.setattr(connection, "STORE", link / "mlflow/runs.db")
    monkeypatch.setattr(connection, "ARTIFACTS", link / "mlflow/artifacts")
    tracking.connect()
    assert addresses(project / "mlflow/runs.db") == before
    assert client.get_experiment_by_name("mine").artifact_location == "s3://bucket/mine"


# Servers that misbehave.


def drip(handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    while True:
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.2)


def page(handler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "text/html")
    handler.end_headers()
    handler.wfile.write(b"<!DOCTYPE html><html><title>Log in</title></html>")


def status(code: int, **headers: str):
    def answer(handler) -> None:
        handler.send_response(code)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    return answer


MISBEHAVIOUR = {
    "asks to come back in an hour": (status(503, Retry_After="3600"), "not reachable|no answer within"),
    "asks too many to come back in an hour": (status(429, Retry_After="3600"), "not reachable|no answer within"),
    "drips": (drip, "no answer within"),
    "hangs": (lambda handler: time.sleep(60), "no answer within|not reachable"),
    "has a fault": (status(500), "not reachable|no answer within"),
    "asks for a login": (status(401), "refuses who asks"),
    "shows a page to log in": (page, "this is no MLflow server, or a page to log in"),
}


@pytest.fixture(params=MISBEHAVIOUR, ids=lambda name: name.replace(" ", "-"))
def server(request, here, monkeypatch):
    """The address of a server that misbehaves, and what is said of it."""
    answer, words = MISBEHAVIOUR[request.param]

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with contextlib.suppress(OSError):  # the other side has had enough
                answer(self)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    double = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    double.daemon_threads = True
    threading.Thread(target=double.serve_forever, daemon=True).start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://user:c4n4ry@127.0.0.1:{double.server_port}")
    monkeypatch.setattr(connection, "CONNECT", 2.0)
    monkeypatch.setattr(follow, "PATIENCE", {"RUNNING": 1.0, "KILLED": 1.0})
    yield words
    double.shutdown()
    double.server_close()


def test_a_server_that_misbehaves_costs_seconds_and_one_line(server, project, capfd):
    folders = make(project, "cnn", training="t1")
    with tracking.live(files.read_json(folders[0] / "run.json")) as follower:
        for epoch in range(3):
            follower.epoch({"epoch": epoch, "train_loss": 0.5, "time": 1000})
    tracking.try_to(tracking.send_training, folders[0])
    with pytest.raises(CannotRun, match=server) as caught:
        register_these(project, folders)
    output = "".join(capfd.readouterr())
    assert output.count("the training goes on") == 1
    assert "results are on disk" in output
    assert "c4n4ry" not in output + str(caught.value)
    assert "Traceback" not in output
    assert len(str(caught.value).splitlines()) == 1


def test_nothing_but_our_own_lines_reaches_a_terminal(project):
    folders = make(project, "cnn", training="t1")
    script = ("import sys, pathlib; from components.shared.runs import tracking; a, b, c = map(pathlib.Path, sys.argv[1:]); "
              "tracking.send_evaluation(a, b); tracking.send_package(a, c)")  # fmt: skip
    done = subprocess.run([sys.executable, "-W", "default", "-c", script, *folders, package_of(folders[0])], capture_output=True, text=True,
                          env=os.environ | {"PYTHONPATH": str(ROOT), "PYTHONWARNINGS": ""})  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "")
    chatter = [line for line in done.stderr.splitlines() if "mlflow" in line.lower() or "alembic" in line.lower()]
    assert chatter == []


def test_a_store_that_is_locked_for_long_loses_nothing(project, capsys):
    folders = make(project, "cnn", training="t1")
    tracking.connect()
    holder = sqlite3.connect(project / "mlflow/runs.db", isolation_level=None, check_same_thread=False)
    holder.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(7.0, lambda: holder.execute("COMMIT"))
    timer.start()
    assert register_these(project, folders)["accepted"]
    timer.join()
    assert holder.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    assert len(runs()) == 1


# The last words of a run.


def test_summary_says_when_the_verdict_is_of_an_earlier_run(project, capsys):
    folders = make(project, "cnn", training="first")
    register_these(project, folders)
    summary(project / "registration.json")
    assert "champion of `darkroom`: version 1" in capsys.readouterr().out
    validation = project / "validation/summary.json"
    files.write_json(validation, {"passed": True, "data_digest": "d.dir"})
    summary(project / "registration.json")
    capsys.readouterr()

    def says(text: str) -> None:
        with pytest.raises(Refused, match=f"is the verdict of an earlier run: {text}"):
            summary(project / "registration.json")
        assert "champion" not in capsys.readouterr().out

    validation.write_text('{"passed": false, "data_digest": "d.dir"}')
    says("since then data did not pass validation")
    validation.write_text('{"passed": true, "data_digest": "e.dir"}')
    says("since then other data was validated")
    validation.write_text('{"passed": true, "data_digest": "d.dir"}')
    record = folders[0] / "run.json"
    content = files.read_json(record)
    record.write_text(json.dumps({**content, "training_id": "second"}))
    says("since then cnn-default was trained anew, or is gone")


def test_free_ports_are_not_mlflow(here, monkeypatch):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    with pytest.raises(CannotRun, match="not reachable"):
        tracking.connect()


def test_a_deleted_experiment_is_said_to_be_deleted(project):
    client = tracking.connect().MlflowClient()
    client.delete_experiment(client.get_experiment_by_name("darkroom").experiment_id)
    with pytest.raises(CannotRun, match="its experiment 'darkroom' was deleted"):
        tracking.connect()


def test_a_store_whose_making_was_cut_short_is_made_anew(here):
    made = subprocess.Popen([sys.executable, "-c", "from components.shared.runs.connection import connect; connect()"],
                            env=os.environ | {"PYTHONPATH": str(ROOT)})  # fmt: skip

    def begun() -> bool:
        with contextlib.suppress(FileNotFoundError):  # sqlite removed its journal between the list and the look
            return any(file.stat().st_size for file in Path("mlflow").glob("*runs.db*") if not file.name.endswith(".lock"))
        return False

    while not begun():
        assert made.poll() is None
        time.sleep(0.01)
    made.kill()
    made.wait()
    assert not Path("mlflow/runs.db").exists()
    tracking.connect()
    assert [file.name for file in Path("mlflow").iterdir() if "runs.db" in file.name and ".lock" not in file.name] == [
        "runs.db"
    ]
    Path("mlflow/runs.db").unlink()
    client = tracking.connect().MlflowClient()  # in the same process, too
    assert [each.name for each in client.search_experiments()] == ["darkroom"]
    assert not Path("mlruns").exists()
