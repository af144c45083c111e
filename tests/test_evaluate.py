from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.metrics import average_precision_score
from toy_package import make_package

from components.evaluate import tables
from components.shared.errors import CannotRun
from components.shared.models.occlusion import occlusion
from components.shared.models.scores import calibration, calibration_error, scores
from components.shared.pictures.preprocessing import Preprocessing

LABELS = np.array([0, 0, 0, 0, 1, 1, 2, 2])
SURE = np.eye(3)[[0, 0, 0, 1, 1, 2, 2, 2]] * 0.7 + 0.1


def test_scores_by_hand():
    found = scores(LABELS, SURE.astype(np.float32))
    assert found["accuracy"] == 6 / 8
    assert found["balanced_accuracy"] == pytest.approx((3 / 4 + 1 / 2 + 1) / 3)
    assert found["worst_class_recall"] == 1 / 2
    assert found["macro_f1"] == pytest.approx((6 / 7 + 1 / 2 + 4 / 5) / 3)
    assert found["expected_calibration_error"] == pytest.approx(0.05)
    assert found["log_loss"] == pytest.approx(-(6 * np.log(0.8) + 2 * np.log(0.1)) / 8, abs=1e-6)
    assert found["samples"] == 8


def test_a_class_without_samples_counts_for_nothing():
    four = np.pad(SURE, ((0, 0), (0, 1)))
    assert scores(LABELS, four)["balanced_accuracy"] == scores(LABELS, SURE)["balanced_accuracy"]


def test_calibration_error_is_zero_for_honest_confidence_and_large_for_boasting():
    rng = np.random.default_rng(0)
    confidence = rng.uniform(0.5, 1, 20_000)
    labels = (rng.random(20_000) > confidence).astype(int)
    honest = np.stack([confidence, 1 - confidence], axis=1)
    assert calibration_error(labels, honest, bins=15) < 0.02
    boasting = np.stack([np.full(20_000, 0.99), np.full(20_000, 0.01)], axis=1)
    assert calibration_error(labels, boasting, bins=15) == pytest.approx(0.24, abs=0.02)
    assert sum(row["samples"] for row in calibration(labels, honest, bins=15)) == 20_000


def test_tables_by_hand():
    curves, areas, precisions = tables.curves(LABELS, SURE, ["a", "b", "c"])
    rows = tables.per_class(LABELS, SURE.argmax(1), ["a", "b", "=c"], areas)
    assert [(row["class"], row["samples"]) for row in rows] == [("a", 4), ("b", 2), ("=c", 2)]
    assert (rows[0]["precision"], rows[0]["recall"]) == (1.0, 0.75)
    assert areas["a"] == pytest.approx(0.875)
    assert precisions["a"] == pytest.approx(average_precision_score(LABELS == 0, SURE[:, 0]))
    for table, x in (("roc", "false_positive_rate"), ("pr", "recall")):
        assert {row["class"] for row in curves[table]} == {"a", "b", "c", "(micro-average)"}
        assert all(0 <= row[x] <= 1 for row in curves[table])


def test_occlusion_finds_what_a_prediction_rests_on():
    image = np.zeros((28, 28, 1), np.uint8)
    image[4:8, 20:24] = 255

    def predict(images: np.ndarray) -> np.ndarray:
        seen = images[:, 4:8, 20:24].mean(axis=(1, 2, 3)) / 255
        return np.stack([seen, 1 - seen], axis=1)

    heat = occlusion(predict, image, 0)
    assert np.unravel_index(heat.argmax(), heat.shape) in [
        (1, 5),
        (0, 5),
        (1, 4),
        (2, 5),
        (1, 6),
        (0, 4),
        (0, 6),
        (2, 4),
        (2, 6),
    ]
    assert heat[1, 5] > 0.9
    assert (heat[3:] == 0).all()
    clip = np.repeat(image[None], 3, axis=0)
    assert np.array_equal(occlusion(lambda x: predict(x[:, 0]), clip, 0), heat)


def test_frames_are_shuffled_within_a_clip_and_padding_stays_at_its_end():
    from components.evaluate.step import shuffled

    clips = np.zeros((40, 6, 2, 2, 1), np.uint8)
    for time in range(4):
        clips[:, time] = time + 1
    mixed = shuffled(clips, np.random.default_rng(0))
    assert not mixed[:, 4:].any()
    assert (np.sort(mixed[:, :4, 0, 0, 0], axis=1) == [1, 2, 3, 4]).all()
    assert len({tuple(order) for order in mixed[:, :4, 0, 0, 0]}) > 5
    assert np.array_equal(mixed[:30], shuffled(clips[:30], np.random.default_rng(0)))


