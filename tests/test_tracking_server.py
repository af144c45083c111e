"""A real MLflow server behind a line that fails: uploads cut, replies lost, the server killed, clocks wrong, requests that pry."""

import contextlib
import http.client
import http.server
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
import requests
import trained
from conftest import ROOT
from test_server import COMPOSE, free_port, resolved, running
from trained import champion, facts, make, register_these, versions

from components.shared import files
from components.shared.errors import CannotRun
from components.shared.runs import connection, follow, logged_model, tracking

pytestmark = pytest.mark.slow


class Line(http.server.ThreadingHTTPServer):
    """Passes requests on to the server. `trouble(method, path)` says what goes wrong: nothing, "cut", "shortened", "lost"."""

    daemon_threads = True

    def __init__(self, port: int) -> None:
        self.port, self.trouble, self.seen = port, lambda method, path: None, []
        super().__init__(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Line

    def pass_on(self) -> None:
        trouble = self.server.trouble(self.command, self.path)
        self.server.seen.append((self.command, self.path, trouble))
        length = int(self.headers.get("Content-Length") or 0)
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            body = b""
            while size := int(self.rfile.readline(), 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(length // 2 if trouble == "cut" else length)
        if trouble == "cut":
            self.close_connection = True
            return self.connection.close()
        body = body[: len(body) // 2] if trouble == "shortened" else body
        headers = {name: value for name, value in self.headers.items()
                   if name.lower() not in ("content-length", "transfer-encoding", "host")}  # fmt: skip
        upstream = http.client.HTTPConnection("127.0.0.1", self.server.port, timeout=60)
        upstream.request(self.command, self.path, body, headers | {"Host": f"127.0.0.1:{self.server.port}"})
        answer = upstream.getresponse()
        content = answer.read()
        if trouble == "lost":
            self.close_connection = True
            return self.connection.close()
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("content-length", "transfer-encoding", "connection"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        return None

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = pass_on  # noqa: N815

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def serving(folder: Path, port: int):
    """MLflow's server with the settings of mlflow/compose.yaml, on sqlite and a folder."""
    known = {"DATABASE_PASSWORD": "-", "STORE_ACCESS_KEY": "-", "STORE_SECRET_KEY": "-"}
    environment = {name: resolved(value, known) for name, value in COMPOSE["mlflow"]["environment"].items()
                   if name.startswith("MLFLOW") and "S3" not in name}  # fmt: skip
    changes = {"--backend-store-uri": f"sqlite:///{folder}/runs.db", "--artifacts-destination": str(folder / "artifacts"),
               "--host": "127.0.0.1", "--port": str(port), "--workers": "1"}  # fmt: skip
    command = [part.partition("=") for part in COMPOSE["mlflow"]["command"]]
    command = [name + (mark and f"{mark}{changes.get(name, value)}") for name, mark, value in command]

    def healthy() -> bool:
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"http://127.0.0.1:{port}/health", timeout=5).ok
        return False

    with running(
        [str(Path(sys.executable).parent / command[0]), *command[1:]], folder / "log", healthy, **environment
    ) as process:
        yield process


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Port and folder of a server."""
    folder, port = tmp_path_factory.mktemp("served"), free_port()
    with serving(folder, port):
        yield port, folder


@pytest.fixture
def line(server, here, monkeypatch):
    """A line to the server, under another registered model and experiment each time."""
    trained.project(here, tables=False)
    line = Line(server[0])
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{line.server_port}")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", here.parent.name)
    yield line
    line.shutdown()


def upload(method: str, path: str) -> bool:
    return method == "PUT" and path.endswith("model.keras")


@pytest.mark.parametrize("trouble", ["cut", "shortened"])
def test_an_upload_that_is_cut_half_way_makes_no_version_and_goes_through_later(line, here, trouble):
    folders = make(here, "cnn", training=f"t-{trouble}")
    line.trouble = lambda method, path: trouble if upload(method, path) else None
    with pytest.raises(CannotRun) as caught:
        register_these(here, folders, model=here.parent.name)
    assert len(str(caught.value).splitlines()) == 1
    if trouble == "shortened":  # the server says that all is well
        assert "the store does not give back the model that was trained: damaged or cut short" in str(caught.value)
    (run,) = tracking.connect().search_runs(experiment_names=[connection.experiment()], output_format="list")
    assert logged_model.ID not in run.data.tags
    line.trouble = lambda method, path: None
    assert versions(here.parent.name) == {}
    assert register_these(here, folders, model=here.parent.name)["accepted"]
    weights = files.read_json(folders[0] / "run.json")["model"]["weights_sha256"]
    assert facts(here.parent.name)["weights_sha256"] == weights


def test_a_download_that_is_cut_is_the_lines_fault_and_not_the_models(line, here):
    name = here.parent.name
    register_these(here, make(here, "cnn", training="first", weight=-1.0), model=name)
    trained.split_of(here / "prepared/test", 60)
    second = make(here, "lstm", training="second")
    tracking.send_evaluation(*second)
    line.trouble = lambda method, path: "lost" if method == "GET" and path.endswith("model.onnx") else None
    with pytest.raises(CannotRun):
        register_these(here, second, model=name, replace_incomparable_champion=True)
    line.trouble = lambda method, path: None
    assert list(versions(name)) == ["1"]
    assert register_these(here, second, model=name)["accepted"]


@pytest.mark.parametrize(
    "lost", ["model-versions/create", "runs/create", "registered-models/create", "registered-models/alias"]
)
def test_a_reply_that_is_lost_on_its_way_leaves_one_run_and_one_version(line, here, lost):
    name, folders, losses = here.parent.name, make(here, "cnn", training=f"t-{lost.replace('/', '-')}"), iter(["lost", "lost"])
    line.trouble = lambda method, path: next(losses, None) if method == "POST" and path.endswith(lost) else None
    for _ in range(3):
        with contextlib.suppress(CannotRun):
            if register_these(here, folders, model=name)["accepted"]:
                break
    assert any(trouble for *_, trouble in line.seen)
    assert len(versions(name)) == 1
    assert str(champion(name).version) in versions(name)
    runs = tracking.connect().search_runs(experiment_names=[connection.experiment()], output_format="list")
    assert len(runs) == 1


def test_a_pod_that_holds_its_inputs_alone_compares_on_new_test_samples_that_neither_model_has_learnt(line, here, tmp_path):
    name, first = here.parent.name, make(here, "cnn", training="first", test=0.9, weight=-1.0)
    trained.learn_from(first[0], range(40, 70))
    assert register_these(here, first, model=name)["accepted"]
    for left in here.iterdir():
        shutil.rmtree(left) if left.is_dir() else left.unlink()
    pod = trained.project(tmp_path / "pod", tables=False)
    trained.split_of(pod / "prepared/test", 60, first=20)  # of the new data: samples 20 to 79, where it was 0 to 39
    with contextlib.chdir(pod):
        verdict = register_these(pod, make(pod, "lstm", training="second", test=0.7), model=name)
    assert verdict["reasons"][-1].startswith(
        "Better than the champion: balanced accuracy 0.6667 on the 30 of 60 test samples that neither has learnt from, "
        "the champion so far (version 1) 0.1333: a gain of 0.5333 (95% interval "
    )
    assert str(champion(name).version) == verdict["version"] == "2"


def test_a_server_that_is_killed_in_the_middle_loses_nothing(here, tmp_path, monkeypatch):
    trained.project(here, tables=False)
    folder, port = tmp_path / "served", free_port()
    folder.mkdir()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"http://127.0.0.1:{port}")
    monkeypatch.setattr(follow, "PATIENCE", {"RUNNING": 1.0, "KILLED": 1.0})
    folders = [make(here, "cnn", training=f"t{number}") for number in range(3)]
    with contextlib.suppress(ProcessLookupError), serving(folder, port) as process:
        tracking.send_evaluation(*folders[0])
        sender = threading.Thread(target=lambda: tracking.try_to(tracking.send_evaluation, *folders[1]))
        with tracking.live({**files.read_json(folders[2][0] / "run.json")}) as follower:
            sender.start()
            for epoch in range(200):
                follower.epoch({"epoch": epoch, "train_loss": 0.5, "time": 1000 + epoch})
            time.sleep(1)
            os.killpg(process.pid, 9)
        sender.join()
        process.wait()
        with sqlite3.connect(folder / "runs.db") as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    with serving(folder, port):
        assert register_these(here, *folders[:2])["accepted"]
        tracking.send_evaluation(*folders[2])
        client = tracking.connect().MlflowClient()
        runs = client.search_runs([connection.experiment_id(tracking.connect())])
        assert len(runs) == 3
        for run in runs:
            assert tracking.COMPLETE in run.data.tags
            history = client.get_metric_history(run.info.run_id, "by_epoch/train_loss")
            assert {1, 2} <= {point.step for point in history}


FAKETIME = next(Path("/usr/lib").rglob("libfaketime.so.1"), None)


@pytest.mark.skipif(FAKETIME is None, reason="needs Debian's libfaketime")
def test_wrong_clocks_change_neither_champion_nor_figures(here):
    trained.project(here)
    script = """
import sys
from pathlib import Path
from trained import make, register_these
training, test, *again = sys.argv[1:]
here = Path.cwd()
folders = (here / f"models/{training}", here / f"evaluation/{training}")
if not again:
    folders = make(here, "cnn", training=training, test=float(test))
else:
    file = folders[1] / "metrics.json"
    file.write_text(file.read_text().replace(again[0], test))
print(register_these(here, folders)["accepted"])
"""

    def at(clock: str, *arguments: str) -> bool:
        environment = os.environ | {"LD_PRELOAD": str(FAKETIME), "FAKETIME": clock, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
        done = subprocess.run([sys.executable, "-c", script, *arguments], capture_output=True, text=True, env=environment)
        assert done.returncode == 0, done.stderr
        return done.stdout.splitlines()[-1] == "True"

    assert at("+3d", "t1", "0.7")
    assert not at("-3d", "t2", "0.65")  # worse, and older by the clock
    assert at("-3d", "t3", "0.95")  # better, and older by the clock
    assert facts()["test_accuracy"] == 0.95
    assert not at("+9d", "t4", "0.75")
    assert facts()["test_accuracy"] == 0.95
    assert not at("-9d", "t4", "0.6", "0.75")  # evaluated anew, by a clock that goes back
    runs = tracking.connect().search_runs(experiment_names=["darkroom"], output_format="list")
    figures = {run.data.tags["darkroom.training"]: run.data.metrics["test/accuracy"] for run in runs}
    assert figures == {"t1": 0.7, "t2": 0.65, "t3": 0.95, "t4": 0.6}


def test_the_server_refuses_paths_and_sources_that_lead_elsewhere(server):
    api = f"http://127.0.0.1:{server[0]}/api/2.0"
    for path in ("../runs.db", "%2e%2e/runs.db", "%252e%252e/runs.db", "..%2fruns.db", "/etc/passwd", "..%5cruns.db"):
        answer = requests.get(f"{api}/mlflow-artifacts/artifacts/{path}", timeout=10)
        assert answer.status_code >= 400, path
        assert b"SQLite format" not in answer.content
        requests.put(f"{api}/mlflow-artifacts/artifacts/{path}", data=b"x", timeout=10)
    assert {file.name for file in server[1].iterdir()} <= {"runs.db", "artifacts", "log", "runs.db-journal"}
    with sqlite3.connect(server[1] / "runs.db") as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    requests.post(f"{api}/mlflow/registered-models/create", json={"name": "pried"}, timeout=10)
    for source in ("file:///etc", "/etc", "http://evil.example.org/model", "mlflow-artifacts:/../../etc", "s3://elsewhere/m",
                   "models:/pried/1", "mlflow-artifacts://evil.example.org/m/../../x"):  # fmt: skip
        made = requests.post(f"{api}/mlflow/model-versions/create", json={"name": "pried", "source": source}, timeout=10)
        assert made.status_code == 400, (source, made.text)
    for place in ("http://evil.example.org/a", "https://evil.example.org/a"):
        answer = requests.post(f"{api}/mlflow/experiments/create", json={"name": place, "artifact_location": place}, timeout=10)
        assert answer.status_code == 400, (place, answer.text)


@pytest.mark.parametrize("name", ["artifact_location", "artifactLocation"])
@pytest.mark.parametrize("place", ["file:///etc", "/etc", "etc", "s3://elsewhere/a", "mlflow-artifacts:/../../../etc"])
@pytest.mark.parametrize("api", ["api/2.0", "ajax-api/2.0"])
def test_no_experiment_lies_elsewhere_than_the_servers_own_artifacts(server, api, place, name):
    address = f"http://127.0.0.1:{server[0]}/{api}/mlflow/experiments/create"
    refused = requests.post(address, json={"name": f"{api} {place} {name}", name: place}, timeout=10)
    assert refused.status_code == 400
    assert "INVALID_PARAMETER_VALUE" in refused.text


def test_experiments_in_their_usual_place_are_made_as_ever(server):
    address = f"http://127.0.0.1:{server[0]}/api/2.0/mlflow/experiments"
    for content in ({"name": "usual"}, {"name": "named place", "artifact_location": "mlflow-artifacts:/named"}):
        made = requests.post(f"{address}/create", json=content, timeout=10)
        assert made.status_code == 200, made.text
        found = requests.get(f"{address}/get", params={"experiment_id": made.json()["experiment_id"]}, timeout=10)
        assert found.json()["experiment"]["artifact_location"].startswith("mlflow-artifacts:/")
