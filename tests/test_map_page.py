"""map.html: what is in the file; and in a real browser (Chromium) hover, search, legend, keyboard, many points, hostile names."""

import itertools
import json
import re

import numpy as np
import pyarrow as pa
import pytest
from conftest import drawing, png
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from test_hostile_names import HOSTILE, SPRUNG
from test_report import browser  # noqa: F401

from components.embed import map_page
from components.shared import plots


def samples(count: int, labels=("bar", "box", "cross"), seed: int = 0) -> pa.Table:
    """A ring of samples, each label an arc of it; the last has no vector."""
    rng, turn = np.random.default_rng(seed), np.linspace(0, 6, count)
    label = [labels[row * len(labels) // count] for row in range(count)]
    x, y = 50 * np.cos(turn) + rng.normal(0, 3, count), 50 * np.sin(turn) + rng.normal(0, 3, count)
    x[-1], outlier = np.nan, rng.permutation(count) / count
    outlier[-1] = np.nan
    return pa.table({
        "id": [f"{row:064x}" for row in range(count)], "source": [f"{label[row]}/picture {row}.png" for row in range(count)],
        "label": label, "split": [("train", "test", None)[row % 3] for row in range(count)],
        "cluster": pa.array(np.arange(count) % 4 - 1, pa.int32()), "outlier": pa.array(outlier.astype(np.float32)),
        "x": pa.array(x.astype(np.float32)), "y": pa.array(y.astype(np.float32)),
        "label_next": pa.array([row // 2 if row % 2 else None for row in range(count)], pa.int32()),
    })  # fmt: skip


def previews(count: int):
    rng = np.random.default_rng(0)
    few = [png(drawing("box", rng)) for _ in range(20)]
    return (few[row % 20] if row % 7 else None for row in range(count))


def data_of(text: str) -> dict:
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)[1])


def test_the_page_says_what_is_not_on_it(tmp_path, monkeypatch):
    monkeypatch.setattr(map_page, "SHOWN", 60)
    monkeypatch.setattr(map_page, "PICTURES", 8_000)
    map_page.write(tmp_path / "map.html", samples(90), previews(90), "Map of toys")
    text = (tmp_path / "map.html").read_text()
    assert "60 of 90 samples, drawn by chance; 1 have no vector; pictures of" in text
    data = data_of(text)
    assert len(data["sources"]) == 60
    assert "cross/picture 89.png" not in data["sources"]
    assert [mode["title"] for mode in data["modes"]] == ["label", "cluster", "split", "outlier", "next"]
    assert data["modes"][1]["names"][-1] == "no cluster"
    splits = dict(zip(data["modes"][2]["names"], data["modes"][2]["colours"], strict=True))
    assert splits == {"train": plots.BLUE, "test": plots.ORANGE, "no split": map_page.NONE}  # as on all other pages


def test_the_same_samples_are_the_same_page_and_none_are_a_page_too(tmp_path):
    for name in ("a", "b"):
        map_page.write(tmp_path / name, samples(50), previews(50), "Map")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    map_page.write(tmp_path / "none", samples(50).slice(0, 0), iter([]), "Map")
    assert "0 samples" in (tmp_path / "none").read_text()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    """300 samples under names that are markup and scripts, and one source that is found by its name alone."""
    file = tmp_path_factory.mktemp("map") / "map.html"
    table = samples(300, HOSTILE)
    sources = [f"{name}/{row}" for row, name in enumerate(table["label"].to_pylist())]
    sources[123] = "a needle\u202egnp.exe\x1b[31m"
    table = table.set_column(table.schema.get_field_index("source"), "source", pa.array(sources))
    map_page.write(file, table, previews(300), HOSTILE[2])
    return file, table


@pytest.fixture
def page(hostile, browser):  # noqa: F811
    browser.get_log("performance")
    browser.get(hostile[0].as_uri())
    return browser


def drawn(page) -> int:
    """Of the next picture that is painted."""
    page.execute_async_script("requestAnimationFrame(() => requestAnimationFrame(arguments[0]))")
    return int(page.find_element(By.ID, "canvas").get_attribute("data-drawn"))


def find(page, word: str) -> None:
    """Search for it, go to the first that is found, and point to the middle of the map."""
    page.find_element(By.ID, "search").send_keys(word, Keys.ENTER)
    drawn(page)
    ActionChains(page).move_to_element_with_offset(page.find_element(By.ID, "canvas"), 0, 80).perform()
    ActionChains(page).move_to_element(page.find_element(By.ID, "canvas")).perform()
    drawn(page)


@pytest.mark.slow
def test_names_are_text_and_nothing_is_fetched_from_anywhere(page):
    assert drawn(page) == 299
    shown = [each.text for each in page.find_elements(By.CSS_SELECTOR, "#groups span")]
    assert sorted(shown) == sorted(HOSTILE)
    assert page.find_element(By.TAG_NAME, "h1").text == HOSTILE[2]
    find(page, "onload=")
    assert page.execute_script("return window.sprung === undefined")
    assert not page.find_elements(By.CSS_SELECTOR, "svg, iframe, [onerror], [onload], [onmouseover]")
    assert not [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    requests = [entry["message"] for entry in page.get_log("performance") if "requestWillBeSent" in entry["message"]]
    assert all('"url":"http' not in message for message in requests)


@pytest.mark.slow
def test_a_script_that_is_not_the_pages_own_does_not_run(page):
    page.execute_script(f"document.body.append(Object.assign(document.createElement('script'), {{textContent: '{SPRUNG}'}}))")
    assert page.execute_script("return window.sprung === undefined")
    assert [entry for entry in page.get_log("browser") if "Content Security Policy" in entry["message"]]


@pytest.mark.slow
def test_search_marks_and_goes_to_a_sample_and_hover_shows_it(page, hostile):
    find(page, "needle")
    row = {name: hostile[1][name][123].as_py() for name in hostile[1].column_names}
    assert page.find_element(By.ID, "status").text.startswith("1 found")
    card = page.find_element(By.ID, "card").text
    assert row["label"] in card
    assert "a needle\\u202egnp.exe\\x1b[31m" in card
    assert (
        f"cluster {row['cluster'] + 1} · train · to label: up to 100 · odder than {int(row['outlier'] * 1000) / 10:g}%" in card
    )
    assert page.execute_script("return document.querySelector('#card img').naturalWidth") == 16


@pytest.mark.slow
def test_the_legend_counts_and_hides_classes(page):
    for title, count in (("label", 22), ("cluster", 4), ("split", 3), ("outlier", 4), ("next", 4)):
        page.find_element(By.XPATH, f"//fieldset/label[normalize-space()='{title}' or .='{title.title()}']").click()
        groups = page.find_elements(By.CSS_SELECTOR, "#groups button")
        assert len(groups) == count
        assert sum(int(each.find_element(By.TAG_NAME, "small").text) for each in groups) == 299
        groups[0].click()
        assert groups[0].get_attribute("aria-pressed") == "false"
        assert drawn(page) == 299 - int(groups[0].find_element(By.TAG_NAME, "small").text)
    hide, show = page.find_elements(By.CSS_SELECTOR, "#all button")[::-1]
    hide.click()
    assert drawn(page) == 0
    show.click()
    assert drawn(page) == 299


@pytest.mark.slow
def test_the_keyboard_moves_the_map_and_reads_what_lies_in_the_middle(page):
    canvas, all_of_it = page.find_element(By.ID, "canvas"), drawn(page)
    for _ in range(10):
        page.switch_to.active_element.send_keys(Keys.TAB)
        if page.switch_to.active_element == canvas:
            break
    assert page.switch_to.active_element == canvas
    canvas.send_keys("+", "+", "+", "+", Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT, Keys.ARROW_LEFT)
    assert drawn(page) < all_of_it
    for _ in range(20):
        canvas.send_keys(Keys.ARROW_LEFT)
        if page.find_element(By.ID, "card").is_displayed():
            break
    assert "odder than" in page.find_element(By.ID, "card").text
    canvas.send_keys("0")
    assert drawn(page) == all_of_it


@pytest.mark.slow
@pytest.mark.parametrize(("width", "scheme", "dark"), [(375, "light", False), (1100, "dark", True)])
def test_it_fits_a_phone_and_follows_light_and_dark(page, width, scheme, dark):
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
    size = {"width": width, "height": 800, "deviceScaleFactor": 2, "mobile": True}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.refresh()
    assert drawn(page) == 299
    corner = page.execute_script("return [...document.getElementById('canvas').getContext('2d').getImageData(1, 1, 1, 1).data]")
    wide = page.execute_script("return document.documentElement.scrollWidth")
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert wide <= width
    assert (sum(corner[:3]) < 180) is dark


@pytest.mark.slow
def test_of_many_classes_neighbours_differ_in_colour_and_few_that_are_shown_all_do(tmp_path, browser):  # noqa: F811
    names = [f"{number:02d}" for number in range(40)]  # in a ring, each beside the next
    map_page.write(tmp_path / "map.html", samples(800, names), previews(800), "Map")
    browser.get((tmp_path / "map.html").as_uri())
    colours = browser.execute_script(
        "return Object.fromEntries(mode.colours.map((colour, group) => [mode.names[group], colour]))"
    )
    assert len(set(colours.values())) == len(map_page.PALETTE)
    assert all(colours[name] != colours[other] for name, other in itertools.pairwise(names))
    browser.find_elements(By.CSS_SELECTOR, "#all button")[1].click()
    groups = browser.find_elements(By.CSS_SELECTOR, "#groups button")[: len(map_page.PALETTE)]
    for group in groups:
        group.click()
    shown = {group.find_element(By.TAG_NAME, "i").value_of_css_property("background-color") for group in groups}
    assert len(shown) == len(map_page.PALETTE)


@pytest.mark.slow
def test_what_is_not_searched_for_is_grey(page):
    count = """const {width, height} = canvas, pixels = pen.getImageData(0, 0, width, height).data; let found = 0
        for (let i = 0; i < pixels.length; i += 4) found += Math.max(...pixels.slice(i, i + 3)) - Math.min(...pixels.slice(i, i + 3)) > 60
        return found"""
    drawn(page)
    coloured = page.execute_script(count)
    page.find_element(By.ID, "search").send_keys("needle")
    drawn(page)
    assert page.execute_script(count) < coloured / 20


@pytest.mark.slow
def test_a_hundred_thousand_samples_are_one_file_that_is_moved_and_zoomed(tmp_path, browser):  # noqa: F811
    map_page.write(tmp_path / "map.html", samples(100_001, [f"class {n}" for n in range(300)]), previews(100_001), "Map")
    assert (tmp_path / "map.html").stat().st_size < 30 * 2**20
    browser.get((tmp_path / "map.html").as_uri())
    assert drawn(browser) == 100_000
    groups = browser.find_elements(By.CSS_SELECTOR, "#groups button")
    assert len(groups) == map_page.GROUPS + 1
    assert "100 others" in groups[-1].text
    canvas = browser.find_element(By.ID, "canvas")
    ActionChains(browser).move_to_element(canvas).click_and_hold().move_by_offset(-150, 0).move_by_offset(
        -150, 0
    ).release().perform()
    moved = drawn(browser)
    assert 0 < moved < 100_000
    browser.find_element(By.ID, "whole").click()
    assert drawn(browser) == 100_000
    find(browser, "picture 77777.png")
    assert "picture 77777.png" in browser.find_element(By.ID, "card").text
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
