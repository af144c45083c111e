"""Charts and tables of an evaluation, for class names of every kind and for very many classes."""

import csv
import itertools
import json
import string
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.text import Text
from PIL import Image
from sklearn import metrics
from toy_package import make_package

from components.augment import step as augment
from components.evaluate import charts, tables
from components.evaluate.step import evaluate
from components.shared import plots
from components.shared.data import arrays, seen
from components.shared.models import keras_file
from components.shared.pictures.preprocessing import Preprocessing
from components.stress import drawings

NAMES = sorted([
    "$", "$$", "$x^{", "_", "__", "_x", "{x}", "{", "a\nb", "a\tb", "\u202eabc", "\u05d0\u05d1\u05d2", "\u0627\u0644\u0639",
    "\u732b", "\u65e5\u672c\u8a9e" * 30, "\U0001f600", "x" * 250, "W" * 250, " ", "<script>alert(1)</script>", "%s", "%(x)s", r"\alpha",
    "=1+1", "NaN", "None", 'a,b"c', "1", "1.0", "\u00ad", "e\u0301" * 40,
])  # fmt: skip


def project(here, classes: list[str], shape: tuple[int, ...], *, each: int = 2) -> dict:
    """A model that was trained on nothing and a test split with some samples of every class."""
    import keras
    from keras import layers

    keras.utils.set_random_seed(0)
    images = keras.Input(shape, dtype="uint8", name="images")
    x = layers.Dense(len(classes), dtype="float32", name="logits")(layers.Flatten()(layers.Rescaling(1 / 255)(images)))
    model = keras.Model(images, layers.Activation("softmax", dtype="float32", name="probabilities")(x))
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(len(classes)), each)
    prepared = here / "prepared"
    for name in ("train", "validation", "test"):
        pixels = arrays.create(prepared / name, len(labels), shape)
        pixels[:] = rng.integers(0, 256, pixels.shape, dtype=np.uint8)
        samples = [
            {"id": f"{n}", "source": f"{n}.png", "label": classes[label], "group": None, "picture": f"{name} {n}"}
            for n, label in enumerate(labels)
        ]
        arrays.describe(prepared / name, labels, samples)
    arrays.Layout(classes, shape, "0.dir").write(prepared)
    record = {"model": keras_file.save(model, here / "model"), "name": "cnn", "training_id": "t", "training_seconds": 1.0,
              "parameters": model.count_params(), "classes": classes, "shape": list(shape), "data_digest": "0.dir", "knobs": {},
              "validation": {}, "tags": {"architecture": "cnn"}, "best": {}, "training_samples": len(labels), "temperature": 1.0,
              "mirrored": False}  # fmt: skip
    (here / "model" / "run.json").write_text(json.dumps(record))
    seen.write(here / "model" / seen.FILE, [arrays.load(prepared / name).table() for name in ("train", "validation")])
    height, width, channels = shape[-3:]
    way = Preprocessing(height, width, channels, "pad", shape[0] if len(shape) == 4 else None)
    make_package(here / "package", way=way, classes=classes, training_id="t")
    return {"model": here / "model", "package": here / "package", "prepared": prepared, "evaluation": here / "evaluation"}


def rows(file) -> list[dict]:
    with file.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_class_names_of_every_kind_are_evaluated_without_a_warning(here, knobs, capfd, saved):
    from components.evaluate.config import EvaluateConfig

    paths = project(here, NAMES, (3, 8, 8, 1))
    with warnings.catch_warnings():
        warnings.filterwarnings("error", module="matplotlib|components")
        evaluate(**paths, config=knobs(EvaluateConfig, "evaluate"))
    assert not [line for line in capfd.readouterr().err.splitlines() if "arning" in line or "Glyph" in line or "font" in line]
    known = json.loads((here / "evaluation" / "metrics.json").read_text())
    wrong = f"CNN: {round(known['samples'] * (1 - known['accuracy']))} of {known['samples']} wrong"
    assert title(saved["mistakes.png"]) == f"{wrong}; the 32 that it was surest of"
    assert title(saved["confusion.png"]) == wrong
    written = {row["class"].removeprefix("'") for row in rows(here / "evaluation" / "classes.csv")}
    assert written == set(NAMES)
    assert {row["class"].removeprefix("'") for row in rows(here / "evaluation" / "roc.csv")} == {*NAMES, tables.AVERAGE}
    for picture in ("confusion", "roc", "pr", "reliability", "mistakes", "explanations"):
        with Image.open(here / "evaluation" / f"{picture}.png") as image:
            assert max(image.size) < 4000


