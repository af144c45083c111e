"""dvc.yaml, the compiled pipeline and the step functions say the same: steps, edges, inputs, outputs, sections."""

import argparse
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from components import IN_GRAPHS
from pipelines import execution, graph, settings
from pipelines.__main__ import main

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())
FILES = ["--params", str(ROOT / "params.yaml"), "--settings", str(ROOT / settings.FILE)]
GOLDEN = ROOT / "tests/golden/pipeline.yaml"


def documents(file: Path) -> tuple[dict, dict]:
    """The pipeline and what only a cluster knows."""
    assert main(["compile", *FILES, "--output", str(file)]) == 0
    pipeline, platforms = yaml.safe_load_all(file.read_text())
    return pipeline, platforms


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> tuple[dict, dict]:
    return documents(tmp_path_factory.mktemp("compiled") / "pipeline.yaml")


@pytest.fixture(scope="module")
def compiled(both) -> dict:
    return both[0]


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


def dags(compiled: dict) -> Iterator[tuple[dict, dict | None, dict | None]]:
    """Every graph of tasks, with the task that stands for it and the graph which that is in; the root has neither."""

    def below(dag: dict, task: dict | None, above: dict | None):
        yield dag, task, above
        for inner in dag["tasks"].values():
            component = compiled["components"][inner["componentRef"]["name"]]
            if "dag" in component:
                yield from below(component["dag"], inner, dag)

    yield from below(compiled["root"]["dag"], None, None)


def leaves(compiled: dict) -> Iterator[tuple[dict, dict, dict | None, dict | None]]:
    """Every task that runs something, with its surroundings."""
    for dag, task, above in dags(compiled):
        for inner in dag["tasks"].values():
            if "executorLabel" in compiled["components"][inner["componentRef"]["name"]]:
                yield inner, dag, task, above


def stage_of(task: dict) -> str:
    return task["taskInfo"]["name"].replace(" ", "@").replace("gate", "validate")  # whose part it is


def maker(compiled: dict, given: dict, dag: dict, task: dict | None, surroundings: list) -> dict:
    """The task that runs something and made an artifact."""
    if "componentInputArtifact" in given:
        above, above_task = next((d, t) for d, t, _ in surroundings if task in d["tasks"].values())
        return maker(compiled, task["inputs"]["artifacts"][given["componentInputArtifact"]], above, above_task, surroundings)
    made = given["taskOutputArtifact"]
    producer = dag["tasks"][made["producerTask"]]
    component = compiled["components"][producer["componentRef"]["name"]]
    key = made["outputArtifactKey"]
    assert key in component["outputDefinitions"]["artifacts"]
    if "dag" not in component:
        return producer
    selected = component["dag"]["outputs"]["artifacts"][key]["artifactSelectors"][0]
    inner = {
        "taskOutputArtifact": {"producerTask": selected["producerSubtask"], "outputArtifactKey": selected["outputArtifactKey"]}
    }
    return maker(compiled, inner, component["dag"], producer, surroundings)


def test_the_compiled_graph_has_the_stages_and_edges_of_dvc(compiled):
    surroundings = list(dags(compiled))
    tasks = [found for found in leaves(compiled) if found[0]["taskInfo"]["name"] != "report"]
    assert {stage_of(task) for task, *_ in tasks} == set(dvc_stages())
    edges = set()
    for task, dag, outer, _ in tasks:
        inputs = task["inputs"]
        edges |= {("data", stage_of(task))} & ({("data", stage_of(task))} if "data" in inputs["parameters"] else set())
        for given in inputs.get("artifacts", {}).values():
            edges.add((stage_of(maker(compiled, given, dag, outer, surroundings)), stage_of(task)))
    assert {edge for edge in edges if edge[0] != edge[1]} == dvc_edges()


def test_every_reference_in_the_compiled_graph_resolves(compiled):
    executors = set(compiled["deploymentSpec"]["executors"])
    used = set()
    for dag, _, _ in dags(compiled):
        for name, task in dag["tasks"].items():
            component = compiled["components"][task["componentRef"]["name"]]
            assert ("dag" in component) != ("executorLabel" in component)
            used |= {component["executorLabel"]} if "executorLabel" in component else set()
            before = set(task.get("dependentTasks", []))
            assert before <= set(dag["tasks"]) - {name}
            producers = {
                given[kind]["producerTask"]
                for given in [*task.get("inputs", {}).get("artifacts", {}).values(),
                              *task.get("inputs", {}).get("parameters", {}).values()]
                for kind in ("taskOutputArtifact", "taskOutputParameter", "taskFinalStatus")
                if kind in given
            }  # fmt: skip
            assert producers <= before, name
            wanted, item = component.get("inputDefinitions", {}), task.get("parameterIterator", {}).get("itemInput")
            for kind in ("parameters", "artifacts"):
                assert set(wanted.get(kind, {})) - {item} <= set(task.get("inputs", {}).get(kind, {})), name
    assert used == executors
    assert not cyclic(compiled)


