"""The pictures of mlflow/README.md: the real server on a copy of this project's store, in a real Chromium.

python tests/screenshots.py            # needs runs, and Debian's packages chromium and chromium-driver
"""

import contextlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from PIL import Image
from selenium import webdriver
from selenium.webdriver.common.by import By

from components.compare.ui import MODE

ROOT = Path(__file__).parent.parent
# What a reader of a picture needs no more: the column of MLflow's assistant.
SETTLED = {"mlflow.assistant.panelOpen_v1": "false", "mlflow.assistant.fab.autoOpenedOnFirstLoad_v1": "true"}
WIDTH, LARGEST = 1200, 150_000  # pixels, bytes of a picture


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
            said = list(iter(process.stdout.readline, "Ctrl-C ends it.\n")) if process.poll() is None else []
            yield dict(re.findall(r"^(\w+) +(http\S+)$", "".join(said), re.M))
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


def settle(driver: webdriver.Chrome, server: str) -> None:
    """Close what MLflow opens for a new visitor."""
    driver.get(f"{server}/health")
    for name, value in SETTLED.items():
        driver.execute_script("localStorage.setItem(arguments[0], arguments[1])", name, value)


def take(driver: webdriver.Chrome, file: Path, height: int, *, at: str = "") -> None:
    """Save what the window shows from a heading `at` on, as a picture of few colours."""
    if at:
        heading = next(
            one for one in driver.find_elements(By.XPATH, f"//*[normalize-space(text())='{at}']") if one.is_displayed()
        )
        driver.execute_script("arguments[0].scrollIntoView({block: 'start'})", heading)
    time.sleep(4)  # charts are drawn after their names
    driver.save_screenshot(str(file))
    with Image.open(file) as shot:
        small = shot.convert("RGB").crop((0, 0, shot.width, min(height, shot.height)))
    small.quantize(128, dither=Image.Dither.NONE).save(file, optimize=True)
    if file.stat().st_size > LARGEST:
        raise SystemExit(f"{file}: {file.stat().st_size:,} bytes, expected at most {LARGEST:,}")


def main(store: Path, pictures: Path) -> None:
    """Take all of them of a store (its folder: runs.db, artifacts)."""
    with tempfile.TemporaryDirectory() as project, chromium(WIDTH, 1100) as driver:
        shutil.copytree(store, Path(project) / "mlflow")
        with served(Path(project), 5790) as links:
            server = links["Runs"].split("/#")[0]
            settle(driver, server)
            shows(driver, links["Runs"], "matching runs")
            take(driver, pictures / "runs.png", 600)
            shows(driver, links["Runs"] + "&compareRunsMode=CHART", "matching runs")
            take(driver, pictures / "curves.png", 900)
            shows(driver, links["Seeds"], "matching runs")
            take(driver, pictures / "seeds.png", 900)
            shows(driver, links["Compare"], "Comparing")
            take(driver, pictures / "compare.png", 1000, at="Metrics")
            run, experiment = (
                re.search(pattern, unquote(links["Compare"]))[1] for pattern in (r'runs=\["(\w+)"', r'experiments=\["(\w+)"')
            )
            shows(driver, f"{server}/#/experiments/{experiment}/runs/{run}?{MODE}", "Description")
            take(driver, pictures / "run.png", 1000)
            shows(driver, links["Registry"], "Versions")
            take(driver, pictures / "registry.png", 700, at="Versions")
            shows(driver, links["Champion"], "Version ")
            take(driver, pictures / "version.png", 1000)


if __name__ == "__main__":
    main(Path(sys.argv[1] if sys.argv[1:] else ROOT / "mlflow"), Path(sys.argv[2] if sys.argv[2:] else ROOT / "mlflow"))
