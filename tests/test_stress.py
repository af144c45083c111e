"""Damaged test samples: what each damage does to pictures and clips, and what a model that is asked about them is said to bear."""

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from conftest import ROOT
from kfp.dsl import HTML
from toy_package import make_package

from components.shared import files
from components.shared.data import arrays
from components.shared.errors import CannotRun
from components.shared.models import package as packages
from components.shared.pictures.preprocessing import Preprocessing
from components.stress import step
from components.stress.clip_damages import CLIP_DAMAGES, damaged, of_samples
from components.stress.config import StressConfig
from components.stress.damages import DAMAGES, seeds_of, uniform
from pipelines.artifacts import show_stress

SHAPES = [(28, 28, 1), (96, 64, 3), (8, 28, 28, 1), (6, 32, 48, 3)]
SIDE = 28


def drawn(count: int, shape: tuple[int, ...]) -> np.ndarray:
    """Blobs on a rough ground, each frame anew; every third clip ends two frames early."""
    *time, height, width, channels = shape
    rng, frames = np.random.default_rng(0), []
    for _ in range(count):
        for _frame in range(*time or [1]):
            image = rng.integers(0, 120, (height, width, 3), np.uint8)
            for _ in range(3):
                place = int(rng.integers(width)), int(rng.integers(height))
                cv2.circle(image, place, width // 6, rng.integers(60, 256, 3).tolist(), -1)
            frames.append(cv2.blur(image, (3, 3))[..., :channels])
    samples = np.array(frames).reshape(count, *shape)
    if time:
        samples = np.maximum(samples, 1)
        samples[::3, -2:] = 0
    return samples


@pytest.mark.parametrize(("shape", "name"), [(shape, name) for shape in SHAPES for name in of_samples(clips=len(shape) == 4)])
def test_a_damage_grows_with_its_strength_and_is_the_same_alone_and_in_a_batch(shape, name):
    samples = drawn(40 if len(shape) == 3 else 15, shape)
    before, differences = samples.copy(), [0.0]
    for strength in step.STRENGTHS:
        made = damaged(samples, name, strength)
        assert (made.shape, made.dtype) == (samples.shape, np.uint8)
        differences.append(np.abs(made.astype(int) - samples).mean())
        np.testing.assert_array_equal(made[5:7], np.concatenate([damaged(samples[i : i + 1], name, strength) for i in (5, 6)]))
        assert len(shape) != 4 or not made[::3, -2:].any()  # padding stays padding
    assert (np.diff(differences) > 0).all(), differences
    np.testing.assert_array_equal(samples, before)
    assert damaged(samples[:0], name, 3).shape == (0, *shape)


@pytest.mark.parametrize("name", DAMAGES)
def test_every_frame_of_a_clip_suffers_the_same_but_for_noise(name):
    still = drawn(1, (28, 28, 1))
    frames = damaged(np.repeat(still[:, None], 5, axis=1), name, 4)[0]
    same = [bool((frame == frames[0]).all()) for frame in frames]
    assert same == [True] + 4 * [name != "noise"]
    assert (
        damaged(np.full((1, 3, 28, 28, 1), 1, np.uint8), name, 5).any(axis=(2, 3, 4)).all()
    )  # what became black is no padding


def test_seeds_are_of_the_pixels_and_numbers_of_the_seed_are_even():
    samples = drawn(300, (28, 28, 1))
    seeds = seeds_of(samples)
    assert len(set(seeds.tolist())) == 300
    numbers = uniform(seeds, 7, 11)
    assert 0 < numbers.min() < numbers.max() < 1
    assert np.abs(np.histogram(numbers, 10)[0] / numbers.size - 0.1).max() < 0.01
    assert np.abs(np.corrcoef(numbers.reshape(300, -1)[:, :20].T) - np.eye(20)).max() < 0.25
    np.testing.assert_array_equal(uniform(seeds[7:8], 7, 11), numbers[7:8])


def project(folder: Path, images: np.ndarray, labels: list[int], matrix: np.ndarray, **package) -> dict:
    """A test split and a package whose network is the matrix; what `stress` is called with."""
    classes, shape = ["a", "b"], images.shape[1:]
    layout = arrays.Layout(classes, shape, "data")
    test = folder / "prepared/test"
    arrays.create(test, len(images), shape)[:] = images
    arrays.describe(
        test, np.array(labels), [{"id": str(i), "source": str(i), "label": classes[k]} for i, k in enumerate(labels)]
    )
    layout.write(folder / "prepared")
    way = Preprocessing(*shape[-3:], "pad", shape[0] if len(shape) == 4 else None)
    made = make_package(folder / "package", way=way, classes=classes, matrix=matrix, **{"name": "cnn-toy", **package})
    return {
        "packages": [made.folder],
        "prepared": folder / "prepared",
        "config": StressConfig(samples=0),
        "stress": folder / "out",
    }


@pytest.fixture
def sides(tmp_path, monkeypatch):
    """A bright spot left or right of the middle, and a network that weighs the left half against the right one."""
    monkeypatch.setenv("DARKROOM_CPUS", "1")
    labels = np.arange(60) % 2
    images = np.random.default_rng(0).integers(20, 40, (60, SIDE, SIDE, 1), np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[12:16, 15:17] = 120 if label else 20
        image[12:16, 11:13] = 20 if label else 120
    left = np.broadcast_to(np.arange(SIDE) < SIDE / 2, (SIDE, SIDE)).ravel()
    return project(tmp_path, images, labels.tolist(), np.stack([left, ~left], axis=1).astype(float))


def outcome(given: dict, architecture: str = "cnn") -> dict:
    step.stress(**given)
    return json.loads((given["stress"] / architecture / "stress.json").read_text())


def test_a_model_that_looks_at_one_thing_fails_under_the_damage_of_that_thing(sides, capsys):
    found = outcome(sides)
    accuracy = {name: each["accuracy"] for name, each in found["damages"].items()}
    for harmless in ("brightness", "contrast", "jpeg", "pixelate"):
        assert min(accuracy[harmless]) > 0.95, harmless
    assert accuracy["shift"][0] == 1  # by a pixel
    assert accuracy["shift"][4] < 0.7  # across the middle, half of them
    assert found["damages"]["shift"]["worst_class_recall"][4] <= accuracy["shift"][4]
    assert capsys.readouterr().out.startswith(f"stress cnn: mean corruption error {found['mean_corruption_error']:.4f}, +")


def test_a_model_that_lives_by_the_order_of_frames_fails_when_they_are_mixed(tmp_path, monkeypatch):
    monkeypatch.setenv("DARKROOM_CPUS", "1")
    labels = np.arange(40) % 2
    clips = np.random.default_rng(0).integers(20, 40, (40, 6, SIDE, SIDE, 1), np.uint8)
    for clip, label in zip(clips, labels, strict=True):
        clip[3 * label : 3 * label + 3] += 40
    late = np.repeat(np.arange(6) >= 3, SIDE * SIDE)
    found = outcome(project(tmp_path, clips, labels.tolist(), np.stack([~late, late], 1).astype(float)))
    assert found["damages"].keys() == DAMAGES.keys() | CLIP_DAMAGES.keys()
    assert found["damages"]["frame_order"]["accuracy"][4] < 0.9
    assert all(min(found["damages"][name]["accuracy"]) == 1 for name in ("blur", "rotate", "contrast", "shift"))


def test_what_is_written_has_the_agreed_shape_and_repeats_byte_for_byte(sides, monkeypatch):
    found = outcome(sides)
    assert found.keys() == {"mean_corruption_error", "relative", "samples", "worst", "damages", "package", "test_digest"}
    assert found["worst"].keys() == {"damage", "strength", "accuracy"}
    assert list(found["damages"]) == sorted(DAMAGES)
    assert all(each.keys() == {"accuracy", "worst_class_recall", "trained_on"} for each in found["damages"].values())
    accuracies = np.array([each["accuracy"] for each in found["damages"].values()])
    assert accuracies.shape == (13, 5)
    assert found["samples"] == 60
    assert found["mean_corruption_error"] == pytest.approx(1 - accuracies.mean())
    assert found["relative"] == pytest.approx(found["mean_corruption_error"])  # undamaged, it makes no mistake
    assert found["worst"]["accuracy"] == accuracies.min()
    written = {file.name: file.read_bytes() for file in (sides["stress"] / "cnn").iterdir()}
    assert written.keys() == {"stress.json", "curves.png", "damages.png"}
    monkeypatch.setenv("DARKROOM_CPUS", "2")
    monkeypatch.setattr(step, "SAMPLES", 60 // 2)  # parts for two processes
    outcome(sides)
    assert {file.name: file.read_bytes() for file in (sides["stress"] / "cnn").iterdir()} == written


def test_damage_that_the_model_was_trained_on_is_marked(sides, tmp_path):
    (folder,) = sides["packages"]
    about = json.loads((folder / packages.FILE).read_text())
    about["facts"]["augment"] = {"shift": 0.1, "erase": 0.2, "noise": 0.0, "flip": True}
    files.write_json(folder / packages.FILE, about)
    found = outcome(sides)
    assert {name for name, each in found["damages"].items() if each["trained_on"]} == {"shift", "occlusion"}
    page = HTML(uri=str(tmp_path / "page"))
    show_stress(sides["stress"], page)
    text = Path(page.path).read_text()
    assert "cnn: mean corruption error 0." in text
    assert text.count("<img") == 2


def test_of_many_samples_a_few_of_each_class_are_drawn():
    labels = np.repeat([0, 1, 2], [900, 99, 1])
    rows = step.chosen(labels, 100)
    assert np.bincount(labels[rows]).tolist() == [89, 10, 1]
    assert len(step.chosen(np.repeat(np.arange(500), 3), 80)) == 80, "of more classes than samples not all"
    assert (np.diff(rows) > 0).all()
    np.testing.assert_array_equal(rows, step.chosen(labels, 100))
    for everything in (0, 1000, 5000):
        assert len(step.chosen(labels, everything)) == 1000


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"way": Preprocessing(12, 12, 1, "pad"), "matrix": None}, "of other shape than"),
        ({"classes": ["a", "c"]}, "of other classes than"),
    ],
)
def test_a_package_of_something_else_is_refused_in_one_line(sides, change, told):
    (folder,) = sides["packages"]
    given = {"way": Preprocessing(SIDE, SIDE, 1, "pad"), "classes": ["a", "b"], "matrix": np.ones((SIDE**2, 2)), **change}
    make_package(folder, name="cnn-toy", **given)
    with pytest.raises(CannotRun, match=told) as refused:
        step.stress(**sides)
    assert len(refused.value.faults) == 1
    assert not sides["stress"].exists()


