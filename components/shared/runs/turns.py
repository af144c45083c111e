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
import time
import uuid
from collections.abc import Callable, Iterator

from components.shared.errors import CannotRun
from components.shared.runs.connection import ask

FLAG = "candidate."
DEAD = 30.0  # seconds without a sign of life
PAUSE = 0.15  # seconds between two looks
LONGEST = 600.0  # seconds to wait for one's turn


@contextlib.contextmanager
def turn(mlflow, client, model: str, version: str) -> Iterator[Callable[[Callable[[], None]], bool]]:
    """Wait for the turn of this version of a registered model. The flags are before each other by their names.

    Yields `write(work)`: does the work, and says whether it was done while our flag was up all the time: it may have been cleared
    away while this process slept.
    """
    ours, beats = f"{FLAG}{version}.{uuid.uuid4().hex[:8]}", itertools.count()
    alive: dict[str, tuple[str, float]] = {}  # flag -> its value, and when that was first seen
    end = time.monotonic() + LONGEST

    def up() -> None:
        """Raise our flag, or give a sign of life."""
        ask(mlflow, lambda: client.set_registered_model_tag(model, ours, str(next(beats))))

    def down(key: str) -> None:
        ask(mlflow, lambda: client.delete_registered_model_tag(model, key))

    def flags() -> list[str]:
        """Those that are up, in order; those of the dead are cleared away."""
        tags = ask(mlflow, lambda: client.get_registered_model(model)).tags
        values, now = {key: value for key, value in tags.items() if key.startswith(FLAG)}, time.monotonic()
        for key, value in values.items():
            if alive.get(key, ("", 0.0))[0] != value:
                alive[key] = (value, now)
        dead = {key for key in values if key != ours and now - alive[key][1] > DEAD}
        for key in dead:
            down(key)
        return sorted(values.keys() - dead)

    def write(work: Callable[[], None]) -> bool:
        if ours not in flags():
            return False
        work()
        return ours in flags()

    try:
        up()
        while (others := flags()) != [ours]:
            if time.monotonic() > end:
                raise CannotRun(f"register: {model}: other registrations are at work for {LONGEST:g} seconds; try again later")
            if min(others, default=ours) < ours:
                down(ours)
                while min(flags(), default=ours) < ours and time.monotonic() < end:
                    time.sleep(PAUSE)
            else:
                time.sleep(PAUSE)
            up()
        yield write
    finally:
        down(ours)
