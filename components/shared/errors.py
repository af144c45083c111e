"""The two ways to stop that a user meets, and the exit code of each."""

import difflib
import signal
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`did you mean ingest? ` for `ingets`; nothing where no known word is like it. A part of a line that says what is wrong."""
    similar = difflib.get_close_matches(word, known, n=1)
    return f"did you mean {similar[0]}? " if similar else ""


class Stop(Exception):
    """Ends a step with `exit_code`; its text is shown as it stands, one line per fault, without a traceback."""

    exit_code: int

    def __init__(self, *faults: str) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class Refused(Stop):
    """The data or the model did not pass; the findings say why."""

    exit_code = 1


class CannotRun(Stop):
    """A step could not start or go on: bad configuration, a missing file, a full disk. `status`: HTTP's, where a server refused."""

    exit_code = 2

    def __init__(self, *faults: str, status: int = 0) -> None:
        super().__init__(*faults)
        self.status = status


class Terminated(CannotRun):
    """SIGTERM came; what can be kept is kept, and the same command goes on from there."""

    exit_code = 128 + signal.SIGTERM
