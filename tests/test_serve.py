"""`darkroom serve`: a real server on a free port; each protocol says what the model says, limits hold, nothing accepted is lost."""

import asyncio
import base64
import contextlib
import http.client
import json
import os
import re
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
import tracemalloc
import zlib
from pathlib import Path

import numpy as np
import psutil
import pytest
from conftest import ROOT, empty_store, png
from hypothesis import given
from hypothesis import strategies as st
from test_report import browser  # noqa: F401
from toy_package import CLASSES, make_package
from uvicorn import Config
from uvicorn.server import ServerState

from components.serve import plain, v2
from components.serve.gate import HEAD, Connection, Refusal
from components.serve.place import Options, Place, State
from components.serve.worker import Worker
from components.shared.models.recogniser import Recogniser
from components.shared.pictures.preprocessing import Preprocessing
from components.shared.runs import tracking
from components.shared.runs.logged_model import DIGEST

SECRET = "a secret of the test"
INFER = "/v2/models/darkroom/infer"
JSON = {"Content-Type": "application/json"}
PICTURES = [png(np.random.default_rng(seed).integers(0, 256, (20, 30), np.uint8)) for seed in range(3)]
LARGE = png(np.zeros((4900, 4900), np.uint8))  # 24 megapixels: to decode it takes a while
BOMB = png(np.zeros((5100, 5100), np.uint8))  # 26 megapixels in 30 kB


class Server:
    """A running server, and how to ask it."""

    def __init__(self, process: subprocess.Popen, log: Path) -> None:
        self.process, self.log = process, log
        self.port = int(self.said(r"http://127.0.0.1:(\d+)")[1])
        for _ in range(600):
            with contextlib.suppress(OSError, http.client.HTTPException):
                if self.ask("GET", "/v2/health/ready")[0] == 200:
                    return
            time.sleep(0.1)
        raise AssertionError(log.read_text())

    def said(self, pattern: str) -> re.Match:
        for _ in range(600):
            if found := re.search(pattern, self.log.read_text()):
                return found
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        raise AssertionError(f"{pattern} not in {self.log.read_text()}")

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)

    def ask(self, method: str, path: str, body: bytes | None = None, headers: dict | None = None, on=None):
        connection = on or self.connect()
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        content = answer.read()
        on or connection.close()
        return answer.status, json.loads(content) if "json" in answer.headers["content-type"] else content, answer.headers

    def predict(self, picture: bytes, on=None):
        return self.ask("POST", "/predict", picture, {"Content-Type": "image/png"}, on)


@contextlib.contextmanager
def serving(folder: Path, model: Path, *options: object):
    log = folder / "serve.log"
    command = [sys.executable, "-m", "components", "serve", model, "--port", 0, *options]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "DARKROOM_WEBHOOK_SECRET": SECRET}
    with log.open("w") as stream:
        process = subprocess.Popen([str(part) for part in command], stderr=stream, env=environment)
    try:
        yield Server(process, log)
    finally:
        process.terminate()
        process.wait(60)


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    return make_package(tmp_path_factory.mktemp("toy") / "package")


@pytest.fixture(scope="module")
def server(tmp_path_factory, toy):
    with serving(tmp_path_factory.mktemp("server"), toy.folder, "--workers", 1, "--deadline", 5, "--queue", 90) as running:
        yield running


def expected(package, pictures=PICTURES):
    way = package.preprocessing
    images = np.stack([way.sample([picture]) for picture in pictures])
    recogniser = Recogniser(package)
    return images, recogniser.probabilities(images), recogniser.answers(images, top=5)


