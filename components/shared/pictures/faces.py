"""Faces in pictures: found, so that they can be counted, and blurred.

The detectors ship inside OpenCV's package: two cascades, for faces seen from the front and from the side (Viola and Jones,
"Robust real-time face detection", 2004). They need an upright face of some 24 pixels; they miss many that are turned,
covered, dark or small, and see some where none are. What they find is a help for people who look, no proof of anonymity.
"""

import functools
import io

import numpy as np
from PIL import Image, ImageFilter

from components.shared.pictures.decode import as_image

MIN_SIDE = 24  # pixels, of a face
_LONGEST = 1024  # pixels: larger pictures are searched at a smaller size
_CASCADES = ("haarcascade_frontalface_alt2.xml", "haarcascade_profileface.xml")


def find(pixels: np.ndarray) -> list[tuple[int, int, int, int]]:
    """(left, top, width, height) of each face in uint8 (h, w, 1|3), in pixels, from the left."""
    import cv2

    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY) if pixels.shape[2] == 3 else pixels[:, :, 0]
    scale = min(1.0, _LONGEST / max(grey.shape))
    if scale < 1:
        grey = cv2.resize(grey, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    grey = cv2.equalizeHist(np.ascontiguousarray(grey))
    if min(grey.shape) < MIN_SIDE:
        return []
    found: list[tuple[int, int, int, int]] = []
    width = grey.shape[1]
    for name in _CASCADES:
        # A profile is seen from one side alone: the mirrored picture shows the others.
        for mirrored in (False, True) if "profile" in name else (False,):
            looked_at = np.ascontiguousarray(grey[:, ::-1]) if mirrored else grey
            for x, y, w, h in _cascade(name).detectMultiScale(looked_at, 1.1, 5, minSize=(MIN_SIDE, MIN_SIDE)):
                box = (width - x - w if mirrored else x, y, w, h)
                if not any(_same(box, other) for other in found):
                    found.append(tuple(int(value) for value in box))
    return sorted(tuple(round(value / scale) for value in box) for box in found)


def blur(frame: bytes, pixels: np.ndarray) -> tuple[bytes, int]:
    """The frame with its faces made unrecognisable, and how many; the same bytes where there are none.

    `pixels`: what `frame` decodes to. It is written anew from them, in its own format and without metadata.
    """
    faces = find(pixels)
    if not faces:
        return frame, 0
    image = as_image(pixels)
    for left, top, width, height in faces:
        # Hair and chin lie outside of what the detector frames.
        box = (max(0, left - width // 5), max(0, top - height // 5),
               min(image.width, left + width + width // 5), min(image.height, top + height + height // 5))  # fmt: skip
        face = image.crop(box)
        # Eight pixels across before the blur: what a blur alone hides can be brought back in part.
        coarse = face.resize((8, 8), Image.Resampling.BOX).resize(face.size, Image.Resampling.BILINEAR)
        image.paste(coarse.filter(ImageFilter.GaussianBlur(max(face.size) / 16)), box)
    buffer = io.BytesIO()
    image.save(buffer, "JPEG" if frame.startswith(b"\xff\xd8") else "PNG", quality=95)  # of PNG there is but one
    return buffer.getvalue(), len(faces)


@functools.cache
def _cascade(name: str):
    import cv2

    cv2.setNumThreads(1)  # the processors are busy with other pictures
    return cv2.CascadeClassifier(cv2.data.haarcascades + name)


def _same(one: tuple, other: tuple) -> bool:
    """Whether two boxes frame one face: they share more than a third of the smaller."""
    width = min(one[0] + one[2], other[0] + other[2]) - max(one[0], other[0])
    height = min(one[1] + one[3], other[1] + other[3]) - max(one[1], other[1])
    return width > 0 and height > 0 and 3 * width * height > min(one[2] * one[3], other[2] * other[3])
