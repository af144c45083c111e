"""A training again from its run alone: code, data and knobs in a clean place; what differs is told; for no reason, it fails."""

import json
import shutil
import subprocess

import pytest
from test_whole_run import QUICK, change, clone, run
from trained import make, package_of, project

from components.__main__ import main as darkroom
from components.reproduce.differences import Record, differences
from components.reproduce.step import _judge
from components.shared.errors import Refused
from components.shared.runs import tracking


def record(**tags: str) -> dict:
    tags = {"git_commit": "c" * 40, "data_digest": "d.dir", "precision": "float32", "onednn": "on", **tags}
    return {"tags": tags, "knobs": {"train": {"epochs": 3, "dropout": 0.1}, "seed": 7}}


def test_all_that_may_be_the_reason_is_named():
    then = Record(record(git_commit="c" * 40 + "+changes"), {}, {}, {"keras": "3.15.1", "numpy": "2.1"}, "one")
    other = record(precision="bfloat16")
    other["knobs"]["train"]["epochs"] = 4
    now = Record(other, {}, {}, {"keras": "3.16", "numpy": "2.1"}, "another")
    assert differences(then, now) == [
        "code: the run's had changes that were not committed on top of cccccccccccc", "precision: float32, now bfloat16",
        "train.epochs: 3, now 4", "processor: one, now another", "packages: keras 3.15.1 -> 3.16",
    ]  # fmt: skip
    same = Record(record(), {}, {}, {"keras": "3.15.1"}, "one")
    assert differences(same, same) == []


@pytest.mark.parametrize("after", [0.9, 0.904, 0.8, float("nan")])
def test_other_metrics_fail_when_nothing_else_differs(capsys, after):
    before = {"test/accuracy": 0.9, "test/log_loss": 0.3}
    if abs(after - 0.9) < 0.005:
        _judge(before, before | {"test/accuracy": after}, [], 0.005)
        assert "reproduced: no metric differs by more than 0.005" in capsys.readouterr().out
        return
    with pytest.raises(Refused, match=r"test/accuracy differs by .*, the tolerance is 0.005, and nothing else differs"):
        _judge(before, before | {"test/accuracy": after}, [], 0.005)
    _judge(before, before | {"test/accuracy": after}, ["processor: one, now another"], 0.005)
    assert "not reproduced: test/accuracy differs" in capsys.readouterr().out


def test_what_cannot_be_made_again_is_one_line(here, capsys):
    project(here)

    def sent(training: str, **tags: str) -> str:
        said = {"architecture": "cnn", "git_commit": "a" * 40, "data_digest": "0" * 32} | tags
        folders = make(here, "cnn", training=training, tags=said, data_digest=said["data_digest"])
        return tracking.send_package(folders[0], package_of(folders[0]))

    for wanted, words in (
        (sent("first"), f"has no commit {'a' * 40}"),  # which no repository has
        (sent("second", data_digest="0\n  path: data\n- md5: 1"), "its data_digest is '"),
        (sent("third", architecture="../cnn"), "its architecture is '../cnn'"),
        (sent("fourth", git_commit="--upload-pack=x"), "its git_commit is '--upload-pack=x'"),
        ("0" * 32, "no training that ended"),
        ("../x", "no training that ended"),
    ):
        capsys.readouterr()
        assert darkroom(["reproduce", wanted]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert words in line
    assert not (here / "outputs").exists()


@pytest.mark.slow
def test_a_training_on_digits_comes_out_the_same_in_a_clean_place_though_project_and_cache_went_on(tmp_path, monkeypatch):
    folder = clone(tmp_path / "project")
    monkeypatch.setenv("PYTHONPATH", str(folder))  # its own code, by whose commit a run is named
    change(folder, **{name: QUICK[name] for name in ("prepare", "augment", "train__cnn")})
    run(folder, "darkroom", "ingest", "digits", "data")
    run(folder, "dvc", "add", "data")
    run(folder, "git", "add", "-A")
    run(folder, "git", "commit", "-qm", "digits")
    run(folder, "dvc", "repro", "evaluate@cnn")
    trained = json.loads((folder / "outputs/models/cnn/run.json").read_text())
    assert not trained["tags"]["git_commit"].endswith("+changes")
    (run_id,) = run(folder, "python", "-c", "from components.shared.runs import tracking; import os; m = tracking.connect()\n"
                    "print(*(r.info.run_id for r in m.search_runs(output_format='list') if 'darkroom.training' in r.data.tags))"
                    ).split()  # fmt: skip
    run(folder, "dvc", "remote", "modify", "storage", "url", "../../storage")  # relative, as the project's own
    run(folder, "dvc", "push", "data.dvc")
    shutil.rmtree(folder / ".dvc/cache")
    (folder / "params.yaml").write_text("seed: 1\n")  # the project went on
    shutil.rmtree(folder / "outputs")
    before = subprocess.check_output(["git", "-C", folder, "status", "--short"], text=True)
    told = run(folder, "darkroom", "reproduce", run_id)
    assert "reproduced: no metric differs by more than 0.005" in told, told[-3000:]
    assert "differs: nothing" in told
    again = json.loads((folder / "outputs/reproduced" / run_id / "outputs/models/cnn/run.json").read_text())
    assert again["training_id"] != trained["training_id"], "trained, and not taken out of a cache"
    assert again["model"]["weights_sha256"] == trained["model"]["weights_sha256"]
    assert subprocess.check_output(["git", "-C", folder, "status", "--short"], text=True) == before
    assert "is there already" in run(folder, "darkroom", "reproduce", run_id, code=2)
