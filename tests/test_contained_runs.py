"""The whole pipeline in real containers, under the launcher's rules: killed, refused, of a stale image, with one new shard."""

import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from conftest import ROOT

from components.ingest.step import ingest
from pipelines import graph

pytestmark = pytest.mark.slow

QUICK = [f"--set={knob}" for knob in (
    "prepare.height=8", "prepare.width=8", "prepare.channels=1", "augment.copies=1", "augment.flip=false", "train.cnn.epochs=20",
    "train.cnn.batch_size=32", "train.lstm.epochs=4", "train.lstm.batch_size=64", "register.minimum_accuracy=0.1", "register.enabled=true",
    # Which precision is faster is decided by the clock, and may differ between two trainings on a busy machine.
    "train.cnn.precision=float32", "train.lstm.precision=float32",
    "register.minimum_balanced_accuracy=0.1", "register.minimum_worst_class_recall=0.0",
)]  # fmt: skip
ROOTS = Path("outputs/kubeflow")
STORE = ROOTS / "containers/artifacts/store"
CANARY = "canary-t0k3n"


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """A project with two shards of digits in data/, and a third one beside it."""
    folder = tmp_path_factory.mktemp("digits")
    ingest("digits", folder / "data", shard_samples=800)
    (folder / "data/00002.parquet").rename(folder / "00002.parquet")
    shutil.copy(ROOT / "params.yaml", folder)
    return folder


def start(folder: Path, *arguments: str, **environment: str) -> subprocess.Popen:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    command = ["python", "-m", "pipelines", *arguments]
    return subprocess.Popen(
        command, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=clean | environment
    )


def ended(process: subprocess.Popen) -> subprocess.CompletedProcess:
    out, err = process.communicate(timeout=900)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


