"""What ingest takes of a source that is drawn small: `from forms.conftest import read_all`, and the toys `from conftest import …`."""

from pathlib import Path

import pytest

from components.ingest.form import Options, Reading, understand
from components.ingest.forms import FORMS
from components.ingest.sample_reader import Reader
from components.ingest.source import LeftOut
from components.ingest.taken import summary_of, tell
from components.shared.data.dataset import Sample
from components.shared.errors import Stop


def read(path: Path, form: str = "", **options) -> Reading:
    """How a source is understood."""
    return understand(path, FORMS, Options(**options), asked=form)


def read_all(path: Path, form: str = "", **options) -> list[Sample]:
    """The samples that ingest takes, with their bytes, in their order."""
    source = read(path, form, **options).source
    reader = Reader(source.root, 64, LeftOut())
    return [reader.read(entry) for entry in source.entries(LeftOut())]


def told(path: Path, capsys: pytest.CaptureFixture, form: str = "", **options) -> str:
    """What is printed before an ingest."""
    reading = read(path, form, **options)
    tell(reading, summary_of(reading.source))
    return capsys.readouterr().out


def refused(path: Path, form: str = "", **options) -> str:
    """The lines of the refusal, Refused's or CannotRun's."""
    with pytest.raises(Stop) as caught:
        read_all(path, form, **options)
    return str(caught.value)
