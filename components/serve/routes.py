"""The addresses of the server, each a thin edge over the worker. https://github.com/kserve/open-inference-protocol and MLflow's."""

import asyncio
import base64
import contextlib
import hmac
import os
import time
from importlib import metadata
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from components.serve import plain, v2
from components.serve.gate import Gate, Refusal
from components.serve.place import Options, Place
from components.serve.worker import Model, Worker, worker_of
from components.shared.models.answers import Answer
from components.shared.models.occlusion import occlusion
from components.shared.page import render
from components.shared.pictures.encode import encode_png

CELLS = 9  # of a side of the map that says where the network looked
WEBHOOK = "DARKROOM_WEBHOOK_SECRET"
_OLDEST = 300  # seconds: a webhook's signature that is older may have been overheard


def record(answer: Answer) -> dict:
    """For JSON."""
    ranked = [{"label": label, "probability": probability} for label, probability in answer.top]
    return vars(answer) | {"top": ranked}


async def page(request: Request) -> Response:
    """The page for people."""
    model = worker_of(request).model
    package = model.package
    text = render.render(
        Path(__file__).with_name("page.html"), server=True, title=f"{model.name} {model.version}", digest=model.digest,
        classes=len(package.classes), coverage=f"{package.calibration.coverage:.0%}",
    )  # fmt: skip
    return Response(text, media_type="text/html")


async def predict(request: Request) -> Response:
    """One picture as it is."""
    worker = worker_of(request)
    model, frames = worker.model, await _frames(request)
    (found,), _ = await worker.answer(model, [frames])
    return JSONResponse(record(found) | model.facts | {"request_id": request.state.id})


async def explain(request: Request) -> Response:
    """One picture as it is: also where the network looked, as fractions of the probability, and what it saw."""
    worker = worker_of(request)
    model, frames = worker.model, await _frames(request)
    (found,), probabilities = await worker.answer(model, [frames])
    async with worker.at_work(CELLS**2):
        (image,) = await worker.pixels(model, [frames])
        label = int(probabilities[0].argmax())
        looked = await asyncio.get_running_loop().run_in_executor(
            worker.decoding, lambda: occlusion(model.recogniser.probabilities, image, label, cells=CELLS)
        )
    seen = encode_png(image if image.ndim == 3 else image[0])
    ranked = sorted(zip(model.package.classes, probabilities[0].tolist(), strict=True), key=lambda pair: -pair[1])
    return JSONResponse(
        record(found) | model.facts | {
            "map": looked.tolist(), "seen": base64.b64encode(seen).decode(), "probabilities": ranked[:100],
        }
    )  # fmt: skip


async def _frames(request: Request) -> list[bytes]:
    kind = request.headers.get("content-type", "")
    if not kind.startswith(("image/", "multipart/form-data")):
        plain.pictures(b"", kind)  # refuses it before the body is read
    return plain.pictures(await request.app.state.gate.body(request), kind)


async def invocations(request: Request) -> Response:
    """MLflow's protocol."""
    _json_only(request)
    worker = worker_of(request)
    samples = plain.invocations(await request.app.state.gate.body(request))
    found, _ = await worker.answer(worker.model, samples)
    return JSONResponse({"predictions": [record(each) for each in found]})


async def infer(request: Request) -> Response:
    """The Open Inference Protocol."""
    length = request.headers.get("inference-header-content-length")
    if length is None:
        _json_only(request)
    worker, model = worker_of(request), _named(request)
    question = v2.read(await request.app.state.gate.body(request), length, model.package.preprocessing.shape)
    found, probabilities = await worker.answer(model, question.encoded if question.pixels is None else question.pixels)
    facts = {"version": model.version, "digest": model.digest, "abstained": sum(each.abstained for each in found)}
    content, headers = v2.write(
        question._replace(id=question.id or request.state.id), found, probabilities,
        {"model_name": model.name, "model_version": model.version, "parameters": facts},
    )  # fmt: skip
    return Response(content, headers=headers)


def _json_only(request: Request) -> None:
    kind = request.headers.get("content-type", "application/json")
    if kind.split(";")[0].strip() != "application/json":
        raise Refusal(415, f"Content-Type {kind[:80]!r}: expected application/json")


def _named(request: Request) -> Model:
    """The model, if it is what the path names. Raises Refusal (404)."""
    model, asked = worker_of(request).model, request.path_params
    if asked["name"] != model.name:
        raise Refusal(404, f"no model {asked['name'][:80]!r}; there is {model.name}")
    if asked.get("version", model.version) != model.version:
        raise Refusal(404, f"no version {asked['version'][:80]!r} of {model.name}; there is {model.version}")
    return model


async def server(request: Request) -> Response:
    """What the server is."""
    return JSONResponse({"name": "darkroom", "version": metadata.version("darkroom"), "extensions": ["binary_tensor_data"]})


