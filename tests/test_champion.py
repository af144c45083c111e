"""A candidate against the champion: what is compared with what, and a champion that cannot be compared is no dead end."""

import json
import re
import shutil
from pathlib import Path

import pytest
from toy_package import make_package
from trained import (
    champion,
    knobs_of_register,
    learn_from,
    make,
    network,
    package_of,
    project,
    register_these,
    say,
    split_of,
    versions,
)

from components.register.candidates import read
from components.register.summary import summary
from components.shared import files
from components.shared.errors import CannotRun, Refused
from components.shared.models import backend
from components.shared.runs import tracking
from components.shared.runs.registry import FACTS


@pytest.fixture
def first(here: Path) -> Path:
    """A project whose champion is version 1, of test samples 0 to 39."""
    register_these(project(here), make(here, "cnn", training="first", test=0.9))
    return here


def model_file(version) -> Path:
    """Where the store keeps the file of a version's model."""
    client = tracking.connect().MlflowClient()
    address = client.get_model_version_download_uri(version.name, version.version)
    return Path(address.removeprefix("file://")) / "artifacts/model.keras"


def stays(verdict: dict, *words: str) -> str:
    """The reason why the champion stays, which says how to go on."""
    assert not verdict["accepted"]
    assert verdict["version"] in versions()
    assert str(champion().version) == "1"
    reason = verdict["reasons"][-1]
    assert reason.startswith("The champion stays: the champion so far (version 1) ")
    assert "set register.replace_incomparable_champion: true in params.yaml" in reason
    assert all(word in reason for word in words), reason
    return reason


def test_a_champion_set_by_hand_stays_with_the_way_out_and_goes_by_the_knob(here):
    project(here)
    client = tracking.connect().MlflowClient()
    client.create_registered_model("darkroom")
    client.create_model_version("darkroom", str(here / "somewhere"))
    client.set_registered_model_alias("darkroom", "champion", "1")
    folders = make(here, "cnn", training="mine")
    client.set_model_version_tag("darkroom", "1", "architecture", "cnn")
    stays(register_these(here, folders), "was not registered by Darkroom", "no identity")
    verdict = register_these(here, folders, replace_incomparable_champion=True)
    assert verdict["accepted"]
    assert "Not compared: the champion so far (version 1) was not registered by Darkroom" in verdict["reasons"][-1]
    assert str(champion().version) == "2"
    assert register_these(here, folders)["reasons"][-1] == "It is the champion already (version 2)."


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def smuggle(package: Path) -> None:
    content = files.read_json(package / "package.json")
    (package / "package.json").write_text(json.dumps(content | {"files": {"../../../evil": "0"}}))


@pytest.mark.parametrize(
    ("harm", "words"),
    [
        (lambda package: shutil.rmtree(package.parent), "its files are gone: the store has no package.json"),
        (shutil.rmtree, "its files are gone: the store has no package.json"),
        (lambda package: (package / "model.onnx").unlink(), "its files are gone: the store has no model.onnx"),
        (lambda package: cut(package / "model.onnx"), "its package is damaged: model.onnx is missing, or is not what"),
        (lambda package: make_package(package, seed=1), "its package is damaged"),
        (smuggle, "its package is damaged"),
    ],
    ids=["all gone", "package gone", "file gone", "cut", "another package", "a file elsewhere"],
)
def test_a_champion_whose_package_is_gone_damaged_or_foreign_is_named_and_goes_by_the_knob(first, harm, words):
    harm(model_file(champion()).parent / "package")
    better = make(first, "lstm", training="second", test=1.0)
    stays(register_these(first, better), "is not readable", words)
    assert register_these(first, better, replace_incomparable_champion=True)["accepted"]
    assert str(champion().version) == "2"


def test_a_champion_is_asked_by_its_package_whatever_has_become_of_its_keras_file(first):
    cut(model_file(champion()))
    verdict = register_these(first, make(first, "lstm", training="second", test=0.7))
    assert verdict["reasons"][-1].startswith(
        "The champion stays: balanced accuracy 0.7000 on the same 40 test samples, the champion so far (version 1) 0.9000"
    )


