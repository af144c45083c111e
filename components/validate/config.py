"""The knobs of `validate`."""

from typing import Literal

from pydantic import Field

from components.shared.config import Section

Severity = Literal["error", "warning", "info", "off"]


class ValidateConfig(Section):
    """Limits, and how bad it is when one is passed. See params.yaml for the meaning of each."""

    max_imbalance_ratio: float = Field(ge=1)
    min_class_size: int = Field(ge=1)
    min_contrast: float = Field(ge=0)
    max_odd_sizes: float = Field(ge=1)
    max_other_colours: float = Field(ge=0, le=1)
    severity: dict[str, Severity]
