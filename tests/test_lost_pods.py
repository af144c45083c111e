"""A training whose pod is drained or lost goes on in another one: real processes, a real S3, a real MLflow server."""

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from test_server import free_port, seaweed
from test_tracking_server import serving
from test_train import write_layout, write_split

from components.shared import files, store
from components.shared.runs import pipeline_run
from components.shared.store import open_store
from mlflow import MlflowClient

pytestmark = pytest.mark.slow

EPOCHS, BATCHES = 60, 12  # batches of an epoch
# As a wrapper on a cluster calls the step: in the process that KFP's executor runs in, which nobody supervises.
SLOW = "from components.train import termination; termination.GRACE = 20\n"  # as if this machine were as fast as it is busy
WRAPPED = (
    f"{SLOW}import yaml; from components.__main__ import call\n"
    "params = yaml.safe_load(open('params.yaml'))\n"
    "call('train', section='train.cnn', augmented='prepared/train', prepared='prepared', config=params['train']['cnn'], seed=3,"
    " model='models/cnn')"
)
COMMANDS = {
    "darkroom": [sys.executable, "-c", f"{SLOW}import sys; from components.__main__ import main; sys.exit(main())", "train",
                 "--augmented", "prepared/train", "--prepared", "prepared", "--config", "train.cnn", "--model", "models/cnn"],
    "wrapped": [sys.executable, "-c", WRAPPED],
}  # fmt: skip


@pytest.fixture(scope="module")
def cluster(tmp_path_factory) -> Iterator[dict[str, str]]:
    """An object store and a tracking server; yields what a pod has in its environment."""
    folder = tmp_path_factory.mktemp("cluster")
    known = {"DATABASE_PASSWORD": "-", "STORE_ACCESS_KEY": "team", "STORE_SECRET_KEY": secrets.token_hex(16)}
    store, mlflow = free_port(), free_port()
    environment = {
        "AWS_ACCESS_KEY_ID": "team", "AWS_SECRET_ACCESS_KEY": known["STORE_SECRET_KEY"], "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store}", "DARKROOM_STORE": "s3://darkroom",
        "MLFLOW_TRACKING_URI": f"http://127.0.0.1:{mlflow}",
    }  # fmt: skip
    with seaweed(folder / "store", store, known), serving(folder, mlflow):
        script = "import s3fs; s3fs.S3FileSystem().mkdir('darkroom')"
        subprocess.run([sys.executable, "-c", script], env=os.environ | environment, check=True)
        yield environment


@pytest.fixture
def pods(cluster, here, monkeypatch):
    """Starts a training in a new folder that holds its inputs alone, under one pipeline run."""
    for name, value in cluster.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("DARKROOM_PIPELINE_RUN", here.parent.name)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", here.parent.name)
    for name, each in (("train", 64), ("validation", 16)):
        write_split(here / "prepared" / name, each=each, seed=len(name))
    write_layout(here)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["train"]["cnn"] |= {"epochs": EPOCHS, "batch_size": 16, "dropout": 0.2, "precision": "float32"}
    params["seed"] = 3
    (here / "params.yaml").write_text(yaml.safe_dump(params))
    started = []

    def start(name: str, command: str = "wrapped", **environment: str) -> subprocess.Popen:
        (here / name).mkdir()
        for inputs in ("prepared", "params.yaml"):
            (here / name / inputs).symlink_to(here / inputs)
        started.append(subprocess.Popen(
            COMMANDS[command], cwd=here / name, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True, env=os.environ | environment,
        ))  # fmt: skip
        return started[-1]

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def checkpoints() -> list[str]:
    return [key for key in open_store().names("checkpoints") if key.endswith(".npz")]


def wait_for_checkpoint(process: subprocess.Popen, epoch: int) -> None:
    while not any(int(Path(key).stem) >= epoch * BATCHES for key in checkpoints()):
        assert process.poll() is None, process.stdout.read()
        time.sleep(0.1)


