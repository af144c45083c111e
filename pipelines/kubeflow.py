"""The connection to a Kubeflow Pipelines installation: its v2beta1 API, with errors that say what to do.

Where it is and who asks comes from the environment: KFP_HOST, KFP_NAMESPACE, and one of KFP_TOKEN, KFP_COOKIES and
KF_PIPELINES_SA_TOKEN_PATH (a service account's token file, read anew for every request: it is replaced as it expires).
A Kubeflow for one user has one namespace and ignores any other; one for several users needs to be told which.
"""

import contextlib
import functools
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pipelines import patience

SECONDS = 30  # for one answer, or one piece of it
WHOLE = 60  # seconds for a call with all its tries, however the server spends them
LARGEST = 2**26  # bytes of an answer
TRIES = 3


class Kubeflow:
    """The services of one installation; a token never appears in a message."""

    find = staticmethod(patience.found)

    def __init__(self) -> None:
        import kfp_server_api as api

        self.address = _address()
        cookies = _header("KFP_COOKIES", os.environ.get("KFP_COOKIES", ""), r"[ -~]*")
        settings = api.Configuration(host=self.address)
        settings.ssl_ca_cert = os.environ.get("SSL_CERT_FILE")
        settings.proxy = _proxy(self.address)
        settings.retries = _retries()
        self._token_file = os.environ.get("KF_PIPELINES_SA_TOKEN_PATH", "")
        self._client = client = api.ApiClient(settings, cookie=cookies or None)
        self._ask, client.rest_client.request = client.rest_client.request, self._request
        pool = client.rest_client.pool_manager
        pool.request = functools.partial(_bounded, pool.request)
        self.pipelines, self.uploads = api.PipelineServiceApi(client), api.PipelineUploadServiceApi(client)
        self.runs, self.schedules = api.RunServiceApi(client), api.RecurringRunServiceApi(client)
        self.experiments = api.ExperimentServiceApi(client)
        self.version, self.multi_user = self._health()
        self.namespace = self._namespace()
        self.here = {"namespace": self.namespace} if self.namespace else {}  # as the services take it

    def run_page(self, run_id: str) -> str:
        """Where the UI shows a run."""
        return f"{self.address}/#/runs/details/{run_id}"

    def get(self, path: str) -> dict | str:
        """What an address of the API answers for which the library has no call: JSON, or a log's text."""
        headers = {"Accept": "*/*"} | ({"Cookie": self._client.cookie} if self._client.cookie else {})
        answer = self._client.rest_client.request("GET", f"{self.address}/apis/{path}", headers=headers)
        return answer.data.decode(errors="replace") if path.endswith("/log") else json.loads(answer.data)

    def _health(self) -> tuple[str, bool]:
        """Version, and whether it is for several users. A wrong address, or a server that is no Kubeflow, fails here, at once."""
        from components.shared.errors import CannotRun

        answer = self.get("v2beta1/healthz")
        multi_user = answer.get("multi_user", False if "tag_name" in answer else None)
        if not isinstance(multi_user, bool):
            raise CannotRun(f"Kubeflow at {self.address}: is another service (its healthz does not say multi_user); {_WHERE}")
        return str(
            answer.get("tag_name") or answer.get("apiServerTagName") or ""
        ), multi_user  # the latter: as the UI hands it on

    def _namespace(self) -> str:
        """Where runs live; empty where there is no choice."""
        from components.shared.errors import CannotRun

        asked = os.environ.get("KFP_NAMESPACE", "")
        if self.multi_user and not asked:
            raise CannotRun(f"Kubeflow at {self.address}: is for several users; set KFP_NAMESPACE to your Profile's namespace")
        if asked not in ("", "kubeflow") and not self.multi_user:  # its usual name
            print(f"Kubeflow at {self.address}: is for one user, and ignores KFP_NAMESPACE={asked}", file=sys.stderr)
        return asked if self.multi_user else ""

    def made(self, make: Callable[[], Any], find: Callable[[], Any]) -> Any:
        """What `make` makes, or what `find` finds when somebody made it a moment ago (409)."""
        from components.shared.errors import CannotRun

        try:
            return make()
        except CannotRun as error:
            if getattr(error, "status", None) == 409 and (found := find()) is not None:
                return found
            raise

    def pages(self, ask: Callable, of: str, *arguments: str, **options: str) -> Iterator[Any]:
        """All that `ask` lists in the field `of`, page after page."""
        token = ""
        while token is not None:
            page = ask(*arguments, page_size=100, **options, **({"page_token": token} if token else {}))
            yield from getattr(page, of) or []
            token = page.next_page_token or None

    def _request(self, method: str, url: str, **options: Any):
        """Every request of every service passes here. Raises CannotRun, with the answer's `status` where there was one."""
        import urllib3
        from kfp_server_api.exceptions import ApiException

        from components.shared import deadline
        from components.shared.errors import CannotRun

        headers = options.get("headers") or {}
        if token := self.token():
            headers["authorization"] = f"Bearer {token}"
        options |= {"headers": headers, "_request_timeout": SECONDS}
        try:
            answer = deadline.within(WHOLE, lambda: self._ask(method, url, **options), what=f"Kubeflow at {self.address}")
        except urllib3.exceptions.HTTPError as error:
            reason = _reason(error)
            raise CannotRun(f"Kubeflow at {self.address}: {reason}; is KFP_HOST right, and up?") from None
        except ApiException as error:
            refused = CannotRun(f"Kubeflow at {self.address}: {self._why(error)}")
            refused.status = error.status
            raise refused from None
        if answer.getheader("content-type", "").startswith("text/html"):
            raise CannotRun(
                f"Kubeflow at {self.address}: answers with a page, not with data: perhaps a login; {_HOW_TO_LOG_IN}"
            )
        with contextlib.suppress(ValueError):
            if url.endswith("/log") or isinstance(json.loads(answer.data or ""), dict):
                return answer
        raise CannotRun(f"Kubeflow at {self.address}: answers with something else than Kubeflow does; {_WHERE}")

    def token(self) -> str:
        """Of whoever asks; empty where there is none. Raises CannotRun."""
        from components.shared.errors import CannotRun

        if token := os.environ.get("KFP_TOKEN", "").strip():
            return _header("KFP_TOKEN", token)
        if not self._token_file:
            return ""
        try:
            token = Path(self._token_file).read_text(encoding="utf-8").strip()
        except UnicodeDecodeError:
            raise CannotRun(f"KF_PIPELINES_SA_TOKEN_PATH: {self._token_file}: holds no text") from None
        except OSError as error:
            raise CannotRun(f"KF_PIPELINES_SA_TOKEN_PATH: {self._token_file}: {error.strerror}") from None
        return _header(f"KF_PIPELINES_SA_TOKEN_PATH: {self._token_file}", token)

    def _why(self, error) -> str:
        message = _message(error)
        match error.status:
            case 401:
                known = _REASON_OF_401.search(message)
                reason = f": {known[0]}" if known else ""
                return f"does not know who asks (401{reason}); {_AUDIENCE if 'audience' in reason else _HOW_TO_LOG_IN}"
            case 403:
                who = re.search(r"User '[^']+'", message)
                where = f"in namespace {self.namespace}" if getattr(self, "namespace", "") else "there"
                return f"{who[0] if who else 'whoever asks'} may not do that {where} (403); ask for the right, or set KFP_NAMESPACE"
            case 404:
                return f"has no such thing (404); {_WHERE}"
            case status if 300 <= status < 400:
                return f"leads elsewhere ({status}), perhaps to a login; {_HOW_TO_LOG_IN}"
        return f"{message[:300] or 'no reason given'} ({error.status})"


