"""Learning from a pretrained network: what stays frozen, what is kept of it, and who decides whether it is taken at all."""

import functools
from types import SimpleNamespace

import numpy as np
import pytest
from test_train import train, work  # noqa: F401 (a fixture)

from components.shared import files
from components.shared.data import arrays
from components.shared.errors import Terminated
from components.shared.models import backend, efficientnet, keras_file
from components.train.config import TrainConfig

tf, keras = backend.start()

from components.train import pointwise, presets, transfer  # noqa: E402
from components.train.loop import Loop  # noqa: E402
from components.train.progress import Progress  # noqa: E402

PLAIN = {"preset": "pretrained", "optimizer": "adamw", "learning_rate": 3e-4, "batch_size": 16, "precision": "float32"}


def splits(work) -> list[arrays.Split]:  # noqa: F811
    layout = arrays.Layout.read(work / "prepared")
    return [arrays.load(work / "prepared" / name, layout) for name in ("train", "validation")]


def begun(work, config: TrainConfig, folder, precision: str = "float32") -> transfer.Part:  # noqa: F811
    shape = arrays.Layout.read(work / "prepared").shape
    build = functools.partial(presets.network, config.architecture, "pretrained", shape, 3, dropout=0.0)
    return transfer.part(build, *splits(work), config, folder, precision=precision, seed=1, once=lambda _, decide: decide())


@pytest.mark.slow
@pytest.mark.parametrize("architecture", ["cnn", "lstm"])
def test_the_trunk_stays_what_imagenet_made_it_and_the_rest_learns(work, knobs, architecture):  # noqa: F811
    config = knobs(TrainConfig, f"train.{architecture}", **PLAIN | {"epochs": 3})
    model = train(work, config, architecture)
    record = files.read_json(model / "run.json")
    assert record["validation"]["accuracy"] > 0.8
    assert record["tags"]["begun_from"] == efficientnet.NAME
    network = keras_file.load(model / keras_file.FILE, sha256=record["model"]["sha256"])
    network = network if "head" in [layer.name for layer in network.layers] else network.get_layer(architecture)
    for name, weights in efficientnet.folded().items():
        number = int("".join(filter(str.isdigit, name)) or 99)
        same = all(np.array_equal(*pair) for pair in zip(network.get_layer(name).get_weights(), weights, strict=True))
        assert same == (number < 11 or name == "stem" or name.endswith("depthwise")), name


@pytest.mark.parametrize(("precision", "close"), [("float32", 2e-3), pytest.param("bfloat16", 0.05, marks=pytest.mark.slow)])
def test_what_is_kept_of_the_trunk_is_what_the_whole_network_would_see(work, knobs, tmp_path, precision, close):  # noqa: F811
    part = begun(work, knobs(TrainConfig, "train.cnn", **PLAIN), tmp_path, precision)
    training, validation = splits(work)
    _, probabilities = part.model(part.validation.images.astype(np.float32))
    # In another order, but each with its own label.
    order = np.random.default_rng(1).permutation(len(validation))
    np.testing.assert_allclose(probabilities, part.network(validation.images[order]), atol=close)
    assert np.array_equal(part.validation.labels, validation.labels[order])
    assert (probabilities.numpy().argmax(1) == part.validation.labels).mean() > 0.7  # before any training: the regression alone
    assert sorted(part.training.labels.tolist()) == sorted(training.labels.tolist())
    _, learnt = part.model(part.training.images.astype(np.float32))
    assert (learnt.numpy().argmax(1) == part.training.labels).mean() > 0.9


def test_of_many_samples_the_first_are_what_the_output_layer_begins_with(work, knobs, tmp_path, monkeypatch):  # noqa: F811
    asked = {}

    def regression(features, labels, checked, truth, classes):
        asked.update(features=features, labels=labels, truth=truth)
        return fitted(features, labels, checked, truth, classes)

    fitted = transfer.regression
    monkeypatch.setattr(transfer, "regression", regression)
    monkeypatch.setattr(transfer, "BATCH", 16)
    monkeypatch.setattr(transfer, "SHOWN", 20)  # within a batch
    part = begun(work, knobs(TrainConfig, "train.cnn", **PLAIN), tmp_path)
    assert len(asked["features"]) == len(asked["labels"]) == 20 < len(part.training)
    assert len(asked["truth"]) == 20 < len(part.validation)
    assert set(asked["truth"]) == {0, 1, 2}
    end, last = part.network.get_layer(presets.TRUNK).output, part.network.get_layer("logits").input
    seen = keras.Model(end, last)(part.training.images.astype(np.float32))
    np.testing.assert_allclose(asked["features"], seen[:20], atol=5e-3)
    assert np.array_equal(asked["labels"], part.training.labels[:20])
    _, learnt = part.model(part.training.images.astype(np.float32))
    assert (learnt.numpy().argmax(1) == part.training.labels).mean() > 0.8  # what the trunk says of the others is theirs, too


