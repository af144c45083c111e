"""The pod that answers: `darkroom fetch` before it starts, and all of it as a real pod of the image (podman kube play)."""

import json
import secrets
import shutil
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import ROOT, png
from test_packages import registered  # noqa: F401, a fixture
from test_server import free_port
from test_serving import service
from toy_package import make_package

from components.__main__ import main as darkroom
from components.serve import parent
from components.serve.place import Place
from components.shared.models import package
from components.shared.models.recogniser import Recogniser
from pipelines import graph, serving


def test_a_package_is_fetched_whole_with_what_it_names_alone_and_another_one_is_refused(tmp_path, capsys):
    made, folder = make_package(tmp_path / "made"), tmp_path / "volume/package"
    (made.folder / "stray.py").write_text("what nobody packaged")
    assert darkroom(["fetch", str(made.folder), str(folder), "--sha256", made.digest]) == 0
    assert made.digest in capsys.readouterr().out
    names = {file.name for file in folder.iterdir()} - {".darkroom"}
    assert names == {"package.json", *made.files}
    assert all((folder / name).read_bytes() == (made.folder / name).read_bytes() for name in names)
    assert darkroom(["fetch", str(made.folder), str(folder), "--sha256", made.digest]) == 0, "a pod that starts again"
    other = make_package(tmp_path / "other", seed=9)
    assert darkroom(["fetch", str(other.folder), str(folder), "--sha256", made.digest]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "is another package" in line
    assert (folder / "package.json").read_bytes() == (made.folder / "package.json").read_bytes(), "what was there stays"
    shutil.rmtree(made.folder)
    assert darkroom(["fetch", str(made.folder), str(tmp_path / "new")]) == 2
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("model", "given", "expected"),
    [("models:/toys@champion", [], "1"), ("models:/toys/1", [], "1"), ("", ["--version", "7"], "7"), ("", [], None)],
)
def test_answers_name_the_version_that_was_fetched_by_its_number(registered, tmp_path, model, given, expected):  # noqa: F811
    made, _ = registered
    assert darkroom(["fetch", model or made.folder.as_uri(), str(tmp_path / "volume"), *given]) == 0
    found = package.read(tmp_path / "volume", digest=made.digest)
    assert found.facts.get("version") == expected
    (tmp_path / "place").mkdir()
    source = parent.Source(str(tmp_path / "volume"), Place(tmp_path / "place"))
    source.take()
    assert source.state.version == (expected or made.digest[:12])


@pytest.mark.parametrize("noted", ["", "3\n<b>", "x" * 10**6, "\xff"])
def test_a_version_that_is_no_number_is_none(tmp_path, noted):
    made = make_package(tmp_path / "made")
    (made.folder / "version").write_text(noted)
    assert "version" not in package.read(made.folder).facts


def as_podman_takes_it(deployment: dict, source: Path, port: int) -> dict:
    """One pod of it, with what a test alone needs: a folder for a registry, a port of this machine, volumes that no other has.

    Of a Deployment, podman 4.3 starts again even the container that runs first and has ended well.
    """
    pod = deployment["spec"]["template"]["spec"] | {"restartPolicy": "Never"}
    (fetching,), (answering,) = pod["initContainers"], pod["containers"]
    unique = secrets.token_hex(4)
    for named in [*pod["volumes"], *fetching["volumeMounts"], *answering["volumeMounts"]]:
        named["name"] += unique
    pod["volumes"].append({"name": "source", "hostPath": {"path": str(source)}})
    fetching["volumeMounts"].append({"name": "source", "mountPath": "/source", "readOnly": True})
    answering["ports"][0]["hostPort"] = port
    return {"apiVersion": "v1", "kind": "Pod", "metadata": deployment["metadata"], "spec": pod}


def answered(address: str, content: bytes | None = None) -> dict:
    request = urllib.request.Request(address, content, {"Content-Type": "image/png"} if content else {})
    return json.load(urllib.request.urlopen(request, timeout=10))


@pytest.mark.slow
def test_a_pod_of_the_image_fetches_a_package_and_answers_a_picture(image, tmp_path, monkeypatch):
    made = make_package(tmp_path / "made")
    monkeypatch.setenv("CONTAINERS_CONF", str(ROOT / "infra/containers.conf"))
    wanted = service(
        "deployment", name="toys-champion", model="/source", version="12", digest=made.digest, image=graph.image(), replicas=1
    )
    (deployment,) = [document for document in serving.rendered(wanted)[0] if document["kind"] == "Deployment"]
    port, file = free_port(), tmp_path / "pod.yaml"
    pod = as_podman_takes_it(deployment, made.folder, port)
    file.write_text(yaml.safe_dump(pod))
    try:
        played = subprocess.run(["podman", "kube", "play", file], capture_output=True, text=True)
        assert played.returncode == 0, played.stderr
        address, end = f"http://127.0.0.1:{port}", time.monotonic() + 120
        while True:
            try:
                assert answered(f"{address}/v2/health/ready") == {"ready": True}
                break
            except OSError:
                logs = subprocess.run(["podman", "logs", "toys-champion-darkroom"], capture_output=True, text=True)
                assert time.monotonic() < end, logs.stdout + logs.stderr
                time.sleep(0.5)
        picture = png(np.random.default_rng(1).integers(0, 256, (20, 30), np.uint8))
        (expected,) = Recogniser(made).answers(np.stack([made.preprocessing.sample([picture])]), top=1)
        found = answered(address, picture)
        assert (found["label"], found["probability"]) == (expected.label, pytest.approx(expected.probability, abs=1e-6))
        look = "id -u; touch /opt/x; touch /mnt/models/x; env"
        inside = subprocess.run(["podman", "exec", "toys-champion-darkroom", "sh", "-c", look], capture_output=True, text=True)
        assert inside.stdout.startswith("10001\n")
        assert inside.stderr.count("Read-only file system") == 2
        assert "AWS_" not in inside.stdout
    finally:
        subprocess.run(["podman", "kube", "down", file], capture_output=True)
        names = [volume["name"] for volume in pod["spec"]["volumes"]]
        subprocess.run(["podman", "volume", "rm", *names], capture_output=True)
