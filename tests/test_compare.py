"""Runs compared: seeds of one recipe as a row with mean and spread, and the links of `make ui` in a real browser."""

import socket
import time

import pytest
from conftest import empty_store
from screenshots import served, shows
from test_report import browser  # noqa: F401
from test_server import free_port

from components.__main__ import main as darkroom
from components.compare.step import METRICS
from components.shared.runs import connection

TEST, LOSS, VALIDATION = METRICS[0], "test/log_loss", METRICS[-1]
MADE = [("cnn", "0.1", seed, 0.9 + seed / 100) for seed in (1, 2, 3)] + [("cnn", "0.0", 1, 0.5), ("lstm", "0.1", 1, 0.7)]


@pytest.fixture
def store(here):
    """A store with a pipeline run above trainings of three recipes, and a registered model with a champion."""
    from mlflow.entities import Metric, Param

    (here / "mlflow").mkdir()
    (here / "mlflow/runs.db").write_bytes(empty_store())
    mlflow = connection.connect()
    client, experiment = mlflow.MlflowClient(), connection.experiment_id(mlflow)
    parent = client.create_run(experiment, tags={"mlflow.runName": "pipeline run 1"}).info.run_id
    for number, (architecture, shift, seed, value) in enumerate([("cnn", "0.1", 1, 0.2), *MADE]):  # the first is trained anew
        tags = {"mlflow.runName": f"{architecture} shift={shift} seed={seed}", "mlflow.parentRunId": parent, "git_commit": "abc",
                "recipe": architecture + shift, "architecture": architecture, "darkroom.training": str(number)}  # fmt: skip
        run = client.create_run(experiment, start_time=1000 + number, tags=tags).info.run_id
        knobs = {"seed": seed, "augment.shift": shift, "parameters": 1000 + number}
        metrics = [Metric(name, 1 - value if name == LOSS else value, 1000, 0) for name in METRICS]
        client.log_batch(run, params=[Param(name, str(knob)) for name, knob in knobs.items()], metrics=metrics)
        client.set_terminated(run)
    client.create_run(experiment, tags={"darkroom.training": "begun", "mlflow.parentRunId": "next"})  # alone, so far
    client.create_registered_model("toys")
    client.create_model_version("toys", (here / "logged").as_uri(), description="A card of toys")
    client.set_registered_model_alias("toys", "champion", "1")
    return here


def test_seeds_of_a_recipe_are_one_row_with_mean_and_spread_named_by_what_differs(store, capsys):
    assert darkroom(["compare", "--metrics", TEST, VALIDATION, "--picture", "seeds.png"]) == 0
    head, *rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert head == ["seeds", TEST, VALIDATION, "recipe"]
    assert rows == [
        ["3", *2 * ["0.9200", "±", "0.0100"], "cnn", "augment.shift=0.1"],  # 0.91, 0.92, 0.93; not the 0.2 before
        ["1", "0.5000", "0.5000", "cnn", "augment.shift=0.0"],
        ["1", "0.7000", "0.7000", "lstm"],
    ]
    assert (store / "seeds.png").read_bytes().startswith(b"\x89PNG")


def test_validation_data_order_the_recipes_and_not_the_first_column(store, capsys):
    assert darkroom(["compare", "--metrics", LOSS, VALIDATION]) == 0
    assert [line.split("cnn ")[1] for line in capsys.readouterr().out.splitlines() if "cnn" in line] == [
        "augment.shift=0.1", "augment.shift=0.0",
    ]  # fmt: skip
    assert darkroom(["compare", "--metrics", LOSS]) == 0


def test_a_metric_that_no_run_has_is_a_line_that_says_what_there_is(store, capsys):
    assert darkroom(["compare", "--metrics", "test/acuracy"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("test/acuracy: no training of the experiment 'darkroom' has it; there are: test/balanced_accuracy, ")
    assert said.count("\n") == 1


def test_without_runs_compare_says_what_makes_them(here, capsys):
    (here / "mlflow").mkdir()
    (here / "mlflow/runs.db").write_bytes(empty_store())
    assert darkroom(["compare"]) == 2
    assert capsys.readouterr().err.endswith("no training of the experiment 'darkroom' has it; `dvc repro` makes the first\n")


def test_a_port_that_is_taken_is_refused_in_one_line_with_the_way_out(store, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert darkroom(["ui", "--port", str(port)]) == 2
    assert (
        capsys.readouterr().err
        == f"port {port} of this machine: address already in use; `make ui PORT={port + 1}` takes another\n"
    )


@pytest.mark.slow
def test_the_links_of_make_ui_land_on_runs_recipes_the_comparison_and_the_champion(store, browser):  # noqa: F811
    port = free_port()
    with served(store, port) as links:
        assert list(links) == ["Runs", "Seeds", "Compare", "Registry", "Champion"]
        page = shows(browser, links["Runs"], "Model registry", "lstm shift=0.1 seed=1", VALIDATION)
        assert page.index("cnn shift=0.1 seed=3") < page.index("cnn shift=0.1 seed=2") < page.index("cnn shift=0.0 seed=1")
        shows(browser, links["Seeds"], "cnn shift=0.1 seed=3", "architecture: cnn, recipe: cnn0.1")
        shows(browser, links["Compare"], "Comparing 6 Runs from 1 Experiment", "cnn shift=0.1 seed=2")
        shows(browser, links["Registry"], "Model registry", "Version 1", "@ champion")
        shows(browser, links["Champion"], "A card of toys")
        before = time.monotonic()
    assert time.monotonic() - before < 30
    with socket.create_server(("127.0.0.1", port)):  # nothing listens there any more
        pass
