"""The one way from encoded frames to the pixels that a network sees, and its record, which is kept with every model."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

from components.shared.errors import CannotRun
from components.shared.pictures import decode, fit
from components.shared.pictures.padding import padded

VERSION = 1  # goes up when the same bytes become other pixels: an older model is then refused, not fed with them
ORIENTATION, ALPHA = "exif", "white"  # turned upright as EXIF says; what is transparent, on white


@dataclass(frozen=True)
class Preprocessing:
    """`resize`: a rule of `fit.fit`. `time`: frames of a clip, the most there can be; None where samples are stills."""

    height: int
    width: int
    channels: int
    resize: str
    time: int | None = None

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample: (h, w, c), or (time, h, w, c) for clips."""
        still = (self.height, self.width, self.channels)
        return still if self.time is None else (self.time, *still)

    def frames(self, encoded: Sequence[bytes], *, most: int = 1, max_pixels: int = decode.MAX_PIXELS) -> np.ndarray:
        """uint8 (frames, h, w, c) of one frame or more; of more than `most`, so many, evenly thinned.

        `max_pixels` (width times height) is asked before a frame is decoded. Raises Undecodable.
        """
        chosen = range(len(encoded))
        if len(encoded) > most:
            chosen = np.linspace(0, len(encoded) - 1, most).round().astype(int)
        size = {"height": self.height, "width": self.width, "channels": self.channels, "rule": self.resize}
        at_least = max(self.height, self.width)
        decoded = (decode.decode(encoded[time], at_least=at_least, max_pixels=max_pixels) for time in chosen)
        return np.stack([fit.fit(each.pixels, **size) for each in decoded])

    def sample(self, encoded: Sequence[bytes], *, max_pixels: int = decode.MAX_PIXELS) -> np.ndarray:
        """uint8 of `shape`: what `prepare` writes of a sample of one frame or more. Raises Undecodable."""
        return self.whole(self.frames(encoded, most=self.time or 1, max_pixels=max_pixels))

    def whole(self, frames: np.ndarray) -> np.ndarray:
        """uint8 of `shape` of the frames of one sample, of stills the first; a clip that is too short is padded."""
        return frames[0] if self.time is None else padded(frames, self.time)

    def record(self) -> dict:
        """The record, for JSON."""
        return asdict(self) | {"orientation": ORIENTATION, "alpha": ALPHA, "version": VERSION}

    @classmethod
    def read(cls, record: object, *, where: object) -> "Preprocessing":
        """Of a record. Raises CannotRun for one of another way than this one; `where` it stands, for the message."""
        ours = {"orientation": ORIENTATION, "alpha": ALPHA, "version": VERSION}
        record = record if isinstance(record, dict) else {}
        if other := [name for name, value in ours.items() if record.get(name) != value]:
            raise CannotRun(f"{where}: the model saw pictures another way than this Darkroom shows them (other {other[0]}); "
                            "`dvc repro` trains it anew, or use the version that trained it")  # fmt: skip
        try:
            return cls(**{name: record[name] for name in cls.__dataclass_fields__})
        except KeyError as missing:
            raise CannotRun(f"{where}: the record of preprocessing has no {missing}; `dvc repro` writes it anew") from None