def text(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def test_a_picture_as_it_is_is_answered_as_the_model_answers(server, toy):
    _, _, answers = expected(toy)
    form = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a.png"\r\n\r\n%b\r\n--b--\r\n' % PICTURES[0]
    asked = [
        ("/", PICTURES[0], "image/png"),
        ("/predict", PICTURES[0], "image/*"),
        ("/", form, "multipart/form-data; boundary=b"),
    ]
    for path, body, kind in asked:
        status, found, headers = server.ask("POST", path, body, {"Content-Type": kind, "X-Request-ID": "asked-1"})
        assert (status, found["label"], found["prediction_set"]) == (200, answers[0].label, answers[0].prediction_set)
        assert found["probability"] == pytest.approx(answers[0].probability, abs=1e-6)
        assert [each["label"] for each in found["top"]] == [label for label, _ in answers[0].top]
        assert (found["digest"], found["model"], found["request_id"]) == (toy.digest, "darkroom", "asked-1")
        assert headers["X-Request-ID"] == "asked-1"


def test_the_open_inference_protocol_in_json_and_in_binary(server, toy):
    images, probabilities, answers = expected(toy)
    raw = b"".join(struct.pack("<I", len(each)) + each for each in PICTURES)
    encoded = {"name": "images", "shape": [3], "datatype": "BYTES"}
    pixels = {"name": "images", "shape": list(images.shape), "datatype": "UINT8"}

    def binary(tensor, content, **asked):
        head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(content)}}], **asked}).encode()
        return head + content, {"Inference-Header-Content-Length": str(len(head)), "Content-Type": "application/octet-stream"}

    questions = [
        (json.dumps({"inputs": [encoded | {"data": [text(each) for each in PICTURES]}]}).encode(), JSON),
        (json.dumps({"inputs": [pixels | {"data": images.tolist()}]}).encode(), JSON),
        binary(encoded, raw), binary(pixels, images.tobytes()),
    ]  # fmt: skip
    for body, headers in questions:
        for path in (INFER, f"/v2/models/darkroom/versions/{toy.digest[:12]}/infer"):
            status, found, _ = server.ask("POST", path, body, headers)
            assert status == 200, found
            outputs = {each["name"]: each for each in found["outputs"]}
            assert outputs["label"]["data"] == [each.label for each in answers]
            assert outputs["probabilities"]["shape"] == [3, len(CLASSES)]
            np.testing.assert_allclose(outputs["probabilities"]["data"], probabilities.ravel(), atol=1e-6)
            assert [json.loads(each) for each in outputs["prediction_set"]["data"]] == [each.prediction_set for each in answers]
            assert outputs["abstained"]["data"] == [each.abstained for each in answers]
            abstained = sum(each.abstained for each in answers)
            assert found["parameters"] == {"version": toy.digest[:12], "digest": toy.digest, "abstained": abstained}
    body, headers = binary(encoded, raw, id="7", outputs=[{"name": "label"}, {"name": "probabilities"}],
                           parameters={"binary_data_output": True})  # fmt: skip
    status, found, headers = server.ask("POST", INFER, body, headers)
    head, behind = found[: (cut := int(headers["Inference-Header-Content-Length"]))], found[cut:]
    labels = b"".join(struct.pack("<I", len(each.label)) + each.label.encode() for each in answers)
    assert [each["parameters"]["binary_data_size"] for each in json.loads(head)["outputs"]] == [
        len(labels),
        probabilities.nbytes,
    ]
    assert (json.loads(head)["id"], behind[: len(labels)]) == ("7", labels)
    np.testing.assert_allclose(np.frombuffer(behind[len(labels) :], np.float32), probabilities.ravel(), atol=1e-6)


def test_mlflows_protocol(server, toy):
    _, _, answers = expected(toy)
    cells = [text(each) for each in PICTURES]
    for asked in (
        {"dataframe_split": {"columns": ["image"], "data": [[cell] for cell in cells]}},
        {"dataframe_split": {"columns": ["id", "image"], "data": [[1, cell] for cell in cells]}},
        {"dataframe_records": [{"image": cell} for cell in cells]},
        {"inputs": cells}, {"inputs": {"image": cells}}, {"instances": cells},
    ):  # fmt: skip
        status, found, _ = server.ask("POST", "/invocations", json.dumps(asked).encode(), JSON)
        assert status == 200, found
        assert [each["label"] for each in found["predictions"]] == [each.label for each in answers]
    for path in ("/ping", "/health", "/version"):
        assert server.ask("GET", path)[0] == 200


