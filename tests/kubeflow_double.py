"""An HTTP server that answers as Kubeflow Pipelines 2.17 does: what a real cluster answered (tests/kubeflow), and its words of refusal.

What it takes passes through the models of `kfp-server-api`, so a field that they do not have is an error here too. A run goes
through `frames`, one a look. It can be told to misbehave: to be busy, slow, to have forgotten the token, to show a login page.
"""

import base64
import datetime
import gzip
import http.server
import json
import re
import threading
import time
import types
import urllib.parse
from pathlib import Path
from typing import Any, NamedTuple

import kfp_server_api as api
import yaml

TOKEN = "canary-t0k3n"
RECORDED = Path(__file__).parent / "kubeflow"
TIME = "%Y-%m-%dT%H:%M:%SZ"
NEVER = "1970-01-01T00:00:00Z"
# Of a run that succeeded only the nodes of the one with four parts are recorded.
NODES_OF = {"succeeded": "compressed-nodes"}


class Frame(NamedTuple):
    """A recorded run at a moment (0: its start, 1: as it was recorded), with some of its words changed.

    A moment before its end is so many seconds ago.
    """

    situation: str
    at: float = 1.0
    words: tuple[tuple[str, str], ...] = ()
    ago: float = 0.0


class Double:
    """The server and what it holds. `trouble` is a list of what the next requests meet, one each."""

    def __init__(self) -> None:
        self.pipelines: dict[str, api.V2beta1Pipeline] = {}
        self.versions: dict[str, api.V2beta1PipelineVersion] = {}
        self.uploaded: dict[str, str] = {}
        self.runs: dict[str, Any] = {}
        self.frames: dict[str, list[Frame]] = {}  # of a run; the first is now
        self.schedules: dict[str, api.V2beta1RecurringRun] = {}
        self.experiments: dict[str, api.V2beta1Experiment] = {}
        self.trouble: list[str] = []
        self.next = [Frame("succeeded", 0.5), Frame("succeeded")]  # what happens to a run that is submitted
        self.retried = [Frame("succeeded", 0.9), Frame("succeeded")]  # and to one that is tried again
        self.multi_user = True
        self.v1beta1 = True
        self.compressed = False  # Argo packs the nodes of a large workflow
        self.health: tuple[str, str] | None = None  # another answer than KFP's: its text and its kind
        self.log = "log of {pod}: epoch 1\nlog of {pod}: the last line\n"
        self.requests: list[str] = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/pipeline"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def play(self, *frames: Frame, **fields: Any) -> str:
        """Have a run that goes through these; its id."""
        run_id = fields.pop("run_id", None) or recorded("v2beta1", frames[-1])["run_id"]
        self.runs[run_id] = types.SimpleNamespace(run_id=run_id, **fields)
        self.frames[run_id] = list(frames)
        return run_id

    def answer(self, method: str, path: str, query: dict, body: bytes):
        """Status, and a model, a dict or a text."""
        for pattern, (wanted, do) in ROUTES.items():
            if wanted == method and (match := re.fullmatch("/apis" + pattern, path)):
                return do(self, query, body, *match.groups())
        return 404, {"error": "Not Found", "code": 5, "message": "Not Found"}


def fault(status: int, code: int, message: str) -> tuple[int, dict]:
    """As the API tells a fault."""
    return status, {"error": message, "code": code, "message": message, "details": []}


def recorded(version: str, frame: Frame) -> dict:
    """What the cluster answered, at a moment of the run."""
    name = frame.situation if version == "v2beta1" else NODES_OF.get(frame.situation, frame.situation)
    text = (RECORDED / f"{version}-run-{name}.json").read_text()
    for old, new in frame.words:
        text = text.replace(json.dumps(old)[1:-1], json.dumps(new)[1:-1])
    answer = json.loads(text)
    if frame.at < 1:
        moment = rewind(answer, frame.at)
        late = now() - datetime.timedelta(seconds=frame.ago) - moment
        text = re.sub(
            r"2026-[\d-]+T[\d:]+Z",
            lambda at: (datetime.datetime.fromisoformat(at[0]) + late).strftime(TIME),
            json.dumps(answer),
        )
        return json.loads(text)
    return answer