@pytest.fixture
def saved(monkeypatch):
    """The figures that are saved, by the name of the file; laid out as they are on it."""
    figures, save = {}, Figure.savefig

    def savefig(figure, file, **options) -> None:
        save(figure, file, **options)
        figure.draw_without_rendering()  # it was saved at another resolution
        figures[Path(getattr(file, "name", file)).name.partition(".png")[0].lstrip(".") + ".png"] = figure

    monkeypatch.setattr(Figure, "savefig", savefig)
    return figures


def words(figure) -> list[str]:
    return [text.get_text() for text in figure.findobj(Text) if text.get_text() and text.get_visible()]


def title(figure) -> str:
    return figure.get_suptitle().replace("\n", " ")


LABELS = np.repeat(np.arange(5), 40)
TAKEN = np.where(np.arange(200) % 40 < LABELS, (LABELS + 1) % 5, LABELS)  # 0, 1, 2, 3, 4 mistakes in each class
KINDS = ["_a", "$b$", "c", "d", "e"]


def test_the_confusion_picture_says_how_many_are_wrong_and_colours_mistakes_alone(saved, tmp_path):
    charts.confusion("CNN", LABELS, TAKEN, KINDS, tmp_path / "confusion.png")
    figure = saved["confusion.png"]
    assert title(figure) == "CNN: 10 of 200 wrong"
    shares = figure.axes[0].images[0].get_array()
    assert shares.mask.tolist() == np.eye(5, dtype=bool).tolist()  # the ground shows
    assert shares[4, 0] == shares.max() == 0.1
    assert figure.axes[0].get_facecolor() == to_rgba(plots.PALE)
    colours = {text.get_text(): text.get_color() for text in figure.axes[0].texts}
    assert colours["40"] == colours["36"] == plots.GREY
    assert {colours[wrong] for wrong in "1234"} == {plots.INK, "white"}


def test_the_three_worst_classes_are_named_at_their_lines_and_no_legend_covers_any(saved, tmp_path):
    noise = np.random.default_rng(0).dirichlet(np.ones(5), 200)
    share = np.array([0.95, 0.5, 0.9, 0.3, 0.2])[LABELS, None]  # how well each class is known
    probabilities = (share * np.eye(5)[LABELS] + (1 - share) * noise).astype(np.float32)
    found, areas, precisions = tables.curves(LABELS, probabilities, KINDS)
    for index, name in enumerate(KINDS):
        exact = metrics.average_precision_score(index == LABELS, probabilities[:, index])
        assert precisions[name] == pytest.approx(exact, abs=1e-9)
    charts.curves("CNN", found, areas, precisions, tmp_path)
    for name, scores in (("roc.png", areas), ("pr.png", precisions)):
        (axis,) = saved[name].axes
        worst = sorted(scores, key=scores.get)[:3]
        assert [text.get_text() for text in axis.texts] == [f"{label}\n{scores[label]:.3f}" for label in worst]
        assert [line.get_color() for line in axis.lines].count(plots.GREY) == 2
        assert {text.get_color() for text in axis.texts} == {line.get_color() for line in axis.lines} - {plots.GREY}
        assert axis.get_legend() is None
        assert f"{np.mean([*scores.values()]):.3f}" in title(saved[name])
    assert "mean average precision" in title(saved["pr.png"])


def test_reliability_says_the_count_of_each_bin_and_draws_none_of_few(saved, tmp_path):
    table = [
        {"confidence": 0.3, "accuracy": 0.0, "samples": 9},
        {"confidence": 0.7, "accuracy": 0.6, "samples": 10},
        {"confidence": 0.95, "accuracy": 0.9, "samples": 1234},
    ]
    charts.reliability("LSTM", table, 0.0519, tmp_path / "reliability.png")
    (axis,) = saved["reliability.png"].axes
    assert [*axis.lines[1].get_xdata()] == [0.7, 0.95]
    assert [text.get_text() for text in axis.texts] == ["10", "1,234"]
    assert title(saved["reliability.png"]) == (
        "LSTM: calibration error 0.052, overconfident 9 of 1,253 answers not drawn: bins below 10"
    )
    charts.reliability("LSTM", table[:1], 0.3, tmp_path / "reliability.png")
    assert not saved["reliability.png"].axes[0].texts


