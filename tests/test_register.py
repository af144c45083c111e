"""Training's and evaluation's records -> the registry, on a real MLflow store (sqlite)."""

import time
from pathlib import Path

import numpy as np
import pytest
from conftest import png
from kfp.dsl import HTML, Markdown
from trained import champion, facts, knobs_of_register, make, package_of, project, register_these, split_of, versions

from components.register.step import register
from components.register.summary import summary
from components.shared import files
from components.shared.errors import CannotRun, Refused
from components.shared.runs import tracking
from components.shared.runs.packages import fetched
from pipelines.artifacts import show_registration


@pytest.fixture
def candidate(here: Path):
    """`candidate("cnn", validation=0.9, test=0.8)`: the folders that train and evaluate would leave; returns their paths."""
    made = []

    def make_one(architecture: str, **options):
        if not made:
            project(here)
        made.append(architecture)
        return make(here, architecture, **{"training": f"{architecture}{len(made) - 1}"} | options)

    return make_one


@pytest.fixture
def registered(here: Path):
    """`registered((model, evaluation), ..., **knobs)`: register them and return the verdict."""
    return lambda *folders, **changes: register_these(here, *folders, **changes)


def test_the_better_one_on_validation_becomes_champion_whatever_the_test_split_says(candidate, registered, capsys):
    verdict = registered(candidate("cnn", validation=0.9, test=0.7), candidate("lstm", validation=0.8, test=0.95))
    assert verdict["accepted"]
    assert versions() == {"1": "cnn", "2": "lstm"}
    assert champion().tags["architecture"] == "cnn"
    assert verdict["version"] == str(champion().version)
    assert "cnn has balanced accuracy 0.9000 on validation data, against lstm 0.8000." in verdict["reasons"]
    assert "**Limits**" in champion().description
    assert champion().tags["data_digest"] == "d.dir"
    assert facts()["sha256"]
    capsys.readouterr()
    summary(Path("registration.json"))
    table = capsys.readouterr().out
    assert "cnn-default  lstm-default" in table
    assert "70.00%" in table
    assert "champion of `darkroom`: version 1" in table


def test_a_trial_gets_its_verdict_and_adds_nothing_to_the_registry(candidate, registered, capsys):
    trial = registered(candidate("cnn", validation=0.9, test=0.9), candidate("lstm", validation=0.8, test=0.1), enabled=False)
    assert (trial["accepted"], trial["version"], versions()) == (False, None, {})
    assert trial["reasons"][0].startswith("cnn has balanced accuracy 0.9000 on validation data")
    assert "lstm: accuracy 0.1000 is below register.minimum_accuracy" in " ".join(trial["candidates"][1]["reasons"])
    assert {row["verdict"] for row in trial["criteria"]} >= {"passes", "fails"}
    table = capsys.readouterr().out
    assert "registered as version" in table
    assert "A trial: register.enabled is false, so that nothing was registered." in table
    with pytest.raises(Refused, match="lstm: accuracy"):  # what does not pass the gates ends as without the knob
        registered(candidate("lstm", validation=0.8, test=0.1), enabled=False)


@pytest.mark.parametrize(("begun", "said"), [
    ("nothing", "began from nothing."), ("efficientnet-lite0", "began from ImageNet's weights (EfficientNet-Lite0, Apache-2.0)."),
    ("mine@0123456789ab", "began from `mine@0123456789ab`, a network of your own."),
])  # fmt: skip
def test_the_card_says_what_a_training_began_from(candidate, registered, begun, said):
    registered(candidate("cnn", tags={"architecture": "cnn", "git_commit": "abc", "data_digest": "d.dir", "begun_from": begun}))
    assert said in champion().description


def test_test_samples_with_twins_elsewhere_are_told_to_whoever_reads_the_figures(candidate, registered, capsys):
    folders = candidate("cnn")
    registered(folders)
    assert "| test samples with a near twin in training | not counted |" in champion().description
    for counts, told in (({"train": 0, "validation": 0}, False), ({"train": 3, "validation": 0}, True)):
        files.write_json(folders[1] / "split.json", {"splits": {"test": {"with_a_twin_in": counts}}})
        caveat = "Of 40 test samples some have a near twin elsewhere (3 in train); they flatter the figures."
        assert (caveat in registered(folders)["reasons"]) == told
        assert (caveat in champion().description) == told
        assert f"| test samples with a near twin in training | {counts['train']} |" in champion().description
        capsys.readouterr()
        summary(Path("registration.json"))
        assert f"with a twin in training {counts['train']:>16}" in capsys.readouterr().out


