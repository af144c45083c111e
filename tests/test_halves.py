"""A batch in two halves, each on half of the processors, is learnt from as a whole one."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from test_train import train, work  # noqa: F401  the fixture, and a training

from components.shared import config as configs
from components.shared import files
from components.shared.data.arrays import Split
from components.shared.models import backend
from components.train.config import TrainConfig

tf, keras = backend.start()

from components.train import halves, normalization, presets  # noqa: E402
from components.train.loop import Loop  # noqa: E402
from components.train.progress import Progress  # noqa: E402


def both(model):
    """Its logits and probabilities, as a training has them: in one piece, and in two."""
    whole = keras.Model(model.input, [model.get_layer("logits").output, model.output])
    signature = tf.TensorSpec(whole.inputs[0].shape, tf.uint8)

    def compiled(outputs):
        runs = {
            training: tf.function(lambda images, how=training: outputs(images, training=how), input_signature=[signature])
            for training in (True, False)
        }
        return lambda images, training: runs[training](images)

    return compiled(whole), compiled(halves.side_by_side(tf, whole))


def pictures(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, 28, 28, 1), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 5, 8])
def test_each_picture_has_the_answer_that_it_has_in_a_whole_batch(count):
    whole, parts = both(presets.network("cnn", "default", (28, 28, 1), 4, dropout=0.0))
    for one, other in zip(whole(pictures(count), training=False), parts(pictures(count), training=False), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)


@pytest.mark.parametrize("architecture", ["cnn", "lstm"])
def test_the_gradient_is_that_of_the_whole_batch(architecture):
    model = presets.network(architecture, "article", (28, 28, 1), 4, dropout=0.0)  # no batch normalisation in it
    found = []
    for outputs in both(model):
        with tf.GradientTape() as tape:
            logits, _ = outputs(pictures(7), training=True)
            loss = tf.reduce_mean(logits[:, 1] ** 2)
        found.append(tape.gradient(loss, [weight.value for weight in model.trainable_weights]))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5 * max(1, np.abs(one).max()))


def test_what_one_half_holds_is_nothing_to_the_other():
    model = presets.network("cnn", "default", (28, 28, 1), 4, dropout=0.0, normalization=normalization.FusedBatchNormalization)
    whole, parts = both(model)
    images = pictures(64)
    mixed = np.concatenate([images[:32], images[:32]])
    np.testing.assert_allclose(parts(images, training=True)[0][:32], parts(mixed, training=True)[0][:32], atol=1e-4)
    assert np.abs(whole(images, training=True)[0][:32] - whole(mixed, training=True)[0][:32]).max() > 1e-3


@pytest.mark.parametrize(("samples", "batch_size"), [(65, 32), (129, 128), (20, 64), (300, 7)])
def test_every_sample_comes_once_an_epoch_and_no_batch_is_a_remnant(knobs, samples, batch_size):
    numbered = Split(np.arange(samples).reshape(-1, 1, 1, 1), np.zeros(samples, np.int32), None)
    config = knobs(TrainConfig, "train.cnn", batch_size=batch_size)
    batches = -(-samples // batch_size)
    loop = SimpleNamespace(train=numbered, config=config, seed=1, batches=batches, progress=Progress())
    with ThreadPoolExecutor(1) as reader:
        found = [images.ravel() for images, _ in Loop._ahead(loop, reader, 0, range(batches))]
    assert sorted(np.concatenate(found)) == list(range(samples))
    sizes = [len(each) for each in found]
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1


@pytest.mark.parametrize(("changes", "samples", "expected"), [
    ({}, 1000, True), ({"preset": "best"}, 1000, True), ({"preset": "pretrained"}, 1000, False), ({"batch_size": 16}, 1000, False),
    ({}, 20, False),
])  # fmt: skip
def test_small_batches_and_large_pictures_stay_whole(knobs, changes, samples, expected):
    config = knobs(TrainConfig, "train.cnn", **changes)
    assert halves.pay(tf, config, samples) == expected
    if samples >= halves.LEAST:  # who computes batch by batch in one piece has all processors for each operation
        assert halves.groups(config) == 1 + expected


def test_two_operations_at_once_share_the_processors():
    script = (
        "from components.shared import parallel; from components.shared.models import backend\n"
        "tf, _ = backend.start(groups=2)\n"
        "print(parallel.granted(), tf.config.threading.get_intra_op_parallelism_threads())\n"
    )
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    granted, each = map(int, done.stdout.split())
    assert each == max(1, granted // 2)


def test_a_training_on_one_processor_ends_as_the_same_on_two(work):  # noqa: F811
    for name, count in (("one", 1), ("two", 2)):
        processors = sorted(os.sched_getaffinity(0))[:count]
        command = [
            sys.executable,
            "-c",
            f"import os; os.sched_setaffinity(0, {processors}); from test_halves import learn; learn({name!r})",
        ]
        subprocess.run(command, cwd=work, check=True, env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}, timeout=300)
    one, two = (files.read_json(work / f"models/{name}/run.json")["model"]["weights_sha256"] for name in ("one", "two"))
    assert one == two


def learn(name: str) -> None:
    """A short training in the current folder, as a process of its own runs it."""
    knobs = configs.read_params(ROOT / "params.yaml")["train"]["cnn"]
    train(Path(), TrainConfig(**knobs | {"epochs": 2, "batch_size": 64, "precision": "float32"}), name)
