"""The knobs of `train`, the same for every architecture."""

from typing import Literal

from pydantic import Field, model_validator

from components.shared.config import Section, shorten
from components.train.backbone import KNOB, OURS
from components.train.presets import NETWORKS
from components.train.remedies import REMEDIES


class TrainConfig(Section):
    """Network and recipe. See params.yaml for the meaning of each."""

    architecture: Literal["cnn", "lstm"]
    preset: Literal["auto", *dict.fromkeys(preset for presets in NETWORKS.values() for preset in presets)]
    backbone: str
    epochs: int = Field(ge=1, le=10_000)
    batch_size: int = Field(ge=1, le=65_536)
    budget_minutes: float = Field(ge=0)
    small_first: float = Field(ge=0, le=0.9)
    optimizer: Literal["muon", "adamw", "adam", "sgd"]
    learning_rate: float = Field(gt=0, le=10)
    momentum: float = Field(ge=0, lt=1)
    weight_decay: float = Field(ge=0, le=1)
    schedule: Literal["auto", "averaged", "constant", "cosine", "one_cycle"]
    loss: Literal["cross_entropy", "mean_squared_error"]
    label_smoothing: float = Field(ge=0, lt=1)
    dropout: float = Field(ge=0, lt=1)
    imbalance: Literal[REMEDIES]
    mirror: bool
    monitor: Literal["balanced_accuracy", "accuracy", "loss"]
    patience: int = Field(ge=0)
    precision: Literal["auto", "float32", "bfloat16"]

    @model_validator(mode="after")
    def _preset_of_the_architecture(self) -> "TrainConfig":
        presets = (*NETWORKS[self.architecture], "auto")
        if self.preset not in presets:
            raise ValueError(f"preset: {self.architecture} has {', '.join(presets)}, got {self.preset!r}")
        if self.preset == "auto" and not self.budget_minutes:
            raise ValueError(
                "preset: auto tries presets for a part of the time; budget_minutes says how long learning may take"
            )
        if self.backbone != OURS and not KNOB.fullmatch(self.backbone):
            raise ValueError(
                f"backbone: expected {OURS}, or NAME@DIGITS as `darkroom backbone` says it, got {shorten(self.backbone)}"
            )
        if self.loss != "cross_entropy" and self.imbalance in ("focal", "balanced_softmax"):
            raise ValueError(f"imbalance: {self.imbalance} is a kind of cross entropy; it does not go with loss {self.loss}")
        return self