def test_what_stress_draws_says_the_worst_and_its_legend_covers_nothing(saved, tmp_path):
    falling = {key: [0.8, 0.6, 0.4, 0.2, 0.1] for key in ("accuracy", "worst_class_recall")} | {"trained_on": True}
    clean, worst = {"accuracy": 0.9, "worst_class_recall": 0.85}, {"damage": "fog", "strength": 5, "accuracy": 0.1}
    drawings.curves(
        "LSTM", clean, dict.fromkeys(("blur", "fog", "jpeg", "noise", "scale"), falling), worst, tmp_path / "curves.png"
    )
    figure = saved["curves.png"]
    assert title(figure) == "LSTM: 90% right undamaged, 10% under fog 5"
    assert "fog (trained on)" in words(figure)
    (legend,) = figure.legends
    assert not [axis for axis in figure.axes if legend.get_window_extent().overlaps(axis.get_window_extent())]


def test_a_preview_shows_all_classes_page_by_page(saved, tmp_path):
    paths = project(tmp_path, [f"class {number:02}" for number in range(30)], (8, 8, 3))
    train = arrays.load(paths["prepared"] / "train")
    augment._preview(train, arrays.Layout.read(paths["prepared"]), lambda images, sides: images, tmp_path)
    assert title(saved["preview.png"]) == "Augmented: classes 1 to 25 of 30"
    assert title(saved["preview-2.png"]) == "Augmented: classes 26 to 30 of 30"
    assert {f"class {number:02}" for number in range(25, 30)} <= {*words(saved["preview-2.png"])}


def test_what_lies_on_a_grid_does_not_overlap(tmp_path, saved):
    names = ["W" * 60, "a_very_long_class_name_that_tools_export", "\u00dcber-gro\u00dfe Katze mit $5$ und Schirm", "cat"]
    told = [(one, other, 0.987, f"test/{other.lower()}/0001.png") for one in names for other in names]
    charts.gallery("CNN: 16 of 20 wrong", np.zeros((16, 8, 8, 1), np.uint8), told, tmp_path / "mistakes.png")
    assert "cat\ntaken for\ncat\n(99%)\ntest/cat/\n0001.png" in words(saved["mistakes.png"])
    titles = [[plots.label(name, width, 2) for name, width in zip(both, (13, 10), strict=False)] for both in told]
    panels = [
        (np.zeros((8, 8, 1), np.uint8), np.eye(2), f"{one}:\nsurest mistake", f"\u2713 99%,\n{other} 1%")
        for one, other in titles
    ]
    charts.explanations([panels[:3], [*panels[3:5], None]], tmp_path / "explanations.png", "CNN: by occlusion")
    assert "most in\nits picture" in words(saved["explanations.png"])  # the scale
    for figure, counts in ((saved["mistakes.png"], (16, 1)), (saved["explanations.png"], (10, 2))):
        axis = figure.axes[0]
        titles = [text.get_window_extent() for text in axis.texts if text.get_text()]
        pictures = [image.get_window_extent() for image in axis.images if image.get_alpha() is None]
        others = [figure._suptitle.get_window_extent(), *(each.get_tightbbox() for each in axis.child_axes)]  # the scale
        assert (len(titles), len(others)) == counts
        assert not [1 for one, other in itertools.combinations([*titles, *pictures, *others], 2) if one.overlaps(other)]
        assert all(figure.bbox.contains(*corner) for box in [*titles, *others] for corner in (box.min, box.max))


@settings(max_examples=8, deadline=None)
@given(st.lists(st.text(min_size=1, max_size=30), min_size=2, max_size=5, unique=True))
def test_any_names_are_drawn(tmp_path_factory, names):
    labels = np.arange(2 * len(names)) % len(names)
    probabilities = np.random.default_rng(0).dirichlet(np.ones(len(names)), len(labels)).astype(np.float32)
    folder = tmp_path_factory.mktemp("drawn")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        charts.confusion("CNN", labels, probabilities.argmax(1), names, folder / "confusion.png")
        charts.curves("CNN", *tables.curves(labels, probabilities, names), folder)


