"""Who was champion when and why, and the way back: out of the registry alone, whatever a process that was killed has left."""

import contextlib
import json
from pathlib import Path

import pytest
from conftest import empty_store
from test_server import free_port
from test_tracking_server import serving
from toy_package import make_package

from components.__main__ import main as darkroom
from components.shared.errors import CannotRun
from components.shared.runs import tracking
from components.shared.runs.logged_model import DIGEST
from components.shared.runs.registry import BY_HAND, PROMOTED, ROLLED_BACK, Registry


@pytest.fixture
def registry(here: Path) -> Registry:
    """A registered model with three versions, of which none is champion yet."""
    (here / "mlflow").mkdir()
    (here / "mlflow/runs.db").write_bytes(empty_store())
    made = Registry(tracking.connect(), "toys")
    for number in (1, 2, 3):
        tags = {"architecture": "cnn", "data_digest": f"data{number}", "git_commit": f"code{number}"}
        made.client.create_model_version("toys", (here / f"logged{number}").as_uri(), tags=tags)
    return made


def moves(registry: Registry) -> list[tuple[str, str, str]]:
    return [(entry.action, entry.version, entry.before) for entry in registry.log()]


def aliases(registry: Registry) -> dict[str, str]:
    return {alias: str(version) for alias, version in registry.client.get_registered_model("toys").aliases.items()}


def test_each_move_of_the_champion_is_an_entry_with_what_it_was_made_of(registry):
    assert registry.log() == []
    registry.promote("1", "There was no champion before.")
    registry.challenge("2")
    registry.promote("2", "Better: balanced accuracy 0.91, before 0.89.")
    registry.promote("2", "It is the champion already.")
    assert aliases(registry) == {"champion": "2", "previous": "1"}
    last, first = registry.log()
    assert (last.action, last.version, last.before, last.data_digest, last.git_commit) == (PROMOTED, "2", "1", "data2", "code2")
    assert last.reason == "Better: balanced accuracy 0.91, before 0.89."
    assert (first.version, first.before) == ("1", "")
    assert registry.client.get_model_version("toys", "1").tags["champion_until"] == f"{last.when}: {last.reason}"


def test_the_registered_models_page_shows_the_history_unless_a_person_described_it(registry):
    registry.promote("1", "There was no | champion\nbefore.")
    registry.promote("2", "Better.")
    shown = registry.client.get_registered_model("toys").description.splitlines()
    assert [line.split(" | ")[1:] for line in shown[-2:]] == [
        ["2", "cnn", "Better."],
        ["1", "cnn", "There was no / champion before."],
    ]
    registry.client.update_registered_model("toys", "Of toys.")
    registry.rollback("1", "wrong")
    assert registry.client.get_registered_model("toys").description == "Of toys."


def test_a_second_rollback_goes_further_back_and_never_to_what_was_withdrawn(registry):
    for number in "123":
        registry.promote(number, "better")
    registry.rollback(registry.previous(), "wrong on site B")
    assert aliases(registry) == {"champion": "2", "previous": "1"}
    assert registry.withdrawn("3").endswith(": wrong on site B")
    registry.rollback(registry.previous(), "wrong as well")
    assert (aliases(registry), registry.previous()) == ({"champion": "1"}, "")
    registry.promote("3", "it was site B itself")
    assert registry.withdrawn("3") == ""
    assert moves(registry)[:2] == [(PROMOTED, "3", "1"), (ROLLED_BACK, "1", "2")]


def test_what_was_moved_in_mlflow_itself_is_told_as_such(registry):
    registry.client.set_registered_model_alias("toys", "champion", "1")
    registry.promote("2", "better")
    registry.client.set_registered_model_alias("toys", "champion", "3")
    assert moves(registry) == [(BY_HAND, "3", "2"), (PROMOTED, "2", "1"), (BY_HAND, "1", "")]
    registry.client.delete_registered_model_alias("toys", "champion")
    registry.promote("1", "none was left")
    assert moves(registry)[:2] == [(PROMOTED, "1", ""), (BY_HAND, "", "2")]


def test_decisions_are_counted_of_each_test_split(registry):
    assert registry.decisions("a" * 64) == 0
    for _ in range(3):
        registry.count_decision("a" * 64)
    assert (registry.decisions("a" * 64), registry.decisions("b" * 64)) == (3, 0)


def test_a_model_is_found_among_more_than_a_page_of_them(registry):
    for number in range(105):
        registry.client.create_registered_model(f"other {number}")
    assert Registry(tracking.connect(), "toys", make=False).log() == []
    with pytest.raises(CannotRun, match="no registered model 'toy'; there are: other 0, "):
        Registry(tracking.connect(), "toy", make=False)


class Killed(BaseException):
    """What no code of ours catches, as a kill."""


