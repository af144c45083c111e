"""SIGTERM in a training (a drained node, an eviction, a stop): what is quick is saved, then the process ends, within a second.

The command in a pod has no more than that, and nobody reads what it prints: the one that read it got the signal, too.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from components.shared.errors import Terminated

GRACE = 0.8  # seconds from the signal to the end


@dataclass
class Stop:
    """`told`: SIGTERM came. `last`: what else is to be done then, in a thread; `done`: it is."""

    told: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)
    last: Callable[[], None] = lambda: None


@contextlib.contextmanager
def stoppable() -> Iterator[Stop]:
    """On SIGTERM the process ends with exit code 143 when the block does, which `told` asks for, or after GRACE seconds."""
    stop = Stop()
    if threading.current_thread() is not threading.main_thread():
        yield stop
        return
    # A handler runs between two instructions of the main thread, which may be at work in TensorFlow for long: what Python
    # writes into this pipe a thread reads at once.
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    before = signal.signal(signal.SIGTERM, lambda *_: None), signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(stop, reader), name="SIGTERM", daemon=True).start()
    try:
        yield stop
    except BaseException as error:
        if isinstance(error, BrokenPipeError):  # of a reader that the same signal ended
            stop.told.wait(GRACE / 2)
        if stop.told.is_set():
            stop.done.wait()
            with contextlib.suppress(OSError):
                sys.stdout.flush()
            with contextlib.suppress(OSError):
                os.write(2, f"{error}\n".encode() if isinstance(error, Terminated) else b"")
            os._exit(Terminated.exit_code)
        raise
    finally:
        signal.set_wakeup_fd(before[1])
        signal.signal(signal.SIGTERM, before[0])
        os.close(writer)


def _watch(stop: Stop, reader: int) -> None:
    while (number := os.read(reader, 1)) != bytes([signal.SIGTERM]):
        if not number:  # the block has ended
            os.close(reader)
            return
    latest = threading.Timer(GRACE, os._exit, [Terminated.exit_code])
    latest.daemon = True
    latest.start()
    stop.told.set()
    try:
        stop.last()
    finally:
        stop.done.set()
