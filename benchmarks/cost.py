"""What a whole command costs: time, and the memory of all its processes together."""

import contextlib
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import psutil


class Cost(NamedTuple):
    """Of one command."""

    seconds: float  # of wall time
    processors: float  # seconds
    memory: float  # GiB at the most
    printed: str

    def cells(self) -> str:
        """For a row of a table: seconds (of processors), and memory."""
        return f"{self.seconds:.0f} s ({self.processors:.0f} s) | {self.memory:.2f} GiB"


def of_all(process: psutil.Process) -> int:
    """Bytes that a process has for itself, and its part of what it shares."""
    return process.memory_full_info().pss


def of_itself(process: psutil.Process) -> int:
    """Bytes that a process has for itself; pages of mapped files are the kernel's, which takes them back."""
    memory = process.memory_info()
    return memory.rss - memory.shared


def cost(
    *command: object,
    cwd: Path | None = None,
    memory: Callable | None = of_all,
    codes: tuple[int, ...] = (0,),
    **environment: str,
) -> Cost:
    """Run a command to its end. To ask for its `memory` takes time from it: None where time alone counts.

    An exit code that is none of `codes` ends the benchmark.
    """
    started, most, processors = time.monotonic(), 0, {}
    with tempfile.TemporaryFile("w+") as log, subprocess.Popen(
        [str(part) for part in command], cwd=cwd, env=os.environ | environment, stdout=subprocess.PIPE, stderr=log, text=True
    ) as process:  # fmt: skip
        watched = psutil.Process(process.pid)
        while memory and process.poll() is None:
            with contextlib.suppress(psutil.Error):
                running = (watched, *watched.children(recursive=True))
                most = max(most, sum(map(memory, running)))
                processors |= {one.pid: sum(one.cpu_times()[:2]) for one in running}
            time.sleep(0.2)
        printed = process.communicate()[0]
        seconds = time.monotonic() - started
        if process.returncode not in codes:
            log.seek(0)
            sys.exit(printed + log.read())
    return Cost(seconds, sum(processors.values()), most / 2**30, printed)
