"""A team's server, real parts on loopback: MLflow on PostgreSQL, artifacts and DVC's remote in an S3-compatible store.

The parts are started by the very commands of mlflow/compose.yaml, with this machine's ports in place of the containers' names.
"""

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests
import yaml
from conftest import ROOT
from test_whole_run import QUICK, change, clone

pytestmark = pytest.mark.slow

COMPOSE = yaml.safe_load((ROOT / "mlflow/compose.yaml").read_text())["services"]
MANIFEST = next(yaml.safe_load_all((ROOT / "infra/kubernetes/base/mlflow.yaml").read_text()))
(BUCKETS,) = MANIFEST["spec"]["template"]["spec"]["initContainers"]


def free_port() -> int:
    """A port, and the one ten thousand above it, where SeaweedFS puts the second half of each service."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port = one.getsockname()[1] - 12000
            try:
                one.close()
                one = socket.socket()
                one.bind(("127.0.0.1", port))
                other.bind(("127.0.0.1", port + 10000))
            except (OSError, OverflowError):
                continue
            one.close()
            return port


@contextmanager
def running(command: list[str], log: Path, ready: Callable[[], bool], **environment: str) -> Iterator[subprocess.Popen]:
    with log.open("wb") as stream:
        process = subprocess.Popen(
            command, stdout=stream, stderr=stream, env=os.environ | environment, cwd=log.parent, start_new_session=True
        )
    try:
        end = time.monotonic() + 120
        while not ready():
            assert process.poll() is None, log.read_text()[-3000:]
            assert time.monotonic() < end, log.read_text()[-3000:]
            time.sleep(0.3)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):  # it is gone: why, is told above
            os.killpg(process.pid, 15)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, 9)
            process.wait()


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def resolved(text: str, known: dict[str, str]) -> str:
    """A value of the compose file as compose resolves it: `${NAME:?…}` and `$$`."""
    return re.sub(r"\$\{(\w+)[^}]*\}", lambda match: known[match[1]], text).replace("$$", "$")


@pytest.fixture(scope="module")
def team(tmp_path_factory) -> Iterator[dict[str, str]]:
    """The three servers; yields what a member of the team has in the environment."""
    folder = tmp_path_factory.mktemp("server")
    known = {"DATABASE_PASSWORD": secrets.token_hex(8), "STORE_ACCESS_KEY": "team", "STORE_SECRET_KEY": secrets.token_hex(16)}
    database, store, mlflow = free_port(), free_port(), free_port()
    environment = {name: resolved(value, known) for name, value in COMPOSE["mlflow"]["environment"].items()}
    environment["MLFLOW_S3_ENDPOINT_URL"] = f"http://127.0.0.1:{store}"
    with postgres(folder / "database", database, known["DATABASE_PASSWORD"]), seaweed(folder / "store", store, known):
        command = [argument.replace("@database:5432", f"@127.0.0.1:{database}") for argument in COMPOSE["mlflow"]["command"]]
        command = [
            argument.replace("--host=0.0.0.0", "--host=127.0.0.1").replace("--port=5000", f"--port={mlflow}")
            for argument in command
        ]
        address = f"http://127.0.0.1:{mlflow}"

        def healthy() -> bool:
            try:
                return requests.get(f"{address}/health", timeout=5).ok
            except requests.RequestException:
                return False

        with running(
            [str(Path(sys.executable).parent / command[0]), *command[1:]], folder / "mlflow.log", healthy, **environment
        ):
            keys = {name: value for name, value in environment.items() if name.startswith("AWS_")}
            yield {"MLFLOW_TRACKING_URI": address, "AWS_ENDPOINT_URL": environment["MLFLOW_S3_ENDPOINT_URL"], **keys}


@contextmanager
def postgres(folder: Path, port: int, password: str) -> Iterator[None]:
    """Debian's PostgreSQL with a user, a database and a password as the image makes them; root may not run it."""
    programs = max(Path("/usr/lib/postgresql").iterdir()) / "bin"
    as_user = ["runuser", "--user", "postgres", "--"] if os.geteuid() == 0 else []
    folder.mkdir()
    (folder / "password").write_text(password)
    if as_user:
        for above in folder.parents:
            if above.stat().st_uid == os.geteuid() and above != Path("/tmp"):
                above.chmod(above.stat().st_mode | 0o011)
        shutil.chown(folder, "postgres")
        shutil.chown(folder / "password", "postgres")
    made = [
        *as_user,
        programs / "initdb",
        "--pgdata",
        folder / "data",
        "--username=mlflow",
        "--auth=scram-sha-256",
        "--encoding=UTF8",
    ]
    subprocess.run([*made, f"--pwfile={folder / 'password'}"], check=True, capture_output=True, cwd="/")
    server = [
        *as_user,
        str(programs / "postgres"),
        "-D",
        str(folder / "data"),
        "-p",
        str(port),
        "-h",
        "127.0.0.1",
        "-k",
        str(folder),
    ]

    def ready() -> bool:
        asked = [programs / "pg_isready", "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow"]
        return subprocess.run(asked, capture_output=True).returncode == 0

    with running(server, folder.parent / "postgres.log", ready):
        create = [programs / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "mlflow", "mlflow"]
        subprocess.run(create, check=True, capture_output=True, env=os.environ | {"PGPASSWORD": password})
        yield


