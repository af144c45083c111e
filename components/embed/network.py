"""The network that looks at the pictures: pretrained, frame by frame, or one that was trained here; samples in, features out."""

import collections
import functools
import sys
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from components.embed.config import EmbedConfig
from components.shared import files, parallel
from components.shared.data.dataset import Sample
from components.shared.data.embeddings import NONE, Embeddings
from components.shared.data.parts import code_of
from components.shared.errors import CannotRun
from components.shared.models import backend, efficientnet, keras_file, torch_file
from components.shared.pictures import decode, fit, formats, metadata, padding, preprocessing
from components.shared.pictures.formats import Undecodable
from components.shared.pictures.preprocessing import Preprocessing

# What a network is given at once: a gigabyte of memory, and no slower than more. Small frames are enlarged, so their number counts.
PIXELS, FRAMES = 32 * 224 * 224, 64
NETWORKS = {efficientnet.NAME: efficientnet}


@dataclass(frozen=True)
class Network:
    """What is shown to it, and how it is loaded."""

    name: str
    sha256: str  # of its weights
    shape: tuple[int, ...]  # (h, w, c) of a frame, or (time, h, w, c) of a whole clip
    resize: str
    max_frames: int  # of a clip; longer ones are thinned evenly
    load: Callable  # -> a keras.Model: uint8 (n, *shape) -> float32 (n, features)
    model: str = ""  # the folder of one that was trained here

    @property
    def decided_by(self) -> str:
        """What decides the features of a sample."""
        code = code_of(sys.modules[__name__], decode, fit, formats, metadata, padding, preprocessing, efficientnet, torch_file)
        return f"{code} {self.sha256} {self.shape} {self.resize} {self.max_frames}"

    def pixels(self, sample: Sample) -> np.ndarray | None:
        """uint8 (n, *shape): each frame, or the clip as a whole; None for what does not decode."""
        if not sample.frames:
            return None
        way = Preprocessing(*self.shape[-3:], self.resize, self.shape[0] if len(self.shape) == 4 else None)
        try:
            frames = way.frames([content for content, _ in sample.frames], most=way.time or self.max_frames)
        except Undecodable:
            return None
        return frames if way.time is None else way.whole(frames)[None]

    def features(self, samples: Iterable[Sample]) -> Iterator[np.ndarray | None]:
        """float32 (features,) of each sample in order, of a clip the mean of its frames'; None for what does not decode.

        While the network computes a batch, threads decode the next one.
        """
        at_once, batch = min(max(1, PIXELS // int(np.prod(self.shape[:-1]))), FRAMES), []
        with ThreadPoolExecutor(parallel.processors()) as pool:
            for pixels in _ahead(pool, self.pixels, samples, at_once):
                batch.append(pixels)
                if sum(len(each) for each in batch if each is not None) >= at_once:
                    yield from _means(self._run, batch)
                    batch = []
            yield from _means(self._run, batch)

    @functools.cached_property
    def _run(self) -> Callable[[np.ndarray], np.ndarray]:
        """uint8 (n, *shape) -> float32 (n, features). Loaded at the first batch, and once."""
        tf, _ = backend.start()
        run = keras_file.compiled(self.load())
        return lambda pixels: run(tf.constant(pixels)).numpy()


def _ahead(pool: ThreadPoolExecutor, work: Callable, items: Iterable, count: int) -> Iterator:
    """`work` of each item in order; so many more are being worked on."""
    waiting: collections.deque = collections.deque()
    for item in items:
        waiting.append(pool.submit(work, item))
        if len(waiting) > count:
            yield waiting.popleft().result()
    while waiting:
        yield waiting.popleft().result()


def _means(run: Callable, batch: list[np.ndarray | None]) -> Iterator[np.ndarray | None]:
    there = [pixels for pixels in batch if pixels is not None]
    if there:
        sizes = np.array([len(pixels) for pixels in there])
        sums = np.add.reduceat(run(np.concatenate(there)), np.cumsum(sizes) - sizes)
        means = iter(sums / sizes[:, None])
    yield from (None if pixels is None else next(means) for pixels in batch)


def chosen(config: EmbedConfig, model: Path | None = None) -> Network | None:
    """The network of the knobs, or the `model` that was trained here; None where the knob says none. Raises CannotRun."""
    if model:
        return _trained(model)
    return None if config.network == NONE else _pretrained(config.network, config.side, config.frames)


def again(about: Embeddings) -> Network:
    """The network that these embeddings were made by. Raises CannotRun when it is another one now."""
    network = _trained(Path(about.model)) if about.model else _pretrained(about.network, about.side, about.frames)
    if network.sha256 != about.sha256:
        raise CannotRun(
            f"{about.folder}: made by another network ({about.network} {about.sha256[:12]}..., here is {network.sha256[:12]}...); "
            "make them anew"
        )
    return network


def _pretrained(name: str, side: int, frames: int) -> Network:
    if name not in NETWORKS:
        raise CannotRun(f"embed: no network {name!r} here, expected one of: {', '.join(NETWORKS)}; make the embeddings anew")
    known, shape = NETWORKS[name], (side, side, 3)
    return Network(name, known.DIGEST, shape, "pad", frames, lambda: known.encoder(shape))


def _trained(model: Path) -> Network:
    """The input of its layer `logits`, on pictures that are prepared as it knows them."""
    record = files.read_json(model / "run.json", "name", "shape", "model", "knobs")
    shape, knobs, sha256 = tuple(record["shape"]), record["knobs"]["prepare"], record["model"]["sha256"]

    def load():
        _, keras = backend.start()
        network = keras_file.load(model / keras_file.FILE, sha256=sha256)
        return keras.Model(network.input, network.get_layer("logits").input)

    return Network(
        record["name"], sha256, shape, knobs["resize"], knobs["max_frames"] if len(shape) == 4 else 1, load, str(model)
    )