def rewind(answer: dict, at: float) -> datetime.datetime:
    """What had not begun then goes, what had not ended runs; that moment."""
    if "run_details" in answer:
        rows = [row for row in answer["run_details"]["task_details"] if row.get("display_name")]
        begin, end, state, running, never = "start_time", "end_time", "state", "RUNNING", "0001-01-01T00:00:00Z"
        answer |= {"state": "RUNNING", "finished_at": NEVER, "state_history": answer["state_history"][:2]}
    else:
        status = answer["pipeline_runtime"]["workflow_manifest"]["status"]
        rows = list(status["nodes"].values())
        begin, end, state, running, never = "startedAt", "finishedAt", "phase", "Running", None
        status |= {"phase": "Running", "finishedAt": None}
        answer["run"] |= {"status": "Running", "finished_at": NEVER}
    times = sorted(row[begin] for row in rows)
    first, last = (datetime.datetime.fromisoformat(text) for text in (times[0], times[-1]))
    moment = first + (last - first) * at
    then = moment.strftime(TIME)
    rows = [row for row in rows if row[begin] <= then]
    for row in rows:
        if not row[end] or row[end] > then:
            row |= {end: never, state: running}
            row.pop("message", None)
    if "run_details" in answer:
        answer["run_details"]["task_details"] = rows
    else:
        status["nodes"] = {row["id"]: row for row in rows}
    return moment


def take(body: bytes, model: str):
    """JSON through a model of the API: an unknown field is refused, which the real server's parser does too."""
    content = json.loads(body)
    known = getattr(api, model)
    unknown = set(content) - set(known.attribute_map.values())
    assert not unknown, f"{model} has no {unknown}"
    return api.ApiClient().deserialize(types.SimpleNamespace(data=json.dumps(content)), model)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def health(double, query, body):
    return 200, {"tag_name": "2.17.0", "multi_user": double.multi_user, "pipeline_store": "database"}


def place(double, namespace: str | None) -> str:
    """Where a thing lives: single-user KFP ignores what is asked for."""
    return (namespace or "") if double.multi_user else ""


def find_pipeline(double, query, body, name):
    asked = place(double, query.get("namespace"))
    found = [p for p in double.pipelines.values() if p.name == name and place(double, p.namespace) == asked]
    return (200, found[0]) if found else fault(404, 5, "Failed to get pipeline: Pipeline darkroom not found")


def create_pipeline(double, query, body):
    pipeline = take(body, "V2beta1Pipeline")
    if any(p.name == pipeline.name for p in double.pipelines.values()):
        return fault(
            409,
            6,
            "Failed to create a pipeline: Already exist error: The name darkroom already exist. Please specify a new name",
        )
    pipeline.pipeline_id = f"p{len(double.pipelines)}"
    double.pipelines[pipeline.pipeline_id] = pipeline
    return 200, pipeline


def list_versions(double, query, body, pipeline_id):
    """One a page: whoever reads only the first page is found out."""
    versions = [v for v in double.versions.values() if v.pipeline_id == pipeline_id]
    at = int(query.get("page_token", 0))
    following = str(at + 1) if at + 1 < len(versions) else None
    return 200, api.V2beta1ListPipelineVersionsResponse(pipeline_versions=versions[at : at + 1], next_page_token=following)


def upload_version(double, query, body):
    file = re.search(rb'name="uploadfile".*?\r\n\r\n(.*?)\r\n--', body, re.S)[1].decode()
    assert "pipelineInfo" in next(yaml.safe_load_all(file))
    if any(v.display_name == query["name"] for v in double.versions.values()):
        return 409, {
            "error_message": "Failed to create a pipeline version: Already exist error",
            "error_details": "resource_manager.go:1\n  stack",
        }
    version = api.V2beta1PipelineVersion(
        pipeline_id=query["pipelineid"], pipeline_version_id=f"v{len(double.versions)}", display_name=query["name"],
        name=query["name"], description=query.get("description"), created_at=now(),
    )  # fmt: skip
    double.versions[version.pipeline_version_id] = version
    double.uploaded[version.pipeline_version_id] = file
    return 200, version


def list_experiments(double, query, body):
    wanted = json.loads(query.get("filter", "{}")).get("predicates", [])
    name = wanted[0]["stringValue"] if wanted else None
    return 200, api.V2beta1ListExperimentsResponse(
        experiments=[e for e in double.experiments.values() if name in (None, e.display_name)]
    )


def create_experiment(double, query, body):
    experiment = take(body, "V2beta1Experiment")
    if double.multi_user and not experiment.namespace:
        return fault(400, 3, "Invalid input error: A run cannot have an empty namespace in multi-user mode")
    if any(e.display_name == experiment.display_name for e in double.experiments.values()):
        return fault(409, 6, "Failed to create experiment: Already exist error")
    experiment.experiment_id = f"e{len(double.experiments)}"
    double.experiments[experiment.experiment_id] = experiment
    return 200, experiment