def cyclic(compiled: dict) -> bool:
    for dag, _, _ in dags(compiled):
        waiting = {name: set(task.get("dependentTasks", [])) for name, task in dag["tasks"].items()}
        while ready := [name for name, before in waiting.items() if not before & set(waiting)]:
            for name in ready:
                del waiting[name]
        if waiting:
            return True
    return False


def test_every_section_is_a_parameter_with_the_files_default(compiled):
    parameters = compiled["root"]["inputDefinitions"]["parameters"]
    sections = {"train_cnn": PARAMS["train"]["cnn"], "train_lstm": PARAMS["train"]["lstm"]}
    sections |= {name: knobs for name, knobs in PARAMS.items() if name != "train"}
    assert set(parameters) == set(sections) | {"data", "digest", "code"}
    for name, knobs in sections.items():
        default = parameters[name]["defaultValue"]
        assert (json.loads(default) if name != "seed" else default) == knobs
    # A run by hand in the UI, or a schedule, needs nothing typed; each says what it is.
    assert all("defaultValue" in parameter and parameter["description"] for parameter in parameters.values())


def test_every_wrapper_calls_its_step_with_the_arguments_that_it_has():
    source = (ROOT / "pipelines/wrappers.py").read_text()
    called = re.findall(r'call\(\s*"([a-z ]+)"(.*?)\)(?:  # fmt: skip)?\n', source, re.S)
    assert len(called) == 14
    assert {step.split()[0] for step, _ in called} == set(IN_GRAPHS) - {"ingest"}
    for step, arguments in called:
        name = step.split()[0]
        given = set(re.findall(r"\b(\w+)=", arguments)) - {"code", "last", "shown"}
        function = getattr(importlib.import_module(IN_GRAPHS[name].module), name)
        # Features of a network that was trained here; networks of one's own, which come out of the store.
        by_hand = {"embed": {"model"}, "train": {"backbones"}}.get(name, set())
        assert given == set(inspect.signature(function).parameters) - by_hand, name


def test_an_output_has_the_same_name_nowhere_else(compiled):
    outputs = [
        name for task, *_ in leaves(compiled)
        for name in compiled["components"][task["componentRef"]["name"]].get("outputDefinitions", {}).get("artifacts", {})
    ]  # fmt: skip
    assert len(outputs) == len(set(outputs)) == 24
    assert {"report", "report_cnn", "report_lstm", "metrics_cnn", "model_lstm", "package_cnn", "findings"} <= set(outputs)


def test_a_first_run_is_32_pods_and_nothing_is_spread_in_the_graph(compiled):
    assert len(list(dags(compiled))) == 2  # the root, and what the exit handler stands behind: a driver each
    assert 2 * len(list(leaves(compiled))) + 2 == 32
    assert not any("parameterIterator" in task for task, *_ in leaves(compiled))


def size_of_workflow(compiled: dict) -> float:
    """kB of the Argo workflow at the end of a run, reckoned as it was measured on a real cluster (Kubeflow Pipelines 2.17).

    A step's container stands as JSON in six nodes, with all that it is given: a kB for each input artifact, 0.6 for each output;
    1.3 kB are the same for all, and so are 16 kB of the nodes without it: no step that was measured had more than that. A graph of
    tasks stands in two nodes, with its parameters' values, as JSON in JSON, and its others have 5 kB. The spec is what it was to the
    compiled pipeline, 99 kB to 43.
    """
    parameters = compiled["root"]["inputDefinitions"]["parameters"]
    graphs = 2 * len(json.dumps({name: parameter["defaultValue"] for name, parameter in parameters.items()})) / 1000
    for _, task, _ in dags(compiled):
        inside = compiled["components"][task["componentRef"]["name"]] if task else compiled["root"]
        graphs += 2.3 * len(json.dumps(inside)) / 1000 + 5
    steps = 0.0
    for task, *_ in leaves(compiled):
        component = compiled["components"][task["componentRef"]["name"]]
        container = compiled["deploymentSpec"]["executors"][component["executorLabel"]]["container"]
        given = [
            each.get("componentInputParameter", "").removeprefix("pipelinechannel--")
            for each in task["inputs"]["parameters"].values()
        ]
        values = sum(len(json.dumps(parameters[name]["defaultValue"])) for name in given if name in parameters)
        outputs = len(component.get("outputDefinitions", {}).get("artifacts", {}))
        patch = 1300 + len(json.dumps(container)) + len(json.dumps(component)) + values
        patch += 1000 * len(task["inputs"].get("artifacts", {})) + 600 * outputs
        steps += 6 * patch / 1000 + 16
    return steps + graphs + 99 / 43 * len(json.dumps(compiled)) / 1000


