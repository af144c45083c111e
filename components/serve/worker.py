"""A worker: one process that answers over HTTP, with one model, which may be exchanged while it answers."""

import asyncio
import contextlib
import multiprocessing
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from prometheus_client import Counter, Gauge
from starlette.requests import Request

from components.serve.batching import Batches
from components.serve.gate import AGAIN, Refusal, log
from components.serve.place import Options, Place, State
from components.shared import failures
from components.shared.errors import CannotRun
from components.shared.models import package
from components.shared.models.answers import Answer, answers
from components.shared.models.recogniser import Recogniser
from components.shared.pictures.encode import encode_png
from components.shared.pictures.formats import Undecodable

POLL = 0.25  # seconds between looks at what the parent wrote
TOP = 5  # classes in an answer's `top`
SMALL = 2**16  # pixels, and bytes, of a picture that is decoded at once, without a thread: in less than a millisecond
_ANSWERS = Counter("darkroom_answers", "Samples answered", ["version", "abstained"])
_SERVED = Gauge(
    "darkroom_model", "1 for the model that is served", ["name", "version", "digest"], multiprocess_mode="mostrecent"
)


class Model:
    """A package that is loaded and has answered once. Raises CannotRun."""

    def __init__(self, state: State, executor: ThreadPoolExecutor | None = None) -> None:
        self.package = package.read(Path(state.folder), digest=state.digest)
        self.name, self.version, self.digest = state.name, state.version, state.digest
        self.recogniser = Recogniser(self.package)
        way = self.package.preprocessing
        blank = encode_png(np.zeros((way.height, way.width, way.channels), np.uint8))
        if not np.isfinite(self.recogniser.probabilities(way.sample([blank])[None])).all():
            raise CannotRun(f"{self.package.folder}: answers a blank picture with numbers that are none")
        self.batches = Batches(self.recogniser, executor)

    @property
    def facts(self) -> dict[str, str]:
        """What an answer says of its model."""
        return {"model": self.name, "version": self.version, "digest": self.digest}


class Worker:
    """What the routes share: the model, the limits, and threads, one that computes and one that decodes large pictures."""

    def __init__(self, options: Options, place: Place) -> None:
        self.options, self.place = options, place
        self.computing, self.decoding = ThreadPoolExecutor(1), ThreadPoolExecutor(1)
        self.busy = 0  # samples that wait or are worked on
        self.state = place.read()
        self.model = Model(self.state, self.computing)
        self._say(self.model, 1)

    @contextlib.asynccontextmanager
    async def at_work(self, samples: int):
        """A place in the queue for so many samples, and the time to answer. Raises Refusal (503, 504)."""
        if self.busy and self.busy + samples > self.options.queue:
            raise Refusal(503, "busy; try again in a second", AGAIN)
        self.busy += samples
        try:
            async with asyncio.timeout(self.options.deadline):
                yield
        except TimeoutError:
            raise Refusal(504, f"no answer within {self.options.deadline:g} s", AGAIN) from None
        finally:
            self.busy -= samples

    async def pixels(self, model: Model, samples: list[list[bytes]]) -> np.ndarray:
        """uint8 (n, *shape) of n samples, each its encoded frames. Raises Refusal (400, 413, 422), or TimeoutError."""
        way, most = model.package.preprocessing, int(self.options.max_megapixels * 1e6)
        until = time.monotonic() + self.options.deadline
        if way.time is None and any(len(frames) > 1 for frames in samples):
            raise Refusal(400, "several pictures in one sample; the model takes stills, one picture each")

        def decoded(max_pixels: int) -> np.ndarray:
            images = []
            for number, frames in enumerate(samples):
                if time.monotonic() > until:  # nobody waits any more
                    raise TimeoutError
                try:
                    images.append(way.sample(frames, max_pixels=max_pixels))
                except Undecodable as fault:
                    where = f"sample {number}: " if len(samples) > 1 else ""
                    if fault.code == "E_TOO_LARGE":
                        raise Refusal(413, f"{where}a picture of more than {max_pixels / 1e6:g} megapixels") from None
                    raise Refusal(422, f"{where}no picture ({fault.reason}); expected a whole PNG or JPEG") from None
            return np.stack(images)

        if len(samples) == len(samples[0]) == 1 and len(samples[0][0]) <= SMALL:
            try:
                return decoded(min(SMALL, most))
            except Refusal as refusal:
                if refusal.status != 413:
                    raise
        return await asyncio.get_running_loop().run_in_executor(self.decoding, decoded, most)

    async def answer(self, model: Model, samples: list[list[bytes]] | np.ndarray) -> tuple[list[Answer], np.ndarray]:
        """Of encoded samples, or of pixels: an answer each, and probabilities, float32 (n, classes)."""
        async with self.at_work(len(samples)):
            images = samples if isinstance(samples, np.ndarray) else await self.pixels(model, samples)
            probabilities = await model.batches.probabilities(images)
        found = answers(probabilities, model.package.classes, model.package.calibration, top=TOP)
        abstained = sum(each.abstained for each in found)
        for said, count in (("yes", abstained), ("no", len(found) - abstained)):
            if count:
                _ANSWERS.labels(model.version, said).inc(count)
        return found, probabilities

    async def follow(self) -> None:
        """Take each model that the parent offers, and end when the parent is gone."""
        parent = multiprocessing.parent_process().pid  # which may be gone already
        while True:
            await asyncio.sleep(POLL)
            if os.getppid() != parent:
                os.kill(os.getpid(), signal.SIGTERM)
            if (state := self.place.read()) != self.state:
                self.state = state
                if state.digest != self.model.digest:
                    await self._take(state)

    async def _take(self, state: State) -> None:
        try:
            model = await asyncio.to_thread(Model, state, self.computing)
        except Exception as error:  # the parent has tried it; whatever it is, what is served goes on
            log(f"serve: version {state.version} is not taken: {failures.explain(error).reason}")
            return
        old, self.model = self.model, model  # whoever waits for the old one keeps it
        self._say(old, 0)
        self._say(model, 1)

    def _say(self, model: Model, served: int) -> None:
        _SERVED.labels(model.name, model.version, model.digest).set(served)


def worker_of(request: Request) -> Worker:
    """The one of this process."""
    return request.app.state.worker