async def live(request: Request) -> Response:
    """Whether the process answers."""
    return JSONResponse({"live": True})


async def ready(request: Request) -> Response:
    """Whether requests should be sent here: of the server, or of the model that the path names."""
    named = {"name": _named(request).name} if request.path_params else {}
    closing = worker_of(request).state.closing
    return JSONResponse(named | {"ready": not closing}, status_code=503 if closing else 200)


async def described(request: Request) -> Response:
    """The model's inputs and outputs."""
    model = _named(request)
    frames, classes = [-1] if model.package.preprocessing.time else [], [len(model.package.classes)]
    outputs = [
        {"name": name, "datatype": kind, "shape": [-1, *(classes if name == "probabilities" else [])]}
        for name, kind in v2.DATATYPES.items()
    ]
    inputs = [{"name": "images", "datatype": "BYTES", "shape": [-1, *frames]}]
    about = {
        "name": model.name,
        "versions": [model.version],
        "platform": "onnx_onnxruntime",
        "inputs": inputs,
        "outputs": outputs,
    }
    return JSONResponse(about | {"parameters": {"digest": model.digest, "classes": model.package.classes}})


async def ping(request: Request) -> Response:
    """MLflow's liveness."""
    return PlainTextResponse("\n")


async def version(request: Request) -> Response:
    """Darkroom's."""
    return PlainTextResponse(metadata.version("darkroom"))


async def metrics(request: Request) -> Response:
    """Numbers of all workers together, for Prometheus."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return Response(generate_latest(registry), headers={"content-type": CONTENT_TYPE_LATEST})


async def reload(request: Request) -> Response:
    """Look for a newer model now: for MLflow's webhooks, which sign what they send (mlflow.webhooks.delivery).

    Signed is `ID.TIMESTAMP.BODY` by HMAC-SHA256; the header holds `v1,` and its base64.
    """
    secret, worker = os.environ.get(WEBHOOK, ""), worker_of(request)
    if not secret:
        raise Refusal(403, f"reloading is off; start the server with {WEBHOOK} set")
    sent, stamp, signature = (request.headers.get(f"x-mlflow-{name}", "") for name in ("delivery-id", "timestamp", "signature"))
    content = await request.app.state.gate.body(request)
    expected = hmac.digest(secret.encode(), f"{sent}.{stamp}.".encode() + content, "sha256")
    genuine = hmac.compare_digest(signature.encode(), b"v1," + base64.b64encode(expected))
    if not genuine or not stamp.isdecimal() or abs(time.time() - int(stamp)) > _OLDEST:
        raise Refusal(401, "the signature is not the webhook's, or older than five minutes")
    worker.place.ask()
    return JSONResponse({"reloading": True}, status_code=202)


async def _refused(request: Request, error: Exception) -> Response:
    if isinstance(error, ClientDisconnect):  # while it sent; nobody reads this, but the log says it
        return Response(status_code=499)
    if isinstance(error, Refusal):
        return JSONResponse({"error": error.reason}, error.status, error.headers)
    if isinstance(error, HTTPException):  # no such address, or not by this method
        reason = f"{error.detail.lower()}: {request.method} {request.url.path[:80]}"
        return JSONResponse({"error": reason}, error.status_code, error.headers)
    return JSONResponse({"error": f"a fault of Darkroom's own; its log says more at {request.state.id}"}, 500)


def create(options: Options, place: Place) -> Gate:
    """The application of one worker. Raises CannotRun."""
    worker = Worker(options, place)
    model = "/v2/models/{name}"
    routes = [
        *(Route(path, predict, methods=["POST"]) for path in ("/", "/predict")), Route("/", page),
        Route("/explain", explain, methods=["POST"]), Route("/invocations", invocations, methods=["POST"]),
        Route("/reload", reload, methods=["POST"]), Route("/metrics", metrics), Route("/version", version),
        *(Route(path, ping) for path in ("/ping", "/health")),
        Route("/v2", server), Route("/v2/health/live", live), Route("/v2/health/ready", ready),
        *(Route(f"{model}{each}", described) for each in ("", "/versions/{version}")),
        *(Route(f"{model}{each}/ready", ready) for each in ("", "/versions/{version}")),
        *(Route(f"{model}{each}/infer", infer, methods=["POST"]) for each in ("", "/versions/{version}")),
    ]  # fmt: skip

    @contextlib.asynccontextmanager
    async def lifespan(app: Starlette):
        following = asyncio.create_task(worker.follow())
        yield
        following.cancel()

    handlers = dict.fromkeys((Refusal, HTTPException, ClientDisconnect, Exception), _refused)
    app = Starlette(routes=routes, exception_handlers=handlers, lifespan=lifespan)
    app.state.worker = worker
    largest = int(options.max_megabytes * 1e6)
    return Gate(app, largest=largest, seconds=options.deadline, closing=lambda: worker.state.closing)
