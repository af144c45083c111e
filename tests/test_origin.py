"""Where a training comes from: its name by what differs, what no commit holds, the machine, DVC's experiment."""

import subprocess
from pathlib import Path

import pytest
import yaml

from components.shared.runs import origin

PARAMS = {
    "seed": 7, "validate": {"near_bits": 6}, "augment": {"shift": 0.0, "flip": True}, "package": {"coverage": 0.9},
    "train": {"cnn": {"epochs": 4, "preset": "default"}, "lstm": {"epochs": 6, "preset": "default"}},
}  # fmt: skip


def git(place: Path, *arguments: str) -> None:
    subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *arguments], cwd=place, check=True)


@pytest.fixture
def checkout(tmp_path, monkeypatch) -> Path:
    """A repository with code and knobs, all of it committed, that the code runs from."""
    for name in ("DARKROOM_COMMIT", origin.EXPERIMENT):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(origin, "CODE", tmp_path / "components")
    (tmp_path / "components").mkdir()
    (tmp_path / "components/step.py").write_text("epochs = 4\n")
    (tmp_path / "dvc.lock").write_text("schema: '2.0'\n")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump(PARAMS))
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", "-A")
    git(tmp_path, "commit", "-qm", "start")
    return tmp_path


def name(architecture: str = "cnn", **changes) -> str:
    """Of a training, which knows the knobs of no later step."""
    knobs = {"seed": 7, "validate": {"near_bits": 5}, "augment": PARAMS["augment"], "train": PARAMS["train"][architecture]}
    return origin.run_name(knobs | changes, architecture)


def test_a_run_is_named_by_the_knobs_that_are_not_as_committed(checkout, monkeypatch):
    assert [name("cnn"), name("lstm")] == ["cnn", "lstm"]
    (checkout / "params.yaml").write_text("seed: 8")  # as `dvc exp run -S` does it
    assert name(train={"epochs": 2, "preset": "default"}) == "cnn · epochs=2"
    assert name("lstm", seed=8, augment={"shift": 0.1, "flip": False}) == "lstm · flip=false, shift=0.1, seed=8"
    assert name(seed=8, augment={"shift": 0.0}) == "cnn · seed=8"
    monkeypatch.setenv(origin.EXPERIMENT, "hardy-lynx")
    assert name(seed=8.0) == "cnn · seed=8.0 · hardy-lynx"
    assert name(seed=7.0) == "cnn · hardy-lynx"
    changed = {**PARAMS, "package": {"coverage": 0.5}, "train": {**PARAMS["train"], "lstm": {"epochs": 9, "preset": "default"}}}
    assert origin.run_name(changed) == "package.coverage=0.5, train.lstm.epochs=9 · hardy-lynx"


def test_many_changes_are_counted_and_no_name_is_longer_than_mlflow_takes(checkout):
    train = {f"knob{n}": 0 for n in range(8)}
    (checkout / "params.yaml").write_text(yaml.safe_dump({**PARAMS, "train": {"cnn": train}}))
    git(checkout, "commit", "-qam", "more knobs")
    told = name(train=dict.fromkeys(train, "x" * 99))
    assert told.endswith("3 more")
    assert len(told) <= 250


@pytest.mark.parametrize("lost", ["repository", "params", "yaml"])
def test_without_committed_knobs_a_run_has_its_plain_name(checkout, lost):
    if lost == "repository":
        (checkout / ".git").rename(checkout / "git")
    else:
        (checkout / "params.yaml").write_text("[: no YAML") if lost == "yaml" else (checkout / "params.yaml").unlink()
        git(checkout, "commit", "-qam", lost)
    assert name(seed=8) == "cnn"


def test_an_images_knobs_are_those_that_it_was_built_with(checkout, monkeypatch):
    monkeypatch.setenv("DARKROOM_COMMIT", "c" * 40)
    (checkout / ".git").rename(checkout / "git")
    assert name(seed=8) == "cnn · seed=8"
    assert origin.tags()[0]["git_commit"] == "c" * 40


def test_what_no_commit_holds_is_kept_without_secrets_and_not_at_any_length(checkout, monkeypatch):
    (checkout / "dvc.lock").write_text("a run writes it anew\n")
    tags, diff = origin.tags()
    assert (tags["git_dirty"], diff) == ("false", "")
    assert tags["processor"]
    assert int(tags["cores"]) >= 1
    assert origin.EXPERIMENT not in tags
    (checkout / "components/step.py").write_text("epochs = 5\nurl = 'https://me:c4n4ry@example.org/?api_key=c4n4ry'\n")
    monkeypatch.setenv(origin.EXPERIMENT, "hardy-lynx")
    tags, diff = origin.tags()
    assert (tags["git_dirty"], tags[origin.EXPERIMENT]) == ("true", "hardy-lynx")
    assert tags["git_commit"].endswith("+changes")
    assert "-epochs = 4\n+epochs = 5" in diff
    assert "c4n4ry" not in diff
    (checkout / "components/step.py").write_text("x = 1\n" * origin.LONGEST)
    assert origin.LONGEST < len(origin.tags()[1]) < origin.LONGEST + 100
    (checkout / ".git").rename(checkout / "git")
    assert origin.tags()[0]["git_dirty"] == "unknown"
