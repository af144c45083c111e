"""The image, and single steps in it: real containers, by podman (or docker, where DOCKER_HOST names it)."""

import argparse
import json
import shutil
import subprocess
from pathlib import Path

import job_double
import pytest
import yaml
from conftest import ROOT, draw_shards

from components.shared.store import STORE
from pipelines import containers, execution, graph, local

pytestmark = pytest.mark.slow


def test_the_image_says_what_it_is_and_holds_nothing_that_it_should_not(image):
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    assert image["Config"]["User"] == "10001:10001"
    assert image["Labels"]["org.opencontainers.image.revision"].startswith(commit)
    assert image["Labels"]["org.opencontainers.image.version"]
    assert image["Labels"]["darkroom.code"] == graph.code_digest()
    assert image["Size"] < 2.6e9
    look = (
        "find / -xdev \\( -name pip.conf -o -name ca.crt -o -name '*.pyi' -o -path '*/tensorflow/include' -o -path '*/pandas/tests' "
        "-o -name pip -path '*/site-packages/*' \\) -print 2>/dev/null; ls -A /root /src /tmp 2>/dev/null; darkroom --version; "
        "python -c 'from pipelines import graph; print(graph.code_digest())'"
    )
    command = ["podman", "run", "--rm", "--network=none", "--read-only", graph.image(), "sh", "-c", look]
    there = subprocess.run(command, capture_output=True, text=True)
    assert [line for line in there.stdout.splitlines() if line.startswith("/")] in ([], ["/tmp:"]), there.stdout
    assert "darkroom 0." in there.stdout
    assert there.stdout.splitlines()[-1] == graph.code_digest()  # a step finds what it is, from its own files
    history = subprocess.run(["podman", "history", "--no-trunc", graph.image()], capture_output=True, text=True).stdout
    assert "index-url" not in history


def test_the_label_is_of_this_commit_also_where_the_code_is_that_of_another(image, tmp_path):
    # podman 4.3 answers LABEL and ENV from its cache whatever the commit is.
    subprocess.run(["git", "clone", "--quiet", ROOT, tmp_path / "clone"], check=True)
    empty = ["git", "-c", "user.name=x", "-c", "user.email=x@localhost", "commit", "--quiet", "--allow-empty", "-m", "x"]
    subprocess.run(empty, cwd=tmp_path / "clone", check=True)
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=tmp_path / "clone", capture_output=True, text=True).stdout.strip()
    done = subprocess.run(
        ["infra/image.sh", "localhost/darkroom:other"], cwd=tmp_path / "clone", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-3000:]
    shown = subprocess.run(
        ["podman", "image", "inspect", "localhost/darkroom:other"], capture_output=True, text=True, check=True
    )
    subprocess.run(["podman", "image", "untag", "localhost/darkroom:other"], check=True)
    assert json.loads(shown.stdout)[0]["Labels"]["org.opencontainers.image.revision"] == commit


@pytest.fixture(scope="module")
def step(image, tmp_path_factory):
    """`step("echo hello", memory="64m")`: run a command as a step is run. Returns its exit code, its log, its reasons."""
    root = tmp_path_factory.mktemp("step")
    (root / "data").mkdir()
    words = containers.open_folder(root / "artifacts") / "words"
    words.touch()
    words.chmod(0o666)

    def run(command: str, memory: str = "512m") -> tuple[int, str, str]:
        words.write_text("")
        options = argparse.Namespace(memory=memory, data=str(root / "data"))
        shutil.rmtree(root / "logs", ignore_errors=True)
        one = containers.Containers(options, root, local.Logs(root / "logs"))
        code = one.run("step", ["sh", "-c", command], {execution.REASON_FILE: str(words)})
        return code, one.logs.latest.read_text(), words.read_text()

    return run


def test_a_step_is_told_as_it_ended_twenty_times_of_twenty_both_ways(step):
    # KFP's stock runner was right 3 to 8 times of 8.
    assert [step("echo fine")[:2] for _ in range(20)] == [(0, "fine\n")] * 20
    ends = [step("echo broken; exit 3") for _ in range(10)] + [step("sleep 1; echo broken; exit 3") for _ in range(10)]
    assert [end[:2] for end in ends] == [(3, "broken\n")] * 20
    assert all("step: exit code 3; log: " in words for _, _, words in ends)