def test_what_the_server_says_of_itself(server, toy):
    assert server.ask("GET", "/v2")[1]["extensions"] == ["binary_tensor_data"]
    assert server.ask("GET", "/v2/health/live")[1] == {"live": True}
    for path in ("/v2/models/darkroom/ready", f"/v2/models/darkroom/versions/{toy.digest[:12]}/ready"):
        assert server.ask("GET", path)[1] == {"name": "darkroom", "ready": True}
    about = server.ask("GET", "/v2/models/darkroom")[1]
    assert about["parameters"]["classes"] == CLASSES
    assert {each["name"] for each in about["outputs"]} == set(v2.DATATYPES)
    for path in ("/v2/models/cat", "/v2/models/darkroom/versions/9/ready"):
        assert server.ask("GET", path)[0] == 404
    _, numbers, _ = server.ask("GET", "/metrics")
    assert b'darkroom_requests_total{route="live",status="200"}' in numbers
    assert toy.digest.encode() in numbers


@pytest.mark.slow
def test_clips_are_several_parts_or_a_second_dimension(tmp_path):
    package = make_package(tmp_path / "clips", way=Preprocessing(12, 12, 1, "pad", time=4))
    way, parts = package.preprocessing, b""
    (answer,) = Recogniser(package).answers(way.sample(PICTURES)[None])
    for picture in PICTURES:
        parts += b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n%b\r\n' % picture
    question = {"inputs": [{"name": "images", "shape": [1, 3], "datatype": "BYTES", "data": [text(each) for each in PICTURES]}]}
    with serving(tmp_path, package.folder, "--workers", 1) as running:
        _, found, _ = running.ask("POST", "/", parts + b"--b--\r\n", {"Content-Type": "multipart/form-data; boundary=b"})
        assert found["probability"] == pytest.approx(answer.probability, abs=1e-6)
        _, found, _ = running.ask("POST", INFER, json.dumps(question).encode(), JSON)
        assert found["outputs"][1]["data"] == pytest.approx([answer.probability], abs=1e-6)
        assert running.ask("POST", "/explain", PICTURES[0], {"Content-Type": "image/png"})[0] == 200


PNG = {"Content-Type": "image/png"}
REFUSED = [
    ("GET", "/nope", None, {}, 404, "not found"),
    ("PUT", "/predict", b"", PNG, 405, "not allowed"),
    ("POST", "/predict", b"x", {"Content-Type": "text/html"}, 415, "image/png"),
    ("POST", "/invocations", b"a,b", {"Content-Type": "text/csv"}, 415, "application/json"),
    ("POST", "/predict", b"no picture", PNG, 422, "PNG or JPEG"),
    ("POST", "/predict", b"", PNG, 422, "PNG or JPEG"),
    ("POST", "/predict", PICTURES[0][:-20], PNG, 422, "PNG or JPEG"),
    ("POST", "/predict", BOMB, PNG, 413, "25 megapixels"),
    ("POST", "/predict", b"\0" * 50_000_000, PNG, 413, "10 MB"),
    ("POST", "/predict", b"--b--", {"Content-Type": "multipart/form-data; boundary=b"}, 400, "no picture"),
    ("POST", "/predict", b"--b--", {"Content-Type": "multipart/form-data"}, 400, "no picture"),
    ("POST", INFER, b"{", JSON, 400, "not valid JSON"),
    ("POST", INFER, b"[" * 100_000, JSON, 400, "not valid JSON"),
    ("POST", INFER, b"{}", JSON, 400, "expected one tensor"),
    ("POST", INFER, b"{}", JSON | {"Inference-Header-Content-Length": "9"}, 400, "Inference-Header-Content-Length"),
    ("POST", "/v2/models/cat/infer", b"{}", JSON, 404, "there is darkroom"),
    ("POST", "/invocations", b'{"inputs": ["?"]}', JSON, 400, "base64"),
    ("POST", "/invocations", json.dumps({"inputs": [text(PICTURES[0])] * 257}).encode(), JSON, 413, "256"),
    ("POST", "/reload", b"{}", JSON, 401, "signature"),
]