def test_a_patch_makes_no_frame_padding_and_no_padding_a_frame(monkeypatch):
    clip = np.zeros((5, 28, 28, 1), np.uint8)
    clip[:3, 4:8, 20:24] = 3  # the only bright spot of a dark clip: its mean colour is black
    asked = []

    def predict(clips: np.ndarray) -> np.ndarray:
        asked.append(clips.any(axis=(2, 3, 4)))
        return np.full((len(clips), 2), 0.5)

    occlusion(predict, clip, 0)
    assert asked[0].tolist() == [[True] * 3 + [False] * 2] * 50
    clip[:3] += 100  # the mean of what is there is no black, and is not painted over what is not there
    occlusion(predict, clip, 0)
    assert asked[1].tolist() == asked[0].tolist()
    assert occlusion(predict, np.zeros_like(clip), 0).shape == (7, 7)
    monkeypatch.setattr("components.shared.models.occlusion.HELD", 8 * clip.nbytes)
    occlusion(predict, clip, 0)
    assert [len(some) for some in asked[3:]] == [8] * 6 + [2]
    assert np.concatenate(asked[3:]).tolist() == asked[1].tolist()


CLASSES = ["dark", "light", "middle"]


@pytest.fixture
def scored(here, knobs, monkeypatch):
    """`scored(layout, learnt=...)`: evaluate a model of three classes on what was prepared so; returns test.json."""
    from components.evaluate.config import EvaluateConfig
    from components.evaluate.step import evaluate
    from components.shared import files
    from components.shared.data import arrays, seen
    from components.shared.models import backend, keras_file

    _, keras = backend.start()
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    images = keras.Input((8, 8, 1), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    model = keras.Model(images, keras.layers.Dense(3, activation="softmax")(x))
    layout = arrays.Layout(CLASSES, (8, 8, 1), "d.dir", {"prepare": {"resize": "pad"}})

    def score(changed: dict, *, learnt: int = 0, packaged: str = "t") -> dict:
        labels = np.arange(30) % 3
        pixels = arrays.create(here / "prepared/test", 30, (8, 8, 1))
        pixels[:] = np.array([20, 230, 120])[labels, None, None, None]
        pixels.flush()
        samples = [{"id": f"{n}", "source": f"{n}.png", "label": CLASSES[y], "picture": f"p{n}"} for n, y in enumerate(labels)]
        arrays.describe(here / "prepared/test", labels, samples)
        replace(layout, **changed).write(here / "prepared")
        files.write_json(here / "prepared/split.json", {"splits": {"test": {"with_a_twin_in": {"train": 2}}}})
        record = {"training_id": "t", "name": "cnn-default", "classes": CLASSES, "shape": [8, 8, 1], "data_digest": "d.dir",
                  "knobs": {"prepare": {"resize": "pad"}},
                  "model": keras_file.save(model, here / "model"), "training_seconds": 1.0, "parameters": 4, "temperature": 1.0,
                  "mirrored": False, "tags": {"architecture": "cnn"}}  # fmt: skip
        files.write_json(here / "model/run.json", record)
        seen.write(here / "model" / seen.FILE, [pq.read_table(here / "prepared/test/samples.parquet")[:learnt]])
        config = knobs(EvaluateConfig, "evaluate", gallery=1, explained=0)
        make_package(here / "package", way=Preprocessing(8, 8, 1, "pad"), classes=CLASSES, training_id=packaged)
        evaluate(
            model=here / "model",
            package=here / "package",
            prepared=here / "prepared",
            config=config,
            evaluation=here / "evaluation",
        )
        assert files.read_json(here / "evaluation/split.json")["splits"]["test"]["with_a_twin_in"] == {"train": 2}
        return files.read_json(here / "evaluation/test.json")

    return score


@pytest.mark.parametrize(("changed", "told"), [
    ({"classes": ["dark", "light", "pale"]}, r"recognises 3 classes, expected the 3 of .* \(they differ in \['middle', 'pale'\]\)"),
    ({"classes": ["dark", "light", "middle", "pale"]}, r"recognises 3 classes, expected the 4 of .* \['pale'\]"),
    ({"classes": ["light", "dark", "middle"]}, r".*they differ in their order"),
    ({"shape": (8, 8, 3)}, r"takes arrays of 8x8x1, expected the 8x8x3"),
])  # fmt: skip
def test_a_model_of_other_classes_or_another_size_is_refused(scored, here, changed, told):
    with pytest.raises(CannotRun, match=rf"model: {told}.*`dvc repro` trains it anew"):
        scored(changed)
    assert not (here / "evaluation").exists()


def test_the_package_of_another_model_is_refused(scored, here):
    with pytest.raises(CannotRun, match=r"package: was made of another model than .*; `dvc repro package` makes it anew"):
        scored({}, packaged="u")
    assert not (here / "evaluation").exists()


def test_a_model_of_other_data_is_scored_and_what_it_has_learnt_from_is_counted(scored, capsys):
    facts = scored({})
    assert (facts["learnt_from"], facts["knobs"]["gallery"]) == (0, 1)
    told = capsys.readouterr().out
    assert "from other" not in told
    assert "learnt from" not in told
    assert scored({"data_digest": "e.dir"}, learnt=7)["learnt_from"] == 7
    told = capsys.readouterr().out
    assert "was trained from other data than" in told
    assert "has learnt from 7 of the 30 test samples" in told
    scored({"knobs": {"prepare": {"resize": "stretch"}}})
    assert "was trained from other knobs of prepare than" in capsys.readouterr().out


def test_an_evaluation_repeats_byte_for_byte_and_says_how_certain_it_is(scored, here):
    from components.shared import files

    scored({})
    folder = here / "evaluation"
    one = {file.name: file.read_bytes() for file in folder.iterdir() if file.is_file()}
    scored({})
    assert {name for name, content in one.items() if (folder / name).read_bytes() != content} == {"cost.json"}
    figures, sure = (files.read_json(folder / name) for name in ("metrics.json", "intervals.json"))
    assert set(sure) == {"accuracy", "balanced_accuracy", "macro_f1", "worst_class_recall", "expected_calibration_error",
                         "log_loss", "coverage"}  # fmt: skip
    assert all(low <= round(figures[name], 6) <= high for name, (low, high) in sure.items())
    shown = {"acc": figures["accuracy"], "worst": figures["worst_class_recall"]}
    assert files.read_json(folder / "headline.json") == {"cnn": shown}
    rows = pq.read_table(folder / "samples.parquet").to_pandas()
    assert (rows["label"] == rows["predicted"]).mean() == figures["accuracy"]
    floor = 0.4  # of toy_package, as is the other
    assert (rows["confidence"] >= floor).mean() == figures["answered"]
    assert ((rows["true_probability"] >= 0.2) | (rows["label"] == rows["predicted"])).mean() == figures["coverage"]
    assert 1 <= figures["set_size"] <= 3
    wrong = (folder / "pairs.csv").read_text().splitlines()[1:]
    assert sum(int(line.split(",")[2]) for line in wrong) == (rows["label"] != rows["predicted"]).sum()
    cost = files.read_json(folder / "cost.json")
    assert 0 < cost["onnx_milliseconds_p50"] <= cost["onnx_milliseconds_p99"]
    assert 20 < cost["memory_mebibytes"] < 300  # without TensorFlow
    assert min(cost[name] for name in ("onnx_samples_a_second", "cpu_seconds_a_thousand", "onnx_mebibytes")) > 0


def test_the_calibration_error_before_temperature_is_that_of_the_weights_before_they_were_divided(here):
    from types import SimpleNamespace

    from components.evaluate.step import _answers
    from components.shared.models import backend, keras_file
    from components.train.step import _both_sides

    _, keras = backend.start(0)
    images = keras.Input((4, 4, 1), dtype="uint8")
    x = keras.layers.Flatten()(keras.layers.Rescaling(1 / 255)(images))
    x = keras.layers.Dense(3, name="logits")(x)
    plain = keras.Model(images, keras.layers.Activation("softmax")(x), name="cnn")
    pixels = np.random.default_rng(0).integers(0, 256, (20, 4, 4, 1), np.uint8)
    for whole in (plain, _both_sides(keras, plain)):
        layer = plain.get_layer("logits")
        before, weights = keras_file.predict(whole, pixels), layer.get_weights()
        layer.set_weights([weight / 2 for weight in weights])
        after = keras_file.predict(whole, pixels)
        record = {"temperature": 2.0, "mirrored": whole is not plain}
        said, uncalibrated = _answers(whole, record, SimpleNamespace(images=pixels))
        np.testing.assert_allclose(uncalibrated, before, atol=1e-6)
        assert np.array_equal(said, after)
        layer.set_weights(weights)