def test_the_same_thing_twice_adds_no_version(candidate, registered):
    folders = candidate("cnn", validation=0.9, test=0.9)
    registered(folders)
    verdict = registered(folders)
    assert versions() == {"1": "cnn"}
    assert verdict["accepted"]
    assert "It is the champion already (version 1)." in verdict["reasons"]
    mlflow = tracking.connect()
    assert len(mlflow.search_runs(experiment_names=["darkroom"])) == 1


def test_a_champion_is_not_left_for_a_worse_model(candidate, registered):
    registered(candidate("cnn", validation=0.9, test=0.7))
    verdict = registered(candidate("cnn", validation=0.99, test=0.6))
    assert not verdict["accepted"]
    assert verdict["version"] == "2"
    assert str(champion().version) == "1"
    assert any("The champion stays: balanced accuracy 0.6000" in reason for reason in verdict["reasons"])
    assert registered(candidate("lstm", validation=0.5, test=0.95))["accepted"]
    assert str(champion().version) == "3"


def test_a_champion_scored_on_another_test_split_is_scored_anew(candidate, registered, here):
    registered(candidate("cnn", validation=0.9, test=0.9))
    model, evaluation = candidate("cnn", validation=0.9, test=0.8)
    other = split_of(here / "prepared/test", count=60)
    files.write_json(evaluation / "test.json", {"digest": other.content_digest(), "training_id": "cnn1"})
    verdict = registered((model, evaluation))
    # The package in the registry is right of every one of the 20 new samples.
    assert any("the champion so far (version 1) 0.9333" in reason for reason in verdict["reasons"])
    assert not verdict["accepted"]


def test_a_champion_of_another_picture_size_is_not_left_for_a_worse_model(candidate, registered, here):
    registered(candidate("cnn", validation=0.9, test=0.9))
    model, evaluation = candidate("cnn", validation=0.9, test=0.8)
    record = files.read_json(model / "run.json")
    files.write_json(model / "run.json", {**record, "shape": [16, 16, 1]})
    verdict = registered((model, evaluation))
    assert not verdict["accepted"]
    assert any("the champion so far (version 1) 0.9000" in reason for reason in verdict["reasons"])


def test_what_does_not_pass_the_gates_is_not_registered_and_exits_one(candidate, registered, here):
    good, bad = candidate("cnn", validation=0.8, test=0.9), candidate("lstm", validation=0.9, test=0.9, worst=0.1)
    verdict = registered(good, bad)
    assert versions() == {"1": "cnn"}
    (row,) = [row for row in verdict["candidates"] if row["architecture"] == "lstm"]
    assert row["reasons"] == ["lstm: worst_class_recall 0.1000 is below register.minimum_worst_class_recall = 0.2"]
    with pytest.raises(Refused, match=r"accuracy 0\.3000 is below"):
        registered(candidate("cnn", validation=0.8, test=0.3))
    verdict = files.read_json(here / "registration.json")
    assert (verdict["accepted"], verdict["version"]) == (False, None)
    assert versions() == {"1": "cnn"}


def test_an_evaluation_of_another_training_is_refused(candidate, registered):
    model, _ = candidate("cnn", validation=0.9, test=0.9)
    _, evaluation = candidate("cnn", validation=0.9, test=0.9)
    with pytest.raises(CannotRun, match="is of another training"):
        registered((model, evaluation))


def test_a_run_holds_what_people_compare_and_where_it_came_from(candidate, registered, here):
    registered(candidate("cnn", validation=0.9, test=0.9))
    mlflow = tracking.connect()
    (run,) = mlflow.search_runs(experiment_names=["darkroom"], output_format="list")
    assert run.data.params["train.epochs"] == "3"
    assert run.data.metrics["test/balanced_accuracy"] == 0.9
    assert run.data.metrics["cost/training_seconds"] == 1.5
    history = mlflow.MlflowClient().get_metric_history(run.info.run_id, "by_epoch/train_loss")
    assert [(point.step, point.value) for point in history] == [(1, 0.5), (2, 0.25)]
    (data,) = run.inputs.dataset_inputs
    assert data.dataset.digest == "d.dir"
    assert run.data.tags["git_commit"] == "abc"
    loaded = mlflow.pyfunc.load_model("models:/darkroom@champion")
    assert set(loaded.predict([png(np.full((8, 8), 200, np.uint8))])["label"]) < {"a", "b"}
    with fetched("models:/darkroom@champion") as package:
        assert (package.digest, package.facts["version"]) == (champion().tags["package_sha256"], "1")
    with fetched(f"runs:/{run.info.run_id}") as package:
        assert package.digest == champion().tags["package_sha256"]
    assert not [file for file in (here / "mlflow").rglob("*") if file.suffix in (".pkl", ".pickle", ".cloudpickle")]