@pytest.mark.parametrize(("method", "path", "body", "headers", "status", "reason"), REFUSED)
def test_a_refusal_is_one_plain_line_of_json_with_the_right_status(server, method, path, body, headers, status, reason):
    found = server.ask(method, path, body, headers)
    assert found[0] == status, found[1]
    assert reason in found[1]["error"]
    assert "\n" not in found[1]["error"]
    assert found[2]["X-Content-Type-Options"] == "nosniff"
    assert "Traceback" not in server.log.read_text()


JUNK = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.sampled_from(["BYTES", "UINT8", "aGk="]) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["inputs", "name", "shape", "datatype", "data", "image", "parameters", "binary_data_size",
                                       "outputs", "dataframe_split", "columns", "id"]), inner, max_size=5),
    max_leaves=20,
)  # fmt: skip


@given(JUNK, JUNK, st.binary(max_size=30))
def test_whatever_comes_is_read_or_refused(whole, tensor, behind):
    for body in (whole, {"inputs": [tensor]}, {"inputs": [{"name": "a", "shape": [1], "datatype": "BYTES", "data": tensor}]}):
        content = json.dumps(body).encode()
        for length in (None, str(len(content))):
            with contextlib.suppress(Refusal):
                v2.read(content + behind, length, (12, 12, 1))
        with contextlib.suppress(Refusal):
            plain.invocations(content)
    with contextlib.suppress(Refusal):
        plain.pictures(behind + b"--b\r\n\r\n" + behind, "multipart/form-data; boundary=b")


def tensor(**how) -> bytes:
    return json.dumps({"inputs": [{"name": "a", "shape": [1], "datatype": "BYTES", "data": [""]} | how]}).encode()


STILL = (12, 12, 1)
PIXELS = {"datatype": "UINT8", "shape": [2, *STILL]}
FORM = "multipart/form-data; boundary=b"
PART = b'--b\r\nContent-Disposition: form-data; name="image"\r\n\r\n%b\r\n'


@pytest.mark.parametrize(
    ("read", "status", "reason"),
    [
        (lambda: v2.read(tensor(shape=[257], data=[""] * 257), None, STILL), 413, "more than 256 samples"),
        (lambda: v2.read(tensor(**PIXELS | {"shape": [257, *STILL]}), None, STILL), 413, "more than 256 samples"),
        (lambda: v2.read(tensor(shape=[1, 257], data=[""] * 257), None, (4, *STILL)), 413, "more than 256 frames"),
        (lambda: v2.read(tensor(shape=[2] * 9), None, STILL), 400, "expected one tensor"),
        (lambda: v2.read(tensor(**PIXELS | {"shape": [10**4000] * 2}), None, STILL), 400, "expected one tensor"),
        (lambda: v2.read(tensor(**PIXELS, data=["a" * 10_000] + ["b"] * 2000), None, STILL), 400, "288 levels, 0 to 255"),
        (lambda: v2.read(tensor(**PIXELS, data=[256] * 288), None, STILL), 400, "288 levels, 0 to 255"),
        (lambda: v2.read(tensor(**PIXELS, data=[True] * 288), None, STILL), 400, "288 levels, 0 to 255"),
        (lambda: v2.read(tensor(datatype="FP32", shape=[1, 28, 28, 1]), None, STILL), 400, "expected BYTES"),
        (lambda: v2.read(tensor(name="\ud800\n" * 500, shape=[2]), None, STILL), 400, "does not fit the data"),
        (lambda: v2.read(tensor(name=[[]]), None, STILL), 400, "expected one tensor"),
        (lambda: v2.read(tensor()[:-1] + b', "id": ' + b"[" * 900 + b"]" * 900 + b"}", None, STILL), 400, "expected one tensor"),
        (lambda: v2.read(tensor()[:-1] + b', "outputs": [{"name": "\\ud800"}]}', None, STILL), 400, "there are label"),
        (lambda: plain.invocations(json.dumps({"inputs": [""] * 257}).encode()), 413, "more than 256 samples"),
        (lambda: plain.invocations(json.dumps({"inputs": [[""] * 257]}).encode()), 413, "more than 256 frames"),
        (lambda: plain.pictures(PART % b"a" * 257 + b"--b--\r\n", FORM), 413, "more than 256 parts"),
        (lambda: plain.pictures(b"--((((", "multipart/form-data" + "(" * 5000), 400, "no picture"),
    ],
)  # fmt: skip
def test_too_much_is_refused_before_it_is_worked_through(read, status, reason):
    tracemalloc.start()
    try:
        with pytest.raises(Refusal, match=reason) as refused:
            read()
        assert tracemalloc.get_traced_memory()[1] < 10e6
    finally:
        tracemalloc.stop()
    said = refused.value
    assert said.status == status
    assert said.reason.encode().isascii()
    assert "\n" not in said.reason
    assert len(said.reason) < 1000


