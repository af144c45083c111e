"""The page of `register` in a real browser: the verdict first, hostile names, keyboard, light, dark, a phone, nothing fetched."""

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from test_report import HOSTILE, browser  # noqa: F401

from components.register import report_page, report_tables
from components.shared import files

CLASSES = ["bag", HOSTILE, "shirt\x1b[31m"]
METRICS = {
    "accuracy": 0.9381,
    "worst_class_recall": 0.805,
    "expected_calibration_error": 0.0097,
    "samples": 6,
    "set_size": 1.25,
}
CRITERION = {"criterion": "accuracy", "candidate": "cnn", "value": 0.9381, "low": 0.91, "high": 0.96, "limit": 0.5,
             "compared_with": "limit", "verdict": "passes", "reason": "accuracy 0.9381 is at least 0.5"}  # fmt: skip
HARM = CRITERION | {"criterion": "recall of each class", "candidate": "lstm", "value": -0.03, "low": None, "high": None, "limit": -0.02,
                    "compared_with": "champion", "verdict": "fails", "reason": f"class {HOSTILE!r} loses 0.0300"}  # fmt: skip


def old(place):
    """What an older Darkroom left: metrics, and no more than a verdict."""
    candidates = []
    for kind in ("cnn", "lstm"):
        record = {"name": f"{kind}-default", "training_id": kind * 8, "data_digest": "82fd.dir", "training_seconds": 146.4,
                  "knobs": {"seed": 7, "train": {"architecture": kind, "epochs": 3}, "prepare": {"height": 28}},
                  "tags": {"architecture": kind, "git_commit": "9195fd1"}}  # fmt: skip
        files.write_json(place / "models" / kind / "run.json", record)
        files.write_json(place / "evaluation" / kind / "metrics.json", METRICS)
        candidates.append({"architecture": kind, "name": f"{kind}-default", "version": None, "reasons": [f"{kind}: too bad"]})
    verdict = {"accepted": False, "alias": "champion", "model": "darkroom", "version": None, "candidates": candidates,
               "reasons": ["no model passes the gates"]}  # fmt: skip
    files.write_json(place / "registration.json", verdict)
    return verdict


def full(place):
    """What all steps leave, by their contracts."""
    verdict = old(place)
    verdict["candidates"][0] |= {"version": "4", "reasons": ["cnn: passes the gates"]}
    files.write_json(place / "registration.json", verdict | {
        "accepted": True, "version": "4", "reasons": [f"Better, and no harm to {HOSTILE}."], "criteria": [CRITERION, HARM],
        "champion": {"version": "3", "name": HOSTILE, "metrics": {"accuracy": 0.92}}, "decisions": 2, "decide_on": "all",
    })  # fmt: skip
    noise = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 4), np.uint8))
    for kind, wrong in (("cnn", "bag"), ("lstm", "shirt\x1b[31m")):
        folder, damage = place / "evaluation" / kind, place / "stress" / kind
        files.write_json(folder / "intervals.json", {"accuracy": [0.91, 0.96]})
        files.write_json(folder / "cost.json", {"training_seconds": 146.4, "parameters": 283770, "onnx_milliseconds_p50": 0.41})
        files.write_json(
            folder / "explanations.json",
            {"sham": {"deletion": 0.4, "trusted": False}, "occlusion": {"deletion": 0.2, "trusted": True}},
        )
        files.write_json(folder / "split.json", {"splits": {"train": {"classes": {"bag": 54, HOSTILE: 5}}}})
        rows = [("size", "3 = small", 40, 0.5, 0.3, 0.7, -0.4, 0.01), ("source", HOSTILE, 5000, 0.9, 0.89, 0.91, -0.04, 0.2)]
        names = ("column", "value", "samples", "accuracy", "low", "high", "difference", "p")
        files.write_csv(folder / "slices.csv", (dict(zip(names, row, strict=True)) for row in rows))
        files.write_csv(
            folder / "pairs.csv",
            [{"true": HOSTILE, "predicted": wrong, "count": 9}, {"true": "bag", "predicted": HOSTILE, "count": 10}],
        )
        files.write_csv(
            folder / "classes.csv", ({"class": name, "recall": at / 9, "samples": 2} for at, name in enumerate(CLASSES, 5))
        )
        table = pd.DataFrame({"id": list("abcd"), "source": list("abcd"), "label": [HOSTILE, HOSTILE, "bag", "bag"],
                              "predicted": [wrong, HOSTILE, "bag", "bag"], "confidence": np.float32([0.9, 0.8, 1, 1])})  # fmt: skip
        table.to_parquet(folder / "samples.parquet")
        told = {
            "accuracy": [0.9, 0.8, 0.7, 0.6, 0.5],
            "worst_class_recall": [0.5, 0.4, 0.3, 0.2, 0.1],
            "trained_on": kind == "cnn",
        }
        files.write_json(damage / "stress.json", {"mean_corruption_error": 0.3, "relative": 0.2, "samples": 6, "worst": {},
                                                  "damages": {"fog": told, "noise": told | {"accuracy": [0.4] * 5}}})  # fmt: skip
        for file in (folder / "confusion.png", folder / "pairs.png", damage / "curves.png"):
            noise.save(file)
    (folder / "mistakes.png").write_bytes(b"\x89PNG, and then no more")
    item = {"id": "a", "source": f"test/{HOSTILE}.png", "label": HOSTILE, "suggested": "bag"}
    found = {
        "code": "W_LABEL_SUSPECT",
        "severity": "warning",
        "message": f"labels like {HOSTILE}",
        "count": 2,
        "items": [item, item | {"id": "b"}],
    }
    nothing = {"code": "W_DARK", "severity": "info", "message": "dark", "count": 1, "items": [{"id": "z", "suggested": None}]}
    files.write_json(place / "validation/findings.json", [found, nothing])


