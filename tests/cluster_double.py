"""An HTTP server that answers as Kubernetes' API does, out of manifests: objects by their address, and access reviews by RBAC.

It holds what it is given, nothing more; `hidden` names resources that whoever asks may not see (403).
"""

import http.server
import json
import re
import threading
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import kubernetes.client
import yaml

TOKEN = "canary-kub3-t0k3n"
PLURALS = {"ServiceAccount": "serviceaccounts", "Secret": "secrets", "ConfigMap": "configmaps", "Node": "nodes", "Pod": "pods",
           "ResourceQuota": "resourcequotas", "Workflow": "workflows"}  # fmt: skip


class Cluster:
    """The server and its objects. `me` is who the kubeconfig's token names."""

    def __init__(self, objects: list[dict], me: str = "admin") -> None:
        self.objects, self.me, self.hidden = objects, me, set()
        self.requests: list[str] = []
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()

    def kubeconfig(self, file: Path) -> Path:
        """Written, as a person has it."""
        file.write_text(yaml.safe_dump({
            "apiVersion": "v1", "kind": "Config", "current-context": "here",
            "clusters": [{"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.server.server_port}"}}],
            "users": [{"name": "u", "user": {"token": TOKEN}}],
            "contexts": [{"name": "here", "context": {"cluster": "c", "user": "u"}}],
        }))  # fmt: skip
        return file

    def one(self, kind: str, name: str = "", namespace: str | None = None) -> dict | None:
        return next(iter(self.all(kind, name, namespace)), None)

    def all(self, kind: str, name: str = "", namespace: str | None = None) -> list[dict]:
        return [each for each in self.objects if each["kind"] == kind and name in ("", each["metadata"].get("name"))
                and namespace in (None, each["metadata"].get("namespace"))]  # fmt: skip

    def may(self, user: str, groups: list[str], call: dict) -> bool:
        """RBAC, as Kubernetes decides by Roles and RoleBindings of one namespace."""
        for binding in self.all("RoleBinding", namespace=call["namespace"]):
            named = [
                f"system:serviceaccount:{s['namespace']}:{s['name']}"
                for s in binding["subjects"]
                if s["kind"] == "ServiceAccount"
            ]
            named += [s["name"] for s in binding["subjects"] if s["kind"] != "ServiceAccount"]
            role = self.one("Role", binding["roleRef"]["name"], call["namespace"])
            if role and {user, *groups} & set(named) and any(_grants(rule, call) for rule in role["rules"]):
                return True
        return False

    def answer(self, method: str, path: str, query: dict, body: dict) -> tuple[int, dict]:
        if method == "POST":
            return self.review(path, body)
        found = re.fullmatch(r"/(?:api/v1|apis/argoproj.io/v1alpha1)(?:/namespaces/([^/]+))?/([a-z]+)(?:/([^/]+))?", path)
        kind = next(kind for kind, plural in PLURALS.items() if plural == found[2])
        if found[2] in self.hidden:
            return fault(403, f"{found[2]} is forbidden: User {self.me!r} cannot get it")
        if found[3]:
            one = self.one(kind, found[3], found[1])
            return (200, one) if one else fault(404, f'{found[2]} "{found[3]}" not found')
        items = self.all(kind, namespace=found[1])
        for selector in filter(None, query.get("fieldSelector", "").split(",")):
            field, unwanted = selector.split("!=")
            assert field == "status.phase"
            items = [each for each in items if each.get("status", {}).get("phase") != unwanted]
        return 200, {"apiVersion": "v1", "kind": f"{kind}List", "metadata": {}, "items": items}

    def review(self, path: str, body: dict) -> tuple[int, dict]:
        if path == "/apis/authentication.k8s.io/v1/selfsubjectreviews":
            return 201, body | {"status": {"userInfo": {"username": self.me}}}
        spec, api = body["spec"], kubernetes.client
        assert not set(spec["resourceAttributes"]) - set(api.V1ResourceAttributes.attribute_map.values())
        if path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
            assert not set(spec) - set(api.V1SelfSubjectAccessReviewSpec.attribute_map.values())
            user, groups = self.me, []
        else:
            namespace = re.fullmatch(r"/apis/authorization.k8s.io/v1/namespaces/([^/]+)/localsubjectaccessreviews", path)[1]
            assert namespace == spec["resourceAttributes"]["namespace"]
            assert not set(spec) - set(api.V1SubjectAccessReviewSpec.attribute_map.values())
            if "localsubjectaccessreviews" in self.hidden:
                return fault(403, "localsubjectaccessreviews is forbidden")
            user, groups = spec["user"], spec["groups"]
        return 201, body | {"status": {"allowed": self.may(user, groups, spec["resourceAttributes"])}}


def _grants(rule: dict, call: dict) -> bool:
    return (call["group"] in rule["apiGroups"] and call["resource"] in rule["resources"] and call["verb"] in rule["verbs"]
            and (not rule.get("resourceNames") or call["name"] in rule["resourceNames"]))  # fmt: skip


def fault(status: int, message: str) -> tuple[int, dict]:
    return status, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "message": message, "code": status}


def _handler(cluster: Cluster):
    class Handler(http.server.BaseHTTPRequestHandler):
        def _do(self) -> None:
            url = urlsplit(self.path)
            body = json.loads(self.rfile.read(int(self.headers.get("content-length") or 0)) or b"{}")
            cluster.requests.append(f"{self.command} {url.path}")
            if self.headers.get("authorization") != f"Bearer {TOKEN}":
                status, content = fault(401, "Unauthorized")
            else:
                status, content = cluster.answer(self.command, url.path, dict(parse_qsl(url.query)), body)
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _do  # noqa: N815 the library's names

        def log_message(self, *_: object) -> None:
            pass

    return Handler
