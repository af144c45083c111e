"""What surrounds a step on Kubeflow: sealed artifacts, its reasons, what the UI shows, how a run's end is told."""

import contextlib
import http.server
import json
import threading
from pathlib import Path

import pytest
import yaml
from conftest import ROOT, draw_stills
from kfp.dsl import HTML, Artifact, ClassificationMetrics, Dataset, Markdown, Metrics

from components.shared.errors import CannotRun
from components.shared.page import render
from components.shared.store import STORE
from pipelines import artifacts, execution, graph, local, notify

PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


def artifact(path: Path, kind=Dataset, **metadata) -> Artifact:
    return kind(name=path.name, uri=str(path), metadata=metadata)


def test_a_seal_is_over_names_and_contents(tmp_path):
    for name, files in {
        "a": {"x": "1", "y": "2"},
        "b": {"x": "1", "y": "2"},
        "c": {"x": "1", "z": "2"},
        "d": {"x": "12"},
    }.items():
        (tmp_path / name).mkdir()
        for file, text in files.items():
            (tmp_path / name / file).write_text(text)
    seals = [execution.seal(tmp_path / name) for name in "abcd"]
    assert seals[0] == seals[1]
    assert len(set(seals)) == 3


def test_an_input_that_was_changed_since_it_was_made_stops_the_step(tmp_path, stills, monkeypatch):
    words = tmp_path / "words"
    words.touch()
    monkeypatch.setenv(execution.REASON_FILE, str(words))
    from components.ingest.step import ingest

    ingest(stills, tmp_path / "data")
    made = artifact(tmp_path / "manifest")
    execution.call("measure", data=tmp_path / "data", config='{"faces": false, "max_megapixels": 100}', manifest=made)
    assert made.metadata[execution.SEAL] == execution.seal(tmp_path / "manifest")
    part = next((tmp_path / "manifest").glob("*.parquet"))
    part.write_bytes(part.read_bytes() + b"x")
    monkeypatch.setenv(STORE, (tmp_path / "store").as_uri())
    with pytest.raises(SystemExit) as stopped:
        execution.call("validate", manifest=made, config="{}", validation=artifact(tmp_path / "validation"))
    assert stopped.value.code == CannotRun.exit_code
    assert "validate: " in words.read_text()
    assert "changed since it was made; run again, it is made anew" in words.read_text()
    assert not (tmp_path / "validation").exists()
    assert [file.read_text() for file in tmp_path.glob("store/again/*")] == [made.uri]  # its cached entry is not used again


def test_a_refused_step_ends_with_its_exit_code_and_leaves_one_line(tmp_path, monkeypatch, capsys):
    words = tmp_path / "words"
    words.touch()
    monkeypatch.setenv(execution.REASON_FILE, str(words))
    with pytest.raises(SystemExit) as stopped:
        execution.call("augment", prepared=tmp_path / "no", config='{"a": 1, "b": 2}', seed=1, augmented=tmp_path / "x")
    assert stopped.value.code == 2
    assert words.read_text().startswith("augment: augment.")
    assert words.read_text().count("\n") == 1
    assert "more, in the step's log" in words.read_text()
    assert "Traceback" not in capsys.readouterr().err


def test_a_cache_entry_of_a_damaged_artifact_is_forgotten(tmp_path):
    cache, made = tmp_path / "cache", tmp_path / "made"
    cache.mkdir()
    made.mkdir()
    (made / "x").write_text("1")
    entry = {"out": {"__kfp_artifact__": True, "uri": str(made), "metadata": {execution.SEAL: execution.seal(made)}}}
    listed = {"out": {"__kfp_artifact_list__": True, "artifacts": [entry["out"]]}}
    entry["Output"] = "ok"  # a parameter
    for name, content in {"one": json.dumps(entry), "list": json.dumps(listed), "cut": json.dumps(entry)[:20]}.items():
        (cache / f"{name}.json").write_text(content)
    local.sweep(cache)
    assert {file.stem for file in cache.iterdir()} == {"one", "list"}
    (made / "x").write_text("2")
    local.sweep(cache)
    assert not list(cache.iterdir())


def test_the_page_needs_no_network_and_escapes_whatever_names_come_in(tmp_path):
    picture = tmp_path / "classes.png"
    picture.write_bytes(b"\x89PNG")
    rows = [{"what": "<script>alert(1)</script>"}] * 700
    text = render.tables("<b>", {"Findings": rows, "Nothing": []}, {"classes": picture.read_bytes()})
    assert "<script>" not in text
    assert text.count("&lt;script&gt;") == 600
    assert "and 100 rows more" in text
    assert "//" not in text
    assert text.count("<img") == 1


