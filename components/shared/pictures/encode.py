"""Pixels -> encoded frames: lossless ones for shards, small ones for people to look at."""

import io

import numpy as np
from PIL import Image

from components.shared.pictures.decode import Picture, as_image

PREVIEW = 96  # pixels


def preview(frame: bytes, picture: Picture, small: Image.Image | None = None) -> bytes:
    """A picture for people to look at, PREVIEW pixels at most: the frame itself where it is one, else a JPEG.

    `small`: the picture at a fraction of its size, where that is at hand already.
    """
    pixels = picture.pixels
    if max(pixels.shape) <= PREVIEW and len(frame) <= PREVIEW**2 and not (picture.notes or picture.trailing):
        return frame
    small = small or as_image(pixels)
    factor = -(-max(small.size) // PREVIEW)
    buffer = io.BytesIO()
    (small.reduce(factor) if factor > 1 else small).save(buffer, "JPEG", quality=80)
    return buffer.getvalue()


def encode_png(pixels: np.ndarray) -> bytes:
    """Lossless frame from uint8 (h, w), (h, w, 1) or (h, w, 3).

    Not deflated: stored blocks are the same bytes with every zlib, so that shards have one digest on every machine;
    the shard compresses them.
    """
    buffer = io.BytesIO()
    pixels = pixels[:, :, 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels
    Image.fromarray(pixels).save(buffer, format="PNG", compress_level=0)
    return buffer.getvalue()
