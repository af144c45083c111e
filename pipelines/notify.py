"""How a run ended, said once: in the exit handler's log, and to a webhook where one is set."""

import json
import os
from pathlib import Path
from urllib.parse import urlsplit

from pipelines.execution import LAST_WORDS

WEBHOOK = "DARKROOM_WEBHOOK"
TRIES, SECONDS = 3, 10


def report(*, state: str, run: str, message: str | None) -> None:
    """Print how the run ended and post it as JSON: `text` (as Slack and others take it), state, run, step, reason.

    A webhook that cannot be reached is said in the log and fails nothing.
    """
    step, reason = ("", "") if state == "SUCCEEDED" else first_fault(message or "")
    text = f"Darkroom: {run} {state.lower()}" + (f" at {step}: {reason}" if step else f": {reason}" if reason else "")
    print(text)
    address = os.environ.get(WEBHOOK)
    if not address:
        return
    import requests
    from requests.adapters import HTTPAdapter
    from urllib3 import Retry

    # Only what says "try again": a webhook that was called and answered is not called twice.
    again = Retry(TRIES - 1, backoff_factor=0.5, status_forcelist=(429, 502, 503, 504), allowed_methods=None)
    where = urlsplit(address).hostname
    with requests.Session() as session:
        for scheme in ("http://", "https://"):
            session.mount(scheme, HTTPAdapter(max_retries=again))
        content = {"text": text, "state": state, "run": run, "step": step, "reason": reason}
        try:
            session.post(address, json=content, timeout=SECONDS, allow_redirects=False).raise_for_status()
        except requests.RequestException as error:
            # The address itself may be a secret: it is not said.
            status = getattr(error.response, "status_code", None)
            print(f"report: the webhook at {where} was not told ({f'HTTP {status}' if status else type(error).__name__})")


def first_fault(message: str) -> tuple[str, str]:
    """The first failing step and its reason: as steps left them here, or as Argo lists its failures, or the bare message."""
    file = os.environ.get(LAST_WORDS)
    if file and (words := Path(file).read_text(encoding="utf-8").splitlines()):
        step, _, reason = words[0].partition(": ")
        return step, reason
    try:
        failures = json.loads(message)
        first = min((f for f in failures if f.get("message")), key=lambda f: f.get("finishedAt") or "9")
        return first.get("displayName", ""), first["message"]
    except (ValueError, TypeError, AttributeError):
        return "", message
