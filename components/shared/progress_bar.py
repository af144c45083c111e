"""How far long work has come: a bar on a terminal; elsewhere, as in a log, one line a minute."""

import sys
import time
from collections.abc import Iterable, Iterator

from tqdm import tqdm

EVERY = 60  # seconds from one line to the next, of whatever work: many short epochs are long work, too
_FORM = "{desc}: {percentage:.0f}%, {n_fmt} of {total_fmt}{unit}, {elapsed} gone, {remaining} to go{postfix}"


def progress_bar(items: Iterable = (), *, total: int, name: str, unit: str = "samples", **options) -> tqdm:
    """Over `items`, or told by `update` within a `with`; `options` are tqdm's."""
    kind = tqdm if sys.stderr.isatty() else _Lines
    return kind(items, total=total, desc=name, unit=f" {unit}", **options)


class _Lines(tqdm):
    """A bar that is not drawn. It is tqdm's `disable`, which counts nothing, with the lines."""

    said = time.monotonic()  # the last one, of this process

    def __init__(self, items: Iterable, *, desc: str, unit: str, initial: int = 0, **options) -> None:
        super().__init__(items, disable=True, **options)
        self.n = initial
        self.about = {"prefix": desc, "unit": unit, "initial": initial, "bar_format": _FORM}
        self.began, self.postfix = time.monotonic(), None

    def __iter__(self) -> Iterator:
        for item in self.iterable:
            yield item
            self.update()

    def update(self, n: int = 1) -> None:
        self.n += n
        now = time.monotonic()
        if now - _Lines.said >= EVERY:
            _Lines.said = now
            line = self.format_meter(self.n, self.total, now - self.began, postfix=self.postfix, **self.about)
            print(line, file=sys.stderr, flush=True)
