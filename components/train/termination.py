"""SIGTERM in a training: the batch under way ends and a checkpoint is written, then the process does."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from components.shared.errors import CannotRun


class Terminated(CannotRun):
    """SIGTERM came (a pod is evicted); the checkpoint is saved."""

    exit_code = 128 + signal.SIGTERM


@contextmanager
def stop_requested() -> Iterator[threading.Event]:
    """Set the event on SIGTERM instead of dying, so that the batch ends and the checkpoint is written."""
    told = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield told
        return
    before = signal.signal(signal.SIGTERM, lambda *_: told.set())
    try:
        yield told
    finally:
        signal.signal(signal.SIGTERM, before)