@contextmanager
def seaweed(folder: Path, port: int, known: dict[str, str]) -> Iterator[None]:
    folder.mkdir()
    command = COMPOSE["store"]["entrypoint"] + COMPOSE["store"]["command"]
    here = {"-dir=/data": f"-dir={folder}", "-ip.bind=0.0.0.0": "-ip.bind=127.0.0.1", "-s3.port=8333": f"-s3.port={port}"}
    command = [here.get(argument, argument) for argument in command]
    command += [f"-{service}.port={free_port()}" for service in ("master", "volume", "filer")]
    keys = {name: resolved(value, known) for name, value in COMPOSE["store"]["environment"].items()}
    with running(
        [str(Path(sys.executable).parent / command[0]), *command[1:]],
        folder.parent / "store.log",
        lambda: listening(port),
        **keys,
    ):
        yield


def run(folder: Path, team: dict[str, str], *command: str, code: int = 0) -> str:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("MLFLOW_", "GIT_", "MAKE", "AWS_"))
    }
    environment |= team | {"PATH": f"{ROOT / '.venv/bin'}:{environment['PATH']}"}
    done = subprocess.run(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == code, done.stdout[-5000:]
    assert team["AWS_SECRET_ACCESS_KEY"] not in done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def member(team, tmp_path_factory) -> Path:
    """A clone in which the main job ran against the team's server, its data pushed to the team's store."""
    folder = clone(tmp_path_factory.mktemp("member") / "project")
    change(folder, **QUICK)
    run(folder, team, "darkroom", "ingest", "digits", "data")
    run(folder, team, "dvc", "add", "data")
    run(folder, team, "dvc", "remote", "modify", "storage", "url", "s3://dvc")
    for _ in range(2):  # as MLflow's pod does at each start; what is there stays
        run(folder, team, *BUCKETS["command"], *BUCKETS["args"])
    assert run(folder, team, "python", "-c", "import s3fs; print(*s3fs.S3FileSystem().ls(''))").split() == [
        "darkroom",
        "dvc",
        "mlflow",
    ]
    run(folder, team, "dvc", "push")
    told = run(folder, team, "make", "run")
    assert "champion of `darkroom`: version" in told
    return folder


def test_the_main_job_leaves_runs_in_postgresql_and_artifacts_in_s3(team, member):
    assert not (member / "mlflow/runs.db").exists()
    import boto3

    store = boto3.client("s3", endpoint_url=team["AWS_ENDPOINT_URL"], region_name="us-east-1",
                         aws_access_key_id=team["AWS_ACCESS_KEY_ID"], aws_secret_access_key=team["AWS_SECRET_ACCESS_KEY"])  # fmt: skip
    keys = [entry["Key"] for entry in store.list_objects_v2(Bucket="mlflow")["Contents"]]
    assert len([key for key in keys if key.endswith("model.keras")]) == 2
    assert any(key.endswith("confusion.png") for key in keys)
    assert not [key for key in keys if key.endswith((".pkl", ".cloudpickle"))]
    script = (
        "import io, mlflow; from PIL import Image\n"
        "runs = mlflow.search_runs(experiment_names=['darkroom'], output_format='list')\n"
        "parents = {run.data.tags.get('mlflow.parentRunId') for run in runs} - {None}\n"
        "runs = [run for run in runs if run.info.run_id not in parents]\n"
        "print(sorted(run.data.tags['architecture'] for run in runs), all('test/accuracy' in run.data.metrics for run in runs))\n"
        "model = mlflow.pyfunc.load_model('models:/darkroom@champion')\n"
        "Image.new('L', (9, 9)).save(file := io.BytesIO(), 'PNG')\n"
        "print(model.predict([file.getvalue()] * 2).shape)\n"
    )
    told = run(member, team | {"MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false"}, "python", "-c", script)
    assert "['cnn', 'lstm'] True" in told
    assert "(2, 4)" in told


def test_another_member_gets_the_data_out_of_the_store_and_a_damaged_object_is_refused(team, member, tmp_path):
    other = clone(tmp_path / "other")
    for name in ("data.dvc", "params.yaml", ".dvc/config"):
        shutil.copy(member / name, other / name)
    run(other, team, "dvc", "pull", "data")
    run(other, team, "infra/data.sh")
    assert {f.name: f.read_bytes() for f in (other / "data").iterdir()} == {
        f.name: f.read_bytes() for f in (member / "data").iterdir()
    }
    import fsspec

    system = fsspec.filesystem("s3", key=team["AWS_ACCESS_KEY_ID"], secret=team["AWS_SECRET_ACCESS_KEY"],
                               endpoint_url=team["AWS_ENDPOINT_URL"])  # fmt: skip
    shard = next(name for name in system.find("dvc") if not name.endswith(".dir"))
    kept = system.cat_file(shard)
    system.pipe_file(shard, kept[:-1] + bytes([kept[-1] ^ 1]))
    try:
        shutil.rmtree(other / "data")
        shutil.rmtree(other / ".dvc/cache")
        assert "ERROR" in run(other, team, "dvc", "pull", "data", code=1)
        told = run(member, team, "python", "-m", "pipelines", "run", "--data", "s3://dvc", "--no-cache", code=1)
        assert "is not what its name says" in told
    finally:
        system.pipe_file(shard, kept)


def test_the_pipeline_takes_its_data_by_reference_out_of_the_store(team, member):
    run(member, team, "python", "-m", "pipelines", "run", "--data", "s3://dvc")
    found = {json.dumps(json.loads(file.read_text()), sort_keys=True) for file in
             (member / "outputs/kubeflow").glob("processes/darkroom-*/evaluate*/evaluation_*/metrics.json")}  # fmt: skip
    of_dvc = {
        json.dumps(json.loads((member / f"outputs/evaluation/{name}/metrics.json").read_text()), sort_keys=True)
        for name in ("cnn", "lstm")
    }
    assert found == of_dvc
    digest = yaml.safe_load((member / "data.dvc").read_text())["outs"][0]["md5"]
    assert f"s3://dvc: {digest} is the newest data" in run(member, team, "python", "-m", "pipelines", "publish")
    script = "import s3fs; print(s3fs.S3FileSystem().cat('dvc/data.dvc').decode(), end='')"
    assert run(member, team, "python", "-c", script) == (member / "data.dvc").read_text()
    told = run(member, team, "python", "-m", "pipelines", "run", "--data", "s3://dvc", "--digest", "0" * 32 + ".dir", code=2)
    assert "`dvc push` where the data is sends it" in told
    wrong = team | {"AWS_SECRET_ACCESS_KEY": "wrong-" + "0" * 20}
    assert "are its address and its credentials right?" in run(
        member, wrong, "python", "-m", "pipelines", "run", "--data", "s3://dvc", code=2
    )


def test_the_server_refuses_strangers_and_sources_elsewhere(team):
    address = team["MLFLOW_TRACKING_URI"]
    search = f"{address}/api/2.0/mlflow/experiments/search"
    assert requests.post(search, json={"max_results": 1}, timeout=10).status_code == 200
    assert requests.post(search, json={"max_results": 1}, headers={"Host": "evil.example.org"}, timeout=10).status_code == 403
    assert (
        requests.post(search, json={"max_results": 1}, headers={"Origin": "http://evil.example.org"}, timeout=10).status_code
        == 403
    )
    made = f"{address}/api/2.0/mlflow/model-versions/create"
    for source in ("file:///etc", "http://evil.example.org/model", "s3://elsewhere/model", "models:/other/1"):
        assert requests.post(made, json={"name": "darkroom", "source": source}, timeout=10).status_code == 400, source
