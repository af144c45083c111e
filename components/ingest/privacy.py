"""What a picture tells of people, taken out at the door: metadata without touching the pixels, faces by blurring them."""

import contextlib
import dataclasses
from collections.abc import Iterator

from components.ingest.source import LeftOut
from components.shared.data.dataset import Sample
from components.shared.pictures import decode, faces
from components.shared.pictures.formats import Undecodable
from components.shared.pictures.strip import strip
from components.shared.screen import number


class Cleaner:
    """Cleans sample after sample and counts what it did, and what it could not do: such frames come in as they are."""

    def __init__(self, strip_metadata: bool, blur_faces: bool) -> None:
        self.strip_metadata, self.blur_faces = strip_metadata, blur_faces
        self.stripped = self.faces = self.pictures = 0
        self.missed = LeftOut()

    def cleaned(self, sample: Sample) -> Sample:
        """The sample without what was not wanted; the same one where nothing was."""
        if not (self.strip_metadata or self.blur_faces):
            return sample
        return dataclasses.replace(
            sample, frames=tuple((self._frame(content, path, sample.label or ""), path) for content, path in sample.frames)
        )

    def _frame(self, frame: bytes, path: str, label: str) -> bytes:
        if self.strip_metadata:
            with self._counted("W_NOT_STRIPPED", "pictures came in with whatever they tell; replace them", path, label):
                clean = strip(frame)
                self.stripped += clean != frame
                frame = clean
        if self.blur_faces:
            with self._counted("W_NOT_BLURRED", "pictures were not searched for faces; replace them", path, label):
                frame, found = faces.blur(frame, decode.decode(frame).pixels)
                self.faces += found
                self.pictures += found > 0
        return frame

    @contextlib.contextmanager
    def _counted(self, code: str, reason: str, path: str, label: str) -> Iterator[None]:
        try:
            yield
        except Undecodable as fault:
            self.missed.add(code, reason, f"{path} ({fault})", label)

    def tell(self) -> None:
        """Say what was done."""
        if self.strip_metadata:
            print(f"metadata taken out of {number(self.stripped, 'picture')}")
        if self.blur_faces:
            print(
                f"{number(self.faces, 'face')} blurred in {number(self.pictures, 'picture')}; the detector misses some: look at them"
            )
        self.missed.tell()
