"""Servers that never get to the end: on real sockets, and every call that Darkroom makes to somebody else's server has an end."""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable

import pytest

from components.ingest import named
from components.shared import deadline, store
from components.shared.data import remote
from components.shared.errors import CannotRun
from pipelines import kubeflow, notify


def drip_headers(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nx-slow: ")
    while True:
        connection.sendall(b"a")
        time.sleep(0.1)


def drip_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000000\r\n\r\n{")
    while True:
        connection.sendall(b" ")
        time.sleep(0.1)


def come_back_in_an_hour(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 503 Busy\r\nretry-after: 3600\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


def redirect_to_itself(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 302 Found\r\nlocation: /again\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")


def endless_body(connection: socket.socket) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n")
    while True:
        connection.sendall(b" " * 65536)


def silence(connection: socket.socket) -> None:
    time.sleep(60)


SERVERS = [drip_headers, drip_body, come_back_in_an_hour, redirect_to_itself, endless_body, silence]


@pytest.fixture
def serve():
    """`serve(drip_body)`: the address of a server that does this with every connection, once it has read the request."""
    listening: list[tuple[socket.socket, threading.Thread]] = []

    def start(do: Callable[[socket.socket], None]) -> str:
        server = socket.create_server(("127.0.0.1", 0))

        def answer(connection: socket.socket) -> None:
            with contextlib.suppress(OSError), connection:
                connection.recv(65536)
                do(connection)

        def accept() -> None:
            with contextlib.suppress(OSError):
                while True:
                    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        listening.append((server, thread))
        return f"http://127.0.0.1:{server.getsockname()[1]}"

    yield start
    for server, thread in listening:
        server.shutdown(socket.SHUT_RDWR)  # or the thread would accept on whatever gets the number of this socket next
        thread.join()
        server.close()


@pytest.fixture(autouse=True)
def short(monkeypatch):
    """The same limits, each smaller; proxies and tokens of this machine have no part in it."""
    for module in (kubeflow, notify):
        monkeypatch.setattr(module, "SECONDS", 1)
        monkeypatch.setattr(module, "WHOLE", 2)
    monkeypatch.setattr(kubeflow, "LARGEST", 2**20)
    monkeypatch.setattr(named, "WHOLE", 2)
    monkeypatch.setattr(named, "PATIENCE", 1)
    monkeypatch.setattr(named, "LARGEST", 2**20)
    monkeypatch.setattr(store, "WHOLE", 2)
    for name in [name for name in os.environ if name.startswith("KF") or name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("NO_PROXY", "*")


# A handshake of TLS that never ends is the same silence.
@pytest.mark.parametrize(("do", "scheme"), [*((do, "http") for do in SERVERS), (silence, "https"), (drip_body, "https")])
def test_kubeflows_client_ends(serve, monkeypatch, do, scheme):
    monkeypatch.setenv("KFP_HOST", serve(do).replace("http:", f"{scheme}:"))
    with pytest.raises(CannotRun) as ended:
        kubeflow.Kubeflow()
    expected = {
        drip_headers: "no answer within 2 seconds", drip_body: "no answer within 2 seconds", come_back_in_an_hour: "",
        redirect_to_itself: "leads elsewhere (302)", endless_body: "an answer of more than 1 MiB", silence: "no answer",
    }  # fmt: skip
    assert str(ended.value).startswith("Kubeflow")
    assert scheme == "https" or expected[do] in str(ended.value)


@pytest.mark.parametrize("do", SERVERS)
def test_the_webhook_ends(serve, monkeypatch, capsys, do):
    monkeypatch.setenv(notify.WEBHOOK, serve(do) + "/hooks/s3cr3t")
    notify.report(state="SUCCEEDED", run="r")
    told = capsys.readouterr().out
    expected = {
        drip_headers: "was not notified: 127.0.0.1: no answer within 2 seconds", drip_body: "r succeeded\n",
        come_back_in_an_hour: "was not notified: 127.0.0.1: ", redirect_to_itself: "was not notified: 127.0.0.1: HTTP 302",
        endless_body: "r succeeded\n", silence: "was not notified: 127.0.0.1: ",
    }  # fmt: skip
    assert expected[do] in told
    assert "s3cr3t" not in told


@pytest.mark.parametrize(
    "address", ["not an address", "http://[", "https://", "http://u:p@\udcff/", "ftp://h/x", "file:///etc/passwd"]
)
def test_a_webhook_that_is_no_address_fails_nothing(monkeypatch, capsys, address):
    monkeypatch.setattr(os, "environ", os.environ | {notify.WEBHOOK: address})
    notify.report(state="SUCCEEDED", run="r")
    assert "the webhook was not notified: " in capsys.readouterr().out


@pytest.mark.parametrize("do", SERVERS)
def test_a_download_ends(serve, do):
    with pytest.raises((CannotRun, OSError)):
        named._download(serve(do) + "/file.gz")


@pytest.mark.parametrize("do", [do for do in SERVERS if do is not endless_body])  # how large a shard is only the store knows
def test_a_remote_store_ends(serve, do):
    with pytest.raises(CannotRun, match=r"no answer within 2 seconds|credentials right|does not hold|is damaged"):
        remote.listing(serve(do), "d" * 32 + ".dir")


def test_a_secret_in_a_remotes_address_is_not_told(serve):
    with pytest.raises(CannotRun) as ended:
        remote.listing(serve(come_back_in_an_hour).replace("http://", "http://me:s3cr3t@"), "d" * 32 + ".dir")
    assert "s3cr3t" not in str(ended.value)


def test_a_program_is_killed_with_all_that_it_started(tmp_path):
    script = "import subprocess, sys; subprocess.run(['sleep', '6011.7'])"
    with pytest.raises(CannotRun, match=r"not done within 0\.5 seconds"):
        deadline.command([sys.executable, "-c", script], seconds=0.5, cwd=tmp_path)
    listed = subprocess.run(["ps", "-eo", "stat,args"], capture_output=True, text=True).stdout
    assert not [line for line in listed.splitlines() if line.endswith("sleep 6011.7") and not line.startswith("Z")]
    with pytest.raises(CannotRun, match="no-such-program: No such file"):
        deadline.command(["no-such-program"], seconds=1)
    done = deadline.command(["sh", "-c", "echo $1; exit 3", "sh", "$(touch x); `id`"], seconds=9, cwd=tmp_path)
    assert (done.returncode, done.stdout, list(tmp_path.iterdir())) == (3, "$(touch x); `id`\n", [])


def test_what_is_left_behind_keeps_no_process_from_ending(serve):
    script = (
        "import sys; from pipelines import kubeflow; kubeflow.WHOLE = 1\n"
        "from pipelines.__main__ import main; sys.exit(main(['list']))"
    )
    environment = os.environ | {"KFP_HOST": serve(drip_body)}
    done = subprocess.run([sys.executable, "-c", script], env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert "no answer within 1 seconds" in done.stderr
    assert json.dumps(done.stderr).count("\\n") == 1
