"""What pictures suffer: uint8 (n, h, w, c), an amount and a seed each -> the same pictures damaged, from 28x28x1 to 224x224x3.

Amounts are shares of the picture's side, of its area or of the range from black to white, so that they mean the same at any size.
Most amounts are those of Mu and Gilmer, "MNIST-C: A Robustness Benchmark for Computer Vision", 2019, and of Hendrycks and Dietterich,
"Benchmarking Neural Network Robustness to Common Corruptions and Perturbations", 2019 (ImageNet-C, CIFAR-10-C), where these have the
damage. What is drawn for a picture depends on its seed alone, and is the same at each strength: only the amount grows.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import cv2
import numpy as np
from scipy.special import ndtri


def seeds_of(samples: np.ndarray) -> np.ndarray:
    """A seed for each sample, uint64 (n,), by its pixels: the same picture gets the same damage, whatever is around it."""
    import zlib

    return np.array([zlib.crc32(np.ascontiguousarray(sample)) for sample in samples], np.uint64)


def uniform(seeds: np.ndarray, *shape: int) -> np.ndarray:
    """float32 (n, *shape) in the open interval 0 to 1, each row by its own seed (SplitMix64; Steele, Lea and Flood, 2014)."""
    z = seeds[:, None] + np.arange(1, math.prod(shape) + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    # 23 bits and a half are a float32 exactly, so that it never becomes 1.
    return (((z ^ (z >> np.uint64(31))) >> np.uint64(41)).astype(np.float32).reshape(-1, *shape) + np.float32(0.5)) / 2**23


def noise(images: np.ndarray, amount: float, seeds: np.ndarray) -> np.ndarray:
    """Gaussian noise, as of a sensor in the dark; the amount is its standard deviation (ImageNet-C, gaussian_noise)."""
    return _levels(images + ndtri(uniform(seeds, *images.shape[1:])) * np.float32(255 * amount))


def blur(images: np.ndarray, amount: float, seeds: np.ndarray) -> np.ndarray:
    """Out of focus: a Gaussian whose standard deviation is a share of the side (ImageNet-C, gaussian_blur)."""
    sigma = amount * min(images.shape[1:3])
    return _each(images, lambda image: cv2.GaussianBlur(image, (0, 0), sigma))


def shift(images: np.ndarray, amount: float, seeds: np.ndarray) -> np.ndarray:
    """Away from the middle by a share of the side on both axes, in whole pixels (MNIST-C, translate)."""
    signs = np.sign(uniform(seeds, 2) - 0.5)
    by = signs * np.rint(amount * min(images.shape[1:3]))
    return _moved(images, np.zeros(len(images)), np.ones(len(images)), by)


def rotate(images: np.ndarray, amount: float, seeds: np.ndarray) -> np.ndarray:
    """By so many degrees to either side (MNIST-C, rotate)."""
    return _moved(images, amount * np.sign(uniform(seeds) - 0.5), np.ones(len(images)))


def scale(images: np.ndarray, amount: float, seeds: np.ndarray) -> np.ndarray:
    """Shrunk to this share of its side, or as much enlarged (MNIST-C, scale, which only shrinks)."""
    return _moved(images, np.zeros(len(images)), amount ** np.sign(uniform(seeds) - 0.5))


def contrast(images: np.ndarray, amount: float, seeds: np.ndarray) -> np.ndarray:
    """Only this share of the contrast is left (CIFAR-10-C, contrast)."""
    mean = images.mean(axis=(1, 2), keepdims=True, dtype=np.float32)
    return _levels((images - mean) * np.float32(amount) + mean)


def brightness(images: np.ndarray, amount: float, seeds: np.ndarray) -> np.ndarray:
    """Overexposed: so much of the range is added (MNIST-C and ImageNet-C, brightness)."""
    return _levels(images + np.float32(255 * amount))


def fog(images: np.ndarray, amount: float, seeds: np.ndarray) -> np.ndarray:
    """Clouds are laid over it, and both share the range (MNIST-C and ImageNet-C, fog; CIFAR-10-C's amounts)."""
    clouds = _clouds(seeds, *images.shape[1:3], cells=(2, 4, 8))
    low, high = clouds.min(axis=(1, 2), keepdims=True), clouds.max(axis=(1, 2), keepdims=True)
    clouds = ((clouds - low) / (high - low))[..., None]
    return _levels((images + np.float32(255 * amount) * clouds) / np.float32(1 + amount))


def stripes(images: np.ndarray, amount: float, seeds: np.ndarray) -> np.ndarray:
    """Three upright bands are inverted, together this share of the width (MNIST-C, stripe, which has two that stay in place)."""
    width = images.shape[2]
    across = (3 * (np.arange(width) + 0.5) / width + uniform(seeds, 1)) % 1
    return np.where((across < amount)[:, None, :, None], 255 - images, images)


def spatter(images: np.ndarray, amount: float, seeds: np.ndarray) -> np.ndarray:
    """Specks of mud on the lens cover this share of the picture (MNIST-C and ImageNet-C, spatter)."""
    drops = _clouds(seeds, *images.shape[1:3], cells=(6, 12))
    dry = np.quantile(drops.reshape(len(drops), math.prod(drops.shape[1:])), 1 - amount, axis=1)
    return np.where((drops > dry[:, None, None])[..., None], np.uint8(63), images)


def jpeg(images: np.ndarray, amount: float, seeds: np.ndarray) -> np.ndarray:
    """Saved as a JPEG of this quality (ImageNet-C, jpeg_compression)."""
    quality = [cv2.IMWRITE_JPEG_QUALITY, int(amount)]

    def saved(image: np.ndarray) -> np.ndarray:  # OpenCV takes colours as blue, green, red
        return cv2.imdecode(cv2.imencode(".jpg", image[..., ::-1], quality)[1], cv2.IMREAD_UNCHANGED)

    return _each(images, saved).reshape(images.shape)[..., ::-1]


def pixelate(images: np.ndarray, amount: float, seeds: np.ndarray) -> np.ndarray:
    """Of this share of its pixels a side (ImageNet-C, pixelate)."""
    height, width = images.shape[1:3]
    few = max(1, int(amount * width)), max(1, int(amount * height))

    def enlarged(image: np.ndarray) -> np.ndarray:
        small = cv2.resize(image, few, interpolation=cv2.INTER_AREA)
        return cv2.resize(small, (width, height), interpolation=cv2.INTER_NEAREST_EXACT)

    return _each(images, enlarged)


def occlusion(images: np.ndarray, amount: float, seeds: np.ndarray) -> np.ndarray:
    """A grey square hides this share of the area, anywhere (Cutout; DeVries and Taylor, 2017)."""
    hidden = True
    for axis, size, place in zip((1, 2), images.shape[1:3], uniform(seeds, 2).T, strict=True):
        side = np.sqrt(amount) * size
        start = (place * (size - side))[:, None]
        inside = (np.arange(size) + 0.5 > start) & (np.arange(size) + 0.5 < start + side)
        hidden = hidden & np.expand_dims(inside, 3 - axis)
    return np.where(hidden[..., None], _levels(images.mean(axis=(1, 2), keepdims=True)), images)


def _levels(pixels: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)


def _each(images: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """By OpenCV, which takes one picture at a time in a microsecond, and forgets an axis of one channel."""
    changed = np.empty_like(images)
    for index, image in enumerate(images):
        changed[index] = change(image).reshape(image.shape)
    return changed


def _moved(images: np.ndarray, degrees: np.ndarray, factors: np.ndarray, by: np.ndarray | None = None) -> np.ndarray:
    """Each turned and scaled about its middle, and shifted by (dx, dy) pixels; from outside the border comes in, as in `augment`."""
    height, width = images.shape[1:3]
    moved = np.empty_like(images)
    for index, image in enumerate(images):
        matrix = cv2.getRotationMatrix2D(((width - 1) / 2, (height - 1) / 2), float(degrees[index]), float(factors[index]))
        matrix[:, 2] += 0 if by is None else by[index]
        moved[index] = cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REPLICATE).reshape(image.shape)
    return moved


def _clouds(seeds: np.ndarray, height: int, width: int, *, cells: tuple[int, ...]) -> np.ndarray:
    """Smooth random fields, float32 (n, h, w): grids of random levels, each finer and half as strong as the one before.

    A picture is as many cells wide and high whatever its size (value noise, in place of the plasma fractal of ImageNet-C).
    """
    field = np.zeros((len(seeds), height, width), np.float32)
    for octave, count in enumerate(cells):
        knots = uniform(seeds + np.uint64(octave), count + 1, count + 1)
        rows, columns = (_between(count, size) for size in (height, width))
        field += rows @ knots @ columns.T / 2**octave
    return field


def _between(count: int, size: int) -> np.ndarray:
    """float32 (size, count + 1): how much each of the evenly spaced knots weighs at each pixel, linearly."""
    places = np.linspace(0, count, size, dtype=np.float32)[:, None]
    return np.maximum(0, 1 - np.abs(places - np.arange(count + 1, dtype=np.float32)))


class Damage(NamedTuple):
    """`amounts`: of the strengths 1 to 5; `knob`: of `augment`, which trains on it; `each_frame`: no two frames suffer the same."""

    apply: Callable[[np.ndarray, float, np.ndarray], np.ndarray]
    amounts: tuple[float, float, float, float, float]
    knob: str = ""
    each_frame: bool = False


DAMAGES = {
    "noise": Damage(noise, (0.08, 0.12, 0.18, 0.26, 0.38), "noise", each_frame=True),
    "blur": Damage(blur, (0.015, 0.022, 0.03, 0.04, 0.05)),
    "shift": Damage(shift, (0.04, 0.08, 0.11, 0.15, 0.18), "shift"),
    "rotate": Damage(rotate, (10, 20, 30, 40, 50), "rotate"),
    "scale": Damage(scale, (0.9, 0.8, 0.7, 0.6, 0.5), "scale"),
    "contrast": Damage(contrast, (0.75, 0.5, 0.4, 0.3, 0.15), "contrast"),
    "brightness": Damage(brightness, (0.1, 0.2, 0.3, 0.4, 0.5), "brightness"),
    "fog": Damage(fog, (0.2, 0.5, 0.75, 1, 1.5)),
    "stripes": Damage(stripes, (0.1, 0.2, 0.3, 0.4, 0.5)),
    "spatter": Damage(spatter, (0.05, 0.1, 0.15, 0.25, 0.35)),
    "jpeg": Damage(jpeg, (25, 18, 15, 10, 7)),
    "pixelate": Damage(pixelate, (0.75, 0.6, 0.45, 0.35, 0.25)),
    "occlusion": Damage(occlusion, (0.05, 0.1, 0.15, 0.25, 0.35), "erase"),
}
