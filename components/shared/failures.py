"""How a command ends that does not end well: an exception in, a line and an exit code out.

Exit codes: 1 the data or the model did not pass, 2 the command could not run, 3 a fault of Darkroom's own, 130 interrupted.
"""

import contextlib
import errno
import io
import os
import platform
import signal
import sys
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from components.shared.errors import CannotRun, Stop
from components.shared.masking import masked

FAULT = 3
CANNOT_RUN = CannotRun.exit_code
_SHOWN = 20  # lines of one kind that are printed
MEMORY = "free some memory, or give it more"
_ADVICE = {
    errno.ENOSPC: "free some space, and run it again",
    errno.EDQUOT: "free some space, and run it again",
    errno.EROFS: "choose a place that can be written",
    errno.EACCES: "check the permissions",
    errno.EPERM: "check the permissions",
    errno.EISDIR: "expected a file",
    errno.ENOTDIR: "expected a folder",
    errno.ENOENT: "check the path",
    errno.ENAMETOOLONG: "choose a shorter name",
    errno.EMFILE: "raise the limit of open files (`ulimit -n`)",
    errno.ENFILE: "raise the system's limit of open files",
    errno.EAGAIN: "raise the limit of processes (`ulimit -u`)",
    errno.ENOMEM: MEMORY,
}
_PACKAGES = ("darkroom", "tensorflow", "keras", "mlflow", "numpy", "pandas", "pyarrow", "pillow", "opencv-python-headless",
             "great-expectations", "dvc", "kfp")  # fmt: skip


class Failure(NamedTuple):
    """Why a command ended: its exit code and the reason, a line per fault."""

    code: int
    reason: str


def guarded(work: Callable[[], int | None], *, name: str, advice: str = MEMORY) -> int:
    """Do the work of the command `name`; its exit code. Whatever it raises is said on stderr in a line.

    `advice` is what to do when memory runs out. A SystemExit keeps its code.
    """
    try:
        code = _ended(work)
        sys.stdout.flush()  # here, where a reader that has gone is no surprise
    except KeyboardInterrupt:
        _say(f"{name}: interrupted; no half-written output is left, and the same command goes on")
        return 128 + signal.SIGINT
    except Stop as stop:
        _say(_brief(stop))
        return stop.exit_code
    except Exception as error:
        if isinstance(error, OSError) and error.filename == _Output.NAME:
            _lead_nowhere(1)  # or Python complains when it flushes in the end
            if isinstance(error, BrokenPipeError):  # nobody reads any more, as in `darkroom checks | head`
                return 128 + signal.SIGPIPE
        failure = explain(error, advice=advice)
        reason = failure.reason + (
            f"; details for a report: {_keep(details(error), 'fault', error)}" if failure.code == FAULT else ""
        )
        _say(f"{name}: {reason}")
        return failure.code
    return code


def _brief(stop: Stop) -> str:
    """Its lines, no more of one kind than a person reads; where there are more, a file has all of them."""
    kinds, lines = Counter(), []
    for fault in stop.faults:
        kind = fault.split(" ", 1)[0]
        kinds[kind] += 1
        if kinds[kind] <= _SHOWN:
            lines.append(fault)
    counts = ", ".join(f"{count - _SHOWN:,} {kind}" for kind, count in kinds.items() if count > _SHOWN)
    return "\n".join([*lines, f"and {counts} more; all of them: {_keep(str(stop), 'refused')}"] if counts else stop.faults)


def _ended(work: Callable[[], int | None]) -> int:
    try:
        return work() or 0
    except SystemExit as end:  # of `--help`, or of a wrong option
        if isinstance(end.code, str):
            raise
        return end.code or 0