def test_the_workflow_stays_below_what_kubeflow_can_show_however_many_the_parts(compiled, tmp_path):
    # Above 1 MiB Argo packs the nodes, and KFP loses sight of the run. Parts are a Job's, and no nodes: 100 cost as much as none.
    assert 400 < size_of_workflow(compiled) < 950
    options = argparse.Namespace(params=ROOT / "params.yaml", settings=ROOT / settings.FILE, set=[])
    graph.write(graph.for_cluster(options, newest=True)[0], tmp_path / "newest.yaml")
    newest = next(yaml.safe_load_all((tmp_path / "newest.yaml").read_text()))
    assert 2 * len(list(leaves(newest))) + len(list(dags(newest))) == 35  # pods
    assert size_of_workflow(newest) < 1000


def test_what_follows_validate_hangs_on_the_verdict_that_the_gate_handed_on(compiled):
    tasks = {task["taskInfo"]["name"]: task for task, *_ in leaves(compiled)}
    given = tasks["gate"]["inputs"]["parameters"]["verdict"]["taskOutputParameter"]
    assert given == {"producerTask": "validate", "outputParameterKey": "Output"}
    assert tasks["prepare"]["inputs"]["parameters"]["verdict"]["taskOutputParameter"]["producerTask"] == "gate"
    assert tasks["gate"].get("retryPolicy", {}).get("maxRetryCount", 0) == 0  # to refuse is no fault that a second try mends