def test_a_binary_tensor_is_cut_no_further_than_its_shape_says():
    head = tensor(parameters={"binary_data_size": 4000})
    with pytest.raises(Refusal, match="does not fit the data"):
        v2.read(head + bytes(4000), str(len(head)), STILL)
    assert len(v2._bytes(bytes(4000), 2)) == 3


def test_a_form_is_read_as_browsers_and_curl_write_it():
    other = b'--b\r\nContent-Disposition: form-data; name="other"; filename="name=image"\r\n\r\nx\r\n'
    plainly = b"--b\r\ncontent-type: image/png\r\nCONTENT-DISPOSITION: form-data; filename=a; name=image\r\n\r\n--c\r\n\r\n\r\n"
    body = b"preamble\r\n" + PART % PICTURES[0] + other + plainly + b"--b--\r\nepilogue"
    for kind in (FORM, 'multipart/form-data; charset=utf-8; Boundary="b"; c=d'):
        assert plain.pictures(body, kind) == [PICTURES[0], b"--c\r\n\r\n"]
    assert len(plain.pictures(PART % b"a" * 256 + b"--b--\r\n", FORM)) == 256


def test_a_small_picture_of_many_bytes_is_decoded_on_the_thread(tmp_path, toy):
    (tmp_path / "place").mkdir()
    place, empty = Place(tmp_path / "place"), struct.pack(">I4sI", 0, b"teSt", zlib.crc32(b"teSt"))
    place.write(State("toy", "1", toy.digest, str(toy.folder)))
    worker = Worker(Options(max_megabytes=10, max_megapixels=25, queue=90, deadline=5), place)
    heavy = PICTURES[0][:33] + empty * 5500 + PICTURES[0][33:]  # behind its first chunk
    for picture, threads in ((PICTURES[0], 0), (heavy, 1)):
        before = set(threading.enumerate())
        pixels = asyncio.run(worker.pixels(worker.model, [[picture]]))
        assert len(set(threading.enumerate()) - before) == threads
        assert (pixels[0] == toy.preprocessing.sample([PICTURES[0]])).all()
    worker.decoding.shutdown()


async def answered(*pieces: bytes) -> bytes:
    """What a connection says that gets just these pieces, one at a time; its requests are all answered 204."""

    async def app(scope, receive, send):
        while (await receive()).get("more_body"):
            pass
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})

    loop, (ours, theirs) = asyncio.get_running_loop(), socket.socketpair()
    made = Config(app, log_config=None, lifespan="off")
    transport, connection = await loop.connect_accepted_socket(lambda: Connection(made, ServerState(), {}), ours)
    for piece in pieces:
        if not transport.is_closing():
            connection.data_received(piece)
        for _ in range(50):  # steps of the loop, by which the application has answered
            await asyncio.sleep(0)
    transport.close()
    with theirs:
        return theirs.recv(2**16)


