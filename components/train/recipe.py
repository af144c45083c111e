"""How the weights move: the optimizer, and how fast it is allowed to go at each step."""

import math
from typing import NamedTuple

from components.train.config import TrainConfig

RISE = 0.2  # share of a one-cycle schedule in which the rate goes up
STEADY = 0.5  # share of the learning rate at which weights are averaged
SLOWLY = 0.15  # share of the learning rate for what has been learnt before


def schedule(config: TrainConfig) -> str:
    """The schedule that the knobs name; of `auto` the one that suits the preset."""
    return ("averaged" if config.preset == "pretrained" else "one_cycle") if config.schedule == "auto" else config.schedule


def rate(config: TrainConfig, step: int, steps: int) -> float:
    """The learning rate of batch `step` (from 0) of `steps`.

    `averaged`: half of it all the time (see `averaging`). `constant`: all of it, all the time.
    `one_cycle`: a fifth of the way up from nothing, the rest down to nothing, both in a straight line (after Smith and Topin,
    "Super-Convergence", 2017). `cosine`: down only (Loshchilov and Hutter, 2017).
    """
    name = schedule(config)
    if name in ("averaged", "constant"):
        return config.learning_rate * (STEADY if name == "averaged" else 1)
    if name == "cosine":
        return config.learning_rate * 0.5 * (1 + math.cos(math.pi * step / steps))
    up = RISE * steps
    share = (step + 1) / up if step + 1 < up else (steps - step) / max(1.0, steps - up)
    return config.learning_rate * min(1.0, share)


class Moving(NamedTuple):
    """Variables that move alike: how, and the share of the learning rate that is theirs."""

    optimizer: object  # keras.optimizers.Optimizer
    variables: list
    share: float


def optimizers(keras, config: TrainConfig, variables: list, learnt: frozenset[str]) -> list[Moving]:
    """What moves each variable. Those of layers that have `learnt` before, by name, move slowly, so that they do not forget.

    Discriminative fine-tuning (Howard and Ruder, "Universal Language Model Fine-tuning", 2018).
    """
    groups: dict[float, list] = {}
    for variable in variables:
        groups.setdefault(SLOWLY if variable.path.split("/")[0] in learnt else 1.0, []).append(variable)
    moving = [Moving(_optimizer(keras, config), some, share) for share, some in sorted(groups.items(), reverse=True)]
    for each in moving:
        each.optimizer.build(each.variables)
    return moving


def _optimizer(keras, config: TrainConfig):
    """The optimizer that the knobs name; its rate is set before every batch."""
    decay = config.weight_decay or None
    match config.optimizer:
        case "sgd":
            return keras.optimizers.SGD(0.0, momentum=config.momentum, nesterov=config.momentum > 0, weight_decay=decay)
        case "muon":
            from components.train.muon import Muon

            return Muon(0.0, momentum=config.momentum, weight_decay=decay, adam_weight_decay=decay, exclude_layers=["logits"])
        case "adamw":
            return keras.optimizers.AdamW(0.0, beta_1=config.momentum, weight_decay=config.weight_decay)
    return keras.optimizers.Adam(0.0, beta_1=config.momentum, weight_decay=decay)


def diverged(config: TrainConfig, epoch: int, where: str, loss: float) -> str:
    """What to say of a loss that is no finite number."""
    cause = f"learning_rate {config.learning_rate:g} is perhaps too high for {config.optimizer}; try a tenth of it"
    if config.precision == "bfloat16":
        cause += ", or precision: float32"
    return f"train: the loss is {loss} in epoch {epoch}, {where}; {cause}"