def write(place):
    both = [[place / folder / kind for kind in ("cnn", "lstm")] for folder in ("models", "evaluation")]
    report_page.write(place / "registration.json", *both, place / "stress", place / "validation", place / "report")
    return place / "report/index.html"


@pytest.fixture
def page(tmp_path, browser):  # noqa: F811
    full(tmp_path)
    browser.get_log("performance")
    browser.get_log("browser")
    browser.get(write(tmp_path).as_uri())
    return browser


def texts(page, title: str) -> list[str]:
    return [" ".join(row.text.split()) for row in page.find_elements(By.CSS_SELECTOR, f"[aria-label='{title}'] tbody tr")]


def test_a_figure_just_below_nothing_is_nothing():
    assert [report_tables.cell(-0.00001).text, report_tables.cell(-0.00001, "{:+z.2%}").text] == ["0.0000", "+0.00%"]


def test_what_is_missing_is_named_and_no_fault(tmp_path):
    old(tmp_path)
    text = write(tmp_path).read_text()
    assert "✗ Nothing was registered as darkroom" in text
    assert "cnn: too bad" in text
    for name in (
        "older Darkroom",
        "slices.csv",
        "pairs.csv",
        "stress.json",
        "findings.json",
        "classes.csv",
        "features.png",
        "samples.parquet",
    ):
        assert f"{name}" in text.split("</style>")[-1]
    assert "93.81%" in text  # what is there is shown
    (tmp_path / "models/cnn/run.json").unlink()
    (tmp_path / "evaluation/cnn/metrics.json").write_text("{")
    assert "93.81%" in write(tmp_path).read_text()  # and the page that is there already is replaced


def test_pictures_are_made_small(tmp_path):
    full(tmp_path)
    large = Image.fromarray(np.random.default_rng(0).integers(0, 2, (1500, 3000), np.uint8) * 255)
    large.save(tmp_path / "evaluation/cnn/features.png")
    before = write(tmp_path).stat().st_size
    large.resize((1400, 700)).save(tmp_path / "evaluation/cnn/features.png")
    assert write(tmp_path).stat().st_size == pytest.approx(before, rel=0.3)


def test_the_first_sentence_says_what_failed(tmp_path):
    full(tmp_path)
    verdict = files.read_json(tmp_path / "registration.json") | {"accepted": False}
    files.write_json(tmp_path / "registration.json", verdict | {"criteria": [HARM | {"candidate": "cnn"}]})
    assert (
        "– No new champion: cnn-default, version 4 of darkroom, fails at recall of each class<" in write(tmp_path).read_text()
    )
    files.write_json(tmp_path / "registration.json", verdict | {"version": None, "criteria": [HARM]})
    assert "✗ Nothing was registered as darkroom: lstm fails at recall of each class<" in write(tmp_path).read_text()


