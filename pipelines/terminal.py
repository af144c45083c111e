"""What a person sees of a local run: when each task starts and ends, and what the steps say. KFP's own lines go to the log alone."""

import re
import threading
from typing import TextIO

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_TASK = re.compile(r" - [A-Z]+ - (?:Executing task|Task) '(.+?)'(?: finished with status ([A-Z]+))?$")
_KFP = re.compile(
    r"\d\d:\d\d:\d\d\.\d+ - [A-Z]+ - |\[KFP Executor |[\]\[{}\"]|-+$|(?:\w+: )?\w+\( name=|(?:uri|metadata|type)=|Found image |Output: "
)
_ENDS = {"SUCCESS": "done", "FAILURE": "failed", "SKIPPED": "skipped"}


class Terminal:
    """Stands for standard output: everything goes into `log`, what is worth reading to `stream` as well."""

    encoding = "utf-8"

    def __init__(self, stream: TextIO, log: TextIO) -> None:
        self._stream, self._log = stream, log
        self._pending = ""
        self._lock = threading.Lock()  # KFP may run tasks in threads

    def write(self, text: str) -> int:
        """Take a piece of text; whole lines are shown."""
        with self._lock:
            self._log.write(text)
            *lines, self._pending = (self._pending + text).split("\n")
            for line in filter(None, map(plain, lines)):
                self._stream.write(f"{line}\n")
            self._stream.flush()
        return len(text)

    def flush(self) -> None:
        """Nothing is held back but half a line."""
        self._log.flush()

    def isatty(self) -> bool:
        """Nobody draws here."""
        return False


def plain(line: str) -> str:
    """What a person is shown of a line; nothing where it is KFP's own."""
    line = _COLOUR.sub("", line).strip()
    if task := _TASK.search(line):
        return f"{task[1]}: {_ENDS.get(task[2], task[2].lower()) if task[2] else 'started'}"
    return "" if _KFP.match(line) else line
