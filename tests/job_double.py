"""Stands for Kubernetes where a step makes a Job: the part of its API that is asked, and the pods as real processes or containers.

An Indexed Job as Kubernetes 1.34 runs it: so many at once, each index tried again once, but not after exit code 1.
"""

import datetime
import http.server
import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import yaml

RUN_ID, POD, WORKFLOW = "4f2c8a10-0000-4000-8000-9b1d3e5f7a21", "darkroom-x7k2p-system-container-impl-123", "darkroom-x7k2p"


def as_process(container: dict, environment: dict, words: Path) -> subprocess.Popen:
    """A part as a process of this machine."""
    command = [sys.executable, *container["command"][1:]]
    return subprocess.Popen(command, env=os.environ | environment | {"DARKROOM_REASONS": str(words)}, cwd=words.parent)


class Double:
    """`hold`: no part starts before it is set. `made`: the bodies of all Jobs, in order; `tries`: exit codes of each index."""

    def __init__(self, folder: Path, environment: dict, start: Callable = as_process, image: str = "darkroom") -> None:
        self.folder, self.start = folder, start
        self.hold, self.running = threading.Event(), set()
        self.hold.set()
        self.jobs, self.pods, self.made, self.deleted, self.tries = {}, [], [], [], {}
        self.workflow = {"spec": {}}
        variables = [{"name": name, "value": value} for name, value in environment.items()]
        reference = {
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Workflow",
            "name": WORKFLOW,
            "uid": "u-1",
            "controller": True,
        }
        labels = {"pipeline/runid": RUN_ID, "darkroom": "step", "workflows.argoproj.io/workflow": WORKFLOW}
        named = {"name": "DARKROOM_PIPELINE_RUN", "valueFrom": {"fieldRef": {"fieldPath": "metadata.labels['pipeline/runid']"}}}
        self.pod = {
            "metadata": {"name": POD, "labels": labels, "ownerReferences": [reference]},
            "spec": {
                "activeDeadlineSeconds": 3600, "serviceAccountName": "darkroom-step", "nodeSelector": {"pool": "cpu"},
                "tolerations": [{"key": "spot", "operator": "Exists"}], "imagePullSecrets": [{"name": "registry"}],
                "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
                "containers": [
                    {"name": "wait", "image": "argoexec"},
                    {"name": "main", "image": image, "env": [{"name": "ARGO_TEMPLATE", "value": "{}"}, named, *variables],
                     "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "2Gi"}},
                     "securityContext": {"runAsUser": 10001, "allowPrivilegeEscalation": False}},
                ],
            },
        }  # fmt: skip
        double = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                body = json.loads(self.rfile.read(length)) if length else {}
                status, content = double.answer(self.command, urlsplit(self.path).path, body)
                sent = json.dumps(content).encode()
                self.send_response(status)
                self.send_header("content-type", "application/json")
                self.send_header("content-length", str(len(sent)))
                self.end_headers()
                self.wfile.write(sent)

            do_GET = do_POST = do_DELETE = answer  # noqa: N815

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.kubeconfig = folder / "kubeconfig"
        self.kubeconfig.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "x",
            "contexts": [{"name": "x", "context": {"cluster": "x", "user": "x"}}], "users": [{"name": "x", "user": {}}],
            "clusters": [{"name": "x", "cluster": {"server": f"http://127.0.0.1:{self.server.server_port}"}}],
        }))  # fmt: skip

    def answer(self, method: str, path: str, body: dict) -> tuple[int, dict]:
        """What Kubernetes answers."""
        *_, kind, name = ["", *path.strip("/").split("/")]
        match method, kind, name:
            case "GET", "pods", given if given == POD:
                return 200, self.pod
            case "GET", _, "pods":
                return 200, {"items": self.pods}
            case "GET", "workflows", _:
                return 200, self.workflow
            case "POST", _, "jobs":
                name = body["metadata"]["name"]
                if name in self.jobs:
                    return 409, {"reason": "AlreadyExists"}
                self.jobs[name] = {**body, "status": {"succeeded": 0}}
                self.made.append(body)
                threading.Thread(target=self.run, args=(name,), daemon=True).start()
                return 201, body
            case "GET", "jobs", given if given in self.jobs:
                return 200, self.jobs[given]
            case "DELETE", "jobs", given if given in self.jobs:
                del self.jobs[given]
                self.deleted.append(given)
                for process in list(self.running):
                    process.kill()
                return 200, {}
        return 404, {"reason": "NotFound"}

    def run(self, name: str) -> None:
        """Run the parts of a Job to its end."""
        self.hold.wait()
        spec = self.jobs[name]["spec"] if name in self.jobs else {"parallelism": 1, "completions": 0}
        with ThreadPoolExecutor(spec["parallelism"]) as pool:
            well = list(pool.map(lambda index: self.part(name, spec, index), range(spec["completions"])))
        if name in self.jobs:
            end = (
                {"type": "Complete"}
                if all(well)
                else {"type": "Failed", "reason": "FailedIndexes", "message": "Job has failed indexes"}
            )
            self.jobs[name]["status"]["conditions"] = [{**end, "status": "True"}]

    def part(self, name: str, spec: dict, index: int) -> bool:
        """Run one index, again as often as the Job says; whether it ended well."""
        container, labels = spec["template"]["spec"]["containers"][0], spec["template"]["metadata"]["labels"]
        environment = {
            each["name"]: each["value"] if "value" in each else labels[each["valueFrom"]["fieldRef"]["fieldPath"].split("'")[1]]
            for each in container["env"]
        }
        for _ in range(1 + spec["backoffLimitPerIndex"]):
            if name not in self.jobs:
                return False
            words = self.folder / f"{name}-{index}-{len(self.pods)}"
            words.touch()
            words.chmod(0o666)
            process = self.start(container, environment | {"JOB_COMPLETION_INDEX": str(index)}, words)
            self.running.add(process)
            code = process.wait()
            self.running.discard(process)
            self.tries.setdefault(index, []).append(code)
            ended = {
                "exitCode": code,
                "message": words.read_text(),
                "finishedAt": datetime.datetime.now(datetime.UTC).isoformat(),
            }
            self.pods.append({
                "metadata": {"name": words.name, "annotations": {"batch.kubernetes.io/job-completion-index": str(index)}},
                "status": {"containerStatuses": [
                    {"name": "part", "image": "", "imageID": "", "ready": False, "restartCount": 0, "state": {"terminated": ended}}
                ]},
            })  # fmt: skip
            if not code:
                if name in self.jobs:
                    self.jobs[name]["status"]["succeeded"] += 1
                return True
            if code == 1:
                return False
        return False
