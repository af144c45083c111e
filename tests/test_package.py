"""A trained model -> a package: the same answers without Keras, or a word why not; and MLflow's model of it, which answers bytes."""

import base64
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pyarrow.parquet as pq
import pytest
from conftest import ROOT, drawing, empty_store, png
from toy_package import make_package

from components.package import convert
from components.package.config import PackageConfig
from components.package.step import _worst, package
from components.shared import files
from components.shared.data import arrays
from components.shared.errors import CannotRun, Refused
from components.shared.models import package as packages
from components.shared.models.recogniser import Recogniser
from components.shared.pictures.preprocessing import Preprocessing
from components.shared.runs import tracking

STILLS, CLIPS = Preprocessing(12, 12, 1, "pad"), Preprocessing(12, 12, 1, "pad", time=3)
CLASSES = ["bar", "box", "cross"]


def project(place: Path, way: Preprocessing, architecture: str | None) -> tuple[Path, Path]:
    """What prepare and train leave of a network that nobody has trained; without an architecture with no network."""
    layout = arrays.Layout(CLASSES, way.shape, "d.dir", {}, way.record())
    labels = np.arange(40) % 3
    arrays.create(place / "prepared/validation", 40, way.shape)[:] = np.random.default_rng(0).integers(0, 256, (40, *way.shape))
    arrays.describe(place / "prepared/validation", labels, [{"id": str(n), "label": CLASSES[n % 3]} for n in range(40)])
    layout.write(place / "prepared")
    record = {
        "name": f"{architecture}-default", "classes": CLASSES, "shape": list(way.shape), "data_digest": "d.dir", "knobs": {},
        "model": {"sha256": "0" * 64, "weights_sha256": "w"}, "training_id": "t", "tags": {"git_commit": "abc"},
        "temperature": 1.0, "preprocessing": way.record(),
    }  # fmt: skip
    if architecture:
        from components.shared.models import backend, keras_file
        from components.train import presets, step

        _, keras = backend.start(seed=1)
        network = step._both_sides(keras, presets.network(architecture, "default", way.shape, 3, dropout=0.1))
        record["model"] = keras_file.save(network, place / "model")
    files.write_json(place / "model/run.json", record)
    return place / "model", place / "prepared"


@pytest.fixture
def run(here, knobs):
    """`run(model, prepared, litert=True)`: the step, with its store in the folder where it is; returns the package."""
    (here / "mlflow").mkdir()
    (here / "mlflow/runs.db").write_bytes(empty_store())

    def step(model: Path, prepared: Path, **changes) -> packages.Package:
        package(model=model, prepared=prepared, config=knobs(PackageConfig, "package", **changes), package=here / "package")
        return packages.read(here / "package")

    return step


@pytest.mark.parametrize(("architecture", "way", "nodes"), [
    ("cnn", STILLS, 100), ("cnn", CLIPS, 200), pytest.param("lstm", STILLS, 150, marks=pytest.mark.slow),
    pytest.param("lstm", CLIPS, 250, marks=pytest.mark.slow),
])  # fmt: skip
def test_a_package_says_what_keras_says(here, run, capsys, architecture, way, nodes):
    model, prepared = project(here, way, architecture)
    made = run(model, prepared, litert=architecture == "lstm", coverage=0.8)
    assert (made.name, made.classes, made.preprocessing) == (f"{architecture}-default", CLASSES, way)
    assert (made.calibration.coverage, made.calibration.answered) == (0.8, 0.9)
    assert made.facts["worst_difference"] < 1e-5
    assert (made.facts["samples"], made.facts["training_id"], made.facts["nodes"] < nodes) == (40, "t", True)
    images = arrays.load(prepared / "validation").images
    probabilities, features = Recogniser(made).both(images)
    assert (probabilities.shape, len(features)) == ((40, 3), 40)
    kept = pq.read_table(made.folder / "validation.parquet")
    assert kept["label"].to_pylist()[:3] == CLASSES
    assert np.allclose(kept["probabilities"].to_pylist(), probabilities, atol=1e-6)
    network = onnx.load_model(made.folder / packages.MODEL)
    scalars = {name for node in network.graph.node if "/rescaling" in node.output[0] for name in node.input}
    sides = {len(each.dims) for each in network.graph.initializer if each.name in scalars}
    assert sides == {4}, "a scalar is slow where pictures have one channel"
    told = capsys.readouterr().out
    if way is CLIPS:
        assert ("package: LiteRT: for stills alone, not for clips" in told) == (architecture == "lstm")
    elif architecture == "lstm":
        assert {"model.tflite", "model.int8.tflite"} < set(made.files)
        assert abs(made.facts["litert"]["accuracy_lost_by_int8"]) <= 0.2
    assert f"package {architecture}-default: " in told


