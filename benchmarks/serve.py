"""What a request costs: `darkroom serve` under one client and under many, and beside `mlflow models serve` of the same package.

    python benchmarks/serve.py --package FOLDER [--seconds 10] [--mlflow models:/darkroom@champion] [--soak MINUTES]

FOLDER is what `package` wrote; a noisy PNG of the network's size is sent. A client waits for its answer before it asks again, on a
connection that stays open; clients run in this process, beside the server, on the same processors. `--mlflow`: a version as MLflow
serves it. `--soak`: 32 clients that ask 200 times a second together, for so long, with the server's memory every minute.
"""

import asyncio
import base64
import contextlib
import json
import math
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import measuring
import numpy as np
import psutil
import uvloop

from components.shared.models import package
from components.shared.pictures.encode import encode_png

PORT = 8791
SOAK = 200  # requests a second: a tenth of what two processors answer


@contextlib.contextmanager
def serving(*command: object, ready: str) -> Iterator[psutil.Process]:
    """A server from its start until it answers, whose seconds are printed; then until the block ends."""
    started = time.monotonic()
    with subprocess.Popen([str(part) for part in command], stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        try:
            while True:
                with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{PORT}{ready}"):
                    break
                if process.poll() is not None:
                    sys.exit(f"{command}: ended with {process.returncode}")
                time.sleep(0.02)
            print(f"ready after {time.monotonic() - started:.1f} s")
            yield psutil.Process(process.pid)
        finally:
            process.terminate()


async def client(request: bytes, until: float, seconds: list[float], every: float) -> None:
    """Ask until then, `every` so many seconds, and note how many each answer took. Ends the benchmark at one that is not 200."""
    reader, writer = await asyncio.open_connection("127.0.0.1", PORT)
    while time.perf_counter() < until:
        started = time.perf_counter()
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        if not head.startswith(b"HTTP/1.1 200"):
            sys.exit(head.decode())
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        await reader.readexactly(int(fields[b"content-length"]))
        seconds.append(time.perf_counter() - started)
        await asyncio.sleep(max(0.0, every - seconds[-1]))
    writer.close()


def measure(request: bytes, clients: int, seconds: float, *, rate: float = math.inf) -> tuple[float, float, float]:
    """Median and 99th percentile of an answer's milliseconds, and answers a second; all clients ask `rate` times a second at most."""
    found: list[float] = []

    async def all_of_them() -> None:
        until = time.perf_counter() + seconds
        await asyncio.gather(*(client(request, until, found, clients / rate) for _ in range(clients)))

    uvloop.run(all_of_them())
    median, slowest = np.percentile(found, (50, 99)) * 1000
    return median, slowest, len(found) / seconds


def asked(path: str, kind: str, body: bytes, **headers: object) -> bytes:
    """A whole request."""
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Type: {kind}", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def questions(picture: bytes) -> dict[str, bytes]:
    """The same picture by each protocol."""
    text = base64.b64encode(picture).decode()
    raw = len(picture).to_bytes(4, "little") + picture
    tensor = {"name": "images", "shape": [1], "datatype": "BYTES"}
    head = json.dumps({"inputs": [tensor | {"parameters": {"binary_data_size": len(raw)}}]}).encode()
    in_json, infer = "application/json", "/v2/models/darkroom/infer"
    return {
        "picture as it is": asked("/predict", "image/png", picture),
        "v2, binary": asked(infer, "application/octet-stream", head + raw, Inference_Header_Content_Length=len(head)),
        "v2, JSON": asked(infer, in_json, json.dumps({"inputs": [tensor | {"data": [text]}]}).encode()),
        "/invocations": asked(
            "/invocations", in_json, json.dumps({"dataframe_split": {"columns": ["image"], "data": [[text]]}}).encode()
        ),
    }


def memory(process: psutil.Process) -> str:
    """Of all processes of a server, what is shared counted once."""
    return f"{sum(each.memory_full_info().pss for each in (process, *process.children(recursive=True))) / 2**20:.0f} MiB"


def main() -> None:
    given = measuring.arguments(
        __doc__, package={"type": Path, "required": True}, seconds={"type": float, "default": 10}, mlflow={"default": ""},
        soak={"type": int, "default": 0},
    )  # fmt: skip
    way = package.read(given.package).preprocessing
    picture = encode_png(np.random.default_rng(0).integers(0, 256, (way.height, way.width, way.channels), np.uint8))
    protocols = questions(picture)
    print(measuring.processor())
    row = "| {} | {} | {} | {:.1f} ms | {:.1f} ms | {:.0f} |"
    print("| server | asked by | clients | median | 99 of 100 | answers/s |\n|---" + "|---" * 5 + "|")
    with serving(*measuring.PYTHON, "serve", given.package, "--port", PORT, ready="/v2/health/ready") as server:
        for _ in range(given.soak):
            print(row.format("darkroom serve", memory(server), 32, *measure(protocols["picture as it is"], 32, 60, rate=SOAK)))
        for name, request in protocols.items() if not given.soak else ():
            for clients in (1, 4, 32):
                print(row.format("darkroom serve", name, clients, *measure(request, clients, given.seconds)))
        print(f"memory: {memory(server)}")
    if given.mlflow:
        command = ("mlflow", "models", "serve", "-m", given.mlflow, "-p", PORT, "--env-manager", "local")
        with serving(*command, ready="/ping") as server:
            for clients in (1, 4, 32):
                found = measure(protocols["/invocations"], clients, given.seconds)
                print(row.format("mlflow models serve", "/invocations", clients, *found))
            print(f"memory: {memory(server)}")


if __name__ == "__main__":
    main()
