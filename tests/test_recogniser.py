"""A package: read whole or refused, and its network's answers."""

import json
import os
import subprocess
import sys

import numpy as np
import onnx
import pytest
from conftest import ROOT
from toy_package import CLASSES, make_package

from components.shared.errors import CannotRun
from components.shared.models.answers import Calibration, answers
from components.shared.models.observed import DIMENSIONS, observed
from components.shared.models.package import FILE, MODEL, read
from components.shared.models.recogniser import Recogniser, checked
from components.shared.pictures.preprocessing import Preprocessing


def test_a_package_answers(tmp_path):
    model = Recogniser(make_package(tmp_path))
    images = np.random.default_rng(1).integers(0, 256, (50, 12, 12, 1), np.uint8)
    probabilities = model.probabilities(images)
    assert probabilities.shape == (50, 3)
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    for row, answer in zip(probabilities, model.answers(images, top=2), strict=True):
        assert answer.label == CLASSES[row.argmax()] == answer.prediction_set[0] == answer.top[0][0]
        assert answer.probability == answer.top[0][1] == row.max() > answer.top[1][1]
        assert set(answer.prediction_set) == {name for name, p in zip(CLASSES, row, strict=True) if p >= 0.2}
        assert answer.abstained == (row.max() < 0.4)
    assert model.answers(images[:0]) == []


def test_the_runtime_tells_nobody(tmp_path):
    make_package(tmp_path / "package")
    code = ("from pathlib import Path; from components.shared.models import package, recogniser; "
            "recogniser.Recogniser(package.read(Path('package')))")  # fmt: skip
    home = {name: value for name, value in os.environ.items() if not name.startswith(("XDG_", "ORT_", "CI"))}
    home |= {"HOME": str(tmp_path), "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], env=home, cwd=tmp_path, check=True)
    assert [each.name for each in tmp_path.iterdir()] == ["package"]  # else .cache, with what is to be sent


def test_many_at_once_are_answered_as_one_by_one(tmp_path, monkeypatch):
    monkeypatch.setattr("components.shared.models.recogniser.SPATIAL", 1000)
    model = Recogniser(make_package(tmp_path))
    images = np.random.default_rng(1).integers(0, 256, (17, 12, 12, 1), np.uint8)
    np.testing.assert_allclose(
        model.probabilities(images), np.concatenate([model.probabilities(images[i : i + 1]) for i in range(17)]), rtol=1e-5
    )


@pytest.mark.parametrize("coverage", [0.8, 0.9, 0.95])
def test_prediction_sets_hold_the_true_class_as_often_as_promised(coverage):
    rng, held = np.random.default_rng(3), []
    for _ in range(20):
        logits = rng.normal(size=(1500, 5)) * 2
        probabilities = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
        labels = np.array([rng.choice(5, p=row) for row in probabilities])
        calibration = Calibration.fit(labels[:500], probabilities[:500], temperature=1, coverage=coverage, answered=0.9)
        found = answers(probabilities[500:], list("abcde"), calibration)
        held.append(
            np.mean(["abcde"[label] in answer.prediction_set for label, answer in zip(labels[500:], found, strict=True)])
        )
        assert np.mean([not answer.abstained for answer in found]) == pytest.approx(0.9, abs=0.06)
    assert np.mean(held) == pytest.approx(coverage, abs=4 * np.std(held) / len(held) ** 0.5 + 0.002)


def test_with_few_samples_all_classes_are_in_the_set():
    calibration = Calibration.fit(np.array([0, 1]), np.eye(2), temperature=1, coverage=0.9, answered=0.9)
    (answer,) = answers(np.array([[0.99, 0.01]]), ["a", "b"], calibration)
    assert answer.prediction_set == ["a", "b"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / MODEL).write_bytes(b"other"), "is not what was packaged"),
        (lambda folder: (folder / MODEL).unlink(), "is missing"),
        (lambda folder: (folder / FILE).write_text("{"), "not"),
        (lambda folder: _alter(folder, format=9), "format '9'"),
        (lambda folder: _alter(folder, files={"../x": "0"}), "x is missing"),
        (lambda folder: _alter(folder, files={}), "names no"),
        (lambda folder: _alter(folder, calibration={}), "damaged"),
        (lambda folder: _alter(folder, preprocessing={"version": 0}), "saw pictures another way"),
    ],
)
def test_what_is_not_the_package_that_was_written_is_refused(tmp_path, change, said):
    make_package(tmp_path)
    change(tmp_path)
    with pytest.raises(CannotRun, match=said):
        read(tmp_path)


def test_another_package_than_expected_is_refused(tmp_path):
    package = make_package(tmp_path)
    assert read(tmp_path, digest=package.digest).digest == package.digest
    with pytest.raises(CannotRun, match="is another package"):
        read(tmp_path, digest="0" * 64)


def _alter(folder, **values):
    content = json.loads((folder / FILE).read_text())
    (folder / FILE).write_text(json.dumps(content | values))


def test_a_network_with_weights_elsewhere_or_with_foreign_operators_is_not_loaded(tmp_path):
    make_package(tmp_path)
    model = onnx.load_model(str(tmp_path / MODEL))
    onnx.save_model(model, str(tmp_path / "outside.onnx"), save_as_external_data=True, location="weights.bin", size_threshold=0)
    with pytest.raises(CannotRun, match="another file"):
        checked(tmp_path / "outside.onnx")
    model = onnx.load_model(str(tmp_path / MODEL))
    outside = onnx.TensorProto(name="x", data_type=onnx.TensorProto.UINT8, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    outside.external_data.add(key="location", value="secret.bin")
    model.graph.node.append(onnx.helper.make_node("Constant", [], ["x"], value=outside))
    (tmp_path / "constant.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(CannotRun, match="another file"):
        checked(tmp_path / "constant.onnx")
    model = onnx.load_model(str(tmp_path / MODEL))
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    onnx.save_model(model, str(tmp_path / "foreign.onnx"))
    with pytest.raises(CannotRun, match=r"com\.example"):
        checked(tmp_path / "foreign.onnx")
    (tmp_path / "text.onnx").write_bytes(b"no model")
    with pytest.raises(CannotRun, match="no ONNX model"):
        checked(tmp_path / "text.onnx")


def test_a_network_of_another_shape_is_refused(tmp_path):
    made = make_package(tmp_path)
    other = make_package(tmp_path / "other", way=Preprocessing(8, 8, 1, "pad"))
    (tmp_path / MODEL).write_bytes((other.folder / MODEL).read_bytes())
    with pytest.raises(CannotRun, match="is not the network of"):
        Recogniser(made)


def test_what_is_kept_of_answered_samples(tmp_path):
    clips = make_package(tmp_path, way=Preprocessing(8, 8, 3, "pad", time=4))
    images = np.random.default_rng(1).integers(1, 256, (5, 4, 8, 8, 3), np.uint8)
    short = images.copy()
    short[:, 2:] = 0  # padding
    whole, padded = (observed(each, *Recogniser(clips).both(each)).to_pydict() for each in (images, short))
    assert whole["brightness"] == pytest.approx((images / 255).mean((1, 2, 3, 4)).tolist())
    assert padded["brightness"] == pytest.approx((images[:, :2] / 255).mean((1, 2, 3, 4)).tolist())
    assert {len(row) for row in whole["features"]} == {DIMENSIONS}
    assert {len(row) for row in whole["probabilities"]} == {3}
