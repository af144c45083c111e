"""Which preset, for the person who does not know: each candidate learns for a part of the time, and validation data choose."""

from collections.abc import Callable

from components.shared import scratch
from components.shared.data.arrays import Split
from components.shared.models import backend
from components.train import transfer
from components.train.config import TrainConfig
from components.train.loop import Loop
from components.train.termination import Stop

CANDIDATES = ("default", "pretrained")  # from scratch, and not
PART = 0.1  # of the budget of time, for each


def choose(
    config: TrainConfig, build: Callable, training: Split, validation: Split, *, precision: str, seed: int, stop: Stop
) -> str:
    """The preset whose trial has the best value of `monitor` on validation data, which is printed with that of the other.

    `build(preset)` returns the function that builds its network.
    """
    tf, keras = backend.start()
    found = {}
    for preset in CANDIDATES:
        print(f"train: trying preset {preset}")
        few = config.model_copy(update={"preset": preset, "budget_minutes": PART * config.budget_minutes})
        with scratch.folder("trial") as folder:
            part = transfer.part(build(preset), training, validation, few, folder, precision=precision, seed=seed, once=_anew)
            progress = Loop(tf, keras, part, few, seed, _Forgotten()).run(lambda *_: None, stop.told)
        found[preset] = progress.best
        keras.backend.clear_session(free_memory=False)
    best = max(found, key=found.__getitem__)
    said = ", ".join(f"{preset} {abs(value):.4f}" for preset, value in found.items())
    print(f"train: preset {best} (each had a tenth of the time; {config.monitor} on validation: {said})")
    return best


def first(config: TrainConfig) -> str:
    """The preset whose network is looked at before one is chosen."""
    return CANDIDATES[0] if config.preset == "auto" else config.preset


def rest(config: TrainConfig, preset: str) -> TrainConfig:
    """The knobs of the training that follows a trial: the preset that was chosen, and the time that is left."""
    left = config.budget_minutes * (1 - PART * len(CANDIDATES))
    return config.model_copy(update={"preset": preset, "budget_minutes": left})


def _anew(_: str, decide: Callable) -> int:
    return decide()


class _Forgotten:
    """Stands for checkpoints where none are kept: a trial that is killed begins anew."""

    def save(self, checkpoint) -> None:
        """Keep nothing."""

    def last(self, names) -> None:
        """Nothing was kept."""

    def wait(self) -> None:
        """There is nothing to wait for."""
