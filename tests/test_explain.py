"""A mark that alone tells a class is what every explanation has to find; a picture of edges has to fail its checks."""

import json

import numpy as np
import pytest

from components.evaluate import charts, explain, explain_checks, explain_gradients
from components.shared.data import arrays
from components.shared.models import backend, keras_file

SIDE, MARK = 12, 4  # pixels: of a picture, and of the corner that tells its class
METHODS = ("grad_cam", "integrated_gradients", "occlusion")
NETWORKS = ("cnn", "lstm", "nested", "cnn clip", "lstm clip")


def marked(count: int, *, time: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Noise, and in the upper left corner a light square (class 1) or a dark one (class 0); of a clip in its second frame alone."""
    rng = np.random.default_rng(0)
    images = rng.integers(60, 196, (count, *([time] if time else []), SIDE, SIDE, 1), dtype=np.uint8)
    labels = np.arange(count) % 2
    frames = images[:, 1] if time else images
    frames[:, :MARK, :MARK] = np.where(labels, 255, 1)[:, None, None, None]
    if time:
        images[:, -1] = 0  # padding
    return images, labels


def nested(shape, keras, classes: int = 2):
    """A network inside another, as a backbone is."""
    inner = keras.Input((SIDE, SIDE, 1))
    x = keras.layers.Conv2D(8, 3, padding="same", activation="relu")(inner)
    backbone = keras.Model(inner, keras.layers.Conv2D(8, 3, strides=2, padding="same", activation="relu")(x))
    images = keras.Input(shape, dtype="uint8")
    x = keras.layers.Flatten()(backbone(keras.layers.Rescaling(1 / 127.5, offset=-1)(images)))
    x = keras.layers.Activation("softmax", name="probabilities")(keras.layers.Dense(classes, name="logits")(x))
    return keras.Model(images, x)


@pytest.fixture(scope="module")
def trained():
    """`trained(name)`: a network that has learnt the mark, its parts, pictures, labels, and what `checks` finds of them."""
    from components.train import presets

    _, keras = backend.start()
    made = {}

    def train(name: str):
        if name not in made:
            keras.utils.set_random_seed(1)
            images, labels = marked(192, time=4 if "clip" in name else 0)
            if name == "nested":
                model = nested(images.shape[1:], keras)
            else:
                model = presets.network(name.split()[0], "default", images.shape[1:], 2, dropout=0.0)
            model.compile(keras.optimizers.Adam(3e-3), "sparse_categorical_crossentropy")
            model.fit(images, labels, batch_size=32, epochs=6, verbose=0)
            parts = explain_gradients.differentiable(model)
            made[name] = model, parts, images[:24], labels[:24], *explain.checks(model, parts, images[:24], labels[:24])
        return made[name]

    return train


@pytest.mark.parametrize("name", NETWORKS)
def test_each_explanation_finds_the_mark_and_a_sham_is_told(trained, name):
    network, parts, images, labels, checked, maps = trained(name)
    assert (keras_file.predict(network, images).argmax(1) == labels).all()
    grid = explain_checks.grid((SIDE, SIDE, 1))
    mark = np.unique(grid[:MARK, :MARK])
    seen = MARK + SIDE // parts.model.output["last"].shape[1]  # no place of that layer's is smaller
    for method in METHODS:
        assert np.isin(maps[method].argmax(1), np.unique(grid[:seen, :seen]) if method == "grad_cam" else mark).all(), method
        assert checked[method]["deletion"] < checked[method]["random_order"]
        assert checked[method]["similarity"] < 0.6
    assert checked["integrated_gradients"]["trusted"]
    assert not np.isin(maps["sham"].argmax(1), mark).all()
    assert checked["sham"]["similarity"] == 1
    assert not checked["sham"]["trusted"]
    if "clip" in name:
        assert (maps["time"].argmax(1) == 1).all()  # the frame with the mark
        assert not maps["time"][:, -1].any()  # padding
    if name == "lstm":
        assert maps["time"].shape[1] == parts.steps == SIDE // 2
        assert (maps["time"].argmax(1) < 2).all()
    assert ("time" in checked) == (name not in ("cnn", "nested"))


def test_integrated_gradients_add_up_to_what_the_log_odds_gain(trained):
    network, parts, images, labels, *_ = trained("nested")
    plain = np.stack([explain_checks.plain(image) for image in images])
    gained = explain_gradients.integrated_gradients(parts, images, plain, labels).sum((1, 2))
    odds = [np.log(p / (1 - p)) for p in (keras_file.predict(network, some)[range(24), labels] for some in (images, plain))]
    assert gained == pytest.approx(odds[0] - odds[1], rel=0.1, abs=0.2)


def test_shuffled_weights_are_the_same_ones_elsewhere_and_come_back(trained):
    network, parts, images, *_ = trained("nested")
    before = keras_file.predict(network, images)
    with explain_checks.shuffled(parts.layers, 0):
        kernel = parts.layers[-1].get_weights()[0]
        assert np.abs(keras_file.predict(network, images) - before).max() > 0.1
    after = parts.layers[-1].get_weights()[0]
    assert (np.sort(kernel.ravel()) == np.sort(after.ravel())).all()
    assert (kernel != after).any()
    assert (keras_file.predict(network, images) == before).all()


def test_of_a_mirrored_network_the_side_of_the_picture_is_explained(trained):
    from components.train import step

    network, parts, images, *_ = trained("cnn")
    both = explain_gradients.differentiable(step._both_sides(backend.start()[1], network))
    pixels = images.astype(np.float32)
    assert np.array_equal(both.model(pixels)["logits"], parts.model(pixels)["logits"])
    assert [layer.name for layer in both.layers] == [layer.name for layer in parts.layers]


def split(folder, images: np.ndarray, labels: np.ndarray) -> arrays.Split:
    arrays.create(folder, len(images), images.shape[1:])[:] = images
    arrays.describe(folder, labels, [{"id": f"{n}", "source": f"{n}.png", "label": "", "picture": f"{n}"} for n in labels])
    return arrays.load(folder)


@pytest.mark.parametrize("name", ["nested", "lstm clip"])
def test_what_is_written(trained, name, tmp_path):
    network, _, images, labels, *_ = trained(name)
    probabilities = keras_file.predict(network, images)
    probabilities[:2] = probabilities[:2, ::-1]  # two mistakes
    explain.explain("CNN", network, split(tmp_path / "test", images, labels), probabilities, ["dark", "light"], 36, tmp_path)
    drawn = {"explanations.json", "explanations.png", "features.png"} | ({"time.png"} if "clip" in name else set())
    assert {file.name for file in tmp_path.iterdir() if file.is_file()} == drawn
    found = json.loads((tmp_path / "explanations.json").read_text())
    trusted = [method for method in METHODS if found[method]["trusted"]]
    assert [method for method in found if found[method]["drawn"]] == sorted(
        trusted, key=lambda method: found[method]["deletion"]
    )[:1]
    assert {each["pictures"] for each in found.values()} == {24}


def test_a_network_that_says_the_same_of_everything_has_no_explanation(tmp_path):
    _, keras = backend.start()
    images, labels = marked(12)
    network = nested(images.shape[1:], keras)
    network.get_layer("logits").set_weights([np.zeros_like(weight) for weight in network.get_layer("logits").get_weights()])
    test = split(tmp_path / "test", images, labels)
    explain.explain("CNN", network, test, keras_file.predict(network, images), ["dark", "light"], 36, tmp_path)
    found = json.loads((tmp_path / "explanations.json").read_text())
    assert not any(each["trusted"] or each["drawn"] for each in found.values())
    assert found["integrated_gradients"]["similarity"] is None
    assert (tmp_path / "explanations.png").exists()


def test_what_the_layers_react_to_is_drawn_of_a_picture_of_each_class(monkeypatch, tmp_path):
    images, _ = marked(15)
    labels, drawn = np.arange(15) % 5, []
    monkeypatch.setattr(charts, "features", lambda title, samples, *rest: drawn.extend(samples))
    network, probabilities = nested(images.shape[1:], backend.start()[1], 5), 0.9 * np.eye(5)[labels] + 0.02
    explain.explain("CNN", network, split(tmp_path / "test", images, labels), probabilities, [*"abcde"], 12, tmp_path)
    assert [name for name, *_ in drawn] == [*"abcde"]


def test_a_class_without_a_right_answer_is_left_out_of_the_features_and_the_title_says_so(monkeypatch, tmp_path):
    images, _ = marked(15)
    labels, titles = np.arange(15) % 5, []
    monkeypatch.setattr(charts, "features", lambda title, samples, *rest: titles.append(title))
    said = np.where(labels == 4, 0, labels)
    network, probabilities = nested(images.shape[1:], backend.start()[1], 5), 0.9 * np.eye(5)[said] + 0.02
    explain.explain("CNN", network, split(tmp_path / "test", images, labels), probabilities, [*"abcde"], 12, tmp_path)
    assert titles[0].endswith("; 4 of 5 classes, those of explanations.png with a right answer")


def test_typical_surest_mistake_and_border_are_chosen_by_hand():
    probabilities = np.array([[0.9, 0.1], [0.6, 0.4], [0.7, 0.3], [0.2, 0.8], [0.45, 0.55], [0.1, 0.9]])
    labels = np.array([0, 0, 0, 0, 0, 1])
    whole = {
        0: {"typical": 2, "surest mistake": 3, "near another class": 1},
        1: {"typical": 5},  # which is the only one that is right, and not drawn twice
    }
    assert explain._chosen(labels, probabilities, 12) == whole
    assert explain._chosen(labels, probabilities, 3) == {
        0: {"typical": 2, "surest mistake": 3},
        1: {"typical": 5},
    }  # all in turn
    assert explain._chosen(labels, probabilities, 1) == {0: {"typical": 2}}
    many = np.random.default_rng(0).dirichlet(np.ones(50), 200)
    assert len(explain._chosen(np.arange(200) % 50, many, 36)) == explain.MOST_CLASSES
