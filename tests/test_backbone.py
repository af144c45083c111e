"""`darkroom backbone`: what is taken, what is refused, and that a network of one's own then trains like ours."""

import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT
from test_train import CLIP, PHOTO, STILL, work  # noqa: F401 (a fixture)

from components.__main__ import main
from components.shared import files
from components.shared.data import arrays
from components.shared.errors import CannotRun
from components.shared.models import backend, keras_file
from components.shared.models.scores import scores
from components.shared.store import STORE, Store
from components.train import backbone as backbones
from components.train.config import TrainConfig

tf, keras = backend.start()

from components.train import foreign_network, presets  # noqa: E402

layers, applications = keras.layers, keras.applications


def tiny(*, scaled: bool = True, top: bool = True, last=None):
    """Sides halved five times, a shortcut, batch normalisation; with a top, and with all else that a person may have put around."""
    images = keras.Input((64, 64, 3))
    inner = keras.Input((None, None, 3))
    x = layers.Rescaling(1 / 127.5, offset=-1.0)(inner) if scaled else inner
    for width in (4, 6, 8, 10):
        x = layers.Conv2D(width, 3, strides=2, padding="same", kernel_regularizer="l2")(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization(name=f"normal{width}")(x))
    x = layers.Add(name="shortcut")([x, layers.SeparableConv2D(10, 3, padding="same")(x)])
    x = layers.Conv2D(16, 3, strides=2, padding="same", name="learns")(x)
    x = layers.BatchNormalization(name="logits")(x)  # a name that a layer of ours has, too
    x = keras.Model(inner, last(x) if last else x, name="inner")(images)
    if top:
        x = layers.Dense(5, name="dense")(layers.Dropout(0.3)(layers.GlobalAveragePooling2D()(x)))
    model = keras.Model(images, x)
    model.compile("adam", "mse")
    return seeded(model)


def seeded(model):
    """Weights as if it had learnt something: statistics of batches, too, which a new network has not."""
    rng = np.random.default_rng(0)
    for weight in model.weights:
        value = rng.normal(0, 1 / np.sqrt(max(1, np.prod(weight.shape[:-1]))), weight.shape)
        weight.assign(1 + 0.1 * value if "gamma" in weight.path or "variance" in weight.path else value)
    return model


@pytest.fixture(scope="module")
def known(tmp_path_factory) -> Path:
    """The file of the tiny network."""
    file = tmp_path_factory.mktemp("known") / "tiny.keras"
    keras.utils.set_random_seed(1)
    tiny().save(file)
    return file


def taken(file: Path, capsys, *options: str) -> tuple[str, str]:
    """What the command says, and the knob in it."""
    assert main(["backbone", str(file), *options]) == 0
    said = capsys.readouterr().out
    return said, re.search(r"backbone: (\S+@[0-9a-f]{12})$", said, re.M)[1]


def refused(file: Path, capsys, *options: str, code: int = 1) -> str:
    assert main(["backbone", str(file), *options]) == code
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert not list(Path("backbones").glob("*"))
    return said


def test_a_network_is_kept_without_its_top_and_the_same_file_is_the_same_network(known, here, capsys):
    said, knob = taken(known, capsys)
    assert "pixels 0..255, which it scales itself" in said
    assert "up to 'shortcut' (4 x 4 x 10); the others learn, up to 'logits' (2 x 2 x 16)" in said
    assert "dvc add backbones" in said
    about = files.read_json(here / "backbones/tiny.json")
    assert about["sha256"] == files.digest(here / "backbones/tiny.keras")
    assert knob == f"tiny@{about['sha256'][:12]}"
    assert taken(known, capsys)[1] == knob  # again: nothing to do
    assert taken(known, capsys, "--name", "other")[1] == knob.replace(
        "tiny", "other"
    )  # the same bytes, whenever they are written
    assert main(["backbone", str(known), "--pixels", "tf"]) == 2
    assert "is there already, and is another network" in capsys.readouterr().err
    assert main(["backbone", str(known), "--name", "../x"]) == 2


def test_pixels_are_named_where_the_network_does_not_scale_them(here, capsys):
    model = tiny(scaled=False, top=False)
    model.save("bare.keras")
    assert "name it with --pixels" in refused(Path("bare.keras"), capsys, code=2)
    pixels = np.random.default_rng(0).integers(0, 256, (2, 64, 64, 3)).astype(np.float32)
    for name, mode in (("tf", "tf"), ("torch", "torch"), ("caffe", "caffe")):
        made, _ = foreign_network.read(Path("bare.keras"), pixels=name)
        shown = applications.imagenet_utils.preprocess_input(pixels.copy(), mode=mode)
        np.testing.assert_allclose(made(pixels), model(shown), rtol=1e-3, atol=1e-3)


def lambda_layer(images):
    return layers.Lambda(lambda x: x * 2)(images)


class Mine(layers.Layer):
    def call(self, inputs):
        return inputs


