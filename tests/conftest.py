"""Toys drawn by code: small pictures with something to learn in them, and a project folder to run steps in."""

import contextlib
import fcntl
import functools
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import numpy as np
import pytest
import yaml
from PIL import Image

from components.measure.config import MeasureConfig
from components.shared import config as configs
from components.shared.data import manifest as manifests
from components.shared.runs import connection

# What commands print is as wide as it is, not as a terminal that there is none of (pytest-xdist says 80 columns).
for name in ("COLUMNS", "LINES"):
    os.environ.pop(name, None)

# The same draws everywhere: what fails for one fails for all.
hypothesis.settings.register_profile("seeded", derandomize=True, deadline=None)
hypothesis.settings.load_profile("seeded")

ROOT = Path(__file__).parent.parent
MEASURE = MeasureConfig(faces=False, max_megapixels=100)
SHAPES = ("bar", "box", "cross")


def cannot_run_here(reason: str) -> None:
    """Skip a test whose real part this machine does not allow; CI has all of them, so there it is a failure."""
    (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)


# What a process tells its libraries once and for good, and what MLflow tells itself.
TOLD = (
    "KERAS_BACKEND",
    "KMP_",  # joblib
    "LD_LIBRARY_PATH",  # OpenCV
    "ORT_DISABLE_TELEMETRY",
    "GX_ANALYTICS_ENABLED",
    "MLFLOW_EXPERIMENT_ID",
    *("TF_", "TF2_", "TPU_ML_PLATFORM", "HDF5_PLUGIN_PATH", "ENABLE_RUNTIME_UPTIME_TELEMETRY"),  # TensorFlow
    "PYTEST_",
    *connection.SETTINGS,
)


@pytest.fixture(autouse=True)
def environment() -> Iterator[None]:
    """No command leaves anything in the environment: the next one in the process, of a test or a notebook, would run with it."""
    before = dict(os.environ)
    yield
    after = dict(os.environ)
    left = {name for name, _ in before.items() ^ after.items() if not name.startswith(TOLD)}
    for name in left:
        os.environ.pop(name, None)
        os.environ.update({name: before[name]} if name in before else {})
    assert not left


@pytest.fixture(autouse=True)
def stores() -> Iterator[None]:
    """No test asks an object store that an earlier one of the process opened, with that one's address and credentials.

    fsspec keeps each under its arguments, and what the environment said when it was opened.
    """
    yield
    if "s3fs" in sys.modules:
        sys.modules["s3fs"].S3FileSystem.clear_instance_cache()


@functools.cache
def empty_store() -> bytes:
    """A tracking store with all of its tables: MLflow takes seconds to make them."""
    from components.shared.runs.connection import connect

    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        connect()
        return Path("mlflow/runs.db").read_bytes()


def drawing(shape: str, rng: np.random.Generator, *, size: int = 16, at: int | None = None) -> np.ndarray:
    """uint8 (size, size, 3): one shape in a random place and colour on a dark, noisy ground."""
    pixels = rng.integers(0, 60, (size, size, 3), dtype=np.uint8)
    x = int(rng.integers(2, size - 8)) if at is None else at
    y = int(rng.integers(2, size - 8))
    colour = rng.integers(150, 255, 3)
    if shape == "bar":
        pixels[y : y + 6, x : x + 2] = colour
    elif shape == "box":
        pixels[y : y + 6, x : x + 6] = colour
    else:
        pixels[y + 2 : y + 4, x : x + 6] = colour
        pixels[y : y + 6, x + 2 : x + 4] = colour
    return pixels


def png(pixels: np.ndarray) -> bytes:
    """Encode as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def draw_stills(folder: Path, *, each: int = 30, size: int = 16, shapes=SHAPES, seed: int = 0) -> Path:
    """A folder per class of stills."""
    rng = np.random.default_rng(seed)
    for shape in shapes:
        (folder / shape).mkdir(parents=True, exist_ok=True)
        for number in range(each):
            (folder / shape / f"{number}.png").write_bytes(png(drawing(shape, rng, size=size)))
    return folder


def draw_clips(folder: Path, *, each: int = 16, size: int = 16, seed: int = 0) -> Path:
    """Two classes, a folder of numbered frames per clip: a box that moves left or right. One frame alone tells nothing."""
    rng = np.random.default_rng(seed)
    for label, step in (("left", -1), ("right", 1)):
        for number in range(each):
            clip = folder / label / f"clip{number}"
            clip.mkdir(parents=True)
            start = int(rng.integers(3, 6)) + (4 if step < 0 else 0)
            scene = np.random.default_rng([seed, number, step + 1])
            for time in range(int(rng.integers(4, 7))):
                same = np.random.default_rng(scene.integers(1) + number)  # the box keeps its height and colour
                (clip / f"frame{time}.png").write_bytes(png(drawing("box", same, size=size, at=max(0, start + step * time))))
    return folder


def draw_shards(folder: Path, draw=draw_stills) -> Path:
    """Three shards: one a run of `ingest`, put side by side."""
    from components.ingest.step import ingest

    (folder / "data").mkdir(parents=True)
    for number in range(3):
        source = draw(folder / f"source{number}", seed=number)
        for of_class in list(source.iterdir()):
            for file in sorted(of_class.rglob("*"), reverse=True):
                file.rename(file.with_name(f"{number}{file.name}"))
        ingest(source, folder / f"d{number}")
        shutil.copy(folder / f"d{number}/00000.parquet", folder / f"data/{number:05}.parquet")
    return folder / "data"


def by_code(findings: Path) -> dict[str, dict]:
    """The findings of findings.json by code; `items` are the lines that people read, `records` what programs read."""
    read = json.loads(findings.read_text())
    return {
        each["code"]: {**each, "items": [item["text"] for item in each["items"]], "records": each["items"]} for each in read
    }


def measured(manifest: Path):
    """All rows of a manifest as a pandas DataFrame."""
    return manifests.frame((table for _, table in manifests.parts(manifest, manifests.SCHEMA.names)), [])


@pytest.fixture(scope="session")
def drawn():
    """`drawn(folder, rows, classes)`: a manifest without any picture."""
    from drawn import draw

    return draw


@pytest.fixture
def stills(tmp_path: Path) -> Path:
    """90 stills in 3 classes."""
    return draw_stills(tmp_path / "stills")


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """32 clips in 2 classes."""
    return draw_clips(tmp_path / "clips")


@pytest.fixture
def knobs():
    """`knobs(TrainConfig, "train.cnn", epochs=1)`: a section of the project's params.yaml with some knobs changed."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())

    def section(model, path: str, **changes):
        values = configs.section_of(params, path, file=Path("params.yaml"))
        return configs.parse(model, {**values, **changes}, path=path)

    return section


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder of one's own, with a tracking store in it."""
    folder = tmp_path / "work"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return folder


@pytest.fixture(scope="session")
def image() -> Iterator[dict]:
    """The image of this very code, built once, and what podman knows of it."""
    from pipelines import graph

    with pytest.MonkeyPatch.context() as patch:
        # Podman as it has to be in a sandbox; elsewhere the file does no harm.
        patch.setenv("CONTAINERS_CONF", str(ROOT / "infra/containers.conf"))
        with Path(tempfile.gettempdir(), f"darkroom-image-{os.getuid()}.lock").open("w") as turn:
            fcntl.flock(turn, fcntl.LOCK_EX)  # tests run in several processes: the second one finds it built
            done = subprocess.run([ROOT / "infra/image.sh", graph.image()], cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        shown = subprocess.run(["podman", "image", "inspect", graph.image()], capture_output=True, text=True, check=True)
        yield json.loads(shown.stdout)[0]
