"""A training whose first part sees smaller pictures: the same layers, the same budget, the same result after a stop."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from test_train import CLIP, train, work, write_layout, write_split  # noqa: F401

from components.shared import files
from components.shared.errors import Terminated
from components.shared.models import backend
from components.train.config import TrainConfig

tf, keras = backend.start()

from components.train import progressive  # noqa: E402
from components.train.loop import Loop  # noqa: E402
from components.train.presets import network  # noqa: E402
from components.train.progress import Progress  # noqa: E402


def write_sides(folder: Path, side: int) -> None:
    """Toys of another size in prepared."""
    for name, each in (("train", 64), ("validation", 16), ("test", 16)):
        write_split(folder / "prepared" / name, each=each, seed=len(name), side=side)
    write_layout(folder, shape=(side, side, 3))


@pytest.mark.parametrize(("architecture", "preset", "seen"), [
    ("cnn", "default", (20, 20, 1)), ("cnn", "best", (20, 20, 1)), ("lstm", "default", (20, 28, 1)), ("cnn", "article", None),
])  # fmt: skip
def test_the_first_part_of_a_training_sees_smaller_pictures_by_the_same_layers(knobs, architecture, preset, seen):
    config = knobs(TrainConfig, f"train.{architecture}", preset=preset)
    model = network(architecture, preset, (28, 28, 1), 3, dropout=0.0)
    small = progressive.smaller(tf, keras, model, config)
    assert (small is not None) == (seen is not None)
    if small:
        other = network(architecture, preset, seen, 3, dropout=0.0)
        other.set_weights(model.get_weights())
        # Of one level each, so that the mean over an area is a whole number, which is all that the other network takes.
        levels = np.random.default_rng(0).integers(0, 256, (8, 1, 1, 1), np.uint8)
        images, fewer = (np.broadcast_to(levels, (8, *shape)).copy() for shape in ((28, 28, 1), seen))
        np.testing.assert_allclose(small(images, True), other(fewer, training=True), atol=1e-3)
        images = np.random.default_rng(0).integers(0, 256, (4, 28, 28, 1), np.uint8)
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(small(tf.constant(images), True) ** 2)
        assert all(each is not None for each in tape.gradient(loss, model.trainable_variables))


def test_clips_and_what_is_small_already_are_seen_as_they_are(knobs):
    config = knobs(TrainConfig, "train.cnn")
    for shape in (CLIP, (16, 16, 3)):
        assert progressive.smaller(tf, keras, network("cnn", "default", shape, 3, dropout=0.0), config) is None
    large = network("cnn", "default", (28, 28, 1), 3, dropout=0.0)
    assert progressive.smaller(tf, keras, large, config.model_copy(update={"small_first": 0.0})) is None


def test_what_smaller_pictures_leave_over_of_a_budget_goes_to_more_batches(knobs):
    config = knobs(TrainConfig, "train.cnn", budget_minutes=1, small_first=0.5)
    progress = Progress(ratio=0.5, validation=0.0)
    loop = SimpleNamespace(progress=progress, config=config, batches=10_000, _small_step=True)
    half = 58.8 / 0.075 / 2  # of what fits at a mean of 75 ms

    def lay_out() -> int:
        Loop._lay_out(loop, 0.1)
        return progress.steps

    assert lay_out() == pytest.approx(2 * half, abs=1)
    progress.step = progress.small = round(half)  # all at 50 ms
    progress.seconds = 0.05 * progress.small
    assert lay_out() == pytest.approx(2 * half, abs=2)
    progress.step += 100  # at 100 ms
    progress.seconds += 0.1 * 100
    assert lay_out() == pytest.approx(2 * half, abs=2)


def test_a_training_that_is_stopped_before_and_after_the_switch_ends_as_an_undisturbed_one(work, knobs, monkeypatch):  # noqa: F811
    write_sides(work, 24)
    config = knobs(TrainConfig, "train.cnn", epochs=2, batch_size=16, precision="float32")  # 24 batches

    def stopped(*_):
        raise Terminated("train: told to stop")

    def weights(name: str) -> str:
        return files.read_json(train(work, config, name) / "run.json")["model"]["weights_sha256"]

    whole = weights("whole")
    for probe in (7, 16):
        with monkeypatch.context() as patch:
            patch.setattr("components.train.loop.budget.is_open", stopped)
            patch.setattr("components.train.loop.budget.PROBE", probe)
            with pytest.raises(Terminated):
                train(work, config)
    assert weights("cnn") == whole
    config = config.model_copy(update={"small_first": 0.0})
    assert weights("other") != whole, "half of it has seen smaller pictures"


@pytest.mark.parametrize("epochs", [1, 3])
def test_what_is_kept_was_validated_at_full_size(work, knobs, capsys, epochs):  # noqa: F811
    write_sides(work, 24)
    config = knobs(TrainConfig, "train.cnn", epochs=epochs, batch_size=192, small_first=0.7)  # a batch an epoch
    record = files.read_json(train(work, config) / "run.json")
    said = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch")]
    small = int(0.7 * epochs)
    assert [line.endswith("smaller pictures") for line in said] == [True] * small + [False] * (epochs - small)
    assert record["best"]["epoch"] > small
