"""The knobs of `augment`."""

from pydantic import Field

from components.shared.config import Section


class AugmentConfig(Section):
    """How many copies, and how far each may differ from its original. See params.yaml for the meaning of each."""

    copies: int = Field(ge=0, le=100)
    balance: float = Field(ge=0, le=1)
    max_copies: int = Field(ge=0, le=1000)
    flip: bool
    shift: float = Field(ge=0, lt=1)
    rotate: float = Field(ge=0, le=180)
    scale: float = Field(ge=0, lt=1)
    brightness: float = Field(ge=0, le=1)
    contrast: float = Field(ge=0, lt=1)
    noise: float = Field(ge=0, le=1)
    erase: float = Field(ge=0, le=0.5)
