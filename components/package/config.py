"""The knobs of `package`."""

from pydantic import Field

from components.shared.config import Section


class PackageConfig(Section):
    """How sure an answer has to be, and for which runtimes the network is exported. See params.yaml for the meaning of each."""

    coverage: float = Field(gt=0, lt=1)
    answered: float = Field(gt=0, le=1)
    litert: bool
