"""params.yaml, from whoever writes it: what DVC reads is what Darkroom reads, and whatever is wrong is said in plain lines."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from conftest import ROOT
from dvc.utils.serialize import ParseError, parse_yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from components.__main__ import check
from components.shared import config, yaml_reader
from components.shared.errors import CannotRun
from components.validate.config import ValidateConfig

PARAMS = ROOT / "params.yaml"
FILE = Path("params.yaml")
pytestmark = pytest.mark.filterwarnings("ignore::ruamel.yaml.error.ReusedAnchorWarning")

words = st.sampled_from(
    ["off", "on", "yes", "No", "true", "null", "~", "010", "0o10", "0x1F", "1e3", "1_000", ".inf", "-.INF", "1:30", "2020-01-01",
     "2020-99-99", "a", "'b", '"c"', "&x", "*x", "<<", "=", "!!set", "!!int", "!!bool", "!!python/object/apply:os.system", "!t",
     "{", "}", "[", "]", ",", "? ", ": ", "- ", "\n", "\n  ", "\t", " ", "#", "|\n", ">\n", "---\n", "...\n", "%YAML 1.1\n", "\x00",
     "\r", "\x85", "\ufeff", "é", "seed: ", "train: "]
)  # fmt: skip
yaml_texts = st.one_of(st.lists(words, max_size=12).map("".join), st.text(max_size=20))
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5) | st.integers(), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=400, deadline=None)
@given(yaml_texts)
@example("off")
@example("a: 010\nb: 1e3\nc: off\n")
@example("a: 1\na: 2\n")
@example("%YAML 1.1\n---\na: off\n")
@example("2020-99-99")
@example("a: !!bool maybe")
@example("!!int")
def test_what_dvc_reads_is_what_darkroom_reads(text):
    try:
        expected = parse_yaml(text, "params.yaml")
    # DVC refuses by ParseError; where it passes on what a constructor of ruamel.yaml stumbles over (`!!bool maybe`: KeyError, `!!int`:
    # IndexError, `2020-99-99`: ValueError), it has read nothing either. In each case Darkroom must refuse in a line: that is the test.
    except (ParseError, LookupError, ValueError):
        with pytest.raises(CannotRun):
            yaml_reader.parse(text, where="params.yaml")
        return
    assert repr(yaml_reader.parse(text, where="params.yaml") or {}) == repr(expected)


def assert_plain(work: Callable[[], None]) -> None:
    """The work is done, or refused in short lines; any other exception is the test's end."""
    try:
        work()
        faults = ("",)
    except CannotRun as error:
        faults = error.faults
    assert faults
    assert all(len(fault) < 2000 and "\n" not in fault for fault in faults)


def refusal(params: dict) -> str:
    with pytest.raises(CannotRun) as caught:
        check(params, file=FILE)
    return str(caught.value)


def changed(*path: str, to: object) -> dict:
    params = config.read_params(PARAMS)
    above = params
    for key in path[:-1]:
        above = above[key]
    above[path[-1]] = to
    return params


def test_the_projects_own_file_passes():
    check(config.read_params(PARAMS), file=FILE)


@pytest.mark.parametrize(
    "seed", ["7; touch X", "abc", 7.5, None, True, -1, 2**32, [], {}, 16**5000], ids=lambda seed: type(seed).__name__
)
def test_a_seed_that_is_no_whole_number_is_named(seed):
    assert "params.yaml: seed: expected a whole number from 0 to 4294967295, got" in refusal(changed("seed", to=seed))


def test_every_key_is_checked():
    params = config.read_params(PARAMS)
    del params["seed"]
    params["trian"] = params["train"].pop("lstm")
    params["prepare"] = None
    params["augment"] = [1]
    params[3] = 1
    told = refusal(params).splitlines()
    assert "params.yaml: seed: missing; expected a whole number at the top, such as seed: 7" in told
    assert any(line.startswith("params.yaml: trian: unknown; known are: augment, embed, evaluate") for line in told)
    assert any(line.startswith("params.yaml: 3: unknown") for line in told)
    assert "params.yaml: no section train.lstm; train holds: cnn" in told
    assert "prepare: expected a section of knobs (NAME: VALUE lines), got None" in told
    assert "augment: expected a section of knobs (NAME: VALUE lines), got [1]" in told
    assert "train.gru: unknown" in refusal(changed("train", "gru", to={}))
    assert "no section train.cnn; train holds: nothing" in refusal(changed("train", to={}))
    assert "no section train.cnn; train holds: nothing" in refusal(changed("train", to=None))