def test_what_does_not_belong_together_is_told_and_nothing_is_packaged(here, run):
    model, prepared = project(here, STILLS, None)
    record = files.read_json(model / "run.json")
    (model / "model.keras").write_bytes(b"other")
    with pytest.raises(Refused, match="is not the model that was trained"):
        run(model, prepared)
    for change, words in (
        ({"preprocessing": {}}, "the model saw pictures another way"),
        ({"classes": CLASSES[:2]}, "other classes"),
    ):
        (model / "run.json").write_text(json.dumps(record | change))
        with pytest.raises(CannotRun, match=words):
            run(model, prepared)
    assert not (here / "package").exists()


def test_a_network_that_answers_otherwise_is_refused():
    keras = np.array([[0.5, 0.5 - 1e-5, 1e-5], [0.2, 0.7, 0.1]], np.float32)
    near = keras + np.array([[-2e-5, 2e-5, 0], [0, 0, 0]], np.float32)
    assert 1e-5 < _worst(keras, near, where=Path("m")) < 1e-4  # between two that are as good as equal the other one may win
    for other in (keras[:, ::-1], keras + np.float32(np.nan)):
        with pytest.raises(Refused, match=r"answers otherwise than Keras for [12] of 2 validation samples"):
            _worst(keras, other, where=Path("m"))


def dies(folder: Path, done) -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hangs(folder: Path, done) -> None:
    time.sleep(600)


def fails(folder: Path, done) -> None:
    raise ValueError("an operator that is none\nand much more")


def waits(folder: Path, done) -> None:
    while not (folder / "go").exists():
        time.sleep(0.01)
    done.send("")
    np.save(folder / convert.ANSWERS, np.ones((1, 1), np.float32))


def test_what_is_to_be_done_meanwhile_is_done_while_the_converter_runs(tmp_path):
    assert convert.in_a_process(waits, tmp_path, meanwhile=(tmp_path / "go").touch) == 1


@pytest.mark.slow
@pytest.mark.parametrize(("work", "words"), [(dies, r"died \(SIGSEGV\)"), (hangs, "did not end within 20"),
                                             (fails, r"cannot be converted \(ValueError: an operator that is none\)")])  # fmt: skip
def test_a_converter_that_dies_hangs_or_fails_is_a_line(tmp_path, monkeypatch, work, words):
    monkeypatch.setattr(convert, "LONGEST", 20.0 if work is hangs else 300.0)
    with pytest.raises(CannotRun, match=words) as told:
        convert.in_a_process(work, tmp_path)
    assert len(str(told.value).splitlines()) == 1


@pytest.fixture
def sent(here, run):
    """`sent(way)`: a run whose MLflow model is a toy package; returns it, and the model's address."""

    def send(way: Preprocessing) -> tuple[packages.Package, str]:
        model, _ = project(here, way, None)
        (model / "model.keras").write_bytes(b"keras")
        (model / "history.csv").write_text("epoch,train_loss,time\n1,0.5,1000\n")
        record = files.read_json(model / "run.json")
        (model / "run.json").write_text(json.dumps(record | {"model": {"sha256": files.digest(model / "model.keras")}}))
        made = make_package(here / "toy", way=way, training_id="t")
        client = tracking.connect().MlflowClient()
        run_id = tracking.send_package(model, here / "toy")
        assert tracking.send_package(model, here / "toy") == run_id
        (logged,) = client.search_logged_models([client.get_run(run_id).info.experiment_id])
        assert logged.tags["package_sha256"] == made.digest
        return made, f"models:/{logged.model_id}"

    return send


