"""The rules of the house: who may import whom, one table of contents, every path that the README names exists."""

import ast
import importlib
import inspect
import re
import subprocess
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from components import STEPS

PYTHON = [path for folder in ("components", "pipelines") for path in sorted((ROOT / folder).rglob("*.py"))]
STEP_FOLDERS = set(STEPS)
HEAVY = {"tensorflow", "mlflow", "great_expectations", "matplotlib"}


def tracked() -> list[Path]:
    found = subprocess.run(["git", "-C", str(ROOT), "ls-files", "-co", "--exclude-standard"], capture_output=True, text=True)
    return [ROOT / line for line in found.stdout.splitlines() if (ROOT / line).exists()]


def imports(file: Path, *, top_level: bool = False) -> set[str]:
    tree = ast.parse(file.read_text())
    nodes = tree.body if top_level else ast.walk(tree)
    names = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
    return names


def roots(names: set[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("file", PYTHON, ids=lambda file: str(file.relative_to(ROOT)))
def test_everyone_imports_only_whom_they_may(file):
    place, names = file.relative_to(ROOT).parts, imports(file)
    if place[0] == "components":
        assert not roots(names) & {"kfp", "dvc", "pipelines"}
        others = {name.split(".")[1] for name in names if name.startswith("components.") and "." in name}
        own = {place[1], "shared"} if len(place) > 2 else {"shared", *STEP_FOLDERS}
        own = {"shared"} if place[1] == "shared" else own
        assert others & STEP_FOLDERS <= own, f"imports another step: {others}"
        if file.name == "pyfunc.py":  # which MLflow runs, and nobody imports
            return
        if file.name in ("step.py", "config.py", "__init__.py") or place[1] == "shared":
            assert not roots(imports(file, top_level=True)) & HEAVY, "a command-line start would feel it"
    else:
        light = {"components", "components.STEPS", "components.IN_GRAPHS"}
        top = {name for name in imports(file, top_level=True) if name.startswith("components") and name not in light}
        assert all(name.startswith("components.shared") and ".data" not in name for name in top), "compiling would load it"


def test_tensorflow_enters_in_one_place():
    assert [file.name for file in PYTHON if "tensorflow" in roots(imports(file))] == ["backend.py"]


def test_there_is_no_python_in_the_tracking_servers_folder():
    # A package named mlflow beside the code would hide the real one.
    assert not [file for file in tracked() if file.match("mlflow/*.py")]


def test_files_stay_small_and_there_is_no_drawer():
    for file in PYTHON:
        assert len(file.read_text().splitlines()) <= 300, file
        assert file.name != "utils.py"


def test_a_file_says_what_it_holds_without_its_folders_help():
    names = [file.stem for file in PYTHON if file.stem not in ("__init__", "__main__", "step", "config")]
    assert not [name for name in set(names) if names.count(name) > 1]
    both = {"package"}  # what one is, and how one comes by many
    assert not [name for name in {*names, "step"} - both if f"{name}s" in names], "two names that differ by an s"


def test_the_table_of_contents_names_every_step_once():
    assert list(STEPS) == [
        "ingest",
        "measure",
        "embed",
        "validate",
        "prepare",
        "augment",
        "train",
        "package",
        "evaluate",
        "stress",
        "register",
    ]
    for name, (module, text, *_) in STEPS.items():
        step = getattr(importlib.import_module(module), name)
        assert inspect.getdoc(step), name
        assert text


def test_dvc_runs_every_step_with_the_options_and_the_section_that_it_has():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    assert list(stages) == list(STEPS)[1:]
    for name, stage in stages.items():
        stage = stage.get("do", stage)
        step = getattr(importlib.import_module(STEPS[name][0]), name)
        takes = inspect.signature(step).parameters
        wanted = {name for name, each in takes.items() if each.default is each.empty}
        seeded = ["seed"] if "seed" in wanted else []  # from params.yaml, through the dispatcher
        given = {option.replace("-", "_") for option in re.findall(r"--([a-z-]+)", stage["cmd"])}
        assert wanted - {"seed"} <= given <= set(takes), name
        section = re.search(r"--config (\S+)", stage["cmd"])
        if section:
            assert stage["params"] == [section[1], *seeded]
            assert section[1].split(".")[0] in params
        outputs = [next(iter(out)) if isinstance(out, dict) else out for out in stage["outs"]]
        for path in [*stage["deps"], *outputs]:
            assert (
                path.startswith(("components/", "requirements.lock")) or path in stage["cmd"] or f"{path}/" in stage["cmd"]
            ), (name, path)


def test_no_value_of_params_yaml_reaches_a_shell():
    """DVC pastes `${...}` into the text that a shell runs: only items of lists that dvc.yaml itself holds may stand there."""
    text = (ROOT / "dvc.yaml").read_text()
    stages = yaml.safe_load(text)["stages"]
    assert set(re.findall(r"\$\{([^}]*)\}?", text)) == {"item"}
    assert "vars" not in yaml.safe_load(text)
    for stage in stages.values():
        assert "vars" not in stage
        assert all(re.fullmatch(r"[a-z]+", item) for item in stage.get("foreach", []))
        assert "${item}" not in str(stage) or "foreach" in stage
        assert not stage.keys() & {"matrix"}


def test_every_path_that_the_readmes_name_exists_or_is_made_by_the_pipeline():
    for readme in [file for file in tracked() if file.suffix == ".md"]:
        for path in re.findall(r"`((?:[\w.-]+/)+[\w.-]*)`", readme.read_text()):
            if path.startswith(
                ("outputs/", "data/", ".venv/", ".dvc/config.local", "mlflow/artifacts", "application/", "text/")
            ):
                continue
            assert (ROOT / path).exists() or (readme.parent / path).exists(), f"{readme.name} names {path}"
        for path in re.findall(r"\]\((?!http|#)([^)#]+)\)", readme.read_text()):
            assert (readme.parent / path).exists(), f"{readme.name} links to {path}"


def test_every_make_target_that_the_readme_names_exists():
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"make ([a-z][a-z-]*)", (ROOT / "README.md").read_text()))
    assert named <= targets
    assert {"help", "run", "test", "test-all", "ui", "lint", "lock", "clean"} <= targets