def test_a_severity_of_no_check_and_one_that_is_missing_are_named_before_a_step_has_run():
    params = config.read_params(PARAMS)
    params["validate"]["severity"]["W_DRAK"] = params["validate"]["severity"].pop("W_DARK")
    params["seed"] = None
    told = refusal(params).splitlines()
    assert any(line.startswith("validate.severity.W_DRAK: no such check; there are: E_CLASS_MISSING") for line in told)
    assert "validate.severity.W_DARK: missing; error, warning, info or off" in told
    assert any(line.startswith("params.yaml: seed: expected") for line in told)


def test_a_key_that_stands_twice_is_refused_with_its_line(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("seed: 1\nmeasure: {}\nseed: 2\n")
    with pytest.raises(CannotRun, match=r'params\.yaml line 3: not valid YAML \(found duplicate key "seed"'):
        config.read_params(file)


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
MERGES = "a: &a {x: 1}\n" + "".join(
    f"{name}: &{name} {{<<: [{', '.join([f'*{before}'] * 9)}]}}\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(("content", "told"), [
    (b"a: \xff", "it is no UTF-8 text"),
    (b"a: 1\n\tb: 2", "line 2: not valid YAML"),
    (b"a: \x00", "special characters are not allowed"),
    (b"!!python/object/apply:os.system ['touch X']", "line 1: not valid YAML (could not determine a constructor"),
    (b"a: !!python/name:os.system", "line 1: not valid YAML (could not determine a constructor"),
    (b"[" * 5000, "nested too deeply"),
    (b"#" * 2**21, "more than 1 MiB"),
    (BOMB.encode(), "more than 100,000 values once its aliases are written out"),
    (MERGES.encode(), "more than 100,000 values once its aliases are written out"),
    (b"a: !!bool maybe", "not valid YAML ('maybe')"),
    (b"2020-99-99: 1", "not valid YAML (month must be in 1..12"),
    (b"", "expected a section per step, got None"),
    (b"- a\n", "expected a section per step, got ['a']"),
])  # fmt: skip
def test_a_file_that_is_no_params_yaml_is_one_line_and_exit_code_two(tmp_path, content, told):
    (tmp_path / "params.yaml").write_bytes(content)
    done = subprocess.run(["darkroom", "knobs", "params.yaml"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, len(done.stderr.splitlines())) == (2, 1)
    assert done.stderr.startswith("params.yaml")
    assert told in done.stderr
    assert sorted(file.name for file in tmp_path.iterdir()) == ["params.yaml"]


def test_an_alias_of_a_section_is_taken_as_dvc_takes_it(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("base: &base {a: 1, b: 2}\ntrain: {cnn: *base, lstm: {<<: *base, b: 3}}\nloop: &loop [*loop]\n")
    assert config.read_params(file)["train"] == {"cnn": {"a": 1, "b": 2}, "lstm": {"a": 1, "b": 3}}


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=yaml_texts | st.binary(max_size=40))
def test_any_file_is_read_or_refused(tmp_path, text):
    file = tmp_path / "params.yaml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    assert_plain(lambda: check(config.read_params(file), file=file))


PATHS = ["seed", "train", "train.cnn", "train.cnn.epochs", "train.cnn.optimizer", "validate.severity", "validate.severity.W_DARK",
         "prepare", "augment.flip", "register.model", "nothing", "train.", ".", ""]  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(path=st.sampled_from(PATHS) | st.text(max_size=6), equals=st.sampled_from(["=", "", "=="]), text=yaml_texts)
@example("train", "=", "{}")
@example("seed", "=", "0x" + "f" * 5000)
@example("train.cnn", "=", "{? [a] : 1}")
@example("validate.severity", "=", "&a {x: *a}")
def test_any_set_is_applied_or_refused(path, equals, text):
    params = config.read_params(PARAMS)

    def work() -> None:
        config.override(params, f"{path}{equals}{text}", file=FILE)
        check(params, file=FILE)
        config.as_text(params)

    assert_plain(work)


@settings(max_examples=150, deadline=None)
@given(path=st.sampled_from(PATHS[:10]), value=plain)
def test_any_value_of_any_knob_is_taken_or_refused(path, value):
    assert_plain(lambda: check(changed(*path.split("."), to=value), file=FILE))


@pytest.mark.parametrize(("change", "value"), [
    ("validate.severity.W_DARK=off", "off"), ("train.cnn.epochs=010", 10), ("train.cnn.learning_rate=1e-3", 0.001),
    ("register.model=yes", "yes"),
])  # fmt: skip
def test_a_value_on_the_command_line_is_read_like_one_in_the_file(change, value):
    params = config.read_params(PARAMS)
    config.override(params, change, file=FILE)
    path = change.partition("=")[0]
    assert config.section_of(params, path, file=FILE) == value
    check(params, file=FILE)


def test_a_change_of_one_section_is_not_one_of_another_that_an_alias_makes_the_same(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text("train: {cnn: &same {epochs: 1}, lstm: *same}\n")
    params = config.read_params(file)
    config.override(params, "train.cnn.epochs=3", file=file)
    assert params == {"train": {"cnn": {"epochs": 3}, "lstm": {"epochs": 1}}}


SHOWN = """
import os
from components.measure.config import MeasureConfig

def shown(*, config: MeasureConfig, seed: int) -> None:
    print(seed, os.environ["DARKROOM_PIPELINE_RUN"])
"""


def test_a_step_gets_the_seed_of_params_yaml_and_the_name_of_its_pipeline_run(tmp_path):
    (tmp_path / "shown.py").write_text(SHOWN)
    script = "import sys, components; components.TOOLS['shown'] = components.Command('shown', 's')\n" \
             "from components.__main__ import main; sys.exit(main())"  # fmt: skip

    def run(*changes: tuple[str, str], options: tuple = (), **environment: str) -> subprocess.CompletedProcess:
        text = PARAMS.read_text()
        for old, new in changes:
            assert old in text
            text = text.replace(old, new)
        (tmp_path / "params.yaml").write_text(text)
        clean = {name: value for name, value in os.environ.items() if name != "DARKROOM_PIPELINE_RUN"}
        environment = clean | {"PYTHONPATH": f"{ROOT}:{tmp_path}", **environment}
        command = [sys.executable, "-c", script, "shown", "--config", "measure", *options]
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)

    seed, name = run().stdout.split()
    assert seed == "7"
    assert run(("# one number", "# another remark")).stdout.split() == ["7", name]
    assert run(("seed: 7", "seed: 010")).stdout.split()[0] == "10"
    assert run(("epochs: 4", "epochs: 5")).stdout.split()[1] != name
    assert run(DARKROOM_PIPELINE_RUN="mine").stdout.split() == ["7", "mine"]
    assert "unrecognized arguments: --seed" in run(options=("--seed", "3")).stderr
    assert "seed: expected a whole number from 0 to 4294967295, got 'x'" in run(("seed: 7", "seed: x")).stderr


def severity(file: Path) -> str:
    values = config.read_params(file)["validate"]
    return config.parse(ValidateConfig, values, path="validate").severity["W_DARK"]


def test_severity_off_works_when_written_in_the_file(tmp_path):
    file = tmp_path / "params.yaml"
    file.write_text(PARAMS.read_text().replace("W_DARK: warning", "W_DARK: off"))
    assert severity(file) == "off"


@pytest.fixture
def project(tmp_path) -> Path:
    """A repository with the project's params.yaml and one stage, which writes what it was given."""
    (tmp_path / "params.yaml").write_text(PARAMS.read_text())
    stage = {
        "cmd": "darkroom knobs params.yaml && cp params.yaml seen.yaml",
        "params": ["validate", "seed"],
        "outs": ["seen.yaml"],
    }
    (tmp_path / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"knobs": stage}}))
    for command in ("git init -q", "dvc init -q", "git add -A", "git -c user.name=t -c user.email=t@t commit -qm t"):
        subprocess.run(command.split(), cwd=tmp_path, check=True, capture_output=True)
    return tmp_path


@pytest.mark.parametrize("written", ["off", "'off'", '"off"'])
def test_severity_off_works_through_dvc_exp_run(project, written):
    command = ["dvc", "exp", "run", "-S", f"validate.severity.W_DARK={written}", "-S", "seed=11"]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr + done.stdout
    assert severity(project / "params.yaml") == severity(project / "seen.yaml") == "off"
    assert config.read_params(project / "params.yaml")["seed"] == 11


def test_a_seed_that_holds_a_command_runs_no_command(project):
    stage = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]["augment"]
    (project / "dvc.yaml").write_text(yaml.safe_dump({"stages": {"augment": stage | {"deps": ["params.yaml"]}}}))
    (project / "params.yaml").write_text(PARAMS.read_text().replace("seed: 7 ", "seed: '7; touch X' #"))
    done = subprocess.run(["dvc", "repro"], cwd=project, capture_output=True, text=True)
    assert "params.yaml: seed: expected a whole number from 0 to 4294967295, got '7; touch X'" in done.stderr
    assert done.returncode
    assert not list(project.rglob("X"))
    assert subprocess.run(["darkroom", "knobs", "params.yaml"], cwd=project, capture_output=True).returncode == 2