def create_run(double, query, body):
    run = take(body, "V2beta1Run")
    reference = run.pipeline_version_reference
    assert double.versions[reference.pipeline_version_id].pipeline_id == reference.pipeline_id
    assert run.experiment_id in double.experiments
    run.run_id, run.state, run.created_at = f"r{len(double.runs)}", "PENDING", now()
    double.runs[run.run_id] = run
    double.frames[run.run_id] = [None, *double.next]
    return 200, run


def look(double, run_id: str, *, go_on: bool = False) -> dict | None:
    """A run as it stands; every look of a client that follows it moves it on."""
    if run_id not in double.runs:
        return None
    frames, run = double.frames[run_id], double.runs[run_id]
    if go_on and len(frames) > 1:
        frames.pop(0)
    own = {"run_id": run_id} | {k: getattr(run, k) for k in ("display_name", "recurring_run_id") if getattr(run, k, None)}
    if frames[0] is None:
        return {"state": "PENDING", "created_at": now().isoformat(), "finished_at": NEVER, **own}
    return recorded("v2beta1", frames[0]) | own


def get_run(double, query, body, run_id):
    run = look(double, run_id, go_on=True)
    return (200, run) if run else fault(404, 5, f"Failed to get a run: ResourceNotFoundError: Run {run_id} not found")


def get_run_v1(double, query, body, run_id):
    frame = double.frames.get(run_id, [None])[0]
    name = frame and f"v1beta1-run-{NODES_OF.get(frame.situation, frame.situation)}.json"
    if not double.v1beta1 or not name or not (RECORDED / name).exists():
        return fault(404, 5, "Not Found")
    answer = recorded("v1beta1", frame)
    manifest = answer["pipeline_runtime"]["workflow_manifest"]
    if double.compressed:
        nodes = json.dumps(manifest["status"].pop("nodes")).encode()
        manifest["status"]["compressedNodes"] = base64.b64encode(gzip.compress(nodes)).decode()
    answer["pipeline_runtime"]["workflow_manifest"] = json.dumps(manifest)  # as text
    return 200, answer


def list_runs(double, query, body):
    if double.multi_user and not query.get("namespace"):
        return fault(400, 3, "Invalid input error: A run cannot have an empty namespace in multi-user mode")
    return 200, {"runs": [look(double, run_id) for run_id in double.runs][: int(query["page_size"])]}


def terminate_run(double, query, body, run_id):
    run = look(double, run_id)
    if run is None:
        return fault(404, 5, f"Run {run_id} not found")
    if run["state"] in ("SUCCEEDED", "FAILED"):
        return fault(400, 3, "Failed to terminate a run: Invalid input error: Row not found")
    if "schedule-deleted" in str(double.frames[run_id]):
        return fault(500, 13, 'Failed to terminate a run: workflows.argoproj.io "darkroom-x" not found')
    double.frames[run_id] = [Frame("stopped-training")]
    return 200, {}


def retry_run(double, query, body, run_id):
    assert json.loads(body or b"{}") == {}
    if look(double, run_id)["state"] != "FAILED":
        return fault(400, 3, "Failed to retry a run: Workflow must be Failed/Error to retry")
    double.frames[run_id] = [*double.retried]
    return 200, {}


def pod_log(double, query, body, run_id, pod):
    assert re.fullmatch(r"[a-z0-9-]+-(retry-)?system-(container-impl|(container|dag)-driver)-\d+", pod), pod
    return 200, double.log.format(pod=pod)


def create_schedule(double, query, body):
    schedule = take(body, "V2beta1RecurringRun")
    assert len(schedule.trigger.cron_schedule.cron.split()) == 6
    schedule.recurring_run_id, schedule.status = f"s{time.monotonic_ns()}", f"{schedule.mode}D"
    double.schedules[schedule.recurring_run_id] = schedule
    return 200, schedule


def list_schedules(double, query, body):
    return 200, api.V2beta1ListRecurringRunsResponse(recurring_runs=list(double.schedules.values()))


def schedule_of(double, query, body, schedule_id):
    found = double.schedules.get(schedule_id)
    return (200, found) if found else fault(404, 5, f"Recurring run {schedule_id} not found")


def switch(status: str):
    def do(double, query, body, schedule_id):
        double.schedules[schedule_id].status = status
        return 200, {}

    return do


