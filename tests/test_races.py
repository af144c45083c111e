"""Many at once: real processes that send and register at the same moment, on sqlite and on PostgreSQL."""

import multiprocessing
import os
import secrets
import socket
from pathlib import Path

import pytest
from conftest import cannot_run_here
from test_server import postgres
from trained import champion, facts, make, register_these, split_of, versions

from components.shared.runs import tracking, turns

pytestmark = pytest.mark.slow
RACES = 20  # of each kind
SPAWN = multiprocessing.get_context("spawn")


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request, here: Path, tmp_path_factory, monkeypatch):
    """A project on a store without a single table yet."""
    split_of(here / "prepared/test")
    if request.param == "sqlite":
        yield here
        return
    if not Path("/usr/lib/postgresql").exists():
        cannot_run_here("needs Debian's postgresql; infra/tools.sh installs it")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    password = secrets.token_hex(8)
    with postgres(tmp_path_factory.mktemp("database") / "database", port, password):
        monkeypatch.setenv("PGPASSWORD", password)
        monkeypatch.setenv("MLFLOW_TRACKING_URI", f"postgresql://mlflow@127.0.0.1:{port}/mlflow")
        yield here


def runner(place: Path, barrier, work: list[tuple], faults, knobs: dict) -> None:
    os.chdir(place)
    for number, (folders, name) in enumerate(work):
        barrier.wait(300)
        try:
            register_these(place, *folders, model=name, verdict=f"verdict-{os.getpid()}-{number}.json", **knobs)
        except BaseException as error:
            faults.put(f"{name}: {type(error).__name__}: {error}")


def race(place: Path, *work: list[tuple], **knobs) -> list[str]:
    """Each list is what one process registers, one after the other; all start each of them at the same moment."""
    barrier, faults = SPAWN.Barrier(len(work)), SPAWN.Queue()
    processes = [SPAWN.Process(target=runner, args=(place, barrier, one, faults, knobs)) for one in work]
    for process in processes:
        process.start()
    for process in processes:
        process.join(1200)
        assert process.exitcode == 0
    found = []
    while not faults.empty():
        found.append(faults.get())
    return found


def test_of_two_candidates_at_once_the_better_one_is_champion_and_each_has_one_version(store):
    better = make(store, "cnn", training="better", test=0.9)
    worse = make(store, "lstm", training="worse", test=0.7, weight=0.9)
    pairs = [(f"pair{number}", *((better, worse) if number % 2 else (worse, better))) for number in range(RACES)]
    faults = race(store, [([one], name) for name, one, _ in pairs], [([other], name) for name, _, other in pairs])
    assert faults == []
    for name, *_ in pairs:
        assert sorted(versions(name).values()) == ["cnn", "lstm"], name
        assert champion(name).tags["architecture"] == "cnn", name
        tags = tracking.connect().MlflowClient().get_registered_model(name).tags
        assert not [tag for tag in tags if tag.startswith(turns.FLAG)], name
    assert len(tracking.connect().search_runs(experiment_names=["darkroom"])) == 2


def test_the_same_candidate_twice_at_once_is_one_version_and_one_run(store):
    folders = make(store, "cnn", training="same")
    work = [([folders], f"same{number}") for number in range(RACES)]
    assert race(store, work, work) == []
    for _, name in work:
        assert len(versions(name)) == 1, name
        assert str(champion(name).version) in versions(name)
    assert len(tracking.connect().search_runs(experiment_names=["darkroom"])) == 1


@pytest.mark.parametrize("store", ["sqlite"], indirect=True)
def test_four_processes_with_fifteen_registrations_each_leave_sixty_versions_and_the_best_is_champion(store):
    split_of(store / "prepared/test", 600, size=25)
    best = 599 / 600  # each is right of ten samples more than the one before it
    work = [[([make(store, "cnn", training=f"t{process}-{number}", test=best - (59 - 15 * process - number) / 60)], "darkroom")
             for number in range(15)] for process in range(4)]  # fmt: skip
    none = {f"minimum_{name}": 0.0 for name in ("accuracy", "balanced_accuracy", "worst_class_recall")}
    assert race(store, *work, **none, calibration_harm=1.0) == []
    assert len(versions()) == 60
    assert facts()["test_accuracy"] == best
    assert len(tracking.connect().search_runs(experiment_names=["darkroom"])) == 60
