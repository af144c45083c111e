"""report.html in a real browser (Chromium): verdict first, pictures, keyboard, light and dark, hostile names, no network."""

import numpy as np
import pytest
from conftest import MEASURE, draw_stills, drawing, png
from PIL import Image
from screenshots import chromium
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from components.ingest.step import ingest
from components.measure.step import measure
from components.shared.errors import Refused
from components.validate.config import ValidateConfig
from components.validate.step import validate

pytestmark = pytest.mark.slow
HOSTILE = '<img src=x onerror="document.title=1">'


@pytest.fixture(scope="module")
def browser():
    with chromium() as driver:
        yield driver


@pytest.fixture
def page(tmp_path, knobs, browser):
    source = draw_stills(tmp_path / "stills")
    (source / HOSTILE).mkdir()
    for number in range(12):
        (source / HOSTILE / f"{number}.png").write_bytes(png(drawing("box", np.random.default_rng(900 + number))))
    twin = (source / "bar" / "0.png").read_bytes()
    long = source / "a_class_$name$_as_labelling_tools_export_it_with_everything_that_they_know"
    long.mkdir()
    for number in range(12):
        (long / f"{'a_long_name_' * 10}{number}.png").write_bytes(png(drawing("cross", np.random.default_rng(700 + number))))
    (source / "cross" / "twin\x1b[31m.png").write_bytes(twin)
    (source / "box" / "note.png").write_text("not a picture")
    Image.fromarray(np.full((16, 16, 3), 9, np.uint8)).save(source / "bar" / "blank.png")
    ingest(str(source), tmp_path / "data")
    measure(data=tmp_path / "data", config=MEASURE, manifest=tmp_path / "manifest")
    with pytest.raises(Refused):
        validate(manifest=tmp_path / "manifest", config=knobs(ValidateConfig, "validate"), validation=tmp_path / "v")
    browser.get_log("performance")
    browser.get((tmp_path / "v" / "report.html").as_uri())
    return browser


def test_the_verdict_comes_first_and_every_finding_says_what_to_type(page):
    assert page.find_element(By.TAG_NAME, "h1").text == "✗ The data is refused"
    assert page.title.startswith("Data is refused")
    conflict = page.find_element(By.ID, "E_LABEL_CONFLICT")
    assert conflict.get_attribute("open")
    assert "darkroom fix data outputs/validation --apply E_LABEL_CONFLICT" in conflict.text
    pictures = conflict.find_elements(By.TAG_NAME, "img")
    assert len(pictures) == 2
    assert all(
        page.execute_script("return arguments[0].complete && arguments[0].naturalWidth", each) == 16 for each in pictures
    )
    suspect = page.find_element(By.ID, "W_LABEL_SUSPECT").get_attribute("textContent")
    assert "What to do: review them here, the least probable" in suspect
    assert "no pixels" in page.find_element(By.ID, "E_NOT_IMAGE").text
    assert page.find_element(By.CSS_SELECTOR, "#imbalance .facts").text.count("\n") >= 7


def test_the_commands_it_suggests_are_copied_by_mouse_and_by_keyboard(page):
    page.set_network_conditions(offline=True, latency=0, throughput=0)
    first, second = page.find_elements(By.CSS_SELECTOR, "details[open] button.copy")[:2]
    wanted = [each.find_element(By.XPATH, "preceding-sibling::code[1]").text for each in (first, second)]
    first.click()
    assert first.text == "Copied"
    first.send_keys(Keys.TAB)
    while page.switch_to.active_element != second:
        page.switch_to.active_element.send_keys(Keys.TAB)
    second.send_keys(Keys.ENTER)
    assert (first.text, second.text) == ("Copy", "Copied")
    assert page.find_element(By.ID, "copied").text == f"Copied {wanted[1]}"  # what a screen reader says
    page.delete_network_conditions()
    page.execute_script("document.body.insertAdjacentHTML('beforeend', '<textarea id=pasted>')")
    area = page.find_element(By.ID, "pasted")
    area.send_keys(Keys.CONTROL, "v")
    assert area.get_attribute("value") == wanted[1]
    assert wanted[1].startswith("darkroom fix data outputs/validation --apply E_")


def test_names_are_text_and_nothing_is_fetched_from_anywhere(page):
    assert HOSTILE in page.find_element(By.ID, "classes").text
    assert not page.find_elements(By.CSS_SELECTOR, "img[onerror], script[src], link, iframe")
    assert "twin\\x1b[31m.png" in page.find_element(By.ID, "E_LABEL_CONFLICT").text
    assert not [entry for entry in page.get_log("browser") if entry["level"] == "SEVERE"]
    requests = [entry["message"] for entry in page.get_log("performance") if "requestWillBeSent" in entry["message"]]
    assert all('"url":"http' not in message for message in requests)


OVERLAPS = """
const box = each => each.getBoundingClientRect(), found = [];
const meet = (a, b) => a.left < b.right - 1 && b.left < a.right - 1 && a.top < b.bottom - 1 && b.top < a.bottom - 1;
document.querySelectorAll("details").forEach(each => each.open = true);
for (const figures of [...document.querySelectorAll(".pictures")].map(each => [...each.querySelectorAll("figure")])) {
  const all = [figures, ...figures.map(each => [...each.querySelectorAll("img, .none, small, figcaption")])];
  for (const group of all) group.forEach((one, number) => {
    if (group.slice(number + 1).some(other => meet(box(one), box(other)))) found.push(one.outerHTML.slice(0, 80));
    const around = one.parentElement.closest("figure, .pictures");
    if (box(one).right > box(around).right + 1 || box(one).bottom > box(around).bottom + 1) found.push(one.outerHTML.slice(0, 80));
  });
}
return [found, document.querySelectorAll(".pictures figure").length, document.documentElement.scrollWidth];
"""


@pytest.mark.parametrize("width", [375, 1100])
def test_pictures_and_their_names_overlap_nothing_on_a_phone_too(page, width):
    page.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": True}
    )
    overlaps, figures, wide = page.execute_script(OVERLAPS)
    page.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    assert figures > 3
    assert not overlaps
    assert wide <= width


def test_the_keyboard_reaches_and_opens_everything(page):
    blank = page.find_element(By.ID, "W_BLANK")
    page.execute_script("arguments[0].open = false", blank)
    body = page.find_element(By.TAG_NAME, "body")
    for _ in range(40):
        body.send_keys(Keys.TAB)
        here = page.switch_to.active_element
        if here.tag_name == "summary" and "W_BLANK" in here.text:
            break
    assert page.execute_script("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert blank.get_attribute("open")
    page.find_element(By.LINK_TEXT, "Imbalance").send_keys(Keys.ENTER)
    top = page.execute_script("return document.getElementById('imbalance').getBoundingClientRect().top")
    assert top < 900


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_it_is_readable_in_light_and_in_dark(page, scheme, dark):
    page.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})

    def brightness(selector: str, what: str) -> float:
        colour = page.execute_script(
            f"return getComputedStyle(document.querySelector({selector!r})).{what}.match(/[0-9.]+/g).map(Number)"
        )
        return sum(colour[:3]) / 3

    ground = brightness("body", "backgroundColor")
    assert (ground < 60) is dark
    for selector in ("body", "h1", "#findings summary strong", ".soft", "nav a"):
        assert abs(brightness(selector, "color") - ground) > 70, selector