def test_the_lines_behind_a_body_are_limited_and_a_body_is_no_head():
    chunked = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n"
    lines = b"A: %b\r\n" % (b"a" * (HEAD // 2))
    assert asyncio.run(answered(chunked, lines, lines, lines)).startswith(b"HTTP/1.1 431")
    assert asyncio.run(answered(chunked, lines, b"\r\n")).startswith(b"HTTP/1.1 204")
    post = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (2 * HEAD)
    said = asyncio.run(answered(post, bytes(HEAD), bytes(HEAD) + b"GET / HT", b"TP/1.1\r\nHost: a\r\n\r\n"))
    assert said.count(b"HTTP/1.1 204") == 2
    assert b"431" not in said


def raw(server: Server, content: bytes) -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(content)
    return connection


@pytest.mark.slow
def test_slow_and_endless_heads_and_slow_bodies_end(server):
    slow_head, idle = raw(server, b"POST /predict HTTP/1.1\r\n"), raw(server, b"")
    slow_body = raw(server, b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n1")
    assert raw(server, b"GET / HTTP/1.1\r\nA: " + b"a" * 2**18).recv(12) == b"HTTP/1.1 431"
    for connection in (slow_head, idle, slow_body):
        assert connection.recv(12) == b"HTTP/1.1 408"
    assert raw(server, b"\x16\x03\x01\r\n\r\n").recv(12) == b"HTTP/1.1 400"


def test_whoever_goes_away_while_it_sends_is_a_line_in_the_log_and_no_fault(server):
    head = b"POST /predict HTTP/1.1\r\nHost: a\r\nX-Request-ID: gone\r\nContent-Type: image/png\r\nContent-Length: 9\r\n\r\n1"
    raw(server, head).close()
    server.said(r"Z gone POST /predict 499 ")
    assert "Traceback" not in server.log.read_text()


def test_a_thousand_idle_connections_stop_nobody(server, toy):
    idle = [raw(server, b"") for _ in range(1000)]
    assert server.predict(PICTURES[0])[0] == 200
    for connection in idle:
        connection.close()


def ask_large(server: Server) -> http.client.HTTPConnection:
    """It is being worked on when this returns."""
    connection = server.connect()
    connection.request("POST", "/predict", LARGE, PNG)
    return connection


@pytest.mark.slow
def test_a_full_queue_tells_to_come_again(tmp_path, toy):
    with serving(tmp_path, toy.folder, "--workers", 1, "--queue", 1) as running:
        asked = [ask_large(running) for _ in range(3)]
        statuses = sorted(each.getresponse().status for each in asked)
        assert statuses[0] == 200
        assert statuses[-1] == 503
        assert running.predict(PICTURES[0])[0] == 200


@pytest.mark.slow
def test_sigterm_says_not_ready_first_and_answers_what_was_accepted(tmp_path, toy):
    with serving(tmp_path, toy.folder, "--workers", 2) as running:
        asked = [ask_large(running) for _ in range(3)]
        running.process.send_signal(signal.SIGTERM)
        status, told = 200, time.monotonic()
        while (
            status == 200 and time.monotonic() - told < 30
        ):  # a busy machine takes a moment to bring the signal to the workers
            status, found, headers = running.ask("GET", "/v2/health/ready")
        assert (found, headers["Connection"]) == ({"ready": False}, "close")
        assert [each.getresponse().status for each in asked] == [200] * 3
        assert running.process.wait(60) == 0
        with pytest.raises(ConnectionRefusedError):
            running.ask("GET", "/v2/health/live")


@pytest.mark.slow
def test_a_worker_that_is_killed_is_started_again(tmp_path, toy):
    with serving(tmp_path, toy.folder, "--workers", 2) as running:
        parent = psutil.Process(running.process.pid)

        def workers():
            alive = [each for each in parent.children() if each.status() != psutil.STATUS_ZOMBIE]
            return {each.pid for each in alive if "spawn_main" in " ".join(each.cmdline())}

        before = workers()
        os.kill(min(before), signal.SIGKILL)
        answered = [running.predict(PICTURES[0])[0] for _ in range(20)]
        assert answered == [200] * 20
        for _ in range(600):
            if len(now := workers()) == 2 and now != before:
                break
            time.sleep(0.1)
        assert len(now & before) == 1
        running.process.kill()
        _, alive = psutil.wait_procs([psutil.Process(each) for each in now], timeout=60)
        assert not alive, "workers outlive their parent"


def replace(folder: Path, **how) -> str:
    """Another package in the same place, as `package` writes it."""
    new = make_package(folder.with_name("new"), **how)
    for name in (*new.files, "package.json"):
        (new.folder / name).replace(folder / name)
    return new.digest


@pytest.mark.slow
def test_a_newer_model_is_taken_without_losing_a_request_and_a_bad_one_is_not(tmp_path):
    first = make_package(tmp_path / "model")
    with serving(tmp_path, first.folder, "--workers", 2, "--follow", 0.2) as running:
        seen, wrong, ended = set(), [], threading.Event()

        def client():
            connection = running.connect()
            while not ended.is_set():
                try:
                    status, found, _ = running.predict(PICTURES[0], connection)
                    seen.add(found["digest"]) if status == 200 else wrong.append(found)
                except (OSError, http.client.HTTPException) as error:
                    wrong.append(error)
                    return

        clients = [threading.Thread(target=client, daemon=True) for _ in range(3)]
        for each in clients:
            each.start()
        second = replace(first.folder, seed=1)
        running.said(rf"{second[:12]}.* is served now")
        while second not in seen:
            time.sleep(0.05)
        replace(first.folder, way=Preprocessing(16, 16, 1, "pad"))
        assert "takes pictures of (16, 16, 1)" in running.said("not taken.*")[0]
        (first.folder / "package.json").write_text("{")
        running.said("not valid JSON")
        third = replace(first.folder, seed=2)
        running.said(rf"{third[:12]}.* is served now")
        while third not in seen:
            time.sleep(0.05)
        ended.set()
        for each in clients:
            each.join()
        assert (seen, wrong) == ({first.digest, second, third}, [])


@pytest.mark.slow
def test_a_webhook_of_mlflow_brings_the_newest_at_once(tmp_path):
    from mlflow.webhooks.delivery import _generate_hmac_signature

    first = make_package(tmp_path / "model")
    body = json.dumps({"entity": "model_version_alias", "action": "created", "data": {"name": "darkroom", "alias": "champion"}})

    def sent(secret: str, stamp: int) -> dict:
        signature = _generate_hmac_signature(secret, "delivery", str(stamp), body)
        return {"X-MLflow-Signature": signature, "X-MLflow-Timestamp": str(stamp), "X-MLflow-Delivery-Id": "delivery"}

    with serving(tmp_path, first.folder, "--workers", 1) as running:
        second, now = replace(first.folder, seed=1), int(time.time())
        for headers in (
            sent("another", now),
            sent(SECRET, now - 1000),
            sent(SECRET, now) | {"X-MLflow-Timestamp": str(now + 1)},
        ):
            assert running.ask("POST", "/reload", body.encode(), headers)[0] == 401
        assert running.ask("POST", "/reload", body.encode(), sent(SECRET, now))[0] == 202
        running.said(rf"{second[:12]}.* is served now")
        assert SECRET not in running.log.read_text()


@pytest.mark.slow
def test_a_server_that_cannot_start_says_why_in_a_line(tmp_path, toy, server):
    for options, reason in (
        (("--port", server.port), "choose another --host or --port"),
        (("--sha256", "0" * 64), "is another package"),
        (("--sha256", toy.digest, "--follow", 1), "give one of them"),
    ):
        command = [sys.executable, "-m", "components", "serve", toy.folder, *options]
        ended = subprocess.run([str(part) for part in command], capture_output=True, text=True, cwd=ROOT, timeout=300)
        assert (ended.returncode, len(ended.stderr.splitlines())) == (2, 1), ended.stderr
        assert reason in ended.stderr


def test_the_log_has_a_line_a_request_and_no_picture(server):
    for sent, kept in (("abc.1", "abc.1"), ("a b\tc", "[0-9a-f]{32}"), ("x" * 65, "[0-9a-f]{32}")):
        _, _, headers = server.ask("GET", "/ping%0Afoo", headers={"X-Request-ID": sent})
        assert re.fullmatch(kept, headers["X-Request-ID"])
        server.said(rf"Z {headers['X-Request-ID']} GET /ping%0Afoo 404 [\d.]+ ms\n")


@pytest.mark.slow
def test_the_page_shows_what_the_model_says_and_where_it_looked(server, toy, tmp_path, browser):  # noqa: F811
    from selenium.webdriver.common.by import By
    from selenium.webdriver.support.ui import WebDriverWait

    _, probabilities, (answer,) = expected(toy, PICTURES[:1])
    (tmp_path / "a.png").write_bytes(PICTURES[0])
    (tmp_path / "b.png").write_text("no picture")
    browser.get(f"http://127.0.0.1:{server.port}/")
    field = browser.find_element(By.ID, "file")
    field.send_keys(str(tmp_path / "a.png"))
    WebDriverWait(browser, 60).until(lambda page: page.find_element(By.ID, "found").is_displayed())
    assert browser.find_element(By.ID, "label").text == answer.label
    rows = [row.text for row in browser.find_elements(By.CSS_SELECTOR, "#rows tr")]
    assert rows[0].startswith(f"{answer.label} {100 * probabilities.max():.1f}%")
    assert len(rows) == len(CLASSES)
    assert browser.execute_script("return document.querySelector('#rows i').offsetWidth") > 0
    promise = "One of these in 90% of cases (prediction set): " + ", ".join(answer.prediction_set)
    assert browser.find_element(By.XPATH, "//p[span[@id='set']]").text == promise
    marked = browser.execute_script("return document.getElementById('seen').toDataURL()")
    browser.find_element(By.ID, "looked").click()
    assert browser.execute_script("return document.getElementById('seen').toDataURL()") != marked
    assert not [entry for entry in browser.get_log("browser") if entry["level"] == "SEVERE"]
    field.send_keys(str(tmp_path / "b.png"))
    WebDriverWait(browser, 60).until(lambda page: "PNG or JPEG" in page.find_element(By.ID, "status").text)


@pytest.mark.slow
def test_an_alias_that_moves_brings_its_version_and_one_that_is_gone_stops_nobody(here):
    (here / "mlflow").mkdir()
    (here / "mlflow/runs.db").write_bytes(empty_store())
    client, digests = tracking.connect().MlflowClient(), []
    client.create_registered_model("toys")
    for number in (1, 2):
        made = make_package(here / f"logged{number}/artifacts/package", seed=number)
        client.create_model_version("toys", (here / f"logged{number}").as_uri(), tags={DIGEST: made.digest})
        digests.append(made.digest)
    client.set_registered_model_alias("toys", "champion", "1")
    with serving(here, "models:/toys@champion", "--workers", 1, "--follow", 0.5) as running:
        found = running.predict(PICTURES[0])[1]
        assert (found["model"], found["version"], found["digest"]) == ("toys", "1", digests[0])
        client.set_registered_model_alias("toys", "champion", "2")
        running.said("version 2 .* is served now")
        while (found := running.predict(PICTURES[0])[1])["version"] != "2":
            time.sleep(0.1)
        assert found["digest"] == digests[1]
        assert running.ask("GET", "/v2/models/toys/versions/2/ready")[0] == 200
        client.delete_registered_model_alias("toys", "champion")
        running.said("not taken, version 2 is served on: .*there is no such version")
        assert running.predict(PICTURES[0])[1]["version"] == "2"