def test_mlflows_model_answers_bytes_as_the_recogniser_does_without_pickle(sent, here):
    made, address = sent(STILLS)
    # Before it is loaded: Python may keep bytecode there.
    stored = [file for file in (here / "mlflow/artifacts").rglob("*") if file.is_file()]
    rng = np.random.default_rng(0)
    pictures = [png(drawing(shape, rng)) for shape in CLASSES]
    said = Recogniser(made).answers(np.stack([STILLS.sample([each]) for each in pictures]))
    model = tracking.connect().pyfunc.load_model(address)
    text = [base64.b64encode(each).decode() for each in pictures]
    for given in (pd.DataFrame({"image": pictures}), pictures, np.array(pictures, object), text):
        answered = model.predict(given)
        assert list(answered["label"]) == [each.label for each in said]
        assert list(answered["prediction_set"]) == [each.prediction_set for each in said]
        assert np.allclose(answered["probability"], [each.probability for each in said])
    assert list(answered.columns) == ["label", "probability", "prediction_set", "abstained"]
    assert len(model.predict([])) == 0
    assert list(model.predict(pictures[0])["label"]) == [said[0].label]
    for bad in (b"no picture", "no base64!", 7, []):
        with pytest.raises(Exception, match="sample 1: expected the bytes of a PNG or JPEG"):
            model.predict([pictures[0], bad])
    assert not [file for file in stored if file.suffix in (".pkl", ".pickle", ".cloudpickle", ".pyc")]
    for file in stored:
        assert file.name == "MLmodel" or os.fsencode(here) not in file.read_bytes(), file
    assert os.fsencode(ROOT) not in next(file for file in stored if file.name == "MLmodel").read_bytes()


def test_mlflows_model_of_clips_takes_lists_of_frames_and_no_other_package(sent, here):
    made, address = sent(CLIPS)
    rng = np.random.default_rng(0)
    clips = [[png(drawing(shape, rng)) for _ in range(4)] for shape in CLASSES]
    said = Recogniser(made).answers(np.stack([CLIPS.sample(each) for each in clips]))
    mlflow = tracking.connect()
    assert list(mlflow.pyfunc.load_model(address).predict(pd.DataFrame({"image": clips}))["label"]) == [
        one.label for one in said
    ]
    (folder,) = (here / "mlflow/artifacts").rglob("artifacts/package")
    make_package(folder, way=CLIPS, seed=5)
    with pytest.raises(CannotRun, match="is another package"):
        mlflow.pyfunc.load_model(address)


@pytest.mark.slow
def test_mlflow_serves_what_was_sent(sent, here):
    made, address = sent(STILLS)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{here}/mlflow/runs.db"}
    serving = subprocess.Popen([sys.executable, "-m", "mlflow", "models", "serve", "--model-uri", address, "--env-manager", "local",
                                "--port", str(port)], env=environment, start_new_session=True)  # fmt: skip
    picture = png(drawing("box", np.random.default_rng(1)))
    body = {"dataframe_split": {"columns": ["image"], "data": [[base64.b64encode(picture).decode()]]}}
    request = urllib.request.Request(f"http://127.0.0.1:{port}/invocations", json.dumps(body).encode(),
                                     {"Content-Type": "application/json"})  # fmt: skip
    try:
        for _ in range(300):
            assert serving.poll() is None
            with contextlib.suppress(urllib.error.URLError):
                (answer,) = json.load(urllib.request.urlopen(request))["predictions"]
                break
            time.sleep(1)
    finally:
        os.killpg(serving.pid, signal.SIGTERM)
    (said,) = Recogniser(made).answers(STILLS.sample([picture])[None])
    assert (answer["label"], answer["prediction_set"]) == (said.label, said.prediction_set)
    assert replace(said, probability=answer["probability"]).label == said.label