def pipelines(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    return ended(start(folder, *arguments, **environment))


def kill(folder: Path, process: subprocess.Popen, signal: str, *, batch: int) -> None:
    """Kill the container of the CNN's training when a checkpoint of this batch, or of one after it, is in the store."""
    checkpoints, logs = (folder / STORE / "checkpoints").glob, (folder / ROOTS / "containers/logs").glob
    while not (any(logs("*/*-train_cnn.log")) and any(int(file.stem) >= batch for file in checkpoints("*/*.npz"))):
        assert process.poll() is None, ended(process)
        time.sleep(0.1)
    ours = ["podman", "ps", "--quiet", f"--filter=volume={(folder / STORE).parent}"]
    (container,) = subprocess.run(ours, capture_output=True, text=True, check=True).stdout.split()
    subprocess.run(["podman", "kill", f"--signal={signal}", container], check=True, capture_output=True)


def steps(folder: Path) -> set[str]:
    """What the latest run did, and did not find in its cache."""
    latest = max((folder / ROOTS / "containers/logs").iterdir())
    return {log.stem.partition("-")[2] for log in latest.iterdir()}


def said(folder: Path, step: str) -> str:
    (log,) = max((folder / ROOTS / "containers/logs").iterdir()).glob(f"*-{step}.log")
    return log.read_text()


def metrics(root: Path) -> dict[str, bytes]:
    """Of the CNN and of the LSTM."""
    return {file.parent.name: file.read_bytes() for file in root.glob("darkroom-*/evaluate*/evaluation_*/metrics.json")}


def trainings(folder: Path) -> dict[str, tuple[str, str]]:
    """Status and id in MLflow of the training of each architecture."""
    import mlflow
    from components.shared.runs.connection import sqlite_address
    from components.shared.runs.pipeline_run import TRAINING

    client = mlflow.MlflowClient(sqlite_address(folder / ROOTS / "containers/tracking/mlflow/runs.db"))
    found = client.search_runs([experiment.experiment_id for experiment in client.search_experiments()])
    assert all(run.info.status != "RUNNING" for run in found if TRAINING not in run.data.tags)
    found = [run for run in found if TRAINING in run.data.tags]
    assert len({run.data.tags["architecture"] for run in found}) == len(found)
    return {run.data.tags["architecture"]: (run.info.status, run.info.run_id) for run in found}


def test_a_training_that_is_killed_twice_goes_on_and_gives_what_processes_give(image, digits):
    run = ["run", "--containers", *QUICK]
    process = start(digits, *run, MLFLOW_TRACKING_TOKEN=CANARY)
    kill(digits, process, "TERM", batch=150)
    first = ended(process)
    assert first.returncode == 1
    why = "failed at train cnn: exit code 143: told to stop; the same command goes on from here; log: "
    assert f"pipelines run: {why}" in first.stderr
    assert re.search(rf"Darkroom: darkroom-[-\d]+ {why}", said(digits, "report"))  # the exit handler says it too
    prepared = {"measure", "embed", "validate", "gate", "prepare", "augment"}
    assert steps(digits) == prepared | {
        "tracking",
        "train_cnn",
        "train_lstm",
        "package_lstm",
        "evaluate_lstm",
        "report",
    }  # what does not need it goes on
    status, run_id = trainings(digits)["cnn"]
    assert status == "KILLED"

    process = start(digits, *run, MLFLOW_TRACKING_TOKEN=CANARY)
    kill(digits, process, "KILL", batch=600)
    second = ended(process)
    assert second.returncode == 1
    assert "pipelines run: failed at train cnn: exit code 137: killed, perhaps out of memory (limit 4g" in second.stderr
    assert steps(digits) == {"train_cnn", "report"}
    assert "goes on from a checkpoint in epoch" in said(digits, "train_cnn")

    third = pipelines(digits, *run, MLFLOW_TRACKING_TOKEN=CANARY)
    assert third.returncode == 0, third.stdout[-5000:] + third.stderr[-2000:]
    assert steps(digits) == {"train_cnn", "package_cnn", "evaluate_cnn", "stress", "register", "report"}
    goes_on = re.search(r"goes on from a checkpoint in epoch \d+ \(batch ([\d,]+)\)", said(digits, "train_cnn"))
    assert int(goes_on[1].replace(",", "")) >= 600
    assert trainings(digits)["cnn"] == ("FINISHED", run_id)
    assert trainings(digits)["lstm"][0] == "FINISHED"
    assert "champion" in said(digits, "register")
    assert re.search(r"Darkroom: darkroom-[-\d]+ succeeded", said(digits, "report"))
    assert CANARY not in "".join(log.read_text() for log in (digits / ROOTS / "containers/logs").glob("*/*"))
    assert CANARY not in "".join(done.stdout + done.stderr for done in (first, second, third))
    assert not list((digits / STORE).glob("checkpoints/*/*"))

    undisturbed = pipelines(digits, "run", *QUICK)
    assert undisturbed.returncode == 0, undisturbed.stdout[-5000:]
    in_containers = metrics(digits / ROOTS / "containers/artifacts")
    assert set(in_containers) == {"evaluation_cnn", "evaluation_lstm"}
    assert in_containers == metrics(digits / ROOTS / "processes")
    again = pipelines(digits, *run)
    assert again.returncode == 0
    assert steps(digits) == {"register", "report"}
    leftover = subprocess.run(["podman", "ps", "--all", "--quiet", f"--filter=volume={(digits / STORE).parent}"],
                              capture_output=True, text=True, check=True)  # fmt: skip
    assert not leftover.stdout


def test_of_one_new_shard_more_that_one_alone_is_measured_and_prepared(image, digits):
    kept = digits / STORE / "parts"

    def parts() -> dict[Path, int]:
        return {file: file.stat().st_mtime_ns for file in kept.rglob("*") if file.is_file()}

    before = parts()
    assert sorted(file.parent.name for file in before) == ["measure"] * 2 + ["prepare"] * 2
    shutil.copy(digits / "00002.parquet", digits / "data")
    done = pipelines(digits, "run", "--containers", *QUICK)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    new = {file: time for file, time in parts().items() if before.get(file) != time}
    assert sorted(file.parent.name for file in new) == ["measure", "prepare"]
    assert "1 shard measured, 2 kept" in said(digits, "measure")
    first, second = sorted((digits / ROOTS / "containers/artifacts").glob("darkroom-*/measure/manifest"))
    for part in first.glob("*.parquet"):
        assert part.read_bytes() == (second / part.name).read_bytes()
    assert len(list(second.glob("*.parquet"))) == len(list(first.glob("*.parquet"))) + 1


@pytest.fixture
def project(tmp_path) -> Path:
    shutil.copy(ROOT / "params.yaml", tmp_path)
    ingest("digits", tmp_path / "data")
    return tmp_path


def test_a_step_that_refuses_fails_the_run_with_its_reason(image, project):
    done = pipelines(project, "run", "--containers", *QUICK, "--set", "prepare.test_fraction=0.0001")
    assert done.returncode == 1
    assert "pipelines run: failed at prepare: E_CLASS_MISSING" in done.stderr
    assert "failed at prepare: E_CLASS_MISSING" in said(project, "report")  # the exit handler says it too
    assert "Traceback" not in said(project, "prepare")
    assert not list((project / ROOTS / "containers/artifacts").glob("darkroom-*/prepare"))  # of a failed step nothing is kept

    # Data that validate refuses: it ends well, with all that it has to say; the gate behind it ends the run.
    done = pipelines(project, "run", "--containers", *QUICK, "--set", "validate.min_class_size=1000")
    assert done.returncode == 1
    assert "pipelines run: failed at validate: refused: E_CLASS_TOO_SMALL" in done.stderr
    assert "failed at validate: refused: E_CLASS_TOO_SMALL" in said(project, "report")
    assert steps(project) == {"validate", "gate", "report"}
    refused = max((project / ROOTS / "containers/artifacts").glob("darkroom-*/validate"))
    for page in ("report", "findings", "validation/findings.json"):
        assert "E_CLASS_TOO_SMALL" in (refused / page).read_text()


def test_an_image_of_other_code_is_refused_before_anything_starts(image, digits):
    stale = f"FROM {graph.image()}\nLABEL darkroom.code=0123456789abcdef\n"
    made = subprocess.run(["podman", "build", "--quiet", "--tag", "localhost/stale:1", "-"], input=stale, text=True)
    assert made.returncode == 0
    done = pipelines(digits, "run", "--containers", DARKROOM_IMAGE="localhost/stale:1")
    subprocess.run(["podman", "image", "rm", "localhost/stale:1"], check=True)
    assert done.returncode == 2
    assert f"holds code 0123456789abcdef, this checkout is {graph.code_digest()}; `make image`" in done.stderr


def test_without_an_image_or_an_engine_it_says_what_to_do(image, digits):
    none = pipelines(digits, "run", "--containers", DARKROOM_IMAGE="localhost/none:1")
    assert none.returncode == 2
    assert "no image localhost/none:1 on this machine; `make image` builds it" in none.stderr
    down = pipelines(digits, "run", "--containers", DOCKER_HOST="tcp://127.0.0.1:9")
    assert down.returncode == 2
    assert "no container engine answers" in down.stderr
