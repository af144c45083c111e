"""The knobs of `register`."""

from typing import Annotated, Literal

from pydantic import Field

from components.shared.config import Section

Share = Annotated[float, Field(ge=0, le=1)]


class RegisterConfig(Section):
    """What a model must reach, and by what the better one is told. See params.yaml for the meaning of each."""

    enabled: bool
    model: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_. -]{0,99}$")
    minimum_accuracy: Share
    minimum_balanced_accuracy: Share
    minimum_worst_class_recall: Share
    maximum_calibration_error: Share
    minimum_coverage: Share
    maximum_mean_corruption_error: Share
    maximum_milliseconds_p99: float = Field(gt=0)
    maximum_mebibytes: float = Field(gt=0)
    compare_by: Literal["balanced_accuracy", "accuracy"]
    smallest_gain: Share
    class_harm: Share
    calibration_harm: Share
    corruption_harm: Share
    latency_harm: float = Field(ge=1)
    decide_on: Literal["all", "fresh"]
    replace_incomparable_champion: bool
    signing_key: str
