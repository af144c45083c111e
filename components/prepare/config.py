"""The knobs of `prepare`."""

from typing import Literal

from pydantic import Field

from components.shared.config import Section


class PrepareConfig(Section):
    """Size of the arrays and shares of the splits. See params.yaml for the meaning of each."""

    height: int = Field(ge=8, le=2048)
    width: int = Field(ge=8, le=2048)
    channels: Literal[1, 3]
    resize: Literal["pad", "stretch"]
    max_frames: int = Field(ge=1)
    split_seed: int = Field(ge=0, le=2**32 - 1)
    keep_alike_together: bool
    validation_fraction: float = Field(gt=0, lt=0.5)
    test_fraction: float = Field(gt=0, lt=0.5)
