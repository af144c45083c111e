"""What a picture tells of people, taken out at the door: metadata without touching the pixels, faces by blurring them."""

import dataclasses

from components.shared.data.dataset import Sample
from components.shared.pictures import decode, faces, metadata
from components.shared.pictures.formats import Undecodable


class Cleaner:
    """Cleans sample after sample and counts what it did. A frame that does not decode passes as it is: validate names it."""

    def __init__(self, strip_metadata: bool, blur_faces: bool) -> None:
        self.strip_metadata, self.blur_faces = strip_metadata, blur_faces
        self.stripped = self.faces = self.pictures = 0

    def cleaned(self, sample: Sample) -> Sample:
        """The sample without what was not wanted; the same one where nothing was."""
        if not (self.strip_metadata or self.blur_faces):
            return sample
        return dataclasses.replace(sample, frames=tuple((self._frame(content), path) for content, path in sample.frames))

    def _frame(self, frame: bytes) -> bytes:
        try:
            clean = metadata.strip(frame) if self.strip_metadata else frame
            self.stripped += clean != frame
            if self.blur_faces:
                clean, found = faces.blur(clean, decode.decode(clean).pixels)
                self.faces += found
                self.pictures += found > 0
            return clean
        except Undecodable:
            return frame

    def tell(self) -> None:
        """Say what was done."""
        if self.strip_metadata:
            print(f"metadata taken out of {self.stripped:,} pictures")
        if self.blur_faces:
            print(f"{self.faces:,} faces blurred in {self.pictures:,} pictures; the detector misses some: look at them")