def test_a_step_that_is_killed_or_takes_too_much_memory_is_told_as_such(step, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert step("kill -9 $$")[0] == 137
    code, _, words = step("python -c 'x = bytearray(300 << 20); print(len(x))'", memory="128m")
    assert code == 137
    assert "step: exit code 137: killed, perhaps out of memory (limit 128m; --memory raises it); log: " in words
    assert not list(tmp_path.iterdir()), "an engine leaves its signs beside the log, not where a person works"


def test_a_step_is_locked_in(step):
    code, log, _ = step(
        "id -u; grep -E 'CapEff|NoNewPrivs|Seccomp:' /proc/self/status; cat /sys/class/net/*/uevent | grep -c INTERFACE"
    )
    assert code == 0
    assert log.splitlines()[0] == "10001"
    assert "CapEff:\t0000000000000000" in log
    assert "NoNewPrivs:\t1" in log
    assert "Seccomp:\t2" in log
    for attempt in ("touch /opt/x", "touch /etc/x", "python -c 'import os; os.setuid(0)'"):
        assert step(attempt)[0] != 0, attempt
    assert "Read-only file system" in step("touch /opt/x")[1]
    connect = (
        "import socket, time; t = time.time()\n"
        "try: socket.create_connection(('192.0.2.1', 80), 5)\n"
        "except OSError as e: print(type(e).__name__, time.time() - t < 1)"
    )
    assert step(f'python -c "{connect}"')[1] == "OSError True\n"
    assert step("touch /tmp/x && echo ok")[1] == "ok\n"


def as_container(folder: Path):
    """A part as a container of the image, which sees `folder` alone; its last words are where Kubernetes looks for them."""

    def start(container: dict, environment: dict, words: Path) -> subprocess.Popen:
        variables = [f"--env={name}={value}" for name, value in environment.items() if name != "PYTHONPATH"]
        command = ["podman", "run", "--rm", "--network=none", "--read-only", "--cap-drop=all", f"--volume={folder}:{folder}",
                   f"--volume={words}:/dev/termination-log", *variables, container["image"], *container["command"]]  # fmt: skip
        return subprocess.Popen(command)

    return start


def test_the_parts_of_a_job_are_containers_and_give_what_one_process_gives(image, tmp_path, monkeypatch):
    from kfp.dsl import Dataset

    from components.__main__ import call

    folder = tmp_path / "shared"
    data = draw_shards(folder)
    (folder / "store").mkdir(mode=0o777)
    (folder / "store").chmod(0o777)
    (tmp_path / "words").touch()
    store = (folder / "store").as_uri()
    double = job_double.Double(tmp_path, {STORE: store}, start=as_container(folder), image=graph.image())
    own = {STORE: store, "KFP_POD_NAME": job_double.POD, "KUBECONFIG": str(double.kubeconfig), execution.PARTS: "1/2",
           execution.REASON_FILE: str(tmp_path / "words")}  # fmt: skip
    for name, value in own.items():
        monkeypatch.setenv(name, value)
    config = yaml.safe_load((ROOT / "params.yaml").read_text())["measure"]

    def spread(to: str) -> None:
        manifest = Dataset(name="manifest", uri=str(tmp_path / to), metadata={})
        execution.call("measure", data=str(data), config=json.dumps(config), code=graph.code_digest(), manifest=manifest)

    spread("spread")
    assert double.tries == {0: [0], 1: [0], 2: [0]}
    monkeypatch.delenv(STORE)
    call("measure", section="measure", data=data, config=config, manifest=tmp_path / "home")
    assert {f.name: f.read_bytes() for f in (tmp_path / "spread").iterdir()} == {
        f.name: f.read_bytes() for f in (tmp_path / "home").iterdir()
    }
    # A part that fails says why from inside its container, through the step that waits.
    monkeypatch.setenv(STORE, store)
    shutil.rmtree(folder / "store/parts")
    double.jobs.clear()
    (data / "00001.parquet").write_bytes(b"PAR1")
    with pytest.raises(SystemExit):
        spread("failed")
    double.server.shutdown()
    assert "measure: part 2: " in (tmp_path / "words").read_text()
    assert "00001.parquet: not a shard that can be read" in (tmp_path / "words").read_text()


def test_the_settings_name_the_image_that_make_builds():
    assert (
        yaml.safe_load((ROOT / "infra/kubernetes/overlays/local/kustomization.yaml").read_text())["images"][0]["newName"]
        in graph.image()
    )
