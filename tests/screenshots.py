"""The pictures of mlflow/README.md: the real server on a copy of this project's store, in a real Chromium.

python tests/screenshots.py            # needs runs, and Debian's packages chromium and chromium-driver
"""

import contextlib
import itertools
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

ROOT = Path(__file__).parent.parent
# The column of MLflow's assistant, which opens for a new visitor; tools that a mouse brings out, over each chart.
SETTLE = """localStorage['mlflow.assistant.panelOpen_v1'] = 'false'
localStorage['mlflow.assistant.fab.autoOpenedOnFirstLoad_v1'] = 'true'"""
HIDE = "document.querySelectorAll('.modebar').forEach(bar => bar.remove())"
UNFOLD = "[role=gridcell][col-id*='Run Name'] button"
WIDTH, SIDEBAR, LARGEST = 1300, 198, 150_000  # pixels, pixels, bytes of a picture


@contextlib.contextmanager
def chromium(width: int = 1100, height: int = 900) -> Iterator[webdriver.Chrome]:
    """A browser without a window, that asks nobody but the page's server, and keeps what it logs."""
    options = webdriver.ChromeOptions()
    options.binary_location = "/usr/bin/chromium"
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
                     "--disable-background-networking", "--disable-component-update", f"--window-size={width},{height}"):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService("/usr/bin/chromedriver"))
    try:
        yield driver
    finally:
        driver.quit()


@contextlib.contextmanager
def served(project: Path, port: int) -> Iterator[dict[str, str]]:
    """`darkroom ui` on a project's store: the links that it prints, by their names."""
    command = [sys.executable, "-m", "components", "ui", "--port", str(port)]
    with subprocess.Popen(command, cwd=project, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            said = "".join(itertools.takewhile(lambda line: not line.startswith("Ctrl-C"), process.stdout))
            yield dict(re.findall(r"^(\w+) +(http\S+)$", said, re.M))
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(30)


def shows(driver: webdriver.Chrome, link: str, *texts: str) -> str:
    """Open a page of MLflow and wait until all these texts stand in it; what stands in it then. Raises AssertionError."""
    driver.get("about:blank")  # or a new part behind # loads nothing
    driver.get(link)
    end = time.monotonic() + 60
    while missing := [text for text in texts if text not in (page := driver.find_element(By.TAG_NAME, "body").text)]:
        assert time.monotonic() < end, f"{link} lacks {missing}: {page}"
        time.sleep(0.2)
    return page


def take(driver: webdriver.Chrome, file: Path, height: int, at: str = "", left: int = SIDEBAR) -> None:
    """Save what the window shows, right of MLflow's sidebar, from the heading `at` on."""
    for close in driver.find_elements(By.XPATH, "//*[.='Exit shared view']/following::button[1]"):
        close.click()
    for place in driver.find_elements(By.XPATH, f"//*[normalize-space(text())='{at}']") if at else []:
        driver.execute_script("arguments[0].scrollIntoView({block: 'start'})", place)
    time.sleep(3)  # charts are drawn after their names
    driver.execute_script(HIDE)
    driver.save_screenshot(str(file))
    with Image.open(file) as shot:
        small = shot.convert("RGB").crop((left, 0, shot.width, min(height, shot.height)))
    # Few colours make a small file.
    small.quantize(128, dither=Image.Dither.NONE).save(file, optimize=True)
    if file.stat().st_size > LARGEST:
        raise SystemExit(f"{file}: {file.stat().st_size:,} bytes, expected at most {LARGEST:,}")


def main(store: Path, pictures: Path) -> None:
    """Take all of them of a store (its folder: runs.db, artifacts)."""
    with tempfile.TemporaryDirectory() as project, chromium(WIDTH, 1340) as driver:
        shutil.copytree(store, Path(project) / "mlflow")
        with served(Path(project), 5790) as links:
            driver.get(links["Runs"].split("#")[0] + "health")
            driver.execute_script(SETTLE)
            shows(driver, links["Runs"], "matching runs")
            take(driver, pictures / "runs.png", 560, left=0)
            shows(driver, links["Runs"].split("&")[0], "matching runs")  # MLflow's own view: newest first, nested
            WebDriverWait(driver, 60).until(lambda shown: shown.find_elements(By.CSS_SELECTOR, UNFOLD))
            driver.execute_script(f'document.querySelectorAll("{UNFOLD}").forEach(button => button.click())')
            take(driver, pictures / "nested.png", 560)
            shows(driver, links["Runs"] + "&compareRunsMode=CHART", "by_epoch")
            take(driver, pictures / "curves.png", 660)
            shows(driver, links["Seeds"], "by_epoch")
            take(driver, pictures / "seeds.png", 1080)
            shows(driver, links["Compare"], "Comparing")
            driver.find_element(By.CSS_SELECTOR, "[role='switch']").click()  # of parameters: those that differ alone
            take(driver, pictures / "compare.png", 640, "Parameters")
            shows(driver, links["Registry"], "Versions")
            driver.find_element(By.XPATH, "//*[normalize-space(text())='Tags']").click()  # the history, as JSON
            take(driver, pictures / "registry.png", 560)
            shows(driver, links["Champion"], "Version ")
            take(driver, pictures / "version.png", 900)
            shows(driver, driver.find_element(By.CSS_SELECTOR, "a[href*='/runs/']").get_attribute("href"), "Show more")
            driver.find_element(By.XPATH, "//button[.='Show more']").click()
            take(driver, pictures / "run.png", 900)


if __name__ == "__main__":
    main(Path(sys.argv[1] if sys.argv[1:] else ROOT / "mlflow"), Path(sys.argv[2] if sys.argv[2:] else ROOT / "mlflow"))
