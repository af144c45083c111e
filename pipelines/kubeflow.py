"""The connection to a Kubeflow Pipelines installation: its v2beta1 API, with errors that say what to do.

Where it is and who asks comes from the environment: KFP_HOST, KFP_NAMESPACE, and one of KFP_TOKEN, KFP_COOKIES and
KF_PIPELINES_SA_TOKEN_PATH (a service account's token file, read anew for every request: it is replaced as it expires).
A Kubeflow for one user has one namespace and ignores any other; one for several users needs to be told which.
"""

import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter

from components.shared import deadline
from components.shared.errors import CannotRun

SECONDS = 30  # for one answer, or one piece of it
WHOLE = 60  # seconds for a call with all its tries, however the server spends them
LARGEST = 2**26  # bytes of an answer
TRIES = 3
_HOW_TO_LOG_IN = "set KFP_TOKEN or KFP_COOKIES anew"
_AUDIENCE = "make the token with `kubectl create token ACCOUNT --namespace NAMESPACE --audience pipelines.kubeflow.org`"
_WHERE = "is KFP_HOST the address of the API, such as …/pipeline?"
_REASON_OF_401 = re.compile(
    r"there is no user identity header|invalid bearer token|token audiences \[[^]]*\] is invalid for the target audiences \[[^]]*\]"
    r"|(?:service account )?token has (?:expired|been invalidated)"
)


class Kubeflow:
    """One installation; a token never appears in a message. Any call raises CannotRun, with the answer's `status` if there was one."""

    namespace = ""  # where runs live; empty where there is no choice

    def __init__(self) -> None:
        self.address = _address()
        self._session = session = requests.Session()
        if cookies := _header("KFP_COOKIES", os.environ.get("KFP_COOKIES", ""), r"[ -~]*"):
            session.headers["Cookie"] = cookies
        session.verify = os.environ.get("SSL_CERT_FILE") or True
        session.mount(self.address, HTTPAdapter(max_retries=_retries()))
        health = self.get("healthz")  # a wrong address, or a server that is no Kubeflow, fails here, at once
        self.multi_user = health.get("multi_user", False if "tag_name" in health else None)
        if not isinstance(self.multi_user, bool):
            raise CannotRun(f"Kubeflow at {self.address}: is another service (its healthz does not say multi_user); {_WHERE}")
        self.version = str(health.get("tag_name") or health.get("apiServerTagName") or "")  # the latter: as the UI hands it on
        asked = os.environ.get("KFP_NAMESPACE", "")
        if self.multi_user and not asked:
            raise CannotRun(f"Kubeflow at {self.address}: is for several users; set KFP_NAMESPACE to your Profile's namespace")
        if asked not in ("", "kubeflow") and not self.multi_user:  # its usual name
            print(f"Kubeflow at {self.address}: is for one user, and ignores KFP_NAMESPACE={asked}", file=sys.stderr)
        self.namespace = asked if self.multi_user else ""
        self.here = {"namespace": self.namespace} if self.namespace else {}  # as the API takes it

    def run_page(self, run_id: str) -> str:
        """Where the UI shows a run."""
        return f"{self.address}/#/runs/details/{run_id}"

    def get(self, *path: str, **query: Any) -> dict:
        """What the API has at an address, such as `("runs", "1-2")`."""
        return json.loads(self._ask("GET", "v2beta1", *path, params=query))

    def post(self, *path: str, do: str = "", **content: Any) -> dict:
        """Make something of this content, or `do` something, such as `terminate`, with what is there."""
        return json.loads(self._ask("POST", "v2beta1", *path, do=do, **(content or {"json": {}})))

    def delete(self, *path: str) -> None:
        """Remove what the API has at an address."""
        self._ask("DELETE", "v2beta1", *path)

    def workflow(self, run_id: str) -> dict:
        """Argo's workflow of a run, which the older API alone gives; empty where there is none yet."""
        run = json.loads(self._ask("GET", "v1beta1", "runs", run_id))
        return json.loads((run.get("pipeline_runtime") or {}).get("workflow_manifest") or "{}")

    def log(self, run_id: str, pod: str) -> str:
        """What a pod of a run said."""
        return self._ask("GET", "v1alpha1", "runs", run_id, "nodes", pod, "log").decode(errors="replace")

    def made(self, make: Callable[[], dict], find: Callable[[], dict | None]) -> dict:
        """What `find` finds; else what `make` makes, or what somebody else made a moment ago (409)."""
        if (known := find()) is not None:
            return known
        try:
            return make()
        except CannotRun as error:
            if error.status == 409 and (known := find()) is not None:
                return known
            raise

    def pages(self, *path: str, of: str, **query: Any) -> Iterator[dict]:
        """All that an address lists in the field `of`, page after page."""
        token: dict | None = {}
        while token is not None:
            page = self.get(*path, page_size=100, **query, **token)
            yield from page.get(of) or []
            token = {"page_token": page["next_page_token"]} if page.get("next_page_token") else None

    def schedules(self) -> list[dict]:
        """All of them."""
        return list(self.pages("recurringruns", of="recurringRuns", **self.here))

    def _ask(self, method: str, api: str, *path: str, do: str = "", **content: Any) -> bytes:
        """Every request passes here. Redirects are not followed, because they lead to login pages."""
        server = f"Kubeflow at {self.address}"
        url = "/".join([self.address, "apis", api, *(quote(part, safe="") for part in path)]) + (f":{do}" if do else "")
        options = {"timeout": SECONDS, "allow_redirects": False, "stream": True, "auth": self._authorize} | content

        def ask() -> tuple[requests.Response, bytes]:
            with self._session.request(method, url, **options) as answer:
                return answer, answer.raw.read(LARGEST + 1, decode_content=True)

        try:
            answer, body = deadline.within(WHOLE, ask, what=server)
        except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
            raise CannotRun(f"{server}: {_reason(error)}; is KFP_HOST right, and up?") from None
        if len(body) > LARGEST:
            raise CannotRun(f"{server}: an answer of more than {LARGEST // 2**20} MiB; {_WHERE}")
        if answer.status_code >= 300:
            raise CannotRun(f"{server}: {self._why(answer.status_code, body)}", status=answer.status_code)
        if answer.headers.get("content-type", "").startswith("text/html"):
            raise CannotRun(f"{server}: answers with a page, not with data: perhaps a login; {_HOW_TO_LOG_IN}")
        if path[-1] != "log" and _json(body) is None:
            raise CannotRun(f"{server}: answers with something else than Kubeflow does; {_WHERE}")
        return body

    def _authorize(self, request):
        if token := self.token():
            request.headers["Authorization"] = f"Bearer {token}"
        return request

    def token(self) -> str:
        """Of whoever asks; empty where there is none."""
        if token := os.environ.get("KFP_TOKEN", "").strip():
            return _header("KFP_TOKEN", token)
        if not (file := os.environ.get("KF_PIPELINES_SA_TOKEN_PATH", "")):
            return ""
        name = f"KF_PIPELINES_SA_TOKEN_PATH: {file}"
        try:
            return _header(name, Path(file).read_text(encoding="utf-8", errors="replace").strip())
        except OSError as error:
            raise CannotRun(f"{name}: {error.strerror}") from None

    def _why(self, status: int, body: bytes) -> str:
        """What a refusal says, in a line: uploads say it in `error_message`; a page is stripped of its marks."""
        answer = _json(body) or {}
        texts = (answer.get(key) for key in ("error_message", "message", "error"))
        message = next(filter(None, texts), "" if answer else body.decode(errors="replace"))
        message = " ".join(re.sub(r"<[^>]*>", " ", str(message)).split())
        match status:
            case 401:
                known = _REASON_OF_401.search(message)
                reason = f": {known[0]}" if known else ""
                return f"does not know who asks (401{reason}); {_AUDIENCE if 'audience' in reason else _HOW_TO_LOG_IN}"
            case 403:
                who = re.search(r"User '[^']+'", message)
                where = f"in namespace {self.namespace}" if self.namespace else "there"
                return f"{who[0] if who else 'whoever asks'} may not do that {where} (403); ask for the right, or set KFP_NAMESPACE"
            case 404:
                return f"has no such thing (404); {_WHERE}"
            case _ if status < 400:
                return f"leads elsewhere ({status}), perhaps to a login; {_HOW_TO_LOG_IN}"
        return f"{message[:300] or 'no reason given'} ({status})"