def test_two_packages_of_one_architecture_and_a_missing_one_are_refused(sides, tmp_path):
    with pytest.raises(CannotRun, match="is a second package of cnn"):
        step.stress(**{**sides, "packages": 2 * sides["packages"]})
    with pytest.raises(CannotRun, match="no such file"):
        step.stress(**{**sides, "packages": [tmp_path / "none"]})


def test_the_command_needs_no_tensorflow(sides, tmp_path):
    (tmp_path / "params.yaml").write_text("stress: {samples: 20}\n")
    command = ["stress", "--packages", str(*sides["packages"]), "--prepared", str(sides["prepared"]), "--config", "stress",
               "--stress", str(tmp_path / "new")]  # fmt: skip
    code = (f"import sys; from components.__main__ import main; code = main({command}); "
            "assert 'tensorflow' not in sys.modules; sys.exit(code)")  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, env={"PYTHONPATH": str(ROOT)}
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.count("\n") == 1
    assert json.loads((tmp_path / "new/cnn/stress.json").read_text())["samples"] == 20


def test_a_change_of_its_knobs_trains_and_evaluates_nothing():
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    stages = {name: stage.get("do", stage) for name, stage in stages.items()}
    assert [name for name, stage in stages.items() if "stress" in stage["params"]] == ["stress"]
    assert {name for name, stage in stages.items() if "outputs/stress" in stage["deps"]} <= {"register"}