def outcome(folder: Path) -> tuple:
    record = files.read_json(folder / "models/cnn/run.json")
    best = {name: value for name, value in record["best"].items() if name not in ("time", "seconds")}
    return record["model"]["weights_sha256"], record["validation"], best, record["steps"]


def trainings() -> list:
    from components.shared.runs import tracking

    client = tracking.connect().MlflowClient()
    found = client.search_runs([client.get_experiment_by_name(os.environ["MLFLOW_EXPERIMENT_NAME"]).experiment_id])
    return [run for run in found if pipeline_run.TRAINING in run.data.tags]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", [signal.SIGTERM, signal.SIGKILL], ids=["drained", "lost"])
def test_a_training_goes_on_in_another_pod_in_the_same_run_with_the_same_result(pods, here, kind, command):
    straight = pods("straight", command, DARKROOM_STORE="", MLFLOW_EXPERIMENT_NAME="straight")
    told, _ = straight.communicate(timeout=300)
    assert straight.returncode == 0, told

    first = pods("first", command)
    wait_for_checkpoint(first, epoch=3)
    first.stdout.close()  # the launcher is gone
    os.killpg(first.pid, kind)
    assert first.wait(timeout=10) == (143 if kind == signal.SIGTERM else -signal.SIGKILL)
    (run,) = trainings()
    assert run.info.status == ("KILLED" if kind == signal.SIGTERM else "RUNNING")
    assert not (here / "first/models/cnn").exists()
    if kind == signal.SIGKILL:  # and the newest checkpoint is not what it was
        (here / "cut").write_bytes(b"PK")
        open_store().put(max(checkpoints()), here / "cut")
    kept = max(int(Path(key).stem) for key in checkpoints()[: -1 if kind == signal.SIGKILL else None])
    assert kept >= 2 * BATCHES

    second = pods("second", command)
    told, _ = second.communicate(timeout=300)
    assert second.returncode == 0, told
    assert re.search(rf"goes on from a checkpoint in epoch \d+ \(batch {kept}\)", told), told
    assert told.count(": damaged (") == (kind == signal.SIGKILL)
    assert outcome(here / "second") == outcome(here / "straight")
    (again,) = trainings()
    assert (again.info.run_id, again.info.status) == (run.info.run_id, "FINISHED")
    assert again.data.metrics["validation/accuracy"] == outcome(here / "second")[1]["accuracy"]
    assert checkpoints() == []


def content(folder: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir()}


def test_a_finished_model_whose_pod_is_lost_before_its_upload_is_written_out_by_the_next_one(pods, here):
    before = set(open_store().names("checkpoints"))
    first = pods("first")
    told, _ = first.communicate(timeout=300)
    assert first.returncode == 0, told
    (run,) = trainings()
    client = MlflowClient()
    client.set_terminated(run.info.run_id, "KILLED")  # the signal came last of all
    client.set_tag(run.info.run_id, "darkroom.ended", "train cnn: pod deleted")
    second = pods("second")
    told, _ = second.communicate(timeout=300)
    assert second.returncode == 0, told
    assert "as an earlier pod of this pipeline run had finished it" in told
    assert "epoch" not in told
    assert content(here / "second/models/cnn") == content(here / "first/models/cnn")
    (again,) = trainings()
    assert (again.info.run_id, again.info.status, again.data.tags.get("darkroom.ended")) == (run.info.run_id, "FINISHED", None)

    (kept,) = set(open_store().names("checkpoints")) - before
    (here / "cut").write_bytes((here / "first/models/cnn/model.keras").read_bytes()[:2000])
    open_store().put(kept, here / "cut")
    for name, environment in (("damaged", {}), ("another", {"DARKROOM_PIPELINE_RUN": "another"})):
        anew = pods(name, **environment)
        told, _ = anew.communicate(timeout=300)
        assert anew.returncode == 0, told
        assert ("the finished model in the store is damaged" in told) == (name == "damaged")
        assert "epoch  1/" in told
    assert len(trainings()) == 3
    with pytest.MonkeyPatch.context() as patch:
        open_store().clean("checkpoints")
        assert len(set(open_store().names("checkpoints")) - before) == 2
        patch.setattr(store, "DAYS", -1)
        open_store().clean("checkpoints")
        assert open_store().names("checkpoints") == []