def test_data_that_is_refused_is_a_verdict_with_its_report_and_the_gate_ends_the_run(tmp_path, monkeypatch):
    from components.ingest.step import ingest

    words = tmp_path / "words"
    words.touch()
    monkeypatch.setenv(execution.REASON_FILE, str(words))
    ingest(draw_stills(tmp_path / "stills", shapes=("bar",)), tmp_path / "data")
    validation, made = artifact(tmp_path / "validation"), artifact(tmp_path / "manifest")
    page, table = artifact(tmp_path / "report", HTML), artifact(tmp_path / "findings", Markdown)
    execution.call("measure", data=tmp_path / "data", config=json.dumps(PARAMS["measure"]), manifest=made)
    verdict = execution.call("validate", manifest=made, config=json.dumps(PARAMS["validate"]), validation=validation,
                             shown=[page, table])  # fmt: skip
    assert verdict.startswith("refused: E_ONE_CLASS: ")
    assert str(tmp_path) not in verdict
    assert Path(page.path).read_text() == (tmp_path / "validation/report.html").read_text()
    assert "| E_ONE_CLASS (error) | " in Path(table.path).read_text()
    assert execution.SEAL in validation.metadata
    with pytest.raises(SystemExit) as stopped:
        execution.gate(verdict, step="validate")
    assert stopped.value.code == 1
    assert words.read_text().splitlines()[-1] == f"validate: {verdict}"
    assert execution.gate("ok", step="validate") == "ok"


def test_what_a_finding_says_stays_text_in_the_table(tmp_path):
    (tmp_path / "validation").mkdir()
    finding = {"code": "E_X", "severity": "error", "message": "a | b\nc", "items": [], "fix": "<do>"}
    (tmp_path / "validation/findings.json").write_text(json.dumps([finding, finding]))
    (tmp_path / "validation/report.html").write_text("<h1>the report</h1>")
    page, table = artifact(tmp_path / "report", HTML), artifact(tmp_path / "findings", Markdown)
    said = artifacts.show_validation(tmp_path / "validation", page, table)
    assert said == "E_X: a | b c; <do> (and 1 more errors, in the artifact findings)"
    assert "| E_X (error) | a \\| b c | &lt;do&gt; |" in Path(table.path).read_text()


def test_an_image_that_holds_other_code_refuses_before_it_computes(tmp_path, monkeypatch):
    words = tmp_path / "words"
    words.touch()
    monkeypatch.setenv(execution.REASON_FILE, str(words))
    with pytest.raises(SystemExit) as stopped:
        execution.call("measure", data=tmp_path, config="{}", code="0123456789abcdef", manifest=artifact(tmp_path / "m"))
    assert stopped.value.code == 2
    assert f"the image holds code {graph.code_digest()}, the pipeline was compiled from 0123456789abcdef" in words.read_text()
    execution.refuse_other_code(f"{graph.code_digest()}+again")


