"""One at a time: whoever compares a candidate with the champion and moves the alias, on any machine.

MLflow has neither locks nor "set if unchanged". Reading, comparing and writing therefore left the worse of two candidates
champion now and then. Tags of the registered model are shared, and read all at once; that is enough for mutual exclusion
(the one-bit algorithm of Burns, 1981, and Lamport, "The mutual exclusion problem", 1986):

* raise a flag of one's own; while a flag before ours is up, lower ours, wait, and begin anew;
* wait until no other flag is up; then it is our turn, and our flag keeps all others out.

Of two whose turn it was, the later reader had raised its flag before, and would have seen the other's. Who is at work writes
something new into its flag now and then; a flag that stays the same for long is of a dead process, and is cleared away.
"""

import contextlib
import itertools
import json
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from components.shared.errors import CannotRun
from components.shared.runs.connection import ask

FLAG = "candidate."
DEAD = 30.0  # seconds without a sign of life
PAUSE = 0.15  # seconds between two looks
LONGEST = 600.0  # seconds to wait for one's turn


@dataclass
class Turn:
    """Our flag while it is our turn."""

    mlflow: object
    client: object
    model: str
    key: str
    beats: Iterator[int] = field(default_factory=itertools.count)

    def write(self, work: Callable[[], None]) -> bool:
        """Do `work` if our flag is still up: it may have been cleared away while this process slept."""
        if self.key not in self.flags():
            return False
        work()
        return self.key in self.flags()

    def flags(self) -> dict[str, str]:
        """All flags that are up."""
        tags = ask(self.mlflow, lambda: self.client.get_registered_model(self.model)).tags
        return {key: value for key, value in tags.items() if key.startswith(FLAG)}

    def up(self) -> None:
        """Raise our flag, or give a sign of life."""
        value = json.dumps({"beat": next(self.beats)})
        ask(self.mlflow, lambda: self.client.set_registered_model_tag(self.model, self.key, value))

    def down(self, key: str = "") -> None:
        """Lower our flag, or the one of a dead process."""
        ask(self.mlflow, lambda: self.client.delete_registered_model_tag(self.model, key or self.key))


@contextlib.contextmanager
def turn(mlflow, client, model: str, version: str) -> Iterator[Turn]:
    """Wait for the turn of this version of a registered model. The flags are before each other by their names."""
    ours = Turn(mlflow, client, model, f"{FLAG}{version}.{uuid.uuid4().hex[:8]}")
    alive: dict[str, tuple[str, float]] = {}  # flag -> its value, and when that was first seen
    end = time.monotonic() + LONGEST
    try:
        ours.up()
        while (flags := _living(ours, alive)) != [ours.key]:
            if time.monotonic() > end:
                raise CannotRun(f"register: {model}: other registrations are at work for {LONGEST:g} seconds; try again later")
            if min(flags, default=ours.key) < ours.key:
                ours.down()
                while min(_living(ours, alive), default=ours.key) < ours.key and time.monotonic() < end:
                    time.sleep(PAUSE)
            else:
                time.sleep(PAUSE)
            ours.up()
        yield ours
    finally:
        ours.down()


def _living(ours: Turn, alive: dict[str, tuple[str, float]]) -> list[str]:
    """The flags that are up, in order; those of the dead are cleared away."""
    now, flags = time.monotonic(), ours.flags()
    for key, value in list(flags.items()):
        if alive.get(key, ("", 0.0))[0] != value:
            alive[key] = (value, now)
        elif key != ours.key and now - alive[key][1] > DEAD:
            ours.down(key)
            del flags[key]
    return sorted(flags)
