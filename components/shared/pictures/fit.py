"""Pixels of any size -> the size that a network takes, by one named rule."""

import numpy as np
from PIL import Image

from components.shared.pictures.decode import as_image


def fit(pixels: np.ndarray, *, height: int, width: int, channels: int, rule: str) -> np.ndarray:
    """Resize uint8 (h, w, 1|3) to (height, width, channels) by one named rule; nothing is ever cropped.

    `stretch` gives up the ratio of the sides; `pad` keeps it and fills the rest with the mean of the border, so that no
    hard edge appears. Bilinear with antialiasing.
    """
    if pixels.shape == (height, width, channels):
        return pixels
    image = as_image(pixels).convert("L" if channels == 1 else "RGB")
    if rule == "pad":
        scale = min(height / image.height, width / image.width)
        inner = (max(1, round(image.width * scale)), max(1, round(image.height * scale)))
        image = image.resize(inner, Image.Resampling.BILINEAR)
        canvas = Image.new(image.mode, (width, height), _border_mean(image))
        canvas.paste(image, ((width - inner[0]) // 2, (height - inner[1]) // 2))
        image = canvas
    else:
        image = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(image).reshape(height, width, channels)


def _border_mean(image: Image.Image) -> int | tuple[int, ...]:
    pixels = np.asarray(image)
    border = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    mean = np.rint(border.mean(axis=0)).astype(int)
    return int(mean) if mean.ndim == 0 else tuple(int(value) for value in mean)
