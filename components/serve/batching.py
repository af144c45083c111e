"""Samples of several requests through the network at once: what comes while it computes waits and goes together.

So an idle server answers at once, and a busy one in batches, without a delay that somebody has to choose.
"""

import asyncio
from collections import deque
from concurrent.futures import Executor

import numpy as np
from prometheus_client import Histogram

from components.shared.models.recogniser import Recogniser

MOST = 32  # samples that are computed at once; no faster beyond
_BATCH = Histogram("darkroom_batch_samples", "Samples computed at once", buckets=[1, 2, 4, 8, 16, MOST])


class Batches:
    """The queue of one model."""

    def __init__(self, recogniser: Recogniser, executor: Executor | None) -> None:
        self._recogniser, self._executor = recogniser, executor
        self._waiting: deque[tuple[np.ndarray, asyncio.Future]] = deque()
        self._task: asyncio.Task | None = None

    async def probabilities(self, images: np.ndarray) -> np.ndarray:
        """uint8 (n, *shape) -> float32 (n, classes)."""
        loop = asyncio.get_running_loop()
        parts = [(images[at : at + MOST], loop.create_future()) for at in range(0, len(images), MOST)]
        self._waiting += parts
        if self._task is None:
            self._task = loop.create_task(self._work())
        return np.concatenate(await asyncio.gather(*(future for _, future in parts)))

    async def _work(self) -> None:
        while self._waiting:
            batch, size = [], 0
            while self._waiting and size + len(self._waiting[0][0]) <= MOST:
                images, future = self._waiting.popleft()
                if not future.done():  # else whoever asked has gone
                    batch.append((images, future))
                    size += len(images)
            if batch:
                await self._compute(batch)
        self._task = None

    async def _compute(self, batch: list[tuple[np.ndarray, asyncio.Future]]) -> None:
        images = np.concatenate([part for part, _ in batch])
        _BATCH.observe(len(images))
        try:
            found = await asyncio.get_running_loop().run_in_executor(self._executor, self._recogniser.probabilities, images)
        except Exception as error:
            for _, future in batch:
                if not future.done():
                    future.set_exception(error)
            return
        at = 0
        for part, future in batch:
            if not future.done():
                future.set_result(found[at : at + len(part)])
            at += len(part)
