"""Drift: none is found where there is none, what is planted is found, and whoever asks is told what to do."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image, ImageDraw, ImageFilter
from sklearn.linear_model import LogisticRegression
from test_report import browser  # noqa: F401
from toy_package import CLASSES, make_package

from components.__main__ import main
from components.shared.errors import CannotRun
from components.shared.models.observed import observed
from components.shared.models.package import Package
from components.shared.models.recogniser import Recogniser
from components.watch import watch_page
from components.watch.outcome import Outcome

SEEDS = range(20)
SESSIONS: dict[str, Recogniser] = {}  # by the package's digest
SIDE = 12


def drawn(count: int, seed: int, *, of: tuple[float, ...] = ()) -> tuple[np.ndarray, list[str]]:
    """Pictures of circles, squares and stars (crosses), of any light and place, uint8 (n, SIDE, SIDE, 1), and their labels.

    `of`: the shares of the classes, by chance; without, each has as many, as `prepare` splits.
    """
    rng = np.random.default_rng(seed)
    labels = rng.choice(3, count, p=np.array(of) / sum(of)) if of else rng.permutation(count) % 3
    shapes = []
    for label in range(3):
        image = Image.new("L", (SIDE + 4, SIDE + 4))
        draw = ImageDraw.Draw(image)
        if label == 0:
            draw.ellipse((4, 4, 11, 11), fill=255)
        elif label == 1:
            draw.rectangle((5, 5, 11, 11), fill=255)
        else:
            draw.line((4, 4, 11, 11), fill=255, width=2)
            draw.line((4, 11, 11, 4), fill=255, width=2)
        shapes.append(np.asarray(image, np.float32) / 255)
    places = rng.integers(1, 4, (count, 2))
    cut = np.stack([shapes[label][y : y + SIDE, x : x + SIDE] for label, (y, x) in zip(labels, places, strict=True)])
    light, ink = rng.normal(0.4, 0.04, (count, 1, 1)), rng.normal(0.35, 0.05, (count, 1, 1))
    levels = light + ink * cut + rng.normal(0, 0.12, cut.shape)
    return (255 * levels.clip(0, 1)).astype(np.uint8)[..., None], [CLASSES[label] for label in labels]


def darker(images: np.ndarray, _: int) -> np.ndarray:
    return (images * 0.9).astype(np.uint8)


def blurred(images: np.ndarray, _: int) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(each[..., 0]).filter(ImageFilter.GaussianBlur(0.7))) for each in images])[
        ..., None
    ]


def strange(images: np.ndarray, seed: int) -> np.ndarray:
    """A third of the samples shows what no class is: stripes, as light as the others."""
    rng, found = np.random.default_rng(seed), images.copy()
    rows = rng.random(len(images)) < 0.35
    stripes = np.where(np.arange(SIDE) % 4 < 2, 0.6, 0.3)[None, :, None, None] + rng.normal(
        0, 0.12, (rows.sum(), SIDE, SIDE, 1)
    )
    found[rows] = (255 * stripes.clip(0, 1)).astype(np.uint8)
    return found


def noisy(images: np.ndarray, seed: int) -> np.ndarray:
    return (images + np.random.default_rng(seed).normal(0, 25, images.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Package:
    images, labels = drawn(3000, 1000)
    fitted = LogisticRegression(fit_intercept=False, max_iter=1000).fit(images.reshape(len(images), -1) / 255, labels)
    return make_package(tmp_path_factory.mktemp("package"), matrix=fitted.coef_.T, validation=drawn(600, 1001))


def answers_file(folder: Path, of: Package, images: np.ndarray, *, name: str = "answers.parquet", faults: int = 0) -> Path:
    """What `predict` would answer to these images, as far as `watch` reads it; the first `faults` are unreadable."""
    session = SESSIONS.setdefault(of.digest, Recogniser(of))
    table = observed(images, *session.both(images))
    nothing = pa.Table.from_pylist([dict.fromkeys(table.column_names)] * faults, schema=table.schema)
    reasons = ["does not decode"] * faults + [None] * len(images)
    table = pa.concat_tables([nothing, table]).append_column("fault", pa.array(reasons, pa.string()))
    said = json.dumps({"model": of.name, "version": "", "package": of.digest})
    pq.write_table(table.replace_schema_metadata({"darkroom": said}), folder / name)
    return folder / name


@pytest.fixture
def answered(package, tmp_path) -> Callable[..., Path]:
    """`answers_file` by this package."""
    return lambda images, of=package, **more: answers_file(tmp_path, of, images, **more)


def moved(outcome: Outcome) -> set[str]:
    return {one.quantity for one in outcome.moved}


def test_nothing_is_found_where_nothing_moved(package, answered):
    for seed in SEEDS:
        outcome = Outcome.of([answered(drawn(300, seed, of=(1, 1, 1))[0], faults=2)], package)
        assert not outcome.moved, seed
        assert outcome.accuracy["estimated"] == pytest.approx(outcome.accuracy["validation"], abs=0.05)


PLANTED = {  # what is done to the pictures, and among what must be found
    "darker": (darker, {"brightness", "features"}),
    "blurred": (blurred, {"sharpness", "contrast"}),
    "noisy": (noisy, {"sharpness"}),
    "unknown objects": (strange, {"features"}),
}


@pytest.mark.parametrize("case", PLANTED)
def test_what_is_planted_is_found_whatever_the_seed(package, answered, case):
    change, expected = PLANTED[case]
    for seed in SEEDS:
        found = moved(Outcome.of([answered(change(drawn(300, seed)[0], seed))], package))
        assert expected <= found, (seed, found)


def test_other_shares_of_the_classes_are_found_and_estimated(package, answered):
    for seed in SEEDS:
        outcome = Outcome.of([answered(drawn(300, seed, of=(4, 1, 1))[0])], package)
        assert "class shares" in moved(outcome), seed
        assert outcome.shares[1] == pytest.approx([4 / 6, 1 / 6, 1 / 6], abs=0.1)


def test_the_command_says_what_moved_and_leaves_it_everywhere(package, here, capsys, monkeypatch):
    from components.shared.runs import tracking

    monkeypatch.setenv("DARKROOM_CPUS", "1")
    usual, odd = drawn(300, 0)[0], darker(drawn(300, 1)[0], 0)
    for name, images in (("usual", usual), ("odd", odd)):
        Path(name).mkdir()
        for number, image in enumerate(images[..., 0]):
            Image.fromarray(image).save(f"{name}/{number}.png")
        assert main(["predict", str(package.folder), name, "--output", f"{name}.parquet"]) == 0
    assert main(["predict", str(package.folder), "odd", "--output", "odd.csv"]) == 0
    capsys.readouterr()
    outputs = ["--page", "page.html", "--prometheus", "darkroom.prom", "--json", "watch.json"]
    assert main(["watch", "usual.parquet", "--model", str(package.folder), *outputs]) == 0
    assert capsys.readouterr().out.endswith("watch: no drift\n")
    assert "No drift" in Path("page.html").read_text()
    assert (
        f'darkroom_watch_drift{{model="toy",package_sha256="{package.digest}",version=""}} 0.0'
        in Path("darkroom.prom").read_text()
    )
    assert main(["watch", "odd.parquet", "--model", str(package.folder), *outputs]) == 1
    said = capsys.readouterr()
    assert "watch: 300 answers by toy (" in said.out
    assert "watch: brightness: 0.5" in said.err
    assert "(Kolmogorov-Smirnov 0." in said.err
    assert "look at the light and the exposure" in said.err
    record = json.loads(Path("watch.json").read_text())
    assert record["drift"]
    assert [*record["findings"], record["remedy"]] == [line.removeprefix("watch: ") for line in said.err.splitlines()]
    assert said.err.count("train anew") == 1
    assert "p below 1e-06" in said.err
    assert record["package_sha256"] == package.digest
    gauges = Path("darkroom.prom").read_text()
    assert f'darkroom_watch_drift{{model="toy",package_sha256="{package.digest}",version=""}} 1.0' in gauges
    assert "\ndarkroom_watch_accuracy_estimated{" in gauges
    page = Path("page.html").read_text()
    assert "Drift: the model meets other samples" in page
    assert page.count("<figure>") == 5
    assert "<p>If it stays so: label" in page
    assert "http" not in page.replace("http-equiv", "")
    assert ">below 1e-06</td>" in page
    assert not re.search(r"\de-[1-9]\d", page.replace("below 1e-06", ""))
    runs = tracking.connect().search_runs(experiment_names=["darkroom"], output_format="list")
    assert sorted(run.data.metrics["drift"] for run in runs) == [0, 1]
    assert {run.data.tags["package_sha256"] for run in runs} == {package.digest}
    assert {run.info.run_name for run in runs} == {"watch"}
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert main(["watch", "odd.csv", "--model", str(package.folder)]) == 2
    assert "odd.csv: no Parquet file of answers" in capsys.readouterr().err
    Path("page.html").write_text("of somebody else")
    assert main(["watch", "usual.parquet", "--model", str(package.folder), *outputs]) == 2
    assert "page.html: holds something that darkroom did not write" in capsys.readouterr().err


def test_a_tracking_server_that_is_down_costs_a_line(package, answered, here, monkeypatch, capsys):
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:1")
    assert main(["watch", str(answered(drawn(300, 0)[0])), "--model", str(package.folder)]) == 0
    assert "tracking: MLflow at http://127.0.0.1:1: " in capsys.readouterr().out


def test_what_cannot_be_compared_is_refused_in_a_line(package, answered, tmp_path):
    def refused(*paths: Path, by: Package = package) -> str:
        with pytest.raises(CannotRun) as caught:
            Outcome.of(paths, by)
        assert len(caught.value.faults) == 1
        return str(caught.value)

    good = answered(drawn(200, 0)[0])
    other = make_package(tmp_path / "other", seed=5)
    assert "answers of another package (toy " in refused(answered(drawn(200, 0)[0], of=other, name="other.parquet"))
    few = answered(drawn(60, 0)[0], name="few.parquet", faults=50)
    assert "few.parquet: holds 60 readable samples, needed are 100" in refused(few)
    assert "50 could not be read" in refused(few)
    (tmp_path / "answers.csv").write_text("id,label\n")
    assert "answers.csv: no Parquet file of answers" in refused(good, tmp_path / "answers.csv")
    pq.write_table(pa.table({"label": ["star"]}), tmp_path / "plain.parquet")
    assert "plain.parquet: has no brightness, contrast, fault, features, probabilities, sharpness" in refused(
        tmp_path / "plain.parquet"
    )
    (tmp_path / "empty").mkdir()
    assert "empty: holds no Parquet file" in refused(tmp_path / "empty")
    assert "No such file" in refused(tmp_path / "nowhere.parquet") or "no Parquet file" in refused(tmp_path / "nowhere.parquet")


def test_unreadable_samples_are_said_but_no_drift_and_files_of_one_folder_are_one_watch(package, answered, tmp_path):
    (tmp_path / "more").mkdir()
    for number in range(2):
        answered(drawn(150, number)[0], name=f"more/{number}.parquet", faults=20)
    outcome = Outcome.of([tmp_path / "more"], package)
    assert moved(outcome) == {"unreadable"}
    assert (outcome.samples, outcome.unreadable, outcome.drift) == (340, 40, False)
    assert "unreadable: 0 -> 0.118" in outcome.moved[0].line()


def test_confidences_tell_how_often_the_answers_are_right(package, answered):
    images, labels = drawn(4000, 7)
    images = noisy(noisy(images, 7), 8)
    outcome = Outcome.of([answered(images)], package)
    right = np.mean([CLASSES[index] == label for index, label in zip(outcome.now.predicted, labels, strict=True)])
    assert outcome.accuracy["low"] < outcome.accuracy["estimated"] < outcome.accuracy["high"]
    assert outcome.accuracy["estimated"] == pytest.approx(right, abs=0.05)


@pytest.mark.slow
def test_the_page_is_right_in_a_browser_whatever_a_class_is_called(tmp_path, browser):  # noqa: F811
    hostile = '<img src=x onerror="document.title=1">'
    odd = make_package(tmp_path / "odd", classes=["a", "b", hostile])
    before = Outcome.of([answers_file(tmp_path, odd, drawn(150, 1)[0])], odd)
    watch_page.write(before, tmp_path / "page.html", ours=lambda _: True)
    browser.get((tmp_path / "page.html").as_uri())
    assert browser.title == "Drift: Darkroom"
    assert browser.find_element("tag name", "h1").text.startswith("✗ Drift")
    assert hostile in browser.find_element("id", "charts").text
    assert len(browser.find_elements("css selector", "figure svg")) == 5
    size = {"width": 390, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    wide = browser.execute_script("return document.documentElement.scrollWidth")
    lines = browser.execute_script("return Math.max(...[...document.querySelectorAll('td.number')].map(cell => {"
                                     "const all = document.createRange(); all.selectNodeContents(cell);"
                                     "return all.getClientRects().length }))")  # fmt: skip
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide == 390
    assert lines == 1  # no figure is broken over lines
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
