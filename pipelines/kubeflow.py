"""The connection to a Kubeflow Pipelines installation: its v2beta1 API, with errors that say what to do.

Where it is and who asks comes from the environment: KFP_HOST, KFP_NAMESPACE, and one of KFP_TOKEN, KFP_COOKIES and
KF_PIPELINES_SA_TOKEN_PATH (a service account's token file, read anew for every request: it is replaced as it expires).
"""

import functools
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SECONDS = 30  # for one answer, or one piece of it
WHOLE = 60  # seconds for a call with all its tries, however the server spends them
LARGEST = 2**26  # bytes of an answer
TRIES = 3


class Kubeflow:
    """The services of one installation; a token never appears in a message."""

    def __init__(self) -> None:
        import kfp_server_api as api

        self.address = _address()
        self.namespace = os.environ.get("KFP_NAMESPACE", "")
        settings = api.Configuration(host=self.address)
        settings.ssl_ca_cert = os.environ.get("SSL_CERT_FILE")
        settings.proxy = _proxy(self.address)
        settings.retries = _retries()
        self._token_file = os.environ.get("KF_PIPELINES_SA_TOKEN_PATH", "")
        self._client = client = api.ApiClient(settings, cookie=os.environ.get("KFP_COOKIES"))
        self._ask, client.rest_client.request = client.rest_client.request, self._request
        pool = client.rest_client.pool_manager
        pool.request = functools.partial(_bounded, pool.request)
        self.pipelines, self.uploads = api.PipelineServiceApi(client), api.PipelineUploadServiceApi(client)
        self.runs, self.schedules = api.RunServiceApi(client), api.RecurringRunServiceApi(client)
        self.experiments, self.health = api.ExperimentServiceApi(client), api.HealthzServiceApi(client)
        self.health.healthz_service_get_healthz()  # a wrong address or token fails here, at once

    def run_page(self, run_id: str) -> str:
        """Where the UI shows a run."""
        return f"{self.address}/#/runs/details/{run_id}"

    def find(self, ask, *arguments: str, **options: str):
        """The answer to `ask`, or None when it is 404."""
        from components.shared.errors import CannotRun

        try:
            return ask(*arguments, **options)
        except CannotRun as error:
            if getattr(error, "status", None) != 404:
                raise
            return None

    def _request(self, method: str, url: str, **options: Any):
        """Every request of every service passes here. Raises CannotRun, with the answer's `status` where there was one."""
        import urllib3
        from kfp_server_api.exceptions import ApiException

        from components.shared import deadline
        from components.shared.errors import CannotRun

        headers = options.get("headers") or {}
        if token := self._token():
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
        if answer.data and not answer.getheader("content-type", "").startswith(("application/json", "text/plain")):
            raise CannotRun(
                f"Kubeflow at {self.address}: answers with a page, not with data: perhaps a login; {_HOW_TO_LOG_IN}"
            )
        return answer

    def _token(self) -> str:
        from components.shared.errors import CannotRun

        if token := os.environ.get("KFP_TOKEN"):
            return token.strip()
        if not self._token_file:
            return ""
        try:
            return Path(self._token_file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise CannotRun(f"KF_PIPELINES_SA_TOKEN_PATH: {self._token_file}: {error.strerror}") from None

    def _why(self, error) -> str:
        match error.status:
            case 401:
                return f"does not know who asks (401): the token is missing, wrong or expired; {_HOW_TO_LOG_IN}"
            case 403:
                return (
                    f"may not do that in namespace {self.namespace or '(none)'} (403); ask for the right, or set KFP_NAMESPACE"
                )
            case 404:
                return "has no such thing (404); is KFP_HOST the address of the API, such as …/pipeline?"
            case status if 300 <= status < 400:
                return f"leads elsewhere ({status}), perhaps to a login; {_HOW_TO_LOG_IN}"
        body = error.body.decode(errors="replace") if isinstance(error.body, bytes) else error.body or error.reason or ""
        message = re.search(r'"(?:message|error)"\s*:\s*"([^"]+)"', body)
        text = message[1] if message else " ".join(re.sub(r"<[^>]*>", " ", body).split())
        return f"{text[:300] or 'no reason given'} ({error.status})"


_HOW_TO_LOG_IN = "set KFP_TOKEN or KFP_COOKIES anew"


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
