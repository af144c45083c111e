"""The knobs of `measure`."""

from components.shared.config import Section


class MeasureConfig(Section):
    """See params.yaml for the meaning of each."""

    faces: bool
