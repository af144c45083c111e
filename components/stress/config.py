"""The knobs of `stress`."""

from pydantic import Field

from components.shared.config import Section


class StressConfig(Section):
    """How many of the test samples are damaged. See params.yaml."""

    samples: int = Field(ge=0, le=10_000_000)