def forged(source: Path, target: Path, change) -> Path:
    """A copy whose description is changed."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        members = {name: old.read(name) for name in old.namelist()}
        for name, content in change(members).items():
            new.writestr(name, content)
    return target


def flipped(source: Path, target: Path) -> Path:
    """A copy with a byte of its weights changed."""
    content = bytearray(source.read_bytes())
    content[content.index(b"\x89HDF") + 3000] ^= 255
    target.write_bytes(content)
    return target


def foreign_layer(members: dict) -> dict:
    text = members["config.json"].decode().replace('"class_name": "ReLU"', '"class_name": "TFSMLayer"')
    return members | {"config.json": text}


HOSTILE = {
    "a member more": (lambda members: members | {"assets/x": b"1"}, 1, "expected config.json, metadata.json"),
    "a bomb": (lambda members: members | {"config.json": b" " * (33 * 2**20)}, 1, "expected config.json, metadata.json"),
    "deep": (lambda members: members | {"config.json": b"[" * 100_000}, 2, "damaged or cut short"),
    "a layer that reads files": (foreign_layer, 1, "holds keras.layers.TFSMLayer, which no network of Darkroom has"),
    "other weights": (lambda members: members | {"model.weights.h5": b"none"}, 2, "Keras cannot load it"),
}


@pytest.mark.parametrize("harm", HOSTILE)
def test_what_is_no_plain_network_is_refused_in_a_line_before_it_is_loaded(known, here, capsys, harm):
    change, code, words = HOSTILE[harm]
    assert words in refused(forged(known, here / "x.keras", change), capsys, code=code)


def test_code_in_a_network_is_refused(here, capsys):
    for name, layer in (("Lambda", lambda_layer), ("Mine", Mine())):
        tiny(top=False, last=layer).save("x.keras")
        assert f"{name}, which no network of Darkroom has; it is not loaded" in refused(Path("x.keras"), capsys)


def test_what_cannot_be_a_backbone_is_refused_in_a_line(known, here, capsys):
    Path("text.keras").write_text("text")
    assert "damaged or cut short" in refused(Path("text.keras"), capsys, code=2)
    assert "Keras cannot load it (Bad CRC-32" in refused(flipped(known, here / "x.keras"), capsys, code=2)
    assert "expected a file that ends in .keras" in refused(Path("x.h5"), capsys, code=2)
    first, second = keras.Input((64, 64, 3)), keras.Input((64, 64, 3))
    for inputs, outputs, words in (
        ([first, second], layers.Add()([first, second]), "has 2 inputs and 1 outputs"),
        (first, layers.Dense(3)(layers.Flatten()(layers.Rescaling(1.0)(first))), "holds no feature map"),
        (grey := keras.Input((64, 64, 1)), layers.Conv2D(3, 3)(grey), "expected pictures in colour"),
        (first, layers.Conv2D(3, 32, strides=32)(layers.Rescaling(1.0)(first)), "cannot be split"),
    ):
        keras.Model(inputs, outputs).save("x.keras")
        assert words in refused(Path("x.keras"), capsys)
    model = tiny()
    model.weights[3].assign(np.full(model.weights[3].shape, np.nan))
    model.save("x.keras")
    assert "weights that are no finite numbers" in refused(Path("x.keras"), capsys)


@pytest.mark.parametrize("shape", [STILL, PHOTO, CLIP])
@pytest.mark.parametrize("architecture", ["cnn", "lstm"])
def test_it_takes_any_kind_and_size_and_comes_back_from_disk(known, here, capsys, architecture, shape):
    taken(known, capsys)
    settings = {"dropout": 0.1, "backbone": Path("backbones/tiny.keras")}
    model = presets.network(architecture, "pretrained", shape, 4, **settings)
    images = np.random.default_rng(0).integers(0, 256, (3, *shape), np.uint8)
    sha256 = keras_file.save(model, here / "model")["sha256"]
    again = keras_file.load(here / "model" / keras_file.FILE, sha256=sha256)
    np.testing.assert_allclose(again(images), model(images), atol=1e-6)
    assert np.ptp(model(images), axis=0).max() > 1e-4
    fast = presets.network(architecture, "pretrained", shape, 4, precision="bfloat16", **settings)
    fast.set_weights(model.get_weights())
    np.testing.assert_allclose(fast(images), model(images), atol=0.05)
    assert fast.get_layer(presets.TRUNK).output.dtype == "bfloat16"


def test_its_trunk_and_all_statistics_stay_and_the_rest_learns(known, work, knobs, capsys):  # noqa: F811
    from components.train.step import train

    _, knob = taken(known, capsys)
    recipe = {"optimizer": "adamw", "learning_rate": 0.003, "batch_size": 16, "precision": "float32", "mirror": False}
    config = knobs(TrainConfig, "train.cnn", preset="pretrained", backbone=knob, epochs=1, **recipe)
    train(augmented=work / "prepared/train", prepared=work / "prepared", config=config, seed=3, model=work / "models/cnn")
    record = files.read_json(work / "models/cnn/run.json")
    assert record["knobs"]["train"]["backbone"] == knob
    network = keras_file.load(work / "models/cnn" / keras_file.FILE, sha256=record["model"]["sha256"])
    validation = arrays.load(work / "prepared/validation", arrays.Layout.read(work / "prepared"))
    found = scores(validation.labels, keras_file.predict(network, validation.images))
    assert found == pytest.approx(record["validation"])
    pristine = keras.saving.load_model(work / "backbones/tiny.keras")
    moved = {
        layer.name.removeprefix("backbone_")
        for layer in pristine.layers
        if layer.weights
        and any((a != b).any() for a, b in zip(layer.get_weights(), network.get_layer(layer.name).get_weights(), strict=True))
    }
    assert moved == {"learns"}


def test_a_network_that_is_not_what_the_knob_names_is_refused(known, here, knobs, capsys):
    _, knob = taken(known, capsys)
    kept = Path("backbones/tiny.keras")
    assert backbones.find(knob, Path("backbones"), here) == kept
    assert backbones.find(backbones.OURS, Path("backbones"), here) is None
    with pytest.raises(CannotRun, match=r"^backbones/none\.keras: no such file; `dvc checkout backbones` brings it"):
        backbones.find(f"none@{knob[-12:]}", Path("backbones"), here)
    with pytest.raises(CannotRun, match=rf"is not the network that the knob names.*set backbone: tiny@{knob[-12:]}$"):
        backbones.find("tiny@0123456789ab", Path("backbones"), here)
    kept.write_bytes(kept.read_bytes()[:-1])
    with pytest.raises(CannotRun, match="or is damaged"):
        backbones.find(knob, Path("backbones"), here)
    with pytest.raises(CannotRun, match=r"^train\.cnn\.backbone: expected efficientnet-lite0, or NAME@DIGITS"):
        knobs(TrainConfig, "train.cnn", backbone="tiny")


def test_a_pod_finds_it_in_the_store(known, here, monkeypatch, capsys):
    _, knob = taken(known, capsys)
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    store = Store((here / "store").as_uri())
    params["train"]["cnn"]["backbone"] = knob
    backbones.keep(params, store)
    assert store.names("backbones") == []  # its preset begins with none
    params["train"]["cnn"]["preset"] = "auto"
    for _ in range(2):
        backbones.keep(params, store)
    assert store.names("backbones") == [f"backbones/{knob[-12:]}.keras"]
    monkeypatch.setenv(STORE, (here / "store").as_uri())
    found = backbones.find(knob, Path("nowhere"), here / "pod")
    assert files.digest(found) == files.digest(Path("backbones/tiny.keras"))
    assert found.parent == here / "pod"
    os.truncate(here / "store/backbones" / f"{knob[-12:]}.keras", 100)
    with pytest.raises(CannotRun, match="or is damaged"):
        backbones.find(knob, Path("nowhere"), here / "pod")


APPLICATIONS = {  # name -> how it is made, what it wants to see
    "MobileNetV2": ({"alpha": 0.35, "include_top": False}, "tf"),
    "MobileNetV3Small": ({"alpha": 0.75, "classes": 7}, "found"),
    "EfficientNetB0": ({"classes": 7}, "found"),
    "DenseNet121": ({"include_top": False, "pooling": "avg"}, "torch"),
    "ResNet50V2": ({"include_top": False}, "tf"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", APPLICATIONS)
def test_keras_applications_see_what_they_saw(name, here):
    settings, pixels = APPLICATIONS[name]
    shape = (128, 128, 3)
    model = seeded(getattr(applications, name)(weights=None, input_shape=shape, **settings))
    model.save("it.keras")
    made, about = foreign_network.read(Path("it.keras"), pixels=pixels)
    foreign_network.write(made, Path("kept.keras"))
    images = keras.Input(shape, dtype="uint8")
    first, last = foreign_network.halves(Path("kept.keras"))
    middle = first(images)
    assert middle.shape[1:3] == (8, 8)
    whole = keras.Model(images, last(middle))
    pictures = np.random.default_rng(0).integers(0, 256, (2, *shape), np.uint8)
    features = keras.Model(model.input, model.get_layer(about["features"]["layer"]).output)
    shown = pictures.astype(np.float32)
    if pixels != "found":
        shown = applications.imagenet_utils.preprocess_input(shown, mode=pixels)
    wanted = features(shown).numpy()
    assert np.isfinite(wanted).all()
    assert wanted.std() > 0
    np.testing.assert_allclose(whole(pictures), wanted, rtol=1e-3, atol=1e-3 * wanted.std())
    trained = presets.network("cnn", "pretrained", (32, 32, 3), 3, dropout=0.0, backbone=Path("kept.keras"))
    sha256 = keras_file.save(trained, here / "model")["sha256"]
    again = keras_file.load(here / "model" / keras_file.FILE, sha256=sha256)
    np.testing.assert_allclose(again(pictures[:, :32, :32]), trained(pictures[:, :32, :32]), atol=1e-5)
