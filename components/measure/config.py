"""The knobs of `measure`."""

from pydantic import Field

from components.shared.config import Section
from components.shared.pictures.decode import LARGEST


class MeasureConfig(Section):
    """See params.yaml for the meaning of each."""

    faces: bool
    max_megapixels: float = Field(ge=0.01, le=LARGEST / 1e6)
