"""What clips suffer in time: uint8 (n, time, h, w, c), an amount and a seed each; and pictures' damage in every frame of a clip.

Padding, frames of zeros behind the last one, stays padding.
"""

import numpy as np
from scipy.special import ndtri

from components.shared.pictures.padding import lifted
from components.stress.damages import DAMAGES, Damage, seeds_of, uniform


def frame_drop(clips: np.ndarray, amount: float, seeds: np.ndarray) -> np.ndarray:
    """This share of the frames is lost on the way; in place of each stands the one before, as players show it."""
    time = np.arange(clips.shape[1])
    arrived = uniform(seeds, len(time)) >= amount
    last = np.maximum.accumulate(np.where(arrived, time, 0), axis=1)
    return _taken(clips, np.where(_shown(clips), last, time))


def frame_order(clips: np.ndarray, amount: float, seeds: np.ndarray) -> np.ndarray:
    """Frames arrive late or early, by this share of the clip's length (standard deviation), and are shown as they arrive."""
    shown = _shown(clips)
    late = np.float32(amount) * shown.sum(1, keepdims=True) * ndtri(uniform(seeds, clips.shape[1]))
    return _taken(clips, np.argsort(np.where(shown, np.arange(clips.shape[1]) + late, np.inf), axis=1, kind="stable"))


def frame_rate(clips: np.ndarray, amount: float, seeds: np.ndarray) -> np.ndarray:
    """So many times fewer frames a second: the same motion in fewer frames, and so a shorter clip."""
    length = _shown(clips).sum(1, keepdims=True)
    source = np.floor(np.arange(clips.shape[1]) * amount).astype(int)[None]
    taken = _taken(clips, np.minimum(source, length - 1).clip(0))
    taken[source >= length] = 0
    return taken


def _shown(clips: np.ndarray) -> np.ndarray:
    return clips.any(axis=(2, 3, 4))


def _taken(clips: np.ndarray, frames: np.ndarray) -> np.ndarray:
    return clips[np.arange(len(clips))[:, None], frames]


CLIP_DAMAGES = {
    "frame_drop": Damage(frame_drop, (0.1, 0.2, 0.35, 0.5, 0.7)),
    "frame_order": Damage(frame_order, (0.1, 0.2, 0.3, 0.5, 1)),
    "frame_rate": Damage(frame_rate, (1.25, 1.5, 2, 3, 4)),
}


def of_samples(*, clips: bool) -> dict[str, Damage]:
    """The damages that such samples can suffer, by name."""
    return DAMAGES | CLIP_DAMAGES if clips else DAMAGES


def damaged(samples: np.ndarray, name: str, strength: int) -> np.ndarray:
    """Stills or clips, uint8, after a damage of a strength from 1 to 5; every frame of a clip suffers the same, but for noise."""
    damage = of_samples(clips=samples.ndim == 5)[name]
    amount, seeds = damage.amounts[strength - 1], seeds_of(samples)
    if samples.ndim == 4 or name in CLIP_DAMAGES:
        return damage.apply(samples, amount, seeds)
    which, time = np.nonzero(_shown(samples))
    seeds = seeds[which] + (time.astype(np.uint64) << np.uint64(32)) * np.uint64(damage.each_frame)
    result = np.zeros_like(samples)
    result[which, time] = lifted(damage.apply(samples[which, time], amount, seeds))
    return result