@pytest.mark.parametrize("point", ["before its run is made", "before its first checkpoint", "while its model is sent"])
def test_a_training_killed_at_an_odd_point_leaves_one_run_which_the_next_pod_ends(pods, here, point):
    reached = {
        "before its run is made": lambda: [key for key in open_store().names("checkpoints") if key.endswith("begun.json")],
        "before its first checkpoint": trainings,
        "while its model is sent": (here / "first/models/cnn").exists,
    }[point]
    first = pods("first")
    while not reached():
        assert first.poll() is None, first.stdout.read()
        time.sleep(0.02)
    os.killpg(first.pid, signal.SIGKILL)
    first.wait(timeout=10)
    assert [run.info.status for run in trainings()] in ([], ["RUNNING"])
    second = pods("second")
    told, _ = second.communicate(timeout=300)
    assert second.returncode == 0, told
    assert [run.info.status for run in trainings()] == ["FINISHED"]
    assert checkpoints() == []
    assert pipeline_run.close_left_open("it ended") == []


def test_the_process_ends_though_something_hangs(here):
    script = ("import threading, time; from components.train.termination import stoppable\n"
              "with stoppable() as stop:\n"
              "    stop.last = lambda: time.sleep(600); print('ready', flush=True)\n"
              "    stop.told.wait(); threading.Event().wait()")  # fmt: skip
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.readline()
        process.stdout.close()
        process.terminate()
        assert process.wait(timeout=60) == 128 + signal.SIGTERM
        assert process.stderr.read() == b""


def test_a_run_that_no_pod_takes_over_is_closed_with_the_reason(pods, here):
    process = pods("first")
    wait_for_checkpoint(process, epoch=1)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait(timeout=10)
    (closed,) = pipeline_run.close_left_open("train cnn: OOMKilled")
    assert closed.startswith("cnn · seed=3, height=16")  # which is not as committed
    (run,) = trainings()
    assert (run.info.status, run.data.tags["darkroom.ended"]) == ("FAILED", "train cnn: OOMKilled")
    for key in open_store().names("checkpoints"):
        open_store().delete(key)


def test_a_store_that_is_away_is_said_once_and_the_training_goes_on(pods, here, tmp_path_factory):
    away = pods("away", AWS_ENDPOINT_URL="http://127.0.0.1:9", MLFLOW_EXPERIMENT_NAME="away")
    told, _ = away.communicate(timeout=600)
    assert away.returncode == 0, told
    assert told.count("its checkpoints lie on this machine alone") == 1

    folder, port = tmp_path_factory.mktemp("short-lived"), free_port()
    known = {"DATABASE_PASSWORD": "-", "STORE_ACCESS_KEY": "team", "STORE_SECRET_KEY": os.environ["AWS_SECRET_ACCESS_KEY"]}
    with pytest.MonkeyPatch.context() as patch, seaweed(folder / "store", port, known):
        patch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{port}")
        script = "import s3fs; s3fs.S3FileSystem().mkdir('darkroom')"
        subprocess.run([sys.executable, "-c", script], env=os.environ, check=True)
        cut_off = pods("cut off", MLFLOW_EXPERIMENT_NAME="away")
        while not any(int(file.stem) >= 2 * BATCHES for file in here.glob("cut off/models/.cnn.checkpoint.*/*.npz")):
            assert cut_off.poll() is None, cut_off.stdout.read()
            time.sleep(0.1)
    told, _ = cut_off.communicate(timeout=600)
    assert cut_off.returncode == 0, told
    assert told.count("its checkpoints lie on this machine alone") == 1
    assert outcome(here / "cut off") == outcome(here / "away")