@pytest.mark.slow
def test_the_verdict_comes_first_then_why(page):
    assert (
        page.find_element(By.TAG_NAME, "h1").text == "✓ cnn-default is champion of darkroom, version 4; it fails no criterion"
    )
    assert "no harm to" in page.find_element(By.CSS_SELECTOR, "main li").text
    assert "decided 2 times" in page.find_element(By.CSS_SELECTOR, "main ul").text
    failed, passed = texts(page, "Criteria")  # what fails comes first
    assert "93.81% 91.00% to 96.00%" in passed
    assert "✓ passes" in passed
    assert "✗ fails" in failed
    assert "loses 0.0300" in failed
    figures = texts(page, "The models side by side")
    assert figures[0] == "accuracy 93.81% 91.00% to 96.00% 93.81% 91.00% to 96.00% 92.00%"
    assert "parameters 283,770 283,770 –" in figures


@pytest.mark.slow
def test_data_and_models_are_told_together(page):
    suspect, dark = texts(page, "What validate found, and how often the models are wrong there")
    assert "50% 1 of 2 in the test split" in suspect
    assert "none in the test split" in dark
    (doubtful,) = texts(
        page, "Doubtful labels that a model contradicts"
    )  # the other one both models take for what it is labelled
    assert doubtful.endswith("bag bag (90%) shirt\\x1b[31m (90%)")
    assert texts(page, "Classes")[0] == "bag 54 2 55.56% 55.56%"
    assert texts(page, "Slices that lack data")[0].startswith("cnn size: 3 = small 40 50.00% 30.00% to 70.00%")
    assert [row.split()[0] for row in texts(page, "Damaged pictures")] == ["noise", "noise", "fog", "fog"]


@pytest.mark.slow
def test_names_are_text_and_nothing_is_fetched(page):
    for title in (
        "Criteria",
        "The worst slices",
        "The most confused pairs",
        "Classes",
        "Doubtful labels that a model contradicts",
    ):
        assert any(HOSTILE in row for row in texts(page, title)), title
    assert not page.find_elements(By.CSS_SELECTOR, "img[onerror], link, iframe, [src]:not([src^='data:image/webp;'])")
    assert "Darkroom" in page.title
    assert not page.get_log("browser")
    urls = [entry["message"] for entry in page.get_log("performance") if "Network.requestWillBeSent" in entry["message"]]
    assert len([message for message in urls if '"url":"data:' not in message]) == 1
    images = page.find_elements(By.TAG_NAME, "img")
    assert len(images) == 6
    for image in images:
        assert page.execute_script("return arguments[0].naturalWidth", image) == 60
        assert ": " in image.get_attribute("alt")


@pytest.mark.slow
def test_tables_sort_by_keyboard_numbers_as_numbers(page):
    body = page.find_element(By.TAG_NAME, "body")
    body.send_keys(Keys.TAB)
    assert page.switch_to.active_element.text == "Skip to the verdict"
    wanted = page.find_element(By.XPATH, "//*[@aria-label='The most confused pairs']//button[text()='times']")
    for _ in range(60):
        page.switch_to.active_element.send_keys(Keys.TAB)
        if page.switch_to.active_element == wanted:
            break
    assert page.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    for way, count in (("ascending", "9"), ("descending", "10")):
        page.switch_to.active_element.send_keys(Keys.ENTER)
        assert wanted.find_element(By.XPATH, "..").get_attribute("aria-sort") == way
        assert texts(page, "The most confused pairs")[0].endswith(f" {count}")
    picture = page.find_element(By.CSS_SELECTOR, "figure button")
    before = picture.size["width"]
    picture.send_keys(Keys.ENTER)  # enlarges it
    assert picture.size["width"] > before


@pytest.mark.slow
@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_it_follows_the_systems_scheme_and_fits_a_phone(page, scheme, dark):
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    page.execute_script("document.querySelectorAll('details').forEach(each => each.open = true)")
    page.execute_script("document.querySelectorAll('figure button').forEach(each => each.click())")
    wide = page.execute_script("return document.documentElement.scrollWidth")
    links = page.execute_script(
        "return [...document.querySelectorAll('nav a')].map(each => each.getBoundingClientRect().right)"
    )
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide == 400
    assert max(links) < 400  # none is hidden beyond the edge

    def brightness(selector: str, what: str) -> float:
        found = f"return getComputedStyle(document.querySelector({selector!r})).{what}.match(/[0-9.]+/g).map(Number)"
        return sum(page.execute_script(found)[:3]) / 3

    ground = brightness("body", "backgroundColor")
    assert (ground < 60) is dark
    for selector in ("body", "h1", "td.pass", "td.error", ".soft", "nav a", "th button"):
        assert abs(brightness(selector, "color") - ground) > 70, selector
