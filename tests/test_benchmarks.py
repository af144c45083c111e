"""The benchmarks run the stages as dvc.yaml has them today, so that a figure of README can be made again."""

import subprocess
import sys

import pytest
from conftest import ROOT

BENCHMARKS = sorted(
    file.stem for file in (ROOT / "benchmarks").glob("*.py") if "measuring.arguments(" in file.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", BENCHMARKS)
def test_each_benchmark_says_what_it_does(name):
    done = subprocess.run([sys.executable, f"benchmarks/{name}.py", "--help"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"python benchmarks/{name}.py" in done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("name", ["cnn", "lstm"])
def test_what_a_benchmark_prepares_it_can_learn_from_and_test(name, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))
    import measuring

    few = {"train": {name: {"epochs": 1}}, "evaluate": {"explained": 0}}
    measuring.prepare(tmp_path, "digits", few)
    record = measuring.learn(tmp_path, name, few)
    assert 0.1 < record["test"]["accuracy"] <= 1
    assert record["training_seconds"] > 0