def test_of_many_classes_the_weakest_have_curves_and_all_have_their_area():
    rng = np.random.default_rng(0)
    classes = [f"class {number}" for number in range(300)]
    labels = rng.integers(0, 299, 4000)  # the last class has no sample
    probabilities = rng.random((4000, 300), dtype=np.float32).round(2)  # with ties
    probabilities[np.arange(4000), labels] += 0.2 * (labels % 7).astype(np.float32)
    probabilities /= probabilities.sum(1, keepdims=True)
    found, areas, _ = tables.curves(labels, probabilities, classes)
    assert set(areas) == set(classes[:299])
    for index in (0, 5, 123, 298):
        assert areas[classes[index]] == pytest.approx(
            metrics.roc_auc_score(labels == index, probabilities[:, index]), abs=1e-12
        )
    drawn = {row["class"] for row in found["roc"]}
    assert drawn == {*sorted(areas, key=areas.get)[: tables.CURVES], tables.AVERAGE}


def test_of_very_many_probabilities_an_even_part_is_pooled(monkeypatch):
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 20, 3000)
    probabilities = rng.dirichlet(np.full(20, 0.2), 3000).astype(np.float32)
    probabilities[np.arange(3000), labels] += 0.1
    probabilities /= probabilities.sum(1, keepdims=True)
    monkeypatch.setattr(tables, "POOLED", 20_000)
    found = tables.curves(labels, probabilities, list(string.ascii_letters[:20]))[0]
    truth, pooled = labels[::3, None] == np.arange(20), probabilities[::3]
    curve = [row for row in found["roc"] if row["class"] == tables.AVERAGE]
    assert len(curve) > 100
    for row in curve[1:-1]:
        above = pooled >= np.float32(row["threshold"])
        assert row["true_positive_rate"] == pytest.approx(above[truth].mean())
        assert row["false_positive_rate"] == pytest.approx(above[~truth].mean())


def test_the_confusion_picture_is_bounded_and_shows_what_is_confused(tmp_path):
    labels = np.repeat(np.arange(5000), 2)
    predicted = labels.copy()
    predicted[:20] = 4999  # the first ten classes are all taken for the last
    chosen = charts.most_confused(labels, predicted, 5000)
    assert len(chosen) == charts.SHOWN_CONFUSED
    assert {*range(10), 4999} <= set(chosen.tolist())
    charts.confusion("CNN", labels, predicted, [f"class {n}" for n in range(5000)], tmp_path / "confusion.png")
    with Image.open(tmp_path / "confusion.png") as image:
        assert max(image.size) < 2500


def test_ten_thousand_classes_are_linear_in_rows(tmp_path):
    rng = np.random.default_rng(0)
    classes = [f"class {number:05d}" for number in range(10_000)]
    labels = rng.permutation(10_000)
    probabilities = rng.random((10_000, 10_000), dtype=np.float32)
    curves, areas, precisions = tables.curves(labels[:2000], probabilities[:2000], classes)
    assert len(curves["roc"]) <= tables.POINTS * (tables.CURVES + 1)
    assert len(tables.per_class(labels, labels, classes, areas)) == 10_000
    charts.curves("CNN", curves, areas, precisions, tmp_path)


def test_kubeflows_confusion_matrix_and_page_are_bounded(tmp_path):
    from kfp.dsl import HTML, ClassificationMetrics, Dataset, Metrics

    from pipelines import artifacts

    folder = tmp_path / "evaluation"
    folder.mkdir()
    (folder / "metrics.json").write_text('{"accuracy": 0.5}')
    wrong = "".join(f"{n},{(n + 1) % 7}\n" for n in range(7))
    (folder / "confusion.csv").write_text("true,predicted\n" + wrong + "".join(f"{n},{n}\n" for n in range(7, 5000)))
    (folder / "classes.csv").write_text("class,recall\n" + "".join(f"{n},{float(n > 6)}\n" for n in range(5000)))
    (folder / "roc.csv").write_text("class,false_positive_rate,true_positive_rate,threshold\n(micro-average),0,0,1\n")
    kinds = {"e": Dataset, "m": Metrics, "c": ClassificationMetrics, "r": HTML}
    made = {name: kind(uri=str(folder if name == "e" else tmp_path / name)) for name, kind in kinds.items()}
    artifacts.show_evaluation(folder, metrics=made["m"], curves=made["c"], report=made["r"])
    shown = [row["displayName"] for row in made["c"].metadata["confusionMatrix"]["annotationSpecs"]]
    assert len(shown) == artifacts.SHOWN_CLASSES
    assert {str(n) for n in range(7)} <= set(shown)
    assert "The 600 classes of the lowest recall" in (tmp_path / "r").read_text()