def test_the_command_of_a_step_runs_as_kubeflow_calls_it_and_refused_data_ends_the_run_with_its_reason(compiled, tmp_path):
    container = compiled["deploymentSpec"]["executors"]["exec-gate"]["container"]

    parameters = {"verdict": "refused: E_ONE_CLASS: one class"}
    given = {"inputs": {"parameterValues": parameters}, "outputs": {"outputFile": str(tmp_path / "out.json")}}
    command = [part.replace("{{$}}", json.dumps(given)) for part in container["command"] + container["args"]]
    (tmp_path / "words").touch()
    environment = os.environ | {execution.REASON_FILE: str(tmp_path / "words")}
    done = subprocess.run([sys.executable, *command[1:]], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert (command[0], done.returncode) == ("python3", 1)
    assert (tmp_path / "words").read_text() == "validate: refused: E_ONE_CLASS: one class\n"
    assert "Traceback" not in done.stderr


def test_what_a_cache_may_answer_is_told_by_code_knobs_and_inputs(compiled):
    for task, *_ in leaves(compiled):
        name = task["taskInfo"]["name"]
        if name in ("report", "register"):  # how the run ended, what the tracking server holds: never from a cache
            assert not task["cachingOptions"]
        else:
            assert task["cachingOptions"] == {"enableCache": True}
            if name == "gate":  # hands on what it is given
                continue
            assert "code" in task["inputs"]["parameters"]
            assert "digest" in task["inputs"]["parameters"] or task["inputs"]["artifacts"]


def test_compiling_is_quick_needs_no_tensorflow_and_installs_nothing_at_run_time(tmp_path):
    script = (
        "import sys; from pipelines.__main__ import main\n"
        f"main(['compile', *{FILES!r}, '--output', {str(tmp_path / 'p.yaml')!r}])\n"
        "assert not {'tensorflow', 'keras', 'mlflow', 'great_expectations'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "pip install" not in (tmp_path / "p.yaml").read_text()


def golden(folder: Path) -> str:
    """What is compiled, less what changes with every edit of the code or release of KFP."""
    pipeline, platforms = documents(folder / "pipeline.yaml")
    for name in ("code", "digest"):
        pipeline["root"]["inputDefinitions"]["parameters"][name]["defaultValue"] = "…"
    pipeline["sdkVersion"] = "…"
    return yaml.safe_dump_all([pipeline, platforms], sort_keys=True, allow_unicode=True)


def test_the_compiled_pipeline_is_the_one_that_was_looked_at(tmp_path):
    # Changed on purpose? `python tests/test_pipelines.py` writes it anew; look at the difference before you commit it.
    assert golden(tmp_path) == GOLDEN.read_text()


def test_it_is_a_pipeline_for_kfp_itself(both):
    from google.protobuf import json_format
    from kfp.kubernetes import kubernetes_executor_config_pb2 as platform
    from kfp.pipeline_spec.pipeline_spec_pb2 import PipelineSpec

    json_format.ParseDict(both[0], PipelineSpec())
    for config in both[1]["platforms"]["kubernetes"]["deploymentSpec"]["executors"].values():
        json_format.ParseDict(config, platform.KubernetesExecutorConfig())


def test_every_step_gets_the_resources_retries_and_secrets_of_the_settings(both):
    compiled, platforms = both
    how = settings.read(ROOT / settings.FILE)
    for task, *_ in leaves(compiled):
        step = how.of(task["taskInfo"]["name"].split()[0])
        executor = compiled["components"][task["componentRef"]["name"]]["executorLabel"]
        container = compiled["deploymentSpec"]["executors"][executor]["container"]
        assert container["image"] == graph.image()
        assert container["resources"]["resourceMemoryLimit"] == step.memory
        assert container["resources"]["resourceCpuRequest"] == step.cpu
        assert task.get("retryPolicy", {}).get("maxRetryCount", 0) == step.retries
        if step.retries:  # a try that took its whole time is followed by the next one all the same
            waits = sum(step.backoff * 2**number for number in range(step.retries))
            allowed = int(task["retryPolicy"]["backoffMaxDuration"].removesuffix("s"))
            assert allowed > step.timeout * step.retries + waits
        config = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"][executor]
        assert config["activeDeadlineSeconds"] == str(step.timeout)
        assert config["podMetadata"]["labels"] == dict([settings.POD_LABEL])
        assert config["securityContext"] == {"runAsGroup": "10001", "runAsNonRoot": True, "runAsUser": "10001"}
        assert {secret["secretName"] for secret in config["secretAsEnv"]} == set(how.secrets)
        assert {"name": "MLFLOW_TRACKING_URI", "value": how.environment["MLFLOW_TRACKING_URI"]} in container["env"]


def test_register_alone_gets_the_signing_key_and_package_knows_its_image(tmp_path):
    file, output = tmp_path / "settings.yaml", tmp_path / "pipeline.yaml"
    file.write_text((ROOT / settings.FILE).read_text().replace('signing_secret: ""', "signing_secret: darkroom-signing"))
    assert main(["compile", *FILES, "--settings", str(file), "--output", str(output)]) == 0
    compiled, platforms = yaml.safe_load_all(output.read_text())
    configs = platforms["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    mounted = {name: config["secretAsVolume"] for name, config in configs.items() if "secretAsVolume" in config}
    assert list(mounted) == ["exec-register"]
    (secret,) = mounted["exec-register"]
    assert (secret["secretName"], secret["mountPath"]) == ("darkroom-signing", "/signing")
    for name, executor in compiled["deploymentSpec"]["executors"].items():
        named = {each["value"] for each in executor["container"]["env"] if each["name"] == "DARKROOM_IMAGE"}
        assert named == ({graph.image()} if name.startswith("exec-package") else set())


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"parts": {"shards": 0, "at_once": 1}}, "settings.yaml.parts.shards: expected"),
        ({"colour": "red"}, "settings.yaml.colour: unknown knob"),
        ({"steps": {"trian": {"cpu": "1"}}}, "settings.yaml.steps.trian: no such step"),
        ({"defaults": {"cpu": "1"}}, "settings.yaml.defaults.memory: missing"),
        ({"steps": {"train": {"memory": "lots"}}}, "settings.yaml.steps.train.memory: expected"),
        ({"environment": {"AWS_SECRET_ACCESS_KEY": "k"}}, "holds a secret in the clear"),
    ],
)
def test_a_wrong_setting_is_refused_with_its_place(tmp_path, capsys, changes, told):
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(yaml.safe_load((ROOT / settings.FILE).read_text()) | changes))
    assert main(["compile", *FILES, "--settings", str(file), "--output", str(tmp_path / "p.yaml")]) == 2
    assert told in capsys.readouterr().err


def test_knobs_are_set_and_checked_before_anything_runs(tmp_path, capsys):
    file = tmp_path / "p.yaml"
    assert main(["compile", *FILES, "--output", str(file), "--set", "train.cnn.epochs=3"]) == 0
    root = next(yaml.safe_load_all(file.read_text()))["root"]
    assert json.loads(root["inputDefinitions"]["parameters"]["train_cnn"]["defaultValue"])["epochs"] == 3
    capsys.readouterr()
    for wrong, told in (
        ("train.cnn.epochs=0", "train.cnn.epochs: expected an integer of at least 1, got 0"),
        ("train.cnn.epoch=3", "expected KNOB=VALUE with a knob of"),
        ("seed", "expected KNOB=VALUE"),
    ):
        assert main(["compile", *FILES, "--output", str(tmp_path / "no.yaml"), "--set", wrong]) == 2
        assert told in capsys.readouterr().err
    assert not (tmp_path / "no.yaml").exists()


def test_running_without_data_says_so(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "--params", str(ROOT / "params.yaml")]) == 2
    assert "data: no such folder" in capsys.readouterr().err
    assert not Path("outputs").exists()


if __name__ == "__main__":
    import tempfile

    GOLDEN.parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        GOLDEN.write_text(golden(Path(scratch)))
