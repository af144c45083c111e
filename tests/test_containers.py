"""The image, and the whole pipeline in it: real containers, by podman (or docker, where DOCKER_HOST names it)."""

import argparse
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import docker
import job_double
import pytest
import yaml
from conftest import ROOT, draw_shards

from components.ingest.step import ingest
from components.shared.store import STORE
from pipelines import containers, execution, graph

pytestmark = pytest.mark.slow

QUICK = [f"--set={knob}" for knob in (
    "prepare.height=8", "prepare.width=8", "prepare.channels=1", "augment.copies=1", "augment.flip=false", "train.cnn.epochs=2",
    "train.cnn.batch_size=64", "train.lstm.epochs=4", "train.lstm.batch_size=64", "register.minimum_accuracy=0.1",
    # Which precision is faster is decided by the clock, and may differ between two trainings on a busy machine.
    "train.cnn.precision=float32", "train.lstm.precision=float32",
    "register.minimum_balanced_accuracy=0.1", "register.minimum_worst_class_recall=0.0",
)]  # fmt: skip
CANARY = "canary-t0k3n"


@pytest.fixture(scope="module", autouse=True)
def engine():
    """Podman as it has to be in a sandbox; elsewhere the file does no harm."""
    before = os.environ.get("CONTAINERS_CONF")
    os.environ["CONTAINERS_CONF"] = str(ROOT / "infra/containers.conf")
    yield
    os.environ.pop("CONTAINERS_CONF") if before is None else os.environ.update(CONTAINERS_CONF=before)


