"""The knobs of `register`."""

from typing import Literal

from pydantic import Field

from components.shared.config import Section


class RegisterConfig(Section):
    """What a model must reach, and by what the better one is told. See params.yaml for the meaning of each."""

    model: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]{0,99}$")
    minimum_accuracy: float = Field(ge=0, le=1)
    minimum_balanced_accuracy: float = Field(ge=0, le=1)
    minimum_worst_class_recall: float = Field(ge=0, le=1)
    compare_by: Literal["balanced_accuracy", "accuracy"]
    tolerance: float = Field(ge=0, le=1)
    replace_incomparable_champion: bool