def test_the_champion_itself_again_gets_a_whole_version_when_its_files_are_damaged(first):
    cut(model_file(champion()))
    folders = first / "models/first", first / "evaluation/first"
    with pytest.raises(CannotRun, match="the store does not give back the model that was trained: damaged or cut short"):
        register_these(first, folders)
    assert str(champion().version) == "1"
    verdict = register_these(first, folders)
    assert verdict["accepted"]
    assert str(champion().version) == "2"
    assert "damaged" in tracking.connect().MlflowClient().get_model_version("darkroom", "1").tags
    assert register_these(first, folders)["reasons"][-1] == "It is the champion already (version 2)."
    assert list(versions()) == ["2", "1"] or sorted(versions()) == ["1", "2"]


def test_models_are_registered_without_tensorflow(here, monkeypatch):
    folders = make(project(here), "cnn", training="first")
    monkeypatch.setattr(backend, "start", lambda *_: pytest.fail("it takes seconds to start"))
    register_these(here, folders)
    assert register_these(here, folders)["reasons"][-1] == "It is the champion already (version 1)."


def test_another_file_in_the_store_has_to_hold_the_weights_that_were_trained(first):
    folders, file = (first / "models/first", first / "evaluation/first"), model_file(champion())
    network(1.0).save(file)
    assert register_these(first, folders)["reasons"][-1] == "It is the champion already (version 1)."
    network(0.5).save(file)
    with pytest.raises(CannotRun, match="its weights are not those that were trained"):
        register_these(first, folders)


def test_a_champion_without_a_package_is_compared_by_its_record_of_the_same_test_samples(here):
    register_these(project(here), make(here, "cnn", training="first", test=0.7))
    client = tracking.connect().MlflowClient()
    client.delete_model_version_tag("darkroom", "1", "package_sha256")
    better = make(here, "lstm", training="second", test=0.95)
    for value in ("nan", "very good"):
        say(test_balanced_accuracy=value)
        stays(register_these(here, better), f"its test_balanced_accuracy is '{value}'")
    say(test_balanced_accuracy=0.9)
    assert "no proof that it is better: a difference of +0.0500" in register_these(here, better)["reasons"][1]
    say(test_balanced_accuracy=0.7)
    (reason,) = register_these(here, better)["reasons"][1:2]
    assert reason.startswith(
        "Better than the champion: balanced accuracy 0.9500 on the same 40 test samples (by its record: it has no"
    )


def test_a_champion_that_an_older_darkroom_registered_is_compared_by_its_many_tags(first):
    client = tracking.connect().MlflowClient()
    for name, value in json.loads(champion().tags[FACTS]).items():
        client.set_model_version_tag("darkroom", "1", name, str(value))
    client.set_model_version_tag("darkroom", "1", FACTS, "[no JSON")  # and nobody minds what is none
    reason = register_these(first, make(first, "lstm", training="second", test=1.0))["reasons"][1]
    assert "1.0000 on the same 40 test samples, the champion so far (version 1) 0.9000" in reason


def test_a_model_of_other_classes_replaces_the_champion_only_by_the_knob(first):
    other = make(first, "lstm", training="other", test=0.99, classes=["a", "b", "c"])
    stays(register_these(first, other), "recognises other classes")
    assert register_these(first, other, replace_incomparable_champion=True)["accepted"]


def test_a_champion_of_another_shape_and_another_test_split_replaces_only_by_the_knob(first):
    split_of(first / "prepared/test", 50, size=16)
    other = make(first, "lstm", training="larger", test=0.99)
    stays(register_these(first, other), "takes another shape ([8, 8, 1], not [16, 16, 1])")


@pytest.fixture
def learnt(here: Path):
    """`learnt(range(40, 60), weight=-1.0)`: version 1 is champion, tested on samples 0 to 39, and has learnt from these."""

    def make_champion(ids: range, **options) -> Path:
        project(here)
        folders = make(here, "cnn", training="first", test=0.9, **options)
        learn_from(folders[0], ids)
        register_these(here, folders)
        split_of(here / "prepared/test", 60, first=20)  # samples 20 to 79
        return here

    return make_champion


def test_models_of_different_data_are_compared_on_what_neither_has_learnt_from(learnt):
    place = learnt(range(40, 70), weight=-1.0)
    verdict = register_these(place, make(place, "lstm", training="second", test=0.7))
    assert verdict["accepted"]
    # Recorded were 0.9 and 0.7: on the same unseen samples the champion is right of 4, and the candidate of 20.
    assert verdict["reasons"][-1].startswith(
        "Better than the champion: balanced accuracy 0.6667 on the 30 of 60 test samples that neither has learnt from, "
        "the champion so far (version 1) 0.1333: a gain of 0.5333 (95% interval "
    )


