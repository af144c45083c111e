"""What ingest takes of a source that is drawn small: `from forms.conftest import read_all`, and the toys `from conftest import …`."""

from pathlib import Path

import numpy as np
import pytest
from conftest import drawing, png

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


def labels(path: Path, form: str = "", **options) -> dict[str, str]:
    """The label of each sample by its path."""
    return {sample.source: sample.label for sample in read_all(path, form, **options)}


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


@pytest.fixture
def place(tmp_path):
    """`place("a/1.jpg", ...)`: pictures by their paths in a folder, which it gives."""

    def draw(*names: str) -> Path:
        for seed, name in enumerate(names):
            (tmp_path / "s" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "s" / name).write_bytes(png(drawing("box", np.random.default_rng(seed))))
        return tmp_path / "s"

    return draw