def test_the_code_s_digest_is_over_what_makes_results_and_nothing_else(tmp_path):
    for name in (
        "components/a/step.py",
        "components/page.html",
        "pipelines/wrappers.py",
        "infra/image.lock",
        "pipelines/submit.py",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    before = graph.code_digest(tmp_path)
    (tmp_path / "pipelines/submit.py").write_text("2")
    assert graph.code_digest(tmp_path) == before
    for name in ("components/a/step.py", "components/page.html", "pipelines/wrappers.py", "infra/image.lock"):
        (tmp_path / name).write_text("2")
        assert graph.code_digest(tmp_path) != before
        (tmp_path / name).write_text("1")
    assert graph.code_digest(tmp_path) == before


def test_the_ui_gets_figures_the_confusion_matrix_and_roc(tmp_path):
    folder = tmp_path / "evaluation"
    folder.mkdir()
    (folder / "metrics.json").write_text('{"accuracy": 0.75}')
    (folder / "confusion.csv").write_text("true,predicted\na,a\na,b\nb,b\nb,b\n")
    (folder / "classes.csv").write_text("class,recall\na.b,0.9629629629629629\nb,1.0\n")
    head = "class,false_positive_rate,true_positive_rate,threshold\n"
    (folder / "roc.csv").write_text(head + "a,0,0,1\n(micro-average),0,0.5,1.0\n(micro-average),1,1,0.25\n")
    metrics, curves = artifact(tmp_path / "m", Metrics), artifact(tmp_path / "c", ClassificationMetrics)
    artifacts.show_evaluation(folder, metrics, curves, artifact(tmp_path / "r", HTML))
    assert metrics.metadata == {"accuracy": 0.75}
    assert [row["row"] for row in curves.metadata["confusionMatrix"]["rows"]] == [[1, 1], [0, 2]]
    points = curves.metadata["confidenceMetrics"]
    assert [(point["falsePositiveRate"], point["recall"]) for point in points] == [(0.0, 0.5), (1.0, 1.0)]
    page = (tmp_path / "r").read_text()
    assert "accuracy" in page
    assert "a.b" in page
    assert "0.963" in page
    assert "0.9629629" not in page  # or the table is wider than its frame


class Hook(http.server.BaseHTTPRequestHandler):
    """A webhook that answers with the codes of `answers`, one a request, and keeps what it was sent."""

    def do_POST(self) -> None:
        self.server.posts.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(self.server.answers.pop(0) if self.server.answers else 200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hook(monkeypatch):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hook)
    server.posts, server.answers = [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv(notify.WEBHOOK, f"http://127.0.0.1:{server.server_port}/hooks/s3cr3t")
    yield server
    server.shutdown()


def test_the_end_of_a_run_is_told_to_a_webhook_with_the_first_failing_step(hook, tmp_path, monkeypatch, capsys):
    words = tmp_path / "words"
    words.write_text("validate: E_ONE_CLASS: one class\ntrain.cnn: later\n")
    monkeypatch.setenv(execution.REASON_FILE, str(words))
    notify.report(state="FAILED", run="r1")
    told = hook.posts[0]
    assert told["text"] == "Darkroom: r1 failed at validate: E_ONE_CLASS: one class"
    assert (told["state"], told["step"], told["reason"]) == ("failed", "validate", "E_ONE_CLASS: one class")
    notify.report(state="SUCCEEDED", run="r2")
    assert hook.posts[1]["text"] == "Darkroom: r2 succeeded"
    assert "Darkroom: r2 succeeded" in capsys.readouterr().out


def test_a_webhook_is_tried_again_when_busy_and_fails_nothing_when_down(hook, monkeypatch, capsys):
    hook.answers = [503, 200]
    notify.report(state="SUCCEEDED", run="r")
    assert len(hook.posts) == 2
    hook.answers = [404]
    notify.report(state="SUCCEEDED", run="r")
    monkeypatch.setenv(notify.WEBHOOK, "http://127.0.0.1:9/hooks/s3cr3t")
    notify.report(state="SUCCEEDED", run="r")
    said = capsys.readouterr().out
    assert "the webhook was not notified: 127.0.0.1: HTTP 404" in said
    assert "was not notified: 127.0.0.1: ConnectionError" in said
    assert "s3cr3t" not in said  # the address may be the secret


def test_the_reason_is_left_also_when_fetching_or_showing_fails(tmp_path, monkeypatch, capsys):
    words = tmp_path / "words"
    words.touch()
    monkeypatch.setenv(execution.REASON_FILE, str(words))
    cases = [
        (CannotRun("s3://x: does not hold it"), 2),
        (KeyError("mean"), 3),
        (MemoryError(), 2),
        (OSError(28, "full", "a"), 2),
    ]
    for error, code in cases:
        with pytest.raises(SystemExit) as stopped, execution.ending("measure"):
            raise error
        assert stopped.value.code == code
    lines = words.read_text().splitlines()
    assert lines[0] == "measure: s3://x: does not hold it"
    assert lines[1] == "measure: a fault of Darkroom's own, not of your data (a key is missing: 'mean')"
    assert lines[2].startswith("measure: memory ran out")
    assert lines[3] == "measure: a: full; free some space, and run it again"
    assert capsys.readouterr().err.count("Traceback") == 1  # of the fault, for the log


def test_the_local_runner_keeps_to_the_launcher_s_rules_and_says_a_line_a_step(tmp_path, monkeypatch, capsys):
    """A command that fails leaves no outputs; the exit handler gets what the real one gets; a cache goes by an artifact's name."""
    from kfp import dsl
    from kfp import local as kfp_local

    @dsl.component(base_image="python", install_kfp_package=False)
    def make(text: str, made: dsl.Output[dsl.Dataset]):
        import pathlib

        print("epoch 1", flush=True)
        pathlib.Path(made.path).write_text(text)
        if text == "bad":
            raise SystemExit(3)

    @dsl.component(base_image="python", install_kfp_package=False)
    def told(to: str, status: dsl.PipelineTaskFinalStatus, run: str, name: str, workflow: str):
        import json
        import pathlib

        pathlib.Path(to).write_text(json.dumps([status.state, status.error_message, run, name, workflow]))

    @dsl.pipeline(name="p")
    def pipeline(text: str, to: str):
        last = told(to=to, run=dsl.PIPELINE_JOB_ID_PLACEHOLDER, name=dsl.PIPELINE_JOB_NAME_PLACEHOLDER,
                    workflow=dsl.PIPELINE_JOB_RESOURCE_NAME_PLACEHOLDER)  # fmt: skip
        with dsl.ExitHandler(last):
            make(text=text)

    monkeypatch.setenv("TMPDIR", str(tmp_path))
    kfp_local.init(kfp_local.SubprocessRunner(use_venv=False), pipeline_root=str(tmp_path / "root"))
    for text, state in (("good", "COMPLETE"), ("bad", "FAILED")):
        logs = local.Logs(tmp_path / f"logs of {text}")
        with local.like_the_launcher(logs.process, {}), contextlib.suppress(RuntimeError):
            pipeline(text=text, to=str(tmp_path / text))
        lines = capsys.readouterr().out.splitlines()
        assert not any(line.startswith(" ") for line in lines)
        assert [line.split()[:2] for line in lines] == [["make", "done" if text == "good" else "failed"], ["told", "done"]]
        assert "epoch 1" in (logs.folder / "01-make.log").read_text()
        ended, message, run, name, workflow = json.loads((tmp_path / text).read_text())
        assert (ended, message) == (state, None)  # never SUCCEEDED, never a reason
        assert run.isdigit()
        assert name == workflow
        assert name.startswith("p-")
    assert [made.read_text() for made in tmp_path.glob("root/*/make/made")] == ["good"]
