"""What a training does about uneven classes: the weight of a sample, a shift of the outputs, or which samples are drawn.

Each is a way to make rare classes count. `counts` int (classes,) are the training samples of each class.
"""

import numpy as np

DEFER = 0.8  # share of the training that `deferred` leaves as it is
FOCUS = 2.0  # gamma of the focal loss
BETA = 0.9999  # of the effective number: samples of a class beyond some ten thousand add next to nothing
WEIGHTED = ("class_weight", "effective_number", "deferred")
REMEDIES = ("none", *WEIGHTED, "balanced_softmax", "logit_adjusted", "focal", "oversample")


def weights(remedy: str, counts: np.ndarray, *, progress: float = 1.0) -> np.ndarray:
    """float32 (classes,): the weight of a sample of each class, 1.0 on the average of all samples; 0 where there are none.

    `class_weight`: inverse to the class's share. `effective_number`: inverse to the number of samples that are really new, which
    grows ever slower (Cui et al., "Class-Balanced Loss", 2019). `deferred`: the same, but only in the last fifth, when features
    have been learnt from all samples alike (Cao et al., LDAM-DRW, 2019); `progress` is the share of the training that is done.
    """
    there = counts > 0
    raw = np.ones(len(counts))
    if remedy == "class_weight":
        raw[there] = 1 / counts[there]
    elif remedy == "effective_number" or (remedy == "deferred" and progress >= DEFER):
        raw[there] = (1 - BETA) / (1 - BETA ** counts[there])
    raw[~there] = 0
    return (raw * counts.sum() / (raw * counts).sum()).astype(np.float32)


def log_share(counts: np.ndarray) -> np.ndarray:
    """float32 (classes,): how frequent each class is, as the outputs before the softmax would say it.

    `balanced_softmax` adds it to the outputs in training alone, so that the network itself need not learn it (Ren et al., 2020).
    `logit_adjusted` takes it off the outputs of a network that was trained as ever (Menon et al., 2021: post-hoc, tau 1).
    """
    return np.log(np.maximum(counts, 1) / counts.sum()).astype(np.float32)


def order(remedy: str, labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """int (n,): which samples an epoch takes, in which order: each once, or (`oversample`) every class as often."""
    if remedy != "oversample":
        return rng.permutation(len(labels))
    counts = np.bincount(labels)
    chance = 1 / counts[labels]
    return rng.choice(len(labels), len(labels), p=chance / chance.sum())
