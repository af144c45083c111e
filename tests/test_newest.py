"""A schedule reads which data is newest when it runs, and ends at once when nothing changed since a run that ended well."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from test_pipelines import PARAMS, dags, leaves
from toy_package import make_package

from components.shared.errors import CannotRun
from components.shared.models.observed import observed
from components.shared.models.recogniser import Recogniser
from components.shared.store import STORE, open_store
from pipelines import execution, graph, local, newest
from pipelines.training import training_pipeline

CODE = graph.code_digest()
DIGESTS = [f"{number}" * 32 + ".dir" for number in range(2)]


@pytest.fixture
def pointer(tmp_path: Path, monkeypatch) -> Path:
    """A data.dvc beside a remote's data; with a store."""
    monkeypatch.setenv(STORE, (tmp_path / "store").as_uri())
    (tmp_path / "words").touch()
    monkeypatch.setenv(execution.REASON_FILE, str(tmp_path / "words"))
    (tmp_path / "data.dvc").write_text(yaml.safe_dump({"outs": [{"md5": DIGESTS[0], "path": "data"}]}))
    return tmp_path / "data.dvc"


def test_the_same_data_is_run_once_and_other_data_again(pointer):
    address = pointer.as_uri()
    digest, code, key, news = newest.newest(address, CODE, (7, "{}"))
    assert (digest, code, news) == (DIGESTS[0], CODE, "new")
    assert newest.newest(address, CODE, (7, "{}"))[3] == "new"  # until a run has ended well
    newest.keep(key)
    assert newest.newest(address, CODE, (7, "{}"))[3].startswith("nothing changed since 20")
    assert newest.newest(address, CODE, (8, "{}"))[3] == "new"  # other knobs
    pointer.write_text(pointer.read_text().replace(DIGESTS[0], DIGESTS[1]))
    assert newest.newest(address, CODE, (7, "{}"))[::3] == (DIGESTS[1], "new")


def test_what_was_found_damaged_makes_the_code_another_one_for_the_cache_alone(pointer, tmp_path):
    newest.keep(newest.newest(pointer.as_uri(), CODE, ())[2])
    open_store().write("again/0123", "s3://bucket/manifest")
    _, code, key, news = newest.newest(pointer.as_uri(), CODE, ())
    assert news == "new"
    assert code.startswith(f"{CODE}+")
    execution.refuse_other_code(code)
    newest.keep(key)
    assert newest.newest(pointer.as_uri(), CODE, ())[3].startswith("nothing changed")


def test_new_data_is_trained_on_only_when_the_answers_drift(pointer, tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "runs").as_uri())
    package = make_package(tmp_path / "package")
    places = []
    for darker in (1, 2):
        images = np.random.default_rng(7).integers(0, 256, (200, *package.preprocessing.shape), np.uint8) // darker
        table = observed(images, *Recogniser(package).both(images)).append_column("fault", pa.nulls(len(images), pa.string()))
        about = {"darkroom": json.dumps({"model": package.name, "package": package.digest})}
        (tmp_path / f"{darker}/monday").mkdir(parents=True)
        pq.write_table(table.replace_schema_metadata(about), tmp_path / f"{darker}/monday/answers.parquet")
        places.append((tmp_path / f"{darker}").as_uri())
    usual, odd = places

    def news(answers: str) -> str:
        return newest.newest(pointer.as_uri(), CODE, (), answers, str(package.folder))[3]

    assert news(usual) == f"no drift in the answers below {usual}: nothing to train for"
    assert news(odd) == "new"
    newest.keep(newest.newest(pointer.as_uri(), CODE, ())[2])
    assert news(odd).startswith("nothing changed since 20")
    (tmp_path / "none").mkdir()
    with pytest.raises(SystemExit) as stopped:
        news((tmp_path / "none").as_uri())
    assert stopped.value.code == 2
    assert "holds no Parquet file of answers written within" in (tmp_path / "words").read_text()


def test_an_address_that_holds_no_data_dvc_ends_the_step_with_what_to_do(pointer, tmp_path):
    with pytest.raises(CannotRun, match=r"cannot be read .*`python -m pipelines publish` puts it there"):
        newest.digest_of((tmp_path / "none.dvc").as_uri())
    pointer.write_text("a: 1")
    with pytest.raises(SystemExit) as stopped:
        newest.newest(pointer.as_uri(), CODE, ())
    assert stopped.value.code == 2
    assert "newest: file://" in (tmp_path / "words").read_text()
    assert "is no data.dvc" in (tmp_path / "words").read_text()


def test_the_steps_of_a_schedule_take_what_the_first_step_found(tmp_path):
    pipeline = training_pipeline(PARAMS, image="i", code="c", data="s3://b", digest="s3://b/data.dvc", newest=True,
                                 answers="s3://b/answers")  # fmt: skip
    graph.write(pipeline, tmp_path / "p.yaml")
    compiled = next(yaml.safe_load_all((tmp_path / "p.yaml").read_text()))
    tasks = {task["taskInfo"]["name"]: (task, above) for task, _, above, _ in leaves(compiled)}
    assert tasks["newest"][0]["cachingOptions"] == {}
    assert len(tasks) == 16
    conditions = [
        task for _, task, _ in dags(compiled) if task and "triggerPolicy" in task and "condition" in task["triggerPolicy"]
    ]
    assert len(conditions) == 1
    assert "== 'new'" in conditions[0]["triggerPolicy"]["condition"]
    for name in ("digest", "code"):
        given = tasks["measure"][0]["inputs"]["parameters"][name]["componentInputParameter"]
        assert given == f"pipelinechannel--newest-{name}"
    assert tasks["register"][0]["inputs"]["parameters"]["last"] == {"componentInputParameter": "pipelinechannel--newest-key"}
    given = tasks["newest"][0]["inputs"]["parameters"]
    assert given.keys() >= {"address", "code", *graph.parameters(PARAMS)}
    assert given["answers"]["runtimeValue"]["constant"] == "s3://b/answers"


@pytest.mark.slow
def test_a_run_with_nothing_new_ends_at_once_and_well(pointer, tmp_path, monkeypatch):
    from kfp import local as kfp_local

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    kfp_local.init(kfp_local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"))
    pipeline = training_pipeline(PARAMS, image="i", code=CODE, data="file:///none", digest=pointer.as_uri(), newest=True)
    given, sections = (
        graph.parameters(PARAMS),
        ("measure", "embed", "validate", "prepare", "augment", "train_cnn", "train_lstm", "package"),
    )
    knobs = [given[name] for name in ("seed", *sections, "evaluate", "stress", "register")]
    newest.keep(newest.newest(pointer.as_uri(), CODE, knobs)[2])
    logs = local.Logs(tmp_path / "logs")
    with local.like_the_launcher(logs.process, {}):
        pipeline()
    assert {path.name for path in tmp_path.glob("root/*/*")} == {"newest", "report"}
    pointer.write_text(pointer.read_text().replace(DIGESTS[0], DIGESTS[1]))
    with local.like_the_launcher(logs.process, {}), pytest.raises(RuntimeError):
        pipeline()  # of data that is nowhere
    assert "measure: file:///none: does not hold 1111" in (tmp_path / "words").read_text()
