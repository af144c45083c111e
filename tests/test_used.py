"""From digits to answers: trained, packaged, served in the locked-down container; `predict` and ten thousand requests say the same."""

import contextlib
import http.client
import io
import json
import os
import re
import shlex
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from conftest import ROOT
from PIL import Image
from test_server import free_port

from pipelines import graph

pytestmark = pytest.mark.slow
REQUESTS, CLIENTS = 10_000, 16
STAGES = ("measure", "embed", "validate", "prepare", "augment", "train", "package")


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A project folder with a CNN that has learnt digits for a moment, and its package."""
    folder = tmp_path_factory.mktemp("digits")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["train"]["cnn"] |= {"epochs": 2, "batch_size": 64}
    params["augment"]["flip"] = False
    (folder / "params.yaml").write_text(yaml.safe_dump(params))
    darkroom(folder, "ingest", "digits", "data")
    stages = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
    for name in STAGES:
        command = stages[name].get("do", stages[name])["cmd"].replace("${item}", "cnn")
        darkroom(folder, *command.split()[1:])
    return folder


def darkroom(folder: Path, *arguments: object, codes: tuple[int, ...] = (0,)) -> str:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MLFLOW_TRACKING_URI": f"sqlite:///{folder}/runs.db"}
    command = [sys.executable, "-m", "components", *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode in codes, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def pictures(trained) -> dict[str, bytes]:
    """Every digit as PNG and as JPEG, in a folder; name -> its bytes."""
    darkroom(trained, "export", "data", "tree")
    (trained / "asked").mkdir()
    for number, file in enumerate(sorted((trained / "tree").rglob("*.png"))):
        (trained / "asked" / f"{number:05d}.png").write_bytes(file.read_bytes())
        stream = io.BytesIO()
        Image.open(file).convert("L").save(stream, "JPEG", quality=90)
        (trained / "asked" / f"{number:05d}.jpg").write_bytes(stream.getvalue())
    return {file.name: file.read_bytes() for file in sorted((trained / "asked").iterdir())}


@contextlib.contextmanager
def contained(package: Path):
    """The port of a server in a container that may write nothing, as nobody, of a package that it may only read."""
    for path in (package, *package.iterdir()):
        path.chmod(0o755)
    port = free_port()
    locked = ["--read-only", "--cap-drop=all", "--security-opt=no-new-privileges", "--tmpfs=/tmp", "--network=host"]
    command = ["podman", "run", "--rm", "--detach", *locked, f"--volume={package}:/model:ro", graph.image(),
               "darkroom", "serve", "/model", "--host=127.0.0.1", f"--port={port}", "--workers=2"]  # fmt: skip
    name = subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    try:
        for _ in range(300):
            with contextlib.suppress(OSError):
                if ask(http.client.HTTPConnection("127.0.0.1", port), "GET", "/v2/health/ready")[0] == 200:
                    break
            time.sleep(0.2)
        yield port
    finally:
        subprocess.run(["podman", "stop", "--time=20", name], capture_output=True)


def ask(connection, method: str, path: str, body: bytes | None = None, kind: str = "") -> tuple[int, dict]:
    connection.request(method, path, body, {"Content-Type": kind} if kind else {})
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def test_ten_thousand_requests_are_answered_as_predict_answers(trained, pictures, image):
    package = trained / "outputs/packages/cnn"
    darkroom(trained, "predict", package, "asked", "--output", "answers.parquet")
    rows = pq.read_table(trained / "answers.parquet").to_pylist()
    expected = {Path(row["source"]).name: row for row in rows}
    assert expected.keys() == pictures.keys()
    names = list(pictures)
    with contained(package) as port:

        def client(number: int) -> list[str]:
            connection, faults = http.client.HTTPConnection("127.0.0.1", port, timeout=60), []
            for request in range(number, REQUESTS, CLIENTS):
                name = names[request % len(names)]
                kind = "image/png" if name.endswith(".png") else "image/jpeg"
                status, answer = ask(connection, "POST", "/", pictures[name], kind)
                row = expected[name]
                same = status == 200 and abs(answer["probability"] - row["probability"]) < 1e-5
                if not same or any(answer[key] != row[key] for key in ("label", "prediction_set", "abstained")):
                    faults.append(f"{name}: {answer}, expected {row}")
            return faults

        with ThreadPoolExecutor(CLIENTS) as pool:
            faults = [fault for found in pool.map(client, range(CLIENTS)) for fault in found]
    assert faults == []
    right = [row["label"] == truth for row, truth in zip(rows, labels(trained, rows), strict=True)]
    assert sum(right) / len(right) > 0.8, "a network that has learnt something"


def labels(trained: Path, rows: list[dict]) -> list[str]:
    files = [file.parent.name for file in sorted((trained / "tree").rglob("*.png"))]
    return [files[int(Path(row["source"]).stem)] for row in rows]


@pytest.mark.parametrize("page", ["README.md", "docs/use.md"])
def test_what_a_page_types_one_after_the_other_works(trained, pictures, page):
    told = re.findall("^darkroom ((?:predict|watch) .*)", (ROOT / page).read_text(), re.MULTILINE)
    assert {line.split()[0] for line in told} == {"predict", "watch"}
    here = {"models:/darkroom@champion": trained / "outputs/packages/cnn", "~/new-pictures": "asked"}
    for line in told:
        # JPEGs beside PNGs may well be drift, which is exit code 1 of watch.
        darkroom(trained, *(here.get(word, word) for word in shlex.split(line, comments=True)), codes=(0, 1))