def _json(body: bytes) -> dict | None:
    try:
        answer = json.loads(body)
    except ValueError:
        return None
    return answer if isinstance(answer, dict) else None


def _header(name: str, text: str, form: str = r"[!-~]*") -> str:
    """A secret that is fit for a header. Raises CannotRun, which does not show it."""
    if not re.fullmatch(form, text):
        raise CannotRun(f"{name}: expected one line of plain characters; is it a token?")
    return text


def _address() -> str:
    address = os.environ.get("KFP_HOST", "").strip().rstrip("/")
    if not address:
        raise CannotRun("KFP_HOST: not set; the address of Kubeflow's API, such as https://kubeflow.example.org/pipeline")
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CannotRun("KFP_HOST: expected an address that starts with http:// or https://")
    if parts.username or parts.password:
        raise CannotRun("KFP_HOST: must not hold a user or password; set KFP_TOKEN or KFP_COOKIES")
    return address


def _retries():
    """Retry what the server never took up: no connection, or 429 and 503. A lost answer is not retried: it would start a run twice."""
    return urllib3.Retry(
        TRIES, read=False, status_forcelist=(429, 503), allowed_methods=None, backoff_factor=0.3, raise_on_status=False,
        retry_after_max=SECONDS // TRIES,
    )  # fmt: skip


def _reason(error: Exception) -> str:
    text = str(error)
    if "timed out" in text:
        return f"no answer in {SECONDS} seconds"
    return "no such host" if "resolve" in text else text.rpartition(": ")[2].rstrip("')") or type(error).__name__