_HOW_TO_LOG_IN = "set KFP_TOKEN or KFP_COOKIES anew"
_AUDIENCE = "make the token with `kubectl create token ACCOUNT --namespace NAMESPACE --audience pipelines.kubeflow.org`"
_WHERE = "is KFP_HOST the address of the API, such as …/pipeline?"
_REASON_OF_401 = re.compile(
    r"there is no user identity header|invalid bearer token|token audiences \[[^]]*\] is invalid for the target audiences \[[^]]*\]"
    r"|(?:service account )?token has (?:expired|been invalidated)"
)


def _message(error) -> str:
    """What an answer says of its fault, in a line: uploads say it in `error_message`; a page is stripped of its marks."""
    body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else error.body or error.reason or ""
    with contextlib.suppress(ValueError, AttributeError):
        answer = json.loads(body)
        body = next((text for key in ("error_message", "message", "error") if isinstance(text := answer.get(key), str)), "")
    return " ".join(re.sub(r"<[^>]*>", " ", body).split())


def _header(name: str, text: str, form: str = r"[!-~]*") -> str:
    """A secret that is fit for a header. Raises CannotRun, which does not show it."""
    from components.shared.errors import CannotRun

    if not re.fullmatch(form, text):
        raise CannotRun(f"{name}: expected one line of plain characters; is it a token?")
    return text


def _address() -> str:
    from components.shared.errors import CannotRun

    address = os.environ.get("KFP_HOST", "").strip().rstrip("/")
    if not address:
        raise CannotRun("KFP_HOST: not set; the address of Kubeflow's API, such as https://kubeflow.example.org/pipeline")
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise CannotRun("KFP_HOST: expected an address that starts with http:// or https://")
    if parts.username or parts.password:
        raise CannotRun("KFP_HOST: must not hold a user or password; set KFP_TOKEN or KFP_COOKIES")
    return address


def _proxy(address: str) -> str | None:
    from urllib.request import getproxies, proxy_bypass

    parts = urlsplit(address)
    return None if proxy_bypass(parts.hostname or "") else getproxies().get(parts.scheme)


def _bounded(request: Callable, *arguments: Any, **options: Any):
    """The answer to a request, all of it in memory, and no more than LARGEST. Raises CannotRun."""
    import urllib3

    from components.shared.errors import CannotRun

    answer = request(*arguments, **options | {"preload_content": False})
    body = answer.read(LARGEST + 1)
    if len(body) > LARGEST:
        raise CannotRun(f"Kubeflow: an answer of more than {LARGEST // 2**20} MiB; is KFP_HOST the address of the API?")
    answer.release_conn()
    return urllib3.HTTPResponse(body, answer.headers, answer.status, reason=answer.reason)


def _retries():
    """Retry what the server never took up: no connection, or 429 and 503. A lost answer is not retried: it would start a run twice.

    Redirects are not followed, because they lead to login pages.
    """
    import urllib3

    return urllib3.Retry(
        TRIES, connect=TRIES, read=0, redirect=0, status=TRIES, backoff_factor=0.3, status_forcelist=(429, 503),
        allowed_methods=None, raise_on_redirect=False, raise_on_status=False, respect_retry_after_header=True,
        retry_after_max=SECONDS // TRIES,
    )  # fmt: skip


def _reason(error: Exception) -> str:
    import urllib3

    while isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason:
        error = error.reason
    if isinstance(error, urllib3.exceptions.ReadTimeoutError):
        return f"no answer in {SECONDS} seconds"
    if isinstance(error, urllib3.exceptions.NameResolutionError):
        return "no such host"
    return str(error).rpartition(": ")[2] or type(error).__name__
