"""Names that are markup, scripts or template variables, in every page that Darkroom writes, opened in Chromium."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest import MEASURE, by_code, drawing, png
from kfp.dsl import HTML, ClassificationMetrics, Markdown, Metrics
from test_report import browser  # noqa: F401

from components.measure.step import measure
from components.shared.data import dataset
from components.shared.data.dataset import Sample
from components.shared.errors import Refused
from components.validate.config import ValidateConfig
from components.validate.step import validate
from pipelines import artifacts

SPRUNG = "window.sprung=1"
HOSTILE = [
    f'<img src=x onerror="{SPRUNG}">', f"<script>{SPRUNG}</script>", f"</script><script>{SPRUNG}</script>", "$", "$$", "$$$",
    "${styling}", "$value", "{{ 7 * 7 }}", "{% raw %}", "{# x", f"'\"><svg onload={SPRUNG}>", f"<a href='javascript:{SPRUNG}'>go</a>",
    "\\x3cb", "&lt;b&gt;", "<!--", "]]>", f"x' onmouseover='{SPRUNG}", "__class__", "%s%n", "a|b`c`[d](javascript:1)", "=1+1",
]  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tmp_path_factory) -> Path:
    """A class of each name, its paths named so too, one path twice, all judged."""
    folder = tmp_path_factory.mktemp("hostile")
    rng = np.random.default_rng(0)
    samples = []
    for label in HOSTILE:
        for number in range(10):
            pixels = drawing("box", rng)
            samples.append(Sample(label, f"{label}/{number} {label}.png", ((png(pixels), f"{number}.png"),), label, None))
        twice = samples[-1]
        samples.append(Sample(label, twice.source, ((png(drawing("bar", rng)), "x.png"),), label, None))
        samples.append(Sample(label, f"{label}/broken", ((b"no picture", "x.png"),), label, None))
    (folder / "data").mkdir()
    dataset.write_shard(samples, folder / "data" / "000.parquet")
    return folder


@pytest.fixture(scope="module")
def judged(hostile) -> Path:
    from conftest import ROOT

    from components.shared import config as configs

    params = configs.read_params(ROOT / "params.yaml")
    measure(data=hostile / "data", config=MEASURE, manifest=hostile / "manifest")
    limits = configs.parse(ValidateConfig, {**params["validate"], "max_imbalance_ratio": 1.0}, path="validate")
    with pytest.raises(Refused):
        validate(manifest=hostile / "manifest", config=limits, validation=hostile / "validation")
    return hostile / "validation"


def test_each_name_is_a_class_of_its_own_and_a_source_that_comes_twice_is_a_finding(judged):
    summary = json.loads((judged / "summary.json").read_text())
    assert set(summary["class_counts"]) == set(HOSTILE)
    found = by_code(judged / "findings.json")
    assert found["E_EXPECTATION"]["severity"] == "error"
    assert "every sample has a source of its own (not so for 44 of 264: " in found["E_EXPECTATION"]["message"]
    assert summary["expectations"]["failed"].keys() == {"every sample has a source of its own", "every sample decodes"}
    assert found["E_NOT_IMAGE"]["count"] == len(HOSTILE)


@pytest.mark.slow
def test_no_page_of_validate_runs_what_stands_in_a_name(judged, browser):  # noqa: F811
    pages = [judged / "report.html", *sorted((judged / "data_docs").rglob("*.html"))]
    assert len(pages) >= 4
    results = [page for page in pages if "validations" in page.parts]
    for page in pages:
        browser.get(page.as_uri())
        assert browser.execute_script("return window.sprung === undefined"), page
        for element in browser.find_elements("css selector", "[onerror], [onload], [onmouseover], a[href^='javascript']"):
            assert SPRUNG not in element.get_attribute("outerHTML"), page
        assert "49" not in browser.find_element("tag name", "body").text.split(), page
    assert "of its own" in results[0].read_text()
    assert HOSTILE[1] not in results[0].read_text()
    browser.get((judged / "report.html").as_uri())
    text = browser.find_element("id", "classes").text
    assert all(name in text for name in HOSTILE)


@pytest.mark.slow
def test_no_page_for_kubeflow_runs_what_stands_in_a_name(judged, tmp_path, browser):  # noqa: F811
    (tmp_path / "evaluation").mkdir()
    (tmp_path / "evaluation/metrics.json").write_text('{"accuracy": 0.5}')
    quoted = ['"' + name.replace('"', '""') + '"' for name in HOSTILE]
    (tmp_path / "evaluation/confusion.csv").write_text("\n".join(["true,predicted", *(f"{name},{name}" for name in quoted)]))
    (tmp_path / "evaluation/classes.csv").write_text("\n".join(["class,recall", *(f"{name},0.5" for name in quoted)]))
    head = "class,false_positive_rate,true_positive_rate,threshold\n"
    (tmp_path / "evaluation/roc.csv").write_text(head + "(micro-average),0,0.5,1.0\n")
    page, report = HTML(uri=str(tmp_path / "page")), HTML(uri=str(tmp_path / "report"))
    table = Markdown(uri=str(tmp_path / "table"))
    artifacts.show_evaluation(tmp_path / "evaluation", metrics=Metrics(uri=str(tmp_path / "m")), report=page,
                              curves=ClassificationMetrics(uri=str(tmp_path / "c")))  # fmt: skip
    artifacts.show_validation(judged, report=report, findings=table)
    for name in ("page", "report"):
        (tmp_path / f"{name}.html").write_bytes((tmp_path / name).read_bytes())
        browser.get((tmp_path / f"{name}.html").as_uri())
        assert browser.execute_script("return window.sprung === undefined")
        assert not browser.find_elements("css selector", "svg, iframe, [onerror], [onmouseover], script[src]")
        own = [each.get_attribute("textContent") for each in browser.find_elements("tag name", "script")]
        assert not any("sprung" in script for script in own)  # the page's own alone, which copies commands
        text = browser.find_element("tag name", "body").text
        assert all(name in text for name in HOSTILE)
    markdown = (tmp_path / "table").read_text()
    assert "<" not in markdown
    assert "](" not in markdown
