"""What README and docs tell people to type exists: commands, their options, knobs."""

import re
import shlex
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "mlflow/README.md", *sorted((ROOT / "docs").glob("*.md"))]
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


def lines() -> set[str]:
    """Commands in blocks and in running text, remarks and continuations taken away."""
    found = set()
    for page in PAGES:
        text = page.read_text()
        for block in re.findall(r"^```\n(.*?)^```", text, re.S | re.M):
            found |= {line.split("  #")[0].strip() for line in block.replace("\\\n", " ").splitlines()}
        found |= set(re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text))
    return {part.strip() for line in found for part in line.split("&&")}


def helps(program: str) -> dict[str, set[str]]:
    """Options by command, of all lines that call `program COMMAND ...`."""
    called = {}
    for line in lines():
        if line.startswith(f"{program} ") and re.match(r"[a-z]", words := line.removeprefix(program).strip()):
            command, *rest = shlex.split(words)
            called.setdefault(command, set()).update(word.split("=")[0] for word in rest if re.match(r"--?[a-z]", word))
    return called


@pytest.mark.parametrize(("program", "module"), [("darkroom", "components"), ("python -m pipelines", "pipelines")])
def test_every_command_and_option_that_the_pages_name_is_in_its_help(program, module):
    called = helps(program)
    assert len(called) > 5
    for command, options in called.items():
        shown = subprocess.run([sys.executable, "-m", module, command, "--help"], cwd=ROOT, capture_output=True, text=True)
        assert shown.returncode == 0, (command, shown.stderr)
        missing = {option for option in options if not re.search(rf"{re.escape(option)}\b", shown.stdout)}
        assert not missing, (command, missing)


def test_every_knob_that_the_pages_name_is_one():
    named = set(re.findall(r"(?:-S|--set) ([\w.]+)=", " ".join(page.read_text().replace("\\\n", " ") for page in PAGES)))
    named |= {
        name
        for line in lines()
        if "train.epochs" not in line
        for name in re.findall(rf"^((?:{'|'.join(PARAMS)})\.[\w.]+)(?:[:=].*)?$", line)
    }
    assert len(named) > 15
    for name in named - {"package.json", "train.epochs"}:
        value = PARAMS
        for part in name.split("."):
            assert part in value, name
            value = value[part]