def test_a_server_that_is_down_costs_seconds_and_its_run_is_sent_later(candidate, here, monkeypatch, capsys):
    model, evaluation = candidate("cnn", validation=0.9, test=0.9)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://user:secret@127.0.0.1:9")
    tracking.try_to(tracking.send_training, model)
    told = capsys.readouterr().out
    assert "not reachable" in told
    assert "secret" not in told
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    first = tracking.send_evaluation(model, evaluation)
    assert tracking.send_evaluation(model, evaluation) == first


def test_a_training_goes_on_when_the_server_dies_under_it(here, capsys):
    record = {"training_id": "t1", "name": "cnn-default", "knobs": {"train": {"epochs": 2}, "seed": 7}, "parameters": 4,
              "training_samples": 60, "tags": {}}  # fmt: skip
    with tracking.live(record) as follower:
        follower.epoch({"epoch": 1, "train_loss": 0.5, "time": 1000})
        while not (here / "mlflow/runs.db").exists() or not tracking.connect().search_runs(experiment_names=["darkroom"]).size:
            time.sleep(0.1)
        (here / "mlflow/runs.db").write_bytes(b"no database any more" * 1000)
        follower.epoch({"epoch": 2, "train_loss": 0.4, "time": 2000})
        follower.epoch({"epoch": 3, "train_loss": 0.3, "time": 3000})
    assert capsys.readouterr().out.count("the training goes on") == 1


def test_a_run_that_kubeflow_gives_to_the_task_becomes_the_parent(candidate, here, monkeypatch):
    mlflow = tracking.connect()
    mlflow.set_experiment("kubeflow")
    with mlflow.start_run() as given:
        pass
    monkeypatch.setenv("MLFLOW_RUN_ID", given.info.run_id)
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    model, evaluation = candidate("cnn", validation=0.9, test=0.9)
    first = tracking.send_training(model)
    monkeypatch.setenv("MLFLOW_RUN_ID", "of-another-task")
    assert tracking.send_evaluation(model, evaluation) == first != given.info.run_id
    run = mlflow.get_run(first)
    assert run.data.tags["mlflow.parentRunId"] == given.info.run_id
    assert mlflow.get_experiment(run.info.experiment_id).name == "mine"


def test_a_model_that_was_scored_on_what_it_has_learnt_from_is_refused(here):
    project(here)
    model, evaluation = make(here, "cnn", training="t1")
    facts = files.read_json(evaluation / "test.json")
    files.write_json(evaluation / "test.json", facts | {"learnt_from": 30})
    with pytest.raises(Refused, match="cnn: was scored on 30 test samples that it has learnt from, expected none"):
        register_these(here, (model, evaluation))


def test_a_project_whose_path_no_address_can_hold_is_told_so(tmp_path, monkeypatch):
    from components.shared.runs.connection import connect

    name = "a%20b"
    (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path / name)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    with pytest.raises(
        CannotRun, match=r"a%20b: MLflow takes a % with two digits in a path for another letter; rename the folder"
    ):
        connect()
    assert [path.name for path in tmp_path.iterdir()] == [name]


def validated(folder: Path) -> Path:
    """What validate leaves of pages and pictures."""
    folder.mkdir()
    for name in ("report.html", "classes.png"):
        (folder / name).write_text(name)
    files.write_json(folder / "summary.json", {"passed": True, "data_digest": "d.dir"})
    files.write_json(folder / "findings.json", [])
    return folder


def test_its_page_is_in_mlflows_run_and_in_kubeflows_artifact(candidate, here):
    (model, evaluation), page, verdict = candidate("cnn"), HTML(uri=str(here / "page")), Markdown(uri=str(here / "verdict"))
    register(models=[model], packages=[package_of(model)], evaluations=[evaluation], prepared=here / "prepared",
             config=knobs_of_register(), registration=here / "registration.json", report=Path(f"{page.path}.folder"),
             validation=validated(here / "validation"))  # fmt: skip
    show_registration(here / "registration.json", verdict, page)
    text = (here / "page").read_text()
    assert "✓ cnn-default is champion of darkroom, version 1; it fails no criterion" in text
    mlflow = tracking.connect()
    (run,) = mlflow.search_runs(experiment_names=["darkroom"], output_format="list")
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/report/index.html") == text
    listed = {file.path for file in mlflow.MlflowClient().list_artifacts(run.info.run_id, "data")}
    assert listed == {"data/report.html", "data/classes.png"}
    assert run.data.tags["mlflow.note.content"] == champion().description
