"""Label-preserving changes, vectorised over a batch. Every frame of a clip moves, lights up and is erased alike."""

import cv2
import numpy as np

from components.augment.config import AugmentConfig
from components.shared.pictures.padding import lifted


def vary(images: np.ndarray, mirrored: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """One variant of each sample: uint8 (n, h, w, c) or (n, time, h, w, c) in and out, each strength drawn from `rng`.

    `mirrored`: bool (n,), which samples are turned left to right, where `flip` allows it.
    """
    clips = images if images.ndim == 5 else images[:, None]
    _, time, height, width, channels = clips.shape
    padding = ~clips.any(axis=(2, 3, 4))
    frames = clips.reshape(-1, height, width, channels)
    moves = np.repeat(_moves(mirrored, height, width, config, rng), time, axis=0)
    pixels = _moved(frames, moves) if (moves != _STILL).any() else frames.astype(np.float32)
    # From here on in place: a new array of this size for every change takes longer than the change.
    pixels = pixels.reshape(clips.shape)
    _light(pixels, ~padding, config, rng)
    # Noise last but for erasing: moved noise would be smoothed, and an erased patch is not noisy.
    if config.noise:
        pixels += rng.standard_normal(pixels.shape, dtype=np.float32) * (255 * config.noise)
    if config.erase:
        _erase(pixels, ~padding, config.erase, rng)
    pixels = np.clip(np.rint(pixels, out=pixels), 0, 255, out=pixels).astype(np.uint8)
    if images.ndim == 5:
        pixels = lifted(pixels)  # what became black is still a frame,
        pixels[padding] = 0  # and what stands for "no frame" stays that
    return pixels.reshape(images.shape)


_STILL = np.eye(2, 3, dtype=np.float32)  # x' = x, y' = y


def _moves(mirrored: np.ndarray, height: int, width: int, config: AugmentConfig, rng: np.random.Generator) -> np.ndarray:
    """Flip, shift, rotation and scale as one affine map per sample, (n, 2, 3), from output to input pixels."""
    count = len(mirrored)
    angle = np.deg2rad(rng.uniform(-config.rotate, config.rotate, count))
    factor = np.exp(rng.uniform(np.log1p(-config.scale), -np.log1p(-config.scale), count))
    mirror = np.where(mirrored & config.flip, -1, 1)
    # Whole pixels: a shift by a fraction would blur, and a blurred copy is no picture of this data set.
    dx = np.rint(rng.uniform(-config.shift, config.shift, count) * width)
    dy = np.rint(rng.uniform(-config.shift, config.shift, count) * height)
    a, b = mirror * np.cos(angle) / factor, -mirror * np.sin(angle) / factor
    d, e = np.sin(angle) / factor, np.cos(angle) / factor
    cx, cy = (width - 1) / 2, (height - 1) / 2  # about the middle, not the corner
    maps = np.stack([a, b, cx - a * cx - b * cy + dx, d, e, cy - d * cx - e * cy + dy], axis=1)
    return maps.reshape(count, 2, 3).astype(np.float32)


def _moved(frames: np.ndarray, moves: np.ndarray) -> np.ndarray:
    """Each frame by its map, float32."""
    moved, (height, width) = frames.astype(np.float32), frames.shape[1:3]
    for index in np.flatnonzero((moves != _STILL).any(axis=(1, 2))):
        # What comes in from outside repeats the border: no black wedge that only augmented pictures have.
        moved[index] = cv2.warpAffine(
            moved[index], moves[index], (width, height), flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
        ).reshape(moved[index].shape)  # fmt: skip
    return moved


def _light(pixels: np.ndarray, shown: np.ndarray, config: AugmentConfig, rng: np.random.Generator) -> None:
    count = len(pixels)
    if config.contrast:
        gain = rng.uniform(1 - config.contrast, 1 + config.contrast, (count, 1, 1, 1, 1)).astype(np.float32)
        mean = _over_frames(pixels.mean(axis=(2, 3, 4), keepdims=True), shown)
        pixels -= mean
        pixels *= gain
        pixels += mean
    if config.brightness:
        gain = rng.uniform(1 - config.brightness, 1 + config.brightness, (count, 1, 1, 1, 1)).astype(np.float32)
        # A factor, not an offset: a black background stays black.
        pixels *= gain


def _erase(pixels: np.ndarray, shown: np.ndarray, share: float, rng: np.random.Generator) -> None:
    """Random erasing (Zhong et al., 2017): in half of the samples a rectangle of up to `share` of the area turns mean grey."""
    count, _, height, width, _ = pixels.shape
    area = rng.uniform(0.02, max(share, 0.02), count) * height * width
    ratio = np.exp(rng.uniform(np.log(0.3), np.log(3.3), count))
    tall, wide = np.minimum(np.sqrt(area * ratio), height), np.minimum(np.sqrt(area / ratio), width)
    top, left = rng.uniform(0, 1, count) * (height - tall), rng.uniform(0, 1, count) * (width - wide)
    erased = np.flatnonzero(rng.random(count) < 0.5)
    means = _over_frames(pixels[erased].mean(axis=(2, 3), keepdims=True), shown[erased])
    ends = np.ceil([top, top + tall, left, left + wide]).astype(int).T
    for (above, below, before, behind), index, mean in zip(ends[erased], erased, means, strict=True):
        pixels[index, :, above:below, before:behind] = mean


def _over_frames(means: np.ndarray, shown: np.ndarray) -> np.ndarray:
    """Means of frames, (n, time, 1, 1, c), to those of clips, (n, 1, 1, 1, c), over the frames that are `shown` (n, time)."""
    weights = shown[:, :, None, None, None].astype(np.float32)
    return (means * weights).sum(axis=1, keepdims=True) / np.maximum(weights.sum(axis=1, keepdims=True), 1)
