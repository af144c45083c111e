"""Report how a run ended: in the exit handler's log, and to a webhook where one is set."""

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.execution import REASON_FILE

WEBHOOK = "DARKROOM_WEBHOOK"
TRIES, SECONDS = 3, 10  # seconds for one answer, or one piece of it
WHOLE = 30  # seconds for all of it, however the server spends them


def report(*, state: str, run: str, name: str = "", workflow: str = "", message: str | None = None) -> None:
    """Print how the run ended and post it as JSON: `text` (as Slack and others take it), state, run, step, reason.

    A webhook that cannot be reached is a line in the log and fails nothing.
    """
    step, reason = ("", "") if state == "SUCCEEDED" else first_fault(message or "")
    text = f"Darkroom: {run} {state.lower()}" + (f" at {step}: {reason}" if step else f": {reason}" if reason else "")
    print(text)
    address = os.environ.get(WEBHOOK)
    if not address:
        return
    if reason := _post(address, {"text": text, "state": state, "run": run, "step": step, "reason": reason}):
        print(f"report: the webhook was not notified: {reason}")  # its address may be a secret, but for the host


def _post(address: str, content: dict) -> str:
    """Post to a webhook; return why it was not notified, or an empty text."""
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import Retry

    from components.shared import deadline
    from components.shared.errors import CannotRun

    # Retry only on answers that ask for it: a webhook that took the call is not called twice.
    again = Retry(
        TRIES - 1, backoff_factor=0.5, status_forcelist=(429, 502, 503, 504), allowed_methods=None, retry_after_max=SECONDS
    )
    try:
        where = (urlsplit(address).hostname or "").encode("ascii", "replace").decode()
    except ValueError:
        return "DARKROOM_WEBHOOK is not an address"

    def ask(session: requests.Session) -> int:
        # Of the answer only its status is read: a body may be endless.
        with session.post(address, json=content, timeout=SECONDS, allow_redirects=False, stream=True) as answer:
            return answer.status_code

    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=again))
        try:
            status = deadline.within(WHOLE, lambda: ask(session), what=where)
        except CannotRun as error:
            return str(error)
        except (requests.RequestException, UnicodeError) as error:
            return f"{where}: {type(error).__name__}"
    return "" if status < 300 else f"{where}: HTTP {status}"


def first_fault(message: str) -> tuple[str, str]:
    """The first failing step and its reason: as steps left them here, or as Argo lists its failures, or the bare message."""
    file = os.environ.get(REASON_FILE)
    if file and Path(file).exists() and (lines := Path(file).read_text(encoding="utf-8", errors="replace").splitlines()):
        step, _, reason = lines[0].partition(": ")
        return step, reason
    try:
        failures = json.loads(message)
        first = min((f for f in failures if f.get("message")), key=lambda f: f.get("finishedAt") or "9")
        return first.get("displayName", ""), first["message"]
    except (ValueError, TypeError, AttributeError):
        return "", message
