"""Names of files and classes are text to every shell, template and option; what is installed is what was pinned."""

import ast

import numpy as np
import pytest
from conftest import ROOT, drawing, png

from components.__main__ import main
from components.shared.data import dataset

PROGRAMS = [
    file for folder in ("components", "pipelines", "benchmarks", "infra") for file in sorted((ROOT / folder).rglob("*.py"))
]
NAMES = ["$(touch X)", ";touch X;", "`touch X`", "|touch X", "a\nb & touch X", "-rf", "--params=x", "$$", "${item}", "%s{0}{x}", "'\"",
         "~root", "*", "\\", "\u202egnp"]  # fmt: skip


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda file: str(file.relative_to(ROOT)))
def test_no_program_calls_a_shell(file):
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name not in ("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput", "eval", "exec")
            for keyword in node.keywords:
                assert keyword.arg != "shell" or ast.unparse(keyword.value) == "False"


def test_hostile_names_pass_through_every_command_as_text(here, capsys):
    rng = np.random.default_rng(0)
    for number, name in enumerate(NAMES):
        folder = here / "source" / name
        folder.mkdir(parents=True)
        for copy in range(12):
            (folder / f"{name}{copy}.png").write_bytes(png(drawing("box", rng, size=16 + number % 2)))
    params = ["--params", str(ROOT / "params.yaml")]
    assert main(["ingest", "source", "data"]) == 0
    assert main(["measure", "--data", "data", "--config", "measure", "--manifest", "m", *params]) == 0
    assert main(["validate", "--manifest", "m", "--config", "validate", "--validation", "v", *params]) in (0, 1)
    assert main(["fix", "data", "v"]) in (0, 2)
    assert main(["digest", "data"]) == 0
    assert main(["export", "data", "tree"]) == 0
    assert {folder.name for folder in (here / "tree").iterdir()} == set(NAMES)
    samples = [sample for shard in dataset.shards(here / "data") for sample in dataset.read_samples(shard)]
    assert {sample.label for sample in samples} == set(NAMES)
    assert not list(here.rglob("X"))
    assert "fault of Darkroom" not in capsys.readouterr().err


def test_hostile_names_of_files_and_folders_on_the_command_line_are_text(here, capsys):
    for name in NAMES:
        place = here / name
        assert main(["digest", f"./{name}"]) == 2
        assert main(["knobs", f"./{name}"]) == 2
        assert not place.exists()
    assert not list(here.rglob("X"))
    assert "Traceback" not in capsys.readouterr().err
