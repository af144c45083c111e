"""dvc.yaml, the compiled pipeline and the step functions say the same: steps, edges, inputs, outputs, sections."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from components import STEPS
from pipelines.__main__ import main

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


@pytest.fixture(scope="module")
def compiled(tmp_path_factory) -> dict:
    file = tmp_path_factory.mktemp("compiled") / "pipeline.yaml"
    assert main(["compile", "--params", str(ROOT / "params.yaml"), "--output", str(file)]) == 0
    return next(yaml.safe_load_all(file.read_text()))


def dvc_stages() -> dict[str, dict]:
    """Stages of dvc.yaml with `foreach` unrolled: train@cnn, train@lstm, ..."""
    stages = {}
    for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items():
        for item in stage.get("foreach", [None]):
            text = yaml.safe_dump(stage.get("do", stage)).replace("${item}", str(item))
            stages[f"{name}@{item}" if item else name] = yaml.safe_load(text)
    return stages


def dvc_edges() -> set[tuple[str, str]]:
    stages = dvc_stages()
    makers = {
        (next(iter(out)) if isinstance(out, dict) else out): name for name, stage in stages.items() for out in stage["outs"]
    }
    makers["data"] = "data"
    return {
        (maker, name) for name, stage in stages.items() for dep in stage["deps"] for path, maker in makers.items()
        if dep == path or dep.startswith(f"{path}/")
    }  # fmt: skip


def task_names(compiled: dict) -> dict[str, str]:
    """Task of the compiled graph -> stage of dvc.yaml."""
    tasks = compiled["root"]["dag"]["tasks"]
    names = {}
    for task, spec in tasks.items():
        shown = spec["taskInfo"]["name"]
        names[task] = "data" if task == "importer" else shown.replace(" ", "@")
    return names


def test_the_compiled_graph_has_the_stages_and_edges_of_dvc(compiled):
    names = task_names(compiled)
    assert set(names.values()) == set(dvc_stages()) | {"data"}
    edges = set()
    for task, spec in compiled["root"]["dag"]["tasks"].items():
        for given in spec.get("inputs", {}).get("artifacts", {}).values():
            edges.add((names[given["taskOutputArtifact"]["producerTask"]], names[task]))
    assert edges == dvc_edges()


def test_every_reference_in_the_compiled_graph_resolves(compiled):
    tasks = compiled["root"]["dag"]["tasks"]
    for spec in tasks.values():
        component = compiled["components"][spec["componentRef"]["name"]]
        assert component["executorLabel"] in compiled["deploymentSpec"]["executors"]
        assert set(spec.get("dependentTasks", [])) <= set(tasks)
        for given in spec.get("inputs", {}).get("artifacts", {}).values():
            made = given["taskOutputArtifact"]
            producer = compiled["components"][tasks[made["producerTask"]]["componentRef"]["name"]]
            assert made["outputArtifactKey"] in producer["outputDefinitions"]["artifacts"]


def test_every_section_is_a_parameter_with_the_files_default(compiled):
    parameters = compiled["root"]["inputDefinitions"]["parameters"]
    sections = {"train_cnn": PARAMS["train"]["cnn"], "train_lstm": PARAMS["train"]["lstm"]}
    sections |= {name: knobs for name, knobs in PARAMS.items() if name != "train"}
    assert set(parameters) == set(sections) | {"data", "image"}
    for name, knobs in sections.items():
        assert parameters[name]["defaultValue"] == knobs


def test_every_wrapper_calls_its_step_with_the_arguments_that_it_has():
    source = (ROOT / "pipelines/steps.py").read_text()
    for name in list(STEPS)[1:]:
        body = source.partition(f"def {name}(")[2].partition("@component")[0]
        call = re.search(rf'call\("{name}"(.*?)\)(?:  # fmt: skip)?\n', body, re.S)[1]
        given = set(re.findall(r"\b(\w+)=", call)) - {"section"}
        step = getattr(importlib.import_module(STEPS[name][0]), name)
        assert given == set(inspect.signature(step).parameters), name


def test_compiling_needs_no_tensorflow_and_installs_nothing_at_run_time(tmp_path):
    script = (
        "import sys; from pipelines.__main__ import main\n"
        f"main(['compile', '--params', {str(ROOT / 'params.yaml')!r}, '--output', {str(tmp_path / 'p.yaml')!r}])\n"
        "assert not {'tensorflow', 'keras', 'mlflow', 'great_expectations'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "p.yaml").read_text()
    assert "pip install" not in text
    again = tmp_path / "again.yaml"
    main(["compile", "--params", str(ROOT / "params.yaml"), "--output", str(again)])
    # The comment on top lists defaults in an order that KFP leaves to chance; the pipeline itself does not change.
    assert [line for line in again.read_text().splitlines() if line[:1] != "#"] == [
        line for line in text.splitlines() if line[:1] != "#"
    ]


def test_knobs_are_set_and_checked_before_anything_runs(tmp_path, capsys):
    file, params = tmp_path / "p.yaml", ["--params", str(ROOT / "params.yaml")]
    assert main(["compile", *params, "--output", str(file), "--set", "train.cnn.epochs=3"]) == 0
    root = next(yaml.safe_load_all(file.read_text()))["root"]
    assert root["inputDefinitions"]["parameters"]["train_cnn"]["defaultValue"]["epochs"] == 3
    capsys.readouterr()
    for wrong, told in (
        ("train.cnn.epochs=0", "train.cnn.epochs: expected an integer of at least 1, got 0"),
        ("train.cnn.epoch=3", "expected KNOB=VALUE with a knob of"),
        ("seed", "expected KNOB=VALUE"),
    ):
        assert main(["compile", *params, "--output", str(tmp_path / "no.yaml"), "--set", wrong]) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "no.yaml").exists()


def test_running_without_data_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--params", str(ROOT / "params.yaml")]) == 2
    assert "data: no such folder" in capsys.readouterr().err
    assert not Path("outputs").exists()
