"""One time limit for a whole call to somebody else's server, however it spends the time.

Time limits of HTTP clients are for one answer, or one piece of it: a server that asks to come back in an hour (Retry-After), or
that sends a byte a second, keeps a caller for ever.
"""

import contextlib
import contextvars
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from typing import TypeVar

from components.shared.errors import CannotRun

T = TypeVar("T")


def within(seconds: float, work: Callable[[], T], *, what: str) -> T:
    """What `work()` returns, or raises; CannotRun, which begins with `what`, when it takes longer.

    The work goes on in a thread of its own, which is left behind then: it keeps no process from ending.
    """
    outcome: Future[T] = Future()
    context = contextvars.copy_context()

    def run() -> None:
        try:
            outcome.set_result(context.run(work))
        except BaseException as error:  # handed on to whoever waits
            outcome.set_exception(error)

    threading.Thread(target=run, name=f"within {seconds:g} s", daemon=True).start()
    if not wait([outcome], seconds).done:
        raise CannotRun(f"{what}: no answer within {seconds:g} seconds")
    return outcome.result()


def command(arguments: Sequence[str], *, seconds: float, cwd: str | os.PathLike | None = None) -> subprocess.CompletedProcess:
    """Run a program to its end, without a shell, its output as text. It is killed with all that it started when it takes longer.

    Raises CannotRun then, and when there is no such program.
    """
    try:
        process = subprocess.Popen(
            arguments, cwd=cwd, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            errors="replace", start_new_session=True,
        )  # fmt: skip
    except OSError as error:
        raise CannotRun(f"{arguments[0]}: {error.strerror}") from None
    try:
        out, err = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        raise CannotRun(f"{arguments[0]}: not done within {seconds:g} seconds") from None
    finally:
        if process.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)