def explain(error: Exception, *, advice: str = MEMORY) -> Failure:
    """Exit code and reason by the kind of exception."""
    from concurrent.futures.process import BrokenProcessPool  # here: it takes longer to load than all of `--help`

    text = " ".join(masked(str(error)).split())[:300]
    match error:
        case Stop():
            return Failure(error.exit_code, str(error))
        case MemoryError():
            return Failure(CANNOT_RUN, f"memory ran out{f' ({text})' if text else ''}; {advice}")
        case BrokenProcessPool():
            return Failure(CANNOT_RUN, f"a worker process was killed, as happens when memory runs out; {advice}")
        case OSError(errno=int()):
            where = ", ".join(
                f"{os.fsdecode(name)}" for name in (error.filename, error.filename2) if isinstance(name, str | bytes)
            )
            advice = f"; {_ADVICE[error.errno]}" if error.errno in _ADVICE else ""
            return Failure(CANNOT_RUN, masked(f"{f'{where}: ' if where else ''}{error.strerror or text}{advice}"))
        case RuntimeError() if text.startswith("Symlink loop"):  # Path.resolve, up to Python 3.12
            return Failure(CANNOT_RUN, f"{text}: the link leads to itself; remove it")
        case _ if type(error).__module__.startswith("pyarrow") and "Parquet" in text:  # not loaded for this
            return Failure(CANNOT_RUN, f"{text}; the file is damaged: delete it and run `dvc repro`")
        case RecursionError():
            what = "something is nested too deeply"
        case KeyError():
            what = f"a key is missing: {text}"
        case UnicodeError():
            what = f"a text in an unexpected encoding: {text}"
        case _:
            what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return Failure(FAULT, f"a fault of Darkroom's own, not of your data ({what})")


def details(error: BaseException) -> str:
    """Traceback, command line and versions, without secrets in addresses and without the environment."""
    from importlib import metadata

    versions = [f"Python {platform.python_version()} on {platform.platform()}"]
    for package in _PACKAGES:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions.append(f"{package} {metadata.version(package)}")
    trace = "".join(traceback.format_exception(error))
    return masked(f"{trace}\ncommand: {' '.join(sys.argv)}\n" + "\n".join(versions) + "\n")


def open_standard_streams() -> None:
    """Give a process that was started with closed streams (`>&-`) streams that lead nowhere, and let names of any bytes be printed.

    Otherwise the next file that is opened takes their numbers, and what is printed goes into it.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        if getattr(sys, name) is None:
            _lead_nowhere(number)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115 it stays open
    sys.stderr.reconfigure(errors="backslashreplace")
    buffered, encoding, at_once = io.BufferedWriter(_Output(1, "w", closefd=False)), sys.stdout.encoding, sys.stdout.isatty()
    sys.stdout = io.TextIOWrapper(buffered, encoding=encoding, errors="backslashreplace", line_buffering=at_once)


class _Output(io.FileIO):
    """Standard output whose errors say so: to write on a full disk fails for an output file, too."""

    NAME = "standard output"

    def write(self, data: Any) -> int | None:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = self.NAME
            raise


def _keep(text: str, what: str, error: BaseException | None = None) -> str:
    """Write a text into a file that only its owner reads; its path, or why there is none, and where the error came from."""
    import tempfile

    try:
        handle, name = tempfile.mkstemp(prefix=f"darkroom-{what}-", suffix=".txt")  # 0600
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as stream:
            stream.write(text)
        return name
    except OSError as failed:
        reason = f"no file could be written: {failed.strerror or failed}"
        if error is None:
            return reason
        where = traceback.extract_tb(error.__traceback__)[-1]
        return f"{Path(where.filename).name} line {where.lineno} ({reason})"


def _say(text: str) -> None:
    try:
        print(text, file=sys.stderr, flush=True)
    except OSError:  # a full disk, or nobody reads: the exit code still counts
        _lead_nowhere(2)


def _lead_nowhere(number: int) -> None:
    nowhere = os.open(os.devnull, os.O_RDWR)
    if nowhere != number:
        os.dup2(nowhere, number)
        os.close(nowhere)
    os.set_inheritable(number, True)
