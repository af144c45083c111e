"""An HTTP server that answers as Kubeflow Pipelines' v2beta1 API does, out of the models of `kfp-server-api`.

What it takes and gives passes through those models, so a field that they do not have is an error here too. It can be told
to misbehave: to be busy, slow, to have forgotten the token, to show a login page.
"""

import datetime
import http.server
import json
import re
import threading
import time
import types
import urllib.parse

import kfp_server_api as api
import yaml

TOKEN = "canary-t0k3n"
PREFIX = "/apis/v2beta1"


class Double:
    """The server and what it holds. `trouble` is a list of what the next requests meet, one each."""

    def __init__(self) -> None:
        self.pipelines: dict[str, api.V2beta1Pipeline] = {}
        self.versions: dict[str, api.V2beta1PipelineVersion] = {}
        self.uploaded: dict[str, str] = {}
        self.runs: dict[str, api.V2beta1Run] = {}
        self.schedules: dict[str, api.V2beta1RecurringRun] = {}
        self.experiments: dict[str, api.V2beta1Experiment] = {}
        self.trouble: list[str] = []
        self.ending = "SUCCEEDED"
        self.requests: list[str] = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self.server.server_port}/pipeline"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def answer(self, method: str, path: str, query: dict, body: bytes):
        """Status, and a model or a dict."""
        for pattern, (wanted, do) in ROUTES.items():
            if wanted == method and (match := re.fullmatch(PREFIX + pattern, path)):
                return do(self, query, body, *match.groups())
        return 404, {"error": "Not Found", "code": 5}


def take(body: bytes, model: str):
    """JSON through a model of the API: an unknown field is refused, which the real server's parser does too."""
    content = json.loads(body)
    known = getattr(api, model)
    unknown = set(content) - set(known.attribute_map.values())
    assert not unknown, f"{model} has no {unknown}"
    return api.ApiClient().deserialize(types.SimpleNamespace(data=json.dumps(content)), model)


def now() -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC)


def find_pipeline(double, query, body, name):
    found = [p for p in double.pipelines.values() if p.name == name and (p.namespace or "") == query.get("namespace", "")]
    return (200, found[0]) if found else (404, {"error": "no such pipeline", "code": 5})


def create_pipeline(double, query, body):
    pipeline = take(body, "V2beta1Pipeline")
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
        return 409, {"error": "already exists", "code": 6}
    version = api.V2beta1PipelineVersion(
        pipeline_id=query["pipelineid"], pipeline_version_id=f"v{len(double.versions)}", display_name=query["name"],
        name=query["name"], created_at=now(),
    )  # fmt: skip
    double.versions[version.pipeline_version_id] = version
    double.uploaded[version.pipeline_version_id] = file
    return 200, version


def list_experiments(double, query, body):
    name = json.loads(query["filter"])["predicates"][0]["stringValue"]
    return 200, api.V2beta1ListExperimentsResponse(
        experiments=[e for e in double.experiments.values() if e.display_name == name]
    )


def create_experiment(double, query, body):
    experiment = take(body, "V2beta1Experiment")
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
    return 200, run


def get_run(double, query, body, run_id):
    """Every look moves the run on."""
    run = double.runs.get(run_id)
    if run is None:
        return 404, {"error": "no such run", "code": 5}
    if run.state == "PENDING":
        run.state = "RUNNING"
    elif run.state == "RUNNING":
        run.state = double.ending
    done = run.state == double.ending
    failed = api.GoogleRpcStatus(code=13, message="Error (exit code 1): E_ONE_CLASS: one class")
    ends = {"state": double.ending, "error": failed if double.ending == "FAILED" else None, "end_time": now()}
    task = {"task_id": "t1", "display_name": "validate", "start_time": now(), **(ends if done else {"state": "RUNNING"})}
    driver = {"task_id": "t0", "display_name": "validate-driver", "start_time": now(), "state": "SUCCEEDED"}
    run.run_details = api.V2beta1RunDetails(task_details=[api.V2beta1PipelineTaskDetail(**t) for t in (driver, task)])
    return 200, run


def list_runs(double, query, body):
    return 200, api.V2beta1ListRunsResponse(runs=list(double.runs.values())[: int(query["page_size"])])


def terminate_run(double, query, body, run_id):
    if run_id not in double.runs:
        return 404, {"error": "no such run", "code": 5}
    double.runs[run_id].state = "CANCELING"
    return 200, {}


def create_schedule(double, query, body):
    schedule = take(body, "V2beta1RecurringRun")
    assert len(schedule.trigger.cron_schedule.cron.split()) == 6
    schedule.recurring_run_id, schedule.status = f"s{time.monotonic_ns()}", "ENABLED"
    double.schedules[schedule.recurring_run_id] = schedule
    return 200, schedule


def list_schedules(double, query, body):
    return 200, api.V2beta1ListRecurringRunsResponse(recurring_runs=list(double.schedules.values()))


def delete_schedule(double, query, body, schedule_id):
    return (200, {}) if double.schedules.pop(schedule_id, None) else (404, {"error": "no such schedule", "code": 5})


ROUTES = {
    "/healthz": ("GET", lambda double, query, body: (200, api.V2beta1GetHealthzResponse(multi_user=True))),
    "/pipelines/names/([^/]+)": ("GET", find_pipeline),
    "/pipelines": ("POST", create_pipeline),
    "/pipelines/([^/]+)/versions": ("GET", list_versions),
    "/pipelines/upload_version": ("POST", upload_version),
    "/experiments": ("GET", list_experiments),
    "/experiments()": ("POST", lambda double, query, body, _: create_experiment(double, query, body)),
    "/runs": ("POST", create_run),
    "/runs()": ("GET", lambda double, query, body, _: list_runs(double, query, body)),
    "/runs/([^/:]+)": ("GET", get_run),
    "/runs/([^/:]+):terminate": ("POST", terminate_run),
    "/recurringruns": ("POST", create_schedule),
    "/recurringruns()": ("GET", lambda double, query, body, _: list_schedules(double, query, body)),
    "/recurringruns/([^/]+)": ("DELETE", delete_schedule),
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
            known = f"Bearer {TOKEN}" == self.headers.get("authorization") or f"session={TOKEN}" in self.headers.get(
                "cookie", ""
            )
            if not known or meets == "expired":
                return self._send(401, '{"error": "Unauthenticated", "code": 16}')
            if "/forbidden/" in url.path:
                return self._send(403, '{"error": "PermissionDenied", "code": 7}')
            status, content = double.answer(
                self.command, url.path.removeprefix("/pipeline"), dict(urllib.parse.parse_qsl(url.query)), body
            )
            self._send(status, json.dumps(api.ApiClient().sanitize_for_serialization(content)))

        do_GET = do_POST = do_DELETE = _do  # noqa: N815 the library's names

        def _send(self, status: int, text: str, kind: str = "application/json", **headers: str) -> None:
            self.send_response(status)
            for name, value in {"content-type": kind, "content-length": str(len(text.encode())), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text.encode())

        def log_message(self, *_: object) -> None:
            pass

    return Handler
