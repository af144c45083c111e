"""The knobs of `embed`."""

from typing import Literal

from pydantic import Field

from components.shared.config import Section


class EmbedConfig(Section):
    """See params.yaml for the meaning of each."""

    network: Literal["none", "efficientnet-lite0"]
    side: int = Field(ge=32, le=1024)
    dimensions: int = Field(ge=2, le=1024)
    frames: int = Field(ge=1, le=256)
