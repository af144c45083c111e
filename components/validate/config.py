"""The knobs of `validate`."""

from typing import Literal

from pydantic import Field

from components.shared.config import Section
from components.shared.errors import CannotRun

Severity = Literal["error", "warning", "info", "off"]


class ValidateConfig(Section):
    """Limits, and how bad it is when one is passed. See params.yaml for the meaning of each."""

    quarantine: Literal["stop", "skip"]
    max_quarantined: float = Field(ge=0, le=1)
    max_imbalance_ratio: float = Field(ge=1)
    min_class_size: int = Field(ge=1)
    min_contrast: float = Field(ge=0)
    max_common: float = Field(gt=0, le=1)
    min_entropy: float = Field(ge=0, le=8)
    min_sharpness: float = Field(ge=0, le=1)
    dark_below: float = Field(ge=0, le=255)
    bright_above: float = Field(ge=0, le=255)
    max_odd_sizes: float = Field(ge=1)
    max_odd_ratio: float = Field(ge=1)
    max_other_colours: float = Field(ge=0, le=1)
    near_bits: int = Field(ge=0, le=6)
    near_correlation: float = Field(gt=0, le=1)
    max_near_leakage: float = Field(ge=0, le=1)
    max_label_trust: float = Field(ge=0, le=1)
    min_shared_frames: float = Field(gt=0, le=1)
    max_odd_length: float = Field(ge=1)
    max_shortcut: float = Field(ge=0, le=1)
    max_drift: float = Field(ge=0, le=1)
    severity: dict[str, Severity]

    def check(self) -> None:
        """Raise CannotRun unless there is a severity for each check, and for no other."""
        from components.validate.checks import BY_CODE  # which imports this module, and much else

        wrong = [
            f"validate.severity.{code}: no such check; there are: {', '.join(sorted(BY_CODE))}"
            for code in sorted(self.severity.keys() - BY_CODE.keys())
        ]
        wrong += [
            f"validate.severity.{code}: missing; error, warning, info or off" for code in BY_CODE if code not in self.severity
        ]
        if wrong:
            raise CannotRun(*wrong)