def delete_schedule(double, query, body, schedule_id):
    """The workflows that it owns go with it: their runs are RUNNING for ever."""
    for run_id, run in double.runs.items():
        if getattr(run, "recurring_run_id", None) == schedule_id and look(double, run_id)["state"] in ("PENDING", "RUNNING"):
            double.frames[run_id] = [Frame("schedule-deleted")]
    return (200, {}) if double.schedules.pop(schedule_id, None) else fault(404, 5, "no such schedule")


ROUTES = {
    "/v2beta1/healthz": ("GET", health),
    "/v2beta1/pipelines/names/([^/]+)": ("GET", find_pipeline),
    "/v2beta1/pipelines": ("POST", create_pipeline),
    "/v2beta1/pipelines/([^/]+)/versions": ("GET", list_versions),
    "/v2beta1/pipelines/upload_version": ("POST", upload_version),
    "/v2beta1/experiments": ("GET", list_experiments),
    "/v2beta1/experiments()": ("POST", lambda double, query, body, _: create_experiment(double, query, body)),
    "/v2beta1/runs": ("POST", create_run),
    "/v2beta1/runs()": ("GET", lambda double, query, body, _: list_runs(double, query, body)),
    "/v2beta1/runs/([^/:]+)": ("GET", get_run),
    "/v1beta1/runs/([^/:]+)": ("GET", get_run_v1),
    "/v1alpha1/runs/([^/:]+)/nodes/([^/:]+)/log": ("GET", pod_log),
    "/v2beta1/runs/([^/:]+):terminate": ("POST", terminate_run),
    "/v2beta1/runs/([^/:]+):retry": ("POST", retry_run),
    "/v2beta1/recurringruns": ("POST", create_schedule),
    "/v2beta1/recurringruns()": ("GET", lambda double, query, body, _: list_schedules(double, query, body)),
    "/v2beta1/recurringruns/([^/:]+)": ("DELETE", delete_schedule),
    "/v2beta1/recurringruns/([^/:]+)()": ("GET", lambda double, query, body, name, _: schedule_of(double, query, body, name)),
    "/v2beta1/recurringruns/([^/:]+):disable": ("POST", switch("DISABLED")),
    "/v2beta1/recurringruns/([^/:]+):enable": ("POST", switch("ENABLED")),
}
REFUSED = {  # the reasons of 401
    "expired": "service account token has expired",
    "audience": 'token audiences ["https://kubernetes.default.svc"] is invalid for the target audiences ["pipelines.kubeflow.org"]',
    "invalidated": "service account token has been invalidated",
}


def _handler(double: Double):
    class Handler(http.server.BaseHTTPRequestHandler):
        def _do(self) -> None:
            url = urllib.parse.urlsplit(self.path)
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            double.requests.append(f"{self.command} {url.path}")
            meets = double.trouble.pop(0) if double.trouble else ""
            if meets == "slow":
                time.sleep(3)
            elif meets == "login page":
                return self._send(200, "<!doctype html><form>password</form>", "text/html")
            elif meets == "login elsewhere":
                return self._send(302, "", "text/html", location="https://dex.example.org/auth")
            elif meets == "busy":
                return self._send(503, "<h1>Service Unavailable</h1>", "text/html")
            elif meets == "broken":
                return self._send(500, '{"error": "database is gone", "code": 13}')
            if url.path.endswith("/healthz"):  # needs no token, whoever asks
                if double.health:
                    return self._send(200, *double.health)
            elif reason := self._stranger(meets):
                return self._send(401, json.dumps(fault(401, 16, f"Unauthenticated: Request header error: {reason}")[1]))
            elif "/forbidden/" in url.path:
                words = "User 'system:serviceaccount:other:default' is not authorized with reason: no (request: namespace:team)"
                return self._send(403, json.dumps(fault(403, 7, f"Failed to authorize with API: {words}")[1]))
            status, content = double.answer(
                self.command, re.sub("^/pipeline(/forbidden)?", "", url.path), dict(urllib.parse.parse_qsl(url.query)), body
            )
            if isinstance(content, str):
                return self._send(status, content, "text/plain")
            self._send(status, json.dumps(api.ApiClient().sanitize_for_serialization(content)))

        do_GET = do_POST = do_DELETE = _do  # noqa: N815 the library's names

        def _stranger(self, meets: str) -> str:
            if meets in REFUSED:
                return REFUSED[meets]
            said, cookie = self.headers.get("authorization"), self.headers.get("cookie", "")
            if said == f"Bearer {TOKEN}" or f"session={TOKEN}" in cookie:
                return ""
            return "invalid bearer token" if said else "there is no user identity header"

        def _send(self, status: int, text: str, kind: str = "application/json", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"content-type": kind, "content-length": str(len(text.encode())), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler
