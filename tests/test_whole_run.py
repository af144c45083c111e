"""The main job, for real: clone, ingest, `make run`, on digits that ship with scikit-learn and on clips drawn here."""

import contextlib
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import yaml
from conftest import ROOT, draw_clips

pytestmark = pytest.mark.slow


def clone(folder: Path, *, history: bool = True) -> Path:
    """The project as it stands in a new folder with git; this environment serves it too."""
    listed = subprocess.run(
        ["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard", "-z"], capture_output=True, text=True
    )
    for name in filter(None, listed.stdout.split("\0")):
        if (ROOT / name).exists():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    run(folder, "git", "init", "-q")
    run(folder, "git", "config", "user.name", "t")
    run(folder, "git", "config", "user.email", "t@example.org")
    if history:
        run(folder, "git", "add", "-A")
        run(folder, "git", "commit", "-qm", "start")
    # The real set-up is what brought us here; in the clone it is told that all is there already.
    (folder / "infra/setup.sh").write_text("#!/bin/sh\n")
    (folder / ".venv").symlink_to(ROOT / ".venv")
    return folder


def run(folder: Path, *command: str, code: int = 0) -> str:
    """Run a command in a clone, with this environment: `make setup` takes it for its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "GIT_", "MAKE"))}
    environment["PATH"] = f"{ROOT / '.venv/bin'}:{environment['PATH']}"
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == code, done.stdout
    return done.stdout


def change(folder: Path, **sections: dict) -> None:
    """Edit params.yaml as a user would: `change(folder, prepare={"height": 8})`; a dotted name is a nested section."""
    params = yaml.safe_load((folder / "params.yaml").read_text())
    for name, knobs in sections.items():
        section = params
        for part in name.split("__"):
            section = section[part]
        section.update(knobs)
    (folder / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def metrics(folder: Path) -> dict[str, bytes]:
    return {name: (folder / f"outputs/evaluation/{name}/metrics.json").read_bytes() for name in ("cnn", "lstm")}


def versions(folder: Path) -> int:
    """How many versions the registry holds."""
    with contextlib.closing(sqlite3.connect(folder / "mlflow/runs.db")) as store:
        return store.execute("select count(*) from model_versions").fetchone()[0]


# Which precision is faster is decided by the clock, and may differ between two trainings on a busy machine.
QUICK = {
    "prepare": {"height": 8, "width": 8, "channels": 1},
    "augment": {"copies": 1, "flip": False},
    "train__cnn": {"epochs": 4, "batch_size": 64, "precision": "float32"},
    "train__lstm": {"epochs": 6, "batch_size": 64, "precision": "float32"},
}


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    """A run on the digits, under a path with a space in it, in a folder that was copied and `git init`ed."""
    folder = clone(tmp_path_factory.mktemp("first") / "my pictures", history=False)
    change(folder, **QUICK)
    run(folder, "darkroom", "ingest", "digits", "data")
    run(folder, "dvc", "add", "data")
    told = run(folder, "make", "run")
    assert "champion of `darkroom`: version" in told
    assert "balanced accuracy" in told
    assert not re.search("WARNING|Warning:", told)  # of a library, in a healthy run
    return folder


def test_from_pictures_to_a_registered_model(digits):
    scores = {name: json.loads(content) for name, content in metrics(digits).items()}
    assert scores["cnn"]["balanced_accuracy"] > 0.93
    assert scores["lstm"]["balanced_accuracy"] > 0.85
    verdict = json.loads((digits / "outputs/registration.json").read_text())
    assert verdict["accepted"]
    assert (verdict["model"], verdict["alias"]) == ("darkroom", "champion")
    assert verdict["reasons"]
    assert (digits / "mlflow/runs.db").exists()
    for name in ("cnn", "lstm"):
        folder = digits / f"outputs/evaluation/{name}"
        for picture in ("confusion", "reliability", "roc", "pr", "mistakes", "explanations"):
            assert (folder / f"{picture}.png").stat().st_size > 1000, picture


def test_a_second_run_computes_nothing(digits):
    told = run(digits, "make", "run")
    assert "Running stage" not in told
    assert told.count("champion of `darkroom`: version") == 1


def test_another_clone_gets_the_same_metrics_byte_for_byte(digits, tmp_path):
    folder = clone(tmp_path / "second")
    change(folder, **QUICK)
    run(folder, "darkroom", "ingest", "digits", "data")
    run(folder, "dvc", "add", "data")
    assert (folder / "data.dvc").read_bytes() == (digits / "data.dvc").read_bytes()
    run(folder, "make", "run")
    assert metrics(folder) == metrics(digits)


def test_a_knob_runs_again_only_what_it_touches(digits):
    kept = (digits / "params.yaml").read_text()
    try:
        change(digits, train__lstm={"epochs": 7})
        told = run(digits, "dvc", "status")
        assert "train@lstm" in told
        assert "train@cnn" not in told
        assert "prepare" not in told.replace("outputs/prepared", "")
        change(digits, register={"minimum_accuracy": 0.4})
        assert "register" in run(digits, "dvc", "status")
    finally:
        (digits / "params.yaml").write_text(kept)


def test_dvc_shows_metrics_plots_and_runs_experiments(digits):
    run(digits, "git", "add", "-A")
    run(digits, "git", "commit", "-qm", "run")
    run(digits, "dvc", "plots", "show")
    page = (digits / "dvc_plots/index.html").read_text()
    assert "http" not in page  # so that it shows its pictures without a network
    pictures = [digits / "dvc_plots" / place for place in re.findall(r'<img src="([^"]+)"', page)]
    assert len(pictures) == 14
    assert all(picture.stat().st_size > 1000 for picture in pictures)
    versions = json.loads((digits / "outputs/registration.json").read_text())["candidates"]
    run(digits, "dvc", "exp", "run", "-S", "train.lstm.epochs=2", "-S", "register.enabled=false")
    verdict = json.loads((digits / "outputs/registration.json").read_text())
    assert (verdict["accepted"], verdict["version"]) == (False, None)
    assert all(candidate["version"] for candidate in versions)
    assert "lstm.acc" in run(digits, "dvc", "metrics", "diff")
    table = run(
        digits, "env", "COLUMNS=120", "dvc", "exp", "show", "--only-changed", "--drop", ".*/.*", "--no-pager"
    ).splitlines()
    assert {"lstm.acc", "train.lstm.epochs"} <= set(table[1].split())
    assert max(map(len, table)) <= 120
    with (digits / "outputs/models/lstm/history.csv").open() as history:
        assert len(history.readlines()) == 3


def test_an_experiment_up_to_the_gate_needs_no_output_that_nobody_has(tmp_path):
    folder = clone(tmp_path)
    run(folder, "darkroom", "ingest", "digits", "data")
    run(folder, "dvc", "add", "data")
    (folder / "quarantine").mkdir()
    (folder / "quarantine/taken_out.png").write_bytes(b"x")
    assert "Experiment results have been applied to your workspace" in run(folder, "dvc", "exp", "run", "validate")
    assert "quarantine" not in run(folder, "git", "status", "--short")


def test_data_that_is_not_what_was_recorded_stops_the_run(digits):
    shard = next((digits / "data").glob("*.parquet"))
    kept = shard.read_bytes()
    shard.unlink()
    try:
        shard.write_bytes(kept[:-1] + bytes([kept[-1] ^ 1]))
        told = run(digits, "make", "run", code=2)
        assert "data/ is not what data.dvc records" in told
        assert "rm -r data && make run" in told
    finally:
        shard.unlink()
        shard.write_bytes(kept)


def test_wrong_data_stops_a_fresh_clone_too(digits, tmp_path):
    folder = clone(tmp_path / "fresh")
    shutil.copy(digits / "data.dvc", folder / "data.dvc")
    recorded = (folder / "data.dvc").read_text()
    shutil.copytree(digits / "data", folder / "data")
    draw_clips(tmp_path / "other", each=2)
    run(folder, "darkroom", "ingest", str(tmp_path / "other"), "data", "--add")
    # Nothing is in this clone's cache, and DVC would take whatever it finds.
    assert "data/ is not what data.dvc records" in run(folder, "make", "run", code=2)
    assert (folder / "data.dvc").read_text() == recorded
    shutil.rmtree(folder / "data")
    assert "darkroom ingest SOURCE data" in run(folder, "make", "run", code=2)


def test_a_wrong_knob_stops_the_run_with_one_line(digits):
    kept = (digits / "params.yaml").read_text()
    try:
        change(digits, train__cnn={"epochs": -1})
        told = run(digits, "dvc", "repro", code=255)
        assert "train.cnn.epochs: expected an integer of at least 1, got -1" in told
        assert "Traceback" not in told
    finally:
        (digits / "params.yaml").write_text(kept)


def test_clips_run_the_same_way_without_touching_code(tmp_path):
    folder = clone(tmp_path / "clips")
    draw_clips(tmp_path / "source", each=60)
    quick = {"prepare": {"height": 16, "width": 16, "channels": 3}, "augment": {"flip": False, "copies": 1}}
    train = {"epochs": 15, "batch_size": 16, "dropout": 0.1}
    change(folder, **quick, train__cnn={**train, "epochs": 3}, train__lstm=train, register={
        "minimum_accuracy": 0.0, "minimum_balanced_accuracy": 0.0, "minimum_worst_class_recall": 0.0,
    })  # fmt: skip
    run(folder, "darkroom", "ingest", str(tmp_path / "source"), "data")
    run(folder, "dvc", "add", "data")
    assert not re.search("WARNING|Warning:", run(folder, "make", "run"))
    scores = {name: json.loads(content) for name, content in metrics(folder).items()}
    # The label is the direction of motion: only who reads frames in order can know it.
    assert scores["lstm"]["accuracy"] > 0.8
    assert scores["lstm"]["accuracy"] > scores["cnn"]["accuracy"]


def test_the_kubeflow_pipeline_run_here_gives_the_same_metrics_byte_for_byte(digits):
    before = versions(digits)
    told = run(digits, "python", "-m", "pipelines", "run")
    assert "A trial: " in told
    assert versions(digits) == before
    assert len(told.splitlines()) < 60
    assert re.search(r"^train cnn +done +[0-9,]+ s$", told, re.M)
    root = digits / "outputs/kubeflow/processes"
    assert all((digits / place).exists() for place in re.findall(r"^(?:report|logs): +(.+)$", told, re.M))
    found = {path.read_bytes() for path in root.glob("darkroom-*/evaluate*/evaluation_*/metrics.json")}
    assert found == set(metrics(digits).values())


def test_what_was_run_is_not_run_again_unless_it_was_damaged(digits):
    root = digits / "outputs/kubeflow/processes"
    trained = set(root.glob("darkroom-*/train*"))
    run(digits, "python", "-m", "pipelines", "run")
    assert set(root.glob("darkroom-*/train*")) == trained
    assert len(list(root.glob("darkroom-*/register*"))) == 2  # true of one tracking server at one time: never from a cache
    arrays = next(root.glob("darkroom-*/augment*/augmented/images.npy"))
    content = bytearray(arrays.read_bytes())
    content[-1] ^= 1
    arrays.write_bytes(content)
    before = versions(digits)
    asked = ["--set", "train.lstm.epochs=2", "--set", "register.enabled=true"]
    assert "registered as version" in run(digits, "python", "-m", "pipelines", "run", *asked)
    assert versions(digits) > before
    assert len(list(root.glob("darkroom-*/augment*"))) == 2  # a damaged artifact is made anew, not reused
    assert len(list(root.glob("darkroom-*/measure*"))) == 1  # what is whole is
    found = [path.read_bytes() for path in root.glob("darkroom-*/evaluate*/evaluation_*/metrics.json")]
    assert set(metrics(digits).values()) & set(found[-4:])


def test_a_failing_step_fails_the_kubeflow_pipeline(digits):
    told = run(digits, "python", "-m", "pipelines", "run", "--set", "validate.min_class_size=1000000", code=1)
    assert "pipelines run: failed at validate: " in told
    assert "E_CLASS_TOO_SMALL" in told


def test_a_run_that_is_told_to_stop_takes_its_step_with_it(digits):
    command = ["python", "-m", "pipelines", "run", "--root", "outputs/stopped", "--set", "train.cnn.epochs=1000"]
    environment = os.environ | {"PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}"}
    process = subprocess.Popen(
        command, cwd=digits, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    while not any("3/1000 " in log.read_text() for log in (digits / "outputs/stopped").glob("processes/logs/*/*train_cnn.log")):
        assert process.poll() is None
        time.sleep(0.1)
    steps = psutil.Process(process.pid).children(recursive=True)
    assert steps
    process.send_signal(signal.SIGTERM)
    told = process.communicate(timeout=60)[0]
    assert process.returncode == 130
    assert "pipelines run: interrupted" in told
    assert "Traceback" not in told
    assert not psutil.wait_procs(steps, timeout=10)[1]


def test_a_step_that_always_fails_is_tried_as_often_as_the_settings_say(digits, tmp_path, monkeypatch):
    from kfp import local

    from pipelines import local as ours
    from pipelines import settings
    from pipelines.training import training_pipeline

    how = yaml.safe_load((ROOT / settings.FILE).read_text())
    how["steps"]["prepare"] = {"retries": 3, "backoff": 1}
    how["store"] = (tmp_path / "store").as_uri()
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(how))
    params = yaml.safe_load((digits / "params.yaml").read_text())
    params["prepare"]["test_fraction"] = 0.0001
    (tmp_path / "words").touch()
    monkeypatch.setenv("DARKROOM_REASONS", str(tmp_path / "words"))
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    local.init(local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"), raise_on_error=False)
    pipeline = training_pipeline(params, image="i", code="", settings=settings.read(file))
    started = time.monotonic()
    logs = ours.Logs(tmp_path / "logs")
    with ours.like_the_launcher(logs.process, {}):
        pipeline(data=str(digits / "data"), digest=yaml.safe_load((digits / "data.dvc").read_text())["outs"][0]["md5"])
    words = (tmp_path / "words").read_text().splitlines()
    assert len([line for line in words if line.startswith("prepare: ")]) == 4  # and no fifth
    assert time.monotonic() - started > 1 + 2 + 4  # waited longer each time