def test_a_champion_that_is_better_on_unseen_samples_stays_though_the_candidates_record_is_higher(learnt):
    place = learnt(range(40, 75))
    verdict = register_these(place, make(place, "lstm", training="second", test=0.99, weight=-1.0))
    assert not verdict["accepted"]
    told = "on the 25 of 60 test samples that neither has learnt from, the champion so far (version 1) 0.8"
    assert told in verdict["reasons"][-1]


def test_few_unseen_samples_prove_nothing(learnt):
    place = learnt(range(25, 80))
    verdict = register_these(place, make(place, "lstm", training="second"))
    assert "on the 5 of 60 test samples that neither has learnt from" in verdict["reasons"][-1]
    assert "no proof that it is better" in verdict["reasons"][-1]


def test_a_champion_that_has_learnt_from_every_test_sample_is_not_compared(learnt):
    place = learnt(range(80))
    stays(register_these(place, make(place, "lstm", training="second")), "has learnt from all of the 60 test samples")


@pytest.mark.parametrize("damaged", [True, False])
def test_a_champion_whose_list_of_what_it_learnt_is_lost_or_damaged_is_not_compared(learnt, damaged):
    place = learnt(range(40, 60), weight=-1.0)
    for file in (place / "mlflow").rglob("seen.npy"):
        file.write_bytes(b"no array") if damaged else file.unlink()
    second = make(place, "lstm", training="second", test=0.8)
    stays(register_these(place, second), "its list of the samples that it has learnt from is lost or damaged")
    assert register_these(place, second, replace_incomparable_champion=True)["accepted"]


NONE = [float("nan"), float("inf"), -float("inf"), None, "0.9", [1]]


@pytest.mark.parametrize("where", ["accuracy", "balanced_accuracy", "worst_class_recall", "log_loss", "validation"])
def test_figures_that_are_none_pass_no_gate(here, where):
    project(here)
    model, evaluation = make(here, "cnn", training="odd")
    file, key = (model / "run.json", "balanced_accuracy") if where == "validation" else (evaluation / "metrics.json", where)
    content = files.read_json(file)
    target = content["validation"] if where == "validation" else content
    for value in NONE + ([] if where == "log_loss" else [True, 1.5, -0.1]):
        target[key] = value
        if value is None:
            del target[key]
        file.write_text(json.dumps(content))
        (fault,) = read(model, package_of(model), evaluation).faults(knobs_of_register())
        shown = "missing" if value is None else repr(value)
        assert re.match(rf"cnn: {key} on [a-z ]+ is {re.escape(shown)}, expected a finite number", fault)


def test_a_model_without_figures_is_refused_and_the_verdict_is_json(here):
    project(here)
    model, evaluation = make(here, "cnn", training="odd", test=float("nan"))
    with pytest.raises(Refused, match="accuracy on the test split is nan, expected a finite number"):
        register_these(here, (model, evaluation))
    assert files.read_json(here / "registration.json")["accepted"] is False
    assert "NaN" not in (here / "registration.json").read_text()
    summary(here / "registration.json")


@pytest.mark.parametrize(("name", "key"), [("run.json", "knobs"), ("run.json", "validation"), ("cost.json", "parameters")])
def test_records_of_another_version_are_one_line(here, name, key):
    project(here)
    folders = make(here, "cnn", training="older")
    (file,) = [folder / name for folder in folders if (folder / name).exists()]
    content = files.read_json(file)
    del content[key]
    file.write_text(json.dumps(content))
    with pytest.raises(CannotRun, match=f"{name}: holds no {key}; another version of Darkroom wrote it"):
        register_these(here, *[folders])
    file.write_text("[]")
    with pytest.raises(CannotRun, match=f"{name}: holds no "):
        register_these(here, *[folders])


def test_weights_that_are_no_numbers_pass_no_gate(here):
    project(here)
    for value in (float("nan"), float("inf")):
        with pytest.raises(Refused, match=r"cnn: .*holds weights that are no finite numbers"):
            register_these(here, make(here, "cnn", training=f"with {value}", weight=value))
        assert files.read_json(here / "registration.json")["accepted"] is False
        assert versions() == {}


def test_a_test_split_that_the_models_were_not_scored_on_is_refused(here):
    project(here)
    folders = make(here, "cnn", training="first")
    split_of(here / "prepared/test", first=1)
    with pytest.raises(CannotRun, match="its test split is not the one that the models were scored on"):
        register_these(here, folders)
