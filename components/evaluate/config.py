"""The knobs of `evaluate`."""

from pydantic import Field

from components.shared.config import Section


class EvaluateConfig(Section):
    """What is drawn and how finely. See params.yaml for the meaning of each."""

    calibration_bins: int = Field(ge=2, le=100)
    gallery: int = Field(ge=0, le=200)  # 25 rows of pictures: more would be looked at by nobody
    explained: int = Field(ge=0, le=36)  # each costs some two hundred predictions
