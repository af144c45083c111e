"""KServe's own client, as people install it, asks `darkroom serve`: it finds it ready, and reads answers in JSON and in bytes."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import cannot_run_here, png
from test_serve import serving
from toy_package import make_package

from components.shared.models.recogniser import Recogniser

CLIENT = Path(sys.prefix, "kserve/bin/python")  # infra/tools.sh
ASK = """
import asyncio, base64, json, sys
from pathlib import Path
import numpy as np
from kserve import InferenceRESTClient, InferInput, InferRequest, RESTConfig

async def main(address, how, *files):
    client = InferenceRESTClient(RESTConfig(protocol="v2", retries=0))
    said = {"live": await client.is_server_live(address), "ready": await client.is_server_ready(address),
            "model_ready": await client.is_model_ready(address, "darkroom")}
    contents = [Path(file).read_bytes() for file in files]
    pictures = np.array(contents if how == "bytes" else [base64.b64encode(content) for content in contents], object)
    images = InferInput(name="images", shape=[len(pictures)], datatype="BYTES")
    images.set_data_from_numpy(pictures, binary_data=how == "bytes")
    answer = await client.infer(address, InferRequest(model_name="darkroom", infer_inputs=[images]), model_name="darkroom")
    print(json.dumps(said | {each.name: each.as_numpy().tolist() for each in answer.outputs}))

asyncio.run(main(*sys.argv[1:]))
"""


@pytest.fixture(scope="module")
def answered(tmp_path_factory):
    """`answered(how)`: what the client says of three pictures that it sends; and what the model itself says."""
    if not CLIENT.exists():
        cannot_run_here("KServe's client is missing; infra/tools.sh installs it")
    folder = tmp_path_factory.mktemp("kserve")
    package = make_package(folder / "package")
    pixels = [np.random.default_rng(seed).integers(0, 256, (20, 30), np.uint8) for seed in range(3)]
    pictures = [folder / f"{number}.png" for number in range(3)]
    for file, each in zip(pictures, pixels, strict=True):
        file.write_bytes(png(each))
    way = package.preprocessing
    expected = Recogniser(package).answers(np.stack([way.sample([file.read_bytes()]) for file in pictures]))
    with serving(folder, package.folder) as server:

        def ask(how: str) -> tuple[dict, list]:
            command = [CLIENT, "-c", ASK, f"http://127.0.0.1:{server.port}", how, *pictures]
            done = subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=120)
            assert done.returncode == 0, done.stderr
            return json.loads(done.stdout), expected

        yield ask


@pytest.mark.slow
@pytest.mark.parametrize("how", ["bytes", "json"])
def test_kserves_client_finds_the_server_ready_and_reads_what_the_model_says(answered, how):
    said, expected = answered(how)
    assert (said["live"], said["ready"], said["model_ready"]) == (True, True, True)
    assert said["label"] == [each.label for each in expected]
    assert said["probability"] == pytest.approx([each.probability for each in expected], abs=1e-6)
    assert [json.loads(text) for text in said["prediction_set"]] == [each.prediction_set for each in expected]
    assert said["abstained"] == [each.abstained for each in expected]