@pytest.mark.parametrize("architecture", ["cnn", "lstm"])
def test_of_what_learns_depthwise_kernels_stay_and_only_convolutions_compute_in_bfloat16(work, knobs, tmp_path, architecture):  # noqa: F811
    part = begun(work, knobs(TrainConfig, f"train.{architecture}", **PLAIN), tmp_path, "bfloat16")
    depthwise = [layer for layer in part.model.layers if isinstance(layer, keras.layers.DepthwiseConv2D)]
    assert len(depthwise) == efficientnet.BLOCKS - 11
    assert not any(layer.trainable for layer in depthwise)
    for layer in part.model.layers[1:]:
        assert layer.compute_dtype == ("bfloat16" if type(layer) is keras.layers.Conv2D else "float32"), layer.name
        if isinstance(layer, keras.layers.Bidirectional):
            assert layer.forward_layer.cell.compute_dtype == "float32"
    single = [layer for layer in part.model.layers if pointwise.suits(layer)]
    assert len(single) == 2 * len(depthwise) + 1  # of each block two, and the head
    assert all(layer.convolution_op is pointwise.convolution() for layer in single)
    seen = {layer.compute_dtype for layer in part.network.layers if layer not in part.model.layers}
    assert seen == {"bfloat16"}, "the trunk, which has no gradients, all of it"


def test_a_short_budget_takes_the_samples_that_it_has_room_for(work, knobs, tmp_path, capsys):  # noqa: F811
    config = knobs(TrainConfig, "train.cnn", **PLAIN | {"budget_minutes": 0.0001})  # too short for all on any machine
    part = begun(work, config, tmp_path)
    training, validation = splits(work)
    assert transfer.BATCH <= len(part.training) < len(training)
    assert "samples, drawn at random" in capsys.readouterr().out
    assert len(part.validation) == len(validation)


def test_what_a_frozen_trunk_took_is_no_sign_of_slow_batches(knobs):
    config = knobs(TrainConfig, "train.cnn", preset="pretrained", budget_minutes=1)
    loop = SimpleNamespace(
        config=config, batches=10_000, _small_step=None, progress=Progress(seconds=20, trunk=20, validation=1)
    )

    def laid_out(pace: float) -> int:
        Loop._lay_out(loop, pace)
        return loop.progress.steps

    expected = laid_out(0.1)
    assert expected == pytest.approx((0.98 * 60 - 20 - 1) / 0.1, abs=1)
    loop.progress.step, loop.progress.seconds = 100, 20 + 100 * 0.1
    assert laid_out(loop.progress.pace) == pytest.approx(expected, abs=1)


@pytest.mark.slow
def test_a_training_that_goes_on_has_the_samples_that_it_began_with(work, knobs, monkeypatch):  # noqa: F811
    config = knobs(TrainConfig, "train.cnn", **PLAIN | {"budget_minutes": 0.2})
    answers = iter([100, 150])  # as a machine says that is busier, or less busy, than it was
    monkeypatch.setattr(transfer, "_affordable", lambda *_: next(answers))

    def interrupted(*_):
        raise Terminated("train: told to stop")

    with monkeypatch.context() as patch:
        patch.setattr("components.train.loop.budget.is_open", interrupted)  # after some batches
        patch.setattr("components.train.loop.budget.PROBE", 3)
        with pytest.raises(Terminated):
            train(work, config)
    assert files.read_json(train(work, config) / "run.json")["training_samples"] == 100
    assert files.read_json(train(work, config, name="another") / "run.json")["training_samples"] == 150


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_output_layer_begins_as_the_regression(classes):
    rng = np.random.default_rng(0)
    labels = np.arange(300) % min(classes, 4)  # of five classes one has no sample
    features = (rng.normal(size=(300, 20)) + 4 * np.eye(20)[labels]).astype(np.float32)
    kernel, bias = transfer.regression(features[:200], labels[:200], features[200:], labels[200:], classes)
    assert kernel.shape == (20, classes)
    assert ((features @ kernel + bias).argmax(1) == labels).mean() > 0.95


@pytest.mark.slow
def test_auto_tries_both_and_keeps_what_it_chose(work, knobs, capsys):  # noqa: F811
    config = knobs(TrainConfig, "train.cnn", **PLAIN | {"preset": "auto", "budget_minutes": 0.2})
    record = files.read_json(train(work, config) / "run.json")
    said = capsys.readouterr().out
    assert "trying preset default" in said
    assert "trying preset pretrained" in said
    chosen = record["name"].removeprefix("cnn-")
    assert chosen in ("default", "pretrained")
    assert f"train: preset {chosen} (each had a tenth of the time; balanced_accuracy on validation: default " in said
    assert record["knobs"]["train"]["preset"] == "auto"
    assert record["knobs"]["train"]["budget_minutes"] == 0.2
    assert record["training_seconds"] < 20