def test_the_lock_pins_every_dependency_with_hashes_and_names_no_index():
    import tomllib

    lock = (ROOT / "requirements.lock").read_text()
    assert "://" not in lock
    assert "--index-url" not in lock
    pinned = dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", lock, re.M))
    assert len(re.findall(r"--hash=sha256:", lock)) > len(pinned)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for requirement in project["dependencies"] + project["optional-dependencies"]["test"]:
        assert re.match(r"[A-Za-z0-9.-]+", requirement)[0].lower().replace(".", "-") in pinned


def test_nothing_large_or_private_is_tracked():
    for file in tracked():
        assert file.stat().st_size < 2 * 2**20, file
        assert not file.match("*.db")
        assert not file.match("*.keras")


# Command that infra/README.md gives -> the test that runs it.
RUN_BY = {
    "python -m pipelines compile": "test_pipelines.py",
    "python -m pipelines run --containers": "test_containers.py",
    "python -m pipelines run": "test_whole_run.py",
    "make image": "test_containers.py",
    "kubectl kustomize": "test_kubernetes.py",
    "dvc remote modify": "test_server.py",
    "dvc push": "test_server.py",
    "python -m pipelines check": "test_check.py",
    "python -m pipelines submit": "test_submit.py",
    "python -m pipelines schedule": "test_submit.py",
    "python -m pipelines list": "test_status.py",
    "python -m pipelines status": "test_status.py",
    "python -m pipelines logs": "test_status.py",
    "python -m pipelines retry": "test_status.py",
    "python -m pipelines stop": "test_submit.py",
    "python -m pipelines publish": "test_server.py",
    "python -m pipelines serve": "test_serving.py",
    "python -m pipelines predict": "test_predicting.py",
    "export": "",
}


def test_every_command_of_the_cluster_guide_is_run_by_a_test_or_marked():
    text = (ROOT / "infra/README.md").read_text()
    lines = [line for block in re.findall(r"```\n(.*?)```", text, re.S) for line in block.splitlines()]
    assert len(lines) > 15
    for line in lines:
        if "(cluster)" in line:
            continue
        (test,) = [RUN_BY[command] for command in RUN_BY if line.startswith(command)][:1] or [None]
        assert test is not None, line
        assert not test or (ROOT / "tests" / test).exists()
