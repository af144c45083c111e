"""Work that grows with the data, shard by shard over all processors, with a progress bar."""

import multiprocessing
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from tqdm import tqdm

from components.shared import supervise
from components.shared.errors import CannotRun

# Not forked from this process: Arrow and TensorFlow run threads that do not survive it. From one that only imports, where there is
# one; it is reached by a socket in the folder for temporary files, whose path must fit into 108 bytes.
METHOD = (
    "forkserver" if "forkserver" in multiprocessing.get_all_start_methods() and len(tempfile.gettempdir()) < 70 else "spawn"
)


def _context() -> multiprocessing.context.BaseContext:
    return multiprocessing.get_context(METHOD)


def processors() -> int:
    """How many processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def get_ready(module: str) -> None:
    """Begin to load what workers need, in the process that they are forked from, while this one loads it for itself."""
    if METHOD == "forkserver":
        from multiprocessing import forkserver

        # pandas: Arrow asks it about every list that it turns into a column.
        _context().set_forkserver_preload([module, "cv2", "threadpoolctl", "pandas"])
        forkserver.ensure_running()


def each(work: Callable, items: Sequence[tuple], *, weights: Sequence[int], name: str) -> Iterator[tuple[int, Any]]:
    """Yield (index, `work(*items[index])`) as each is done; `weights` are the samples of each item, for the bar.

    Raises what `work` raises, and CannotRun when a worker process dies.
    """
    workers = min(processors(), len(items))
    with tqdm(total=sum(weights), unit=" samples", desc=name, disable=None) as bar:
        if workers <= 1:
            for index, item in enumerate(items):
                yield index, work(*item)
                bar.update(weights[index])
            return
        with ProcessPoolExecutor(workers, mp_context=_context(), initializer=_begin) as pool:
            running = {pool.submit(work, *item): index for index, item in enumerate(items)}
            try:
                for done in as_completed(running):
                    yield running[done], done.result()
                    bar.update(weights[running[done]])
            except BrokenProcessPool:
                raise CannotRun(f"{name}: a worker process was killed, perhaps for want of memory; run it again") from None
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
