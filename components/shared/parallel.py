"""Work that grows with the data, shard by shard over all processors, with a progress bar."""

import contextlib
import itertools
import math
import multiprocessing
import os
import tempfile
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import Any

from components.shared import supervise
from components.shared.progress_bar import progress_bar

CPUS = "DARKROOM_CPUS"  # processors that a step may use, set by those who start it
CGROUP = Path("/sys/fs/cgroup")
WORKER = 2**28  # bytes of memory that a worker process needs, and a large picture
AHEAD = 4  # items of each worker that are begun before the first of them is done
# Not forked from this process: Arrow and TensorFlow run threads that do not survive it. From one that only imports, where there is
# one; it is reached by a socket in the folder for temporary files, whose path must fit into 108 bytes.
METHOD = (
    "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() and len(tempfile.gettempdir()) < 70 else "spawn"
)


def _context() -> multiprocessing.context.BaseContext:
    return multiprocessing.get_context(METHOD)


def processors() -> int:
    """How many processors this process may use, at least 1: granted ones, no more than DARKROOM_CPUS says, with memory for each.

    In a pod without a quota all of the node's processors are granted, though others ask for them too: there it is the setting,
    written as Kubernetes writes it (`2`, `500m`), that counts.
    """
    asked = os.environ.get(CPUS) or "inf"
    asked = float(asked[:-1]) / 1000 if asked.endswith("m") else float(asked)
    return max(1, math.ceil(min(granted(), asked, _memory() // WORKER)))


def granted() -> int:
    """The processors of this process's CPU set, or of its cgroup's quota where that is less."""
    import joblib

    return joblib.cpu_count()


def _memory() -> float:
    """Bytes that this process's cgroup (version 2, or 1) may use."""
    for file in ("memory.max", "memory/memory.limit_in_bytes"):
        with contextlib.suppress(OSError, ValueError):  # `max`: no limit
            return int((CGROUP / file).read_text())
    return math.inf


def get_ready(module: str) -> None:
    """Begin to load what workers need, in the process that they are forked from, while this one loads it for itself."""
    if METHOD == "forkserver":
        from multiprocessing import forkserver

        # pandas: Arrow asks it about every list that it turns into a column.
        _context().set_forkserver_preload([module, "cv2", "threadpoolctl", "pandas"])
        forkserver.ensure_running()


def each(work: Callable, items: Sequence[tuple], *, weights: Sequence[int], name: str) -> Iterator[tuple[int, Any]]:
    """Yield (index, `work(*items[index])`) as each is done; `weights` are the samples of each item, for the bar.

    Raises what `work` raises, and BrokenProcessPool when a worker process dies.
    """
    workers = min(processors(), len(items))
    with progress_bar(total=sum(weights), name=name) as bar:
        if workers <= 1:
            for index, item in enumerate(items):
                yield index, work(*item)
                bar.update(weights[index])
            return
        with _pool(workers) as pool:
            running = {pool.submit(work, *item): index for index, item in enumerate(items)}
            for done in as_completed(running):
                yield running[done], done.result()
                bar.update(weights[running[done]])


def in_order(work: Callable, items: Iterable[tuple]) -> Iterator[Any]:
    """Yield `work(*item)` of each item in order. Items are taken as they are needed, so that there may be any number.

    Raises what `work` raises, and BrokenProcessPool when a worker process dies.
    """
    workers, running = processors(), deque()
    if workers == 1:
        yield from itertools.starmap(work, items)
        return
    with _pool(workers) as pool:
        for item in items:
            running.append(pool.submit(work, *item))
            if len(running) > AHEAD * workers:
                yield running.popleft().result()
        while running:
            yield running.popleft().result()


@contextlib.contextmanager
def _pool(workers: int) -> Iterator[ProcessPoolExecutor]:
    with ProcessPoolExecutor(workers, mp_context=_context(), initializer=_begin) as pool:
        try:
            yield pool
        finally:
            pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Of a worker. One for each processor is enough: threads of the libraries beside them only get in each other's way."""
    import cv2
    import numpy  # noqa: F401  # its threads are limited, too, once it is loaded
    from threadpoolctl import threadpool_limits

    supervise.end_with_parent()
    cv2.setNumThreads(1)
    threadpool_limits(1)
