"""How servers are asked: again and again, until something has happened, or once for what may not be there."""

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from components.shared.errors import CannotRun

T = TypeVar("T")


def answers(ask: Callable[[], T], *, every: float, outage: float) -> Iterator[T]:
    """What `ask()` answers, each `every` seconds, for whoever loops to end.

    Raises its CannotRun when it has had no answer for `outage` seconds, and at once when it is that nobody may ask (401, 403).
    """
    away = None
    while True:
        try:
            answer = ask()
        except CannotRun as error:
            away = away or time.monotonic()
            if time.monotonic() - away > outage or error.status in (401, 403):
                raise
        else:
            away = None
            yield answer
        time.sleep(every)


def found(ask: Callable[..., T], *arguments: object, **options: object) -> T | None:
    """The answer to `ask`, or None when it is 404. Raises its CannotRun."""
    try:
        return ask(*arguments, **options)
    except CannotRun as error:
        if error.status != 404:
            raise
        return None
