"""Figures that say whether a picture shows anything: light, contrast, information, sharpness. Vectorised over pictures."""

import numpy as np
from PIL import Image

from components.shared.pictures.decode import Picture, as_image

SIDE = 256  # pixels: larger pictures are measured at a whole fraction of their size, no longer than this
_GREY = np.zeros((4, 4, 3), np.uint8)
_WINDOW = 9  # pixels, of the blur that sharpness is told by


def reduced(picture: Picture) -> tuple[np.ndarray, np.ndarray, Image.Image | None]:
    """Its grey levels (h, w), the sides at most SIDE, its colours as (4, 4, 3), and the picture of that size, if any.

    Arrays are uint8; a grey picture's colours are zeros.
    """
    factor = -(-max(picture.pixels.shape) // SIDE)
    grey = picture.pixels.shape[2] == 1
    if grey and factor == 1:
        return picture.pixels[:, :, 0], _GREY, None
    image = as_image(picture.pixels)
    image = image.reduce(factor) if factor > 1 else image
    colours = _GREY if grey else np.asarray(image.resize((4, 4), Image.Resampling.BOX))
    return np.asarray(image if grey else image.convert("L")), colours, image


def of(grey: np.ndarray) -> dict[str, np.ndarray]:
    """A column of n float32 per measure, of uint8 (n, h, w).

    `brightness`, `contrast`: mean and standard deviation, 0 to 255. `dark_level`, `bright_level`: the levels that 5 % and
    99 % of the pixels do not pass. `common`: share of the most frequent level. `entropy`: bits per pixel (Shannon, 1948).
    `sharpness`: see `sharpness`.
    """
    count = len(grey)
    flat = grey.reshape(count, -1)
    offsets = np.arange(count, dtype=np.intp)[:, None] * 256
    histogram = np.bincount((flat + offsets).ravel(), minlength=count * 256).reshape(count, 256)
    levels = np.arange(256)
    share = histogram / flat.shape[1]
    mean = share @ levels
    reached = share.cumsum(axis=1)
    measures = {
        "brightness": mean,
        "contrast": np.sqrt(np.maximum(share @ levels**2 - mean**2, 0)),
        "dark_level": (reached >= 0.05).argmax(axis=1),
        "bright_level": (reached >= 0.99).argmax(axis=1),
        "common": share.max(axis=1),
        "entropy": -(share * np.log2(np.where(histogram > 0, share, 1))).sum(axis=1),
        "sharpness": sharpness(grey),
    }
    return {name: values.astype(np.float32) for name, values in measures.items()}


def sharpness(grey: np.ndarray) -> np.ndarray:
    """0 blurred to 1 sharp, of uint8 (n, h, w): how much of the steps between neighbours a blur takes away.

    What is blurred already has little to lose. The worse of the two directions counts; 1 where there are no steps at all.
    After Crete et al., "The blur effect" (2007), turned round; in whole numbers, so that it is the same everywhere.
    """
    across, down = grey, np.ascontiguousarray(grey.transpose(0, 2, 1))
    return np.minimum(_lost(across), _lost(down))


def _lost(grey: np.ndarray) -> np.ndarray:
    """The share of the steps along the last axis that a blur along it takes away, of uint8 (n, h, w)."""
    import cv2

    count, _, width = grey.shape
    lines = grey.reshape(-1, width)
    # Sums over the window, up to 9 x 255; at the edge the picture goes on mirrored.
    blurred = cv2.boxFilter(lines, cv2.CV_16U, (_WINDOW, 1), normalize=False, borderType=cv2.BORDER_REFLECT_101)
    steps = np.multiply(cv2.absdiff(lines[:, 1:], lines[:, :-1]), _WINDOW, dtype=np.uint16)
    left = cv2.absdiff(blurred[:, 1:], blurred[:, :-1])
    lost = cv2.subtract(steps, left).reshape(count, -1).sum(axis=1, dtype=np.uint32)  # 0 where more is left
    total = steps.reshape(count, -1).sum(axis=1, dtype=np.uint32)
    return np.where(total > 0, lost / np.maximum(total, 1), 1.0)