@pytest.fixture(scope="module")
def image(engine) -> dict:
    """The image of this very code, and what podman knows of it."""
    done = subprocess.run([ROOT / "infra/image.sh"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    shown = subprocess.run(["podman", "image", "inspect", graph.image()], capture_output=True, text=True, check=True)
    return json.loads(shown.stdout)[0]


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    ingest("digits", folder / "data")
    shutil.copy(ROOT / "params.yaml", folder)
    return folder


def pipelines(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
    return subprocess.run(
        ["python", "-m", "pipelines", *arguments], cwd=folder, capture_output=True, text=True, env=clean | environment
    )


def metrics(root: Path) -> dict[str, bytes]:
    """Of the CNN and of the LSTM, told apart by the model that was evaluated."""
    found = {}
    for file in root.glob("darkroom-*/evaluate*/evaluation_*/metrics.json"):
        found[json.loads(file.read_bytes())["log_loss"]] = file.read_bytes()
    return found


def test_the_image_says_what_it_is_and_holds_nothing_that_it_should_not(image):
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    assert image["Config"]["User"] == "10001:10001"
    assert image["Labels"]["org.opencontainers.image.revision"].startswith(commit)
    assert image["Labels"]["org.opencontainers.image.version"]
    assert image["Labels"]["darkroom.code"] == graph.code_digest()
    assert image["Size"] < 2.5e9
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


def test_the_whole_pipeline_in_containers_gives_what_processes_give(image, digits):
    done = pipelines(digits, "run", "--containers", *QUICK, MLFLOW_TRACKING_TOKEN=CANARY)
    assert done.returncode == 0, done.stdout[-5000:] + done.stderr[-2000:]
    logs = sorted((digits / "outputs/kubeflow/containers/logs").glob("*/*.log"))
    assert {"train", "evaluate", "register", "report"} <= {log.stem.split("-")[1].split("_")[0] for log in logs}
    assert any("champion" in log.read_text() for log in logs)
    assert re.search(r"Darkroom: darkroom-[-\d]+ succeeded", next(log for log in logs if "report" in log.name).read_text())
    assert CANARY not in done.stdout + done.stderr + "".join(log.read_text() for log in logs)
    as_processes = pipelines(digits, "run", *QUICK)
    assert as_processes.returncode == 0, as_processes.stdout[-5000:]
    in_containers = metrics(digits / "outputs/kubeflow/containers/artifacts")
    assert len(in_containers) == 2
    assert in_containers == metrics(digits / "outputs/kubeflow/processes")
    again = pipelines(digits, "run", "--containers", *QUICK)
    assert again.returncode == 0
    assert len(sorted((digits / "outputs/kubeflow/containers/logs").glob("*/*train*.log"))) == 2  # not trained a second time
    leftover = subprocess.run(["podman", "ps", "--all", "--quiet"], capture_output=True, text=True).stdout
    assert not leftover.strip()


def test_data_that_is_refused_fails_the_run_with_its_reason(image, tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    ingest("digits", tmp_path / "data")
    done = pipelines(tmp_path, "run", "--containers", *QUICK, "--set", "prepare.test_fraction=0.0001")
    assert done.returncode == 1
    assert "pipelines run: failed at prepare: E_CLASS_MISSING" in done.stderr
    assert "failed at prepare: E_CLASS_MISSING" in done.stdout  # the exit handler says it too
    assert "Traceback" not in done.stdout.partition("prepare: started")[2].partition("Darkroom:")[0]


@pytest.fixture(scope="module")
def step(image, tmp_path_factory):
    """`step("echo hello", memory="64m")`: run a command as a step is run. Returns its exit code, its log, its reasons."""
    folder = tmp_path_factory.mktemp("step")
    (folder / "data").mkdir()
    (folder / "door").mkdir()
    root = folder / "root"
    root.mkdir()
    root.chmod(0o777)
    (root / "words").touch()
    (root / "words").chmod(0o666)
    os.environ[execution.REASON_FILE] = str(root / "words")
    with containers._engine():
        client = docker.from_env()

        def run(command: str, memory: str = "512m") -> tuple[int, str, str]:
            (root / "words").write_text("")
            options = argparse.Namespace(memory=memory, data=str(folder / "data"))
            shutil.rmtree(root / "logs", ignore_errors=True)
            one = containers.Step(options, root, folder / "door", "http://127.0.0.1:5000")
            code = one.run(client, "ignored", ["sh", "-c", command], {str(root): {"bind": str(root), "mode": "rw"}})
            return code, next(one.logs.iterdir()).read_text(), (root / "words").read_text()

        yield run
        client.close()
    del os.environ[execution.REASON_FILE]


def test_a_step_is_told_as_it_ended_twenty_times_of_twenty_both_ways(step):
    # KFP's stock runner was right 3 to 8 times of 8.
    assert [step("echo fine")[:2] for _ in range(20)] == [(0, "fine\n")] * 20
    ends = [step("echo broken; exit 3") for _ in range(10)] + [step("sleep 1; echo broken; exit 3") for _ in range(10)]
    assert [end[:2] for end in ends] == [(3, "broken\n")] * 20
    assert all("step: exit code 3; log: " in words for _, _, words in ends)


def test_a_step_that_is_killed_or_takes_too_much_memory_is_told_as_such(step):
    assert step("kill -9 $$")[0] == 137
    code, _, words = step("python -c 'x = bytearray(300 << 20); print(len(x))'", memory="128m")
    assert code == 137
    assert "step: exit code 137: killed, perhaps out of memory (limit 128m; --memory raises it); log: " in words


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


def test_an_image_of_other_code_is_refused_before_anything_starts(image, digits):
    stale = f"FROM {graph.image()}\nLABEL darkroom.code=0123456789abcdef\n"
    made = subprocess.run(["podman", "build", "--quiet", "--tag", "localhost/stale:1", "-"], input=stale, text=True)
    assert made.returncode == 0
    done = pipelines(digits, "run", "--containers", DARKROOM_IMAGE="localhost/stale:1")
    subprocess.run(["podman", "image", "rm", "localhost/stale:1"], check=True)
    assert done.returncode == 2
    assert f"holds code 0123456789abcdef, this checkout is {graph.code_digest()}; `make image`" in done.stderr


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


def test_without_an_image_or_an_engine_it_says_what_to_do(digits, monkeypatch):
    none = pipelines(digits, "run", "--containers", DARKROOM_IMAGE="localhost/none:1")
    assert none.returncode == 2
    assert "no image localhost/none:1 on this machine; `make image` builds it" in none.stderr
    down = pipelines(digits, "run", "--containers", DOCKER_HOST="tcp://127.0.0.1:9")
    assert down.returncode == 2
    assert "no container engine answers" in down.stderr


def test_the_settings_name_the_image_that_make_builds():
    assert (
        yaml.safe_load((ROOT / "infra/kubernetes/overlays/local/kustomization.yaml").read_text())["images"][0]["newName"]
        in graph.image()
    )
