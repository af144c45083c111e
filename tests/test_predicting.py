"""`python -m pipelines predict`: a graph of one step, submitted or compiled, run as Kubeflow runs it; the Job: test_indexed_job."""

import json
import os
import time

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import ROOT, draw_shards
from test_packages import registered  # noqa: F401, a fixture
from test_pipelines import leaves
from test_submit import double, said  # noqa: F401, fixtures
from toy_package import make_package

from components.predict.of_shards import FILE, PredictConfig, predict
from components.shared.errors import CannotRun
from components.shared.runs.logged_model import DIGEST
from components.shared.store import STORE
from pipelines import drifted, execution, local, settings
from pipelines.__main__ import main
from pipelines.predicting import predicting_pipeline

SETTINGS = ["--settings", str(ROOT / settings.FILE)]
GIVEN = ["--data", "s3://bucket/dvc", "--digest", "d" * 32 + ".dir", "--output", "s3://bucket/answers"]


def test_it_compiles_to_one_step_which_may_spread_and_no_cache_answers_for_it(tmp_path):
    assert main(["predict", *SETTINGS, *GIVEN, "--compile", str(tmp_path / "p.yaml")]) == 0
    compiled, platforms = yaml.safe_load_all((tmp_path / "p.yaml").read_text())
    ((task, *_),) = leaves(compiled)
    assert task["taskInfo"]["name"] == "predict"
    assert not task["cachingOptions"].get("enableCache")
    parameters = compiled["root"]["inputDefinitions"]["parameters"]
    assert {name: each["defaultValue"] for name, each in parameters.items() if name != "code"} == {
        "data": "s3://bucket/dvc", "digest": "d" * 32 + ".dir", "model": "models:/darkroom@champion", "output": "s3://bucket/answers"
    }  # fmt: skip
    assert all(each["description"] for each in parameters.values())
    (executor,) = compiled["deploymentSpec"]["executors"].values()
    variables = {each["name"]: each.get("value") for each in executor["container"]["env"]}
    assert variables[execution.PARTS] == "4/8"
    assert "exec-predict" in json.dumps(platforms)


def test_a_run_of_it_is_submitted_and_what_cannot_be_is_told_at_once(double, said):  # noqa: F811
    assert main(["predict", *SETTINGS, *GIVEN, "--unchecked", "--model", "models:/toys/3"]) == 0
    assert main(["predict", *SETTINGS, *GIVEN, "--unchecked"]) == 0
    first, second = (run.runtime_config.parameters for run in double.runs.values())
    assert (first["model"], second["model"]) == ("models:/toys/3", "models:/darkroom@champion")
    assert first["output"] == "s3://bucket/answers"
    assert [made.display_name for made in double.pipelines.values()] == ["darkroom-predict"]
    assert len(double.versions) == 1  # it is the commit's; model and output are the run's
    assert double.runs["r0"].display_name.startswith("darkroom-predict ")
    said()
    assert main(["predict", *SETTINGS, "--model", "outputs/packages/cnn", "--output", "answers.csv"]) == 2
    told = said()
    assert "--model outputs/packages/cnn: expected models:/NAME@ALIAS" in told
    assert "--output answers.csv: expected an address" in told


def test_it_runs_as_kubeflow_runs_it_and_drift_is_looked_for_in_what_it_wrote(tmp_path, monkeypatch):
    from kfp import local as kfp_local

    data, package = draw_shards(tmp_path), make_package(tmp_path / "toy")
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv(STORE, raising=False)
    kfp_local.init(kfp_local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"))
    logs = local.Logs(tmp_path / "logs")
    with local.like_the_launcher(logs.process, {"DARKROOM_CPUS": "1"}):
        output = (tmp_path / "kept").as_uri()
        predicting_pipeline()(data=str(data), digest="", model=str(package.folder), output=output)
    (made,) = tmp_path.glob(f"root/*/predict/answers/{FILE}")
    (kept,) = tmp_path.glob("kept/*.parquet")
    assert kept.read_bytes() == made.read_bytes()
    assert json.loads(pq.read_schema(made).metadata[b"darkroom"])["package"] == package.digest
    assert drifted.reason(output, str(package.folder))  # drawn shapes are no noise
    long_ago = time.time() - (drifted.DAYS + 1) * 86400
    os.utime(kept, (long_ago, long_ago))
    with pytest.raises(CannotRun, match="no Parquet file of answers written within 30 days"):
        drifted.reason(output, str(package.folder))


def test_an_alias_is_the_version_that_it_named_when_the_step_began(registered, here, monkeypatch):  # noqa: F811
    monkeypatch.setenv("DARKROOM_CPUS", "1")
    made, client = registered
    config = json.loads(execution.chosen("models:/toys@champion"))
    assert config == {"model": "models:/toys/1", "package": made.digest}
    other = make_package(here / "newer/artifacts/package", seed=1)
    client.create_model_version("toys", (here / "newer").as_uri(), tags={DIGEST: other.digest})
    client.set_registered_model_alias("toys", "champion", "2")
    given = {"data": str(draw_shards(here)), "digest": "", "answers": here / "answers"}
    predict(**given, config=PredictConfig(**config))
    about = json.loads(pq.read_schema(here / "answers" / FILE).metadata[b"darkroom"])
    assert about == {"model": "toy", "version": "1", "package": made.digest}
    config["model"] = "models:/toys/2"
    with pytest.raises(CannotRun, match="is another package"):
        predict(**given, config=PredictConfig(**config))
    assert json.loads(execution.chosen("models:/toys/2"))["model"] == "models:/toys/2"


def test_another_package_a_foreign_table_and_a_foreign_output_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("DARKROOM_CPUS", "1")
    data, package = draw_shards(tmp_path), make_package(tmp_path / "toy")
    mine = tmp_path / "mine.parquet"
    mine.write_text("a person's own")
    config = PredictConfig(model=str(package.folder), package=package.digest)
    given = {"data": str(data), "digest": "", "answers": tmp_path / "answers"}
    with pytest.raises(CannotRun, match=r"mine\.parquet: not a file of answers .*; name another --output"):
        predict(**given, config=config, output=mine.as_uri())
    assert mine.read_text() == "a person's own"
    with pytest.raises(CannotRun, match="is another package"):
        predict(**given, config=config.model_copy(update={"package": "0" * 64}))
    (data / "00000.parquet").write_bytes((package.folder / "validation.parquet").read_bytes())
    with pytest.raises(CannotRun, match=r"00000\.parquet: not a shard .*a table of something else"):
        predict(**given, config=config)
    assert not (tmp_path / "answers").exists()
