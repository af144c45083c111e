"""What runs again after a change: each stage of dvc.yaml depends on the code and the lock that make its results, on nothing else."""

from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from test_layout import imports

from components import STEPS

# No result depends on these: they write files, spread work, read knobs, bring and keep bytes that are known by their digest.
NO_RESULT = {f"components/shared/{name}" for name in (
    "__init__.py", "config.py", "data/parts.py", "data/remote.py", "deadline.py", "destination.py", "errors.py", "files.py",
    "masking.py", "parallel.py", "progress_bar.py", "runs/guarded_server.py", "runs/origin.py", "runs/packages.py", "runs/pyfunc.py",
    "scratch.py", "screen.py", "store.py", "supervise.py", "yaml_reader.py")}  # fmt: skip
# Drawn in passing by steps whose other outputs the next step learns from, or by a command: a word there must not train two networks again.
IN_PASSING = {
    "embed": {"components/shared/plots.py"},
    "augment": {"components/shared/plots.py"},
    "register": {"components/shared/models/package.py"},  # whose digests alone it reads
    "train": {"components/shared/plots.py"},
}


def used_by(name: str) -> set[str]:
    """Every file of components/shared that a step's results depend on: imported by its folder, directly or through others."""
    harmless = NO_RESULT | IN_PASSING.get(name, set())
    todo, seen = list((ROOT / "components" / name).glob("*.py")), set()
    while todo:
        file = todo.pop()
        path = str(file.relative_to(ROOT))
        sends_in_passing = name != "register" and path.startswith("components/shared/runs/")
        if path in seen | harmless or sends_in_passing or not file.exists():
            continue
        seen.add(path)
        for dotted in imports(file):
            parts = dotted.split(".")
            if parts[0] == "components":
                todo += [ROOT.joinpath(*parts[:-1], parts[-1] + ".py"), ROOT.joinpath(*parts, "__init__.py")]
    return {path for path in seen if path.startswith("components/shared/") and not path.endswith("__init__.py")}


@pytest.mark.parametrize("name", list(STEPS)[1:])
def test_a_stage_depends_on_the_code_that_makes_its_results_and_on_no_other(name):
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"][name]
    deps = {path for path in stage.get("do", stage)["deps"] if not path.startswith(("outputs/", "data"))}
    assert deps >= {"requirements.lock", f"components/{name}"}  # with another TensorFlow, train again
    code = deps - {"requirements.lock", f"components/{name}"}
    assert {str(file.relative_to(ROOT)) for path in code for file in files_of(ROOT / path)} - NO_RESULT == used_by(name)


def files_of(path: Path) -> list[Path]:
    return [file for file in path.glob("*.py") if file.name != "__init__.py"] if path.is_dir() else [path]
