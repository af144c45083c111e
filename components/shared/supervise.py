"""Which process supervises which.

When memory runs out and there is no GPU, TensorFlow raises nothing: it dies of SIGABRT or SIGSEGV, or the kernel ends it with
SIGKILL. A library in C++ may end its process, too, on a file that is damaged in a way that it does not look for. So a step
that may end so runs in a child; its parent, a few MiB, is left to say so. The other way round a parent that is killed tells
nobody, and its workers would wait for work for ever.
"""

import contextlib
import ctypes
import mmap
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable

from components.shared.errors import CannotRun

_doing = mmap.mmap(-1, 1024)  # shared with the parent: the file that the child has begun to read last

DEATHS = {signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS}  # of a process that lacks memory
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def supervise(run: Callable[[], int], *, name: str, advice: str) -> int:
    """Call `run` in a forked child and return what it returns: the exit code. SIGTERM is passed on.

    Raises CannotRun, with `advice`, when the child dies of what may be a lack of memory. No child supervises its parent.
    """
    if sys.platform != "linux":  # elsewhere it could: nothing there ends the child of a parent that is killed
        return run()
    sys.stdout.flush()
    sys.stderr.flush()
    parent = os.getpid()
    child = os.fork()
    if not child:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os.kill(os.getpid(), signal.SIGKILL)
        sys.exit(run())

    def pass_on(number: int, _: object) -> None:
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(child, number)

    signal.signal(signal.SIGTERM, pass_on)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to both
    _, status = os.waitpid(child, 0)
    ended = os.waitstatus_to_exitcode(status)
    if -ended in DEATHS:
        how = signal.Signals(-ended).name
        file = _doing[:].rstrip(b"\0").decode(errors="replace")
        damaged = f"; or {file!r}, which it read last, is damaged: save it anew, or move it out" if file else ""
        raise CannotRun(f"{name}: ended by the system ({how}), as happens when memory runs out; {advice}{damaged}")
    return ended if ended >= 0 else 128 - ended


def reads(file: str) -> None:
    """Note what is read now, for the parent to name if this process does not live through it."""
    _doing[:] = file.encode(errors="replace")[: len(_doing)].ljust(len(_doing), b"\0")


def end_with_parent() -> None:
    """In a process that `multiprocessing` started: end when the one that asked for it has ended."""
    threading.Thread(target=_wait_for_parent, daemon=True).start()


def _wait_for_parent() -> None:
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)