@pytest.mark.parametrize("after", range(7))
@pytest.mark.parametrize("action", ["promote", "rollback"])
def test_a_kill_between_two_calls_reads_sensibly_and_the_next_call_repairs_it(registry, monkeypatch, after, action):
    registry.promote("1", "first")
    registry.promote("2", "second")
    registry.challenge("3")
    left = after

    def counted(call):
        def counted_call(*arguments):
            nonlocal left
            if left == 0:
                raise Killed
            left -= 1
            call(*arguments)

        return counted_call

    with monkeypatch.context() as patch, contextlib.suppress(Killed):
        for name in ("set_registered_model_tag", "set_registered_model_alias", "set_model_version_tag",
                     "delete_registered_model_alias"):  # fmt: skip
            patch.setattr(registry.client, name, counted(getattr(registry.client, name)))
        getattr(registry, action)(*(("3", "third") if action == "promote" else ("1", "back")))
    moved = aliases(registry)["champion"] != "2"
    assert [entry.version for entry in registry.log()] == ([aliases(registry)["champion"]] if moved else []) + ["2", "1"]
    assert registry.previous() == ({"promote": "2", "rollback": ""}[action] if moved else "1")
    assert bool(registry.withdrawn("2")) == (moved and action == "rollback")
    registry.promote("3", "third")
    assert [entry.version for entry in registry.log()][:2] == ["3", "1" if moved and action == "rollback" else "2"]
    assert all(entry.done for entry in registry.log())


def registered(place: Path, client, number: int) -> None:
    """A version with a package, in a folder that a store of files would be."""
    made = make_package(place / f"store{number}/artifacts/package", seed=number)
    tags = {
        DIGEST: made.digest,
        "architecture": "lstm",
        "data_digest": "0123456789abcdef.dir",
        "git_commit": "f" * 40 + "+changes",
    }
    client.create_model_version("toys", (place / f"store{number}").as_uri(), tags=tags)


def test_rollback_is_one_command_and_refuses_in_one_line_what_cannot_be_gone_back_to(registry, here, capsys):
    def refused(*arguments: str) -> str:
        assert darkroom(["rollback", "--name", "toys", *arguments]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert "has no champion" in refused()
    for number in (4, 5):
        registered(here, registry.client, number)
        registry.promote(str(number), f"better \x1b[31m by {number}")
    assert "version 5 of toys is the champion already" in refused("--to", "5")
    registry.challenge("1")
    for other in ("77", "1", "04", "x"):
        assert f"version {other} of toys was never champion; there were: 4, 5" in refused("--to", other)
    registry.client.delete_registered_model_alias("toys", "challenger")
    file = here / "store4/artifacts/package/model.onnx"
    whole = file.read_bytes()
    file.write_bytes(whole[:-1])
    assert "model.onnx is missing, or is not what was packaged" in refused()
    assert aliases(registry) == {"champion": "5", "previous": "4"}
    file.write_bytes(whole)
    assert darkroom(["rollback", "--name", "toys", "--reason", "site B is wrong"]) == 0
    assert aliases(registry) == {"champion": "4"}
    assert "no version of toys was champion before version 4; name one by --to" in refused()
    capsys.readouterr()
    assert darkroom(["history", "--name", "toys"]) == 0
    told = capsys.readouterr().out
    assert max(map(len, told.splitlines())) <= 100
    assert told.splitlines()[1].split()[2:] == ["4", "lstm", "5", "rolled", "back", "0123456789a", "ffffffffffff+"]
    assert told.splitlines()[2] == "    site B is wrong"
    assert "\x1b" not in told
    assert darkroom(["history", "--name", "toys", "--json"]) == 0
    assert [entry["version"] for entry in json.loads(capsys.readouterr().out)] == ["4", "5", "4"]
    assert darkroom(["history", "--name", "nothing"]) == 2
    assert "no registered model 'nothing'; there are: toys" in capsys.readouterr().err


@pytest.mark.slow
def test_two_working_copies_see_one_history_on_a_server_and_either_rolls_back(here, tmp_path_factory, monkeypatch, capsys):
    served, port = tmp_path_factory.mktemp("served"), free_port()
    with serving(served, port):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
        registry = Registry(tracking.connect(), "toys")
        for number in (1, 2):
            folder = make_package(here / f"package{number}", seed=number).folder
            mlflow = tracking.connect()
            with mlflow.start_run() as run:
                mlflow.log_artifacts(str(folder), "artifacts/package")
            tags = {DIGEST: make_package(folder, seed=number).digest, "architecture": "cnn"}
            registry.client.create_model_version("toys", run.info.artifact_uri, tags=tags, run_id=run.info.run_id)
            registry.promote(str(number), f"better by {number}")
        told = []
        for copy in ("one", "two"):
            (here / copy).mkdir()
            monkeypatch.chdir(here / copy)
            assert darkroom(["history", "--name", "toys", "--json"]) == 0
            told.append(json.loads(capsys.readouterr().out))
        assert told[0] == told[1]
        assert darkroom(["rollback", "--name", "toys", "--reason", "from the second copy"]) == 0
        monkeypatch.chdir(here / "one")
        assert registry.log()[0][:3] == (ROLLED_BACK, "1", "2")
        assert (registry.log()[0].reason, aliases(registry)) == ("from the second copy", {"champion": "1"})
        assert not list(here.glob("*/mlflow")), "the registry alone holds it"
