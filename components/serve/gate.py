"""What every connection and request passes before its route: limits, a request id, a log line, metrics. No picture is ever logged."""

import asyncio
import json
import re
import sys
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime

from prometheus_client import Counter, Histogram
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

AGAIN = {"Retry-After": "1"}  # seconds
CONNECTIONS = 2_000  # of one worker, idle ones too
HEAD, HEAD_SECONDS = 2**16, 5.0  # of the lines before a body: bytes, and how long they may take; of those behind it: bytes
MANY = 256  # samples of one request, and frames of one sample
_SANE = re.compile(rb"[\w.-]{1,64}")  # a request id that may stand in a log
_REQUESTS = Counter("darkroom_requests", "Requests answered", ["route", "status"])
_SECONDS = Histogram("darkroom_request_seconds", "From a request's head to its answer", ["route"])


class Refusal(Exception):
    """An answer that says no: HTTP `status`, one plain line, and headers such as Retry-After."""

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers


def refuse_many(number: int, what: str) -> None:
    """Raises Refusal (413) for more than MANY: asked before they are worked through, one after the other."""
    if number > MANY:
        raise Refusal(413, f"more than {MANY} {what}")


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with a limit of their number, and of the bytes and seconds of a request's head."""

    _timer, _head = None, 0  # bytes since a head was whole or a body went on: of a head, or of lines behind a body

    def connection_made(self, transport: asyncio.Transport) -> None:
        """Begin to wait for a first request; of too many connections, refuse this one."""
        super().connection_made(transport)
        self._await_head()
        if len(self.connections) > CONNECTIONS:
            self._refuse(503, "too many connections; try again in a second")

    def on_message_begin(self) -> None:
        """Begin to wait for the rest of a request's head."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """The head is whole."""
        self._timer.cancel()
        self._timer, self._head = None, 0
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """It has a limit of its own, and what came before it was no head."""
        self._head = 0
        super().on_body(body)

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless the head has become too long."""
        self._head += len(data)
        super().data_received(data)
        if self._head > HEAD and not self.transport.is_closing():
            self._refuse(431, f"the head of the request is longer than {HEAD} bytes")

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        if self._timer:
            self._timer.cancel()
        super().connection_lost(exc)

    def send_400_response(self, msg: str) -> None:
        """Say in JSON what uvicorn would say in text."""
        self._refuse(400, msg)

    def _await_head(self) -> None:
        late = f"the head of the request took longer than {HEAD_SECONDS:g} s"
        self._timer = self._timer or self.loop.call_later(HEAD_SECONDS, lambda: self._refuse(408, late))

    def _refuse(self, status: int, reason: str) -> None:
        body = json.dumps({"error": reason}).encode()
        lines = [f"content-length: {len(body)}".encode(), b"content-type: application/json", b"connection: close", b"", body]
        self.transport.write(STATUS_LINE[status] + b"\r\n".join(lines))
        self.transport.close()


class Gate:
    """ASGI: gives each request its id and its body, and leaves a line and numbers of it.

    A body is of `largest` bytes at most, and comes within `seconds`; all that are held until they are answered are sixteen times as
    large at most. While `closing()`, connections end with their answer.
    """

    def __init__(self, app: Starlette, *, largest: int, seconds: float, closing: Callable[[], bool]) -> None:
        self._app, self._largest, self._seconds, self._closing = app, largest, seconds, closing
        self._room = 16 * largest
        app.state.gate = self

    async def body(self, request: Request) -> bytes:
        """The whole body. Raises Refusal (408, 413, 503)."""
        content, state = bytearray(), request.state
        too_large = Refusal(413, f"the body is larger than {self._largest / 1e6:g} MB")
        if int(request.headers.get("content-length", 0)) > self._largest:
            raise too_large
        try:
            async with asyncio.timeout(self._seconds):
                async for piece in request.stream():
                    content += piece
                    self._room -= len(piece)
                    state.held += len(piece)
                    if len(content) > self._largest:
                        raise too_large
                    if self._room < 0:
                        raise Refusal(503, "too many large bodies at once", AGAIN)
        except TimeoutError:
            raise Refusal(408, f"the body took longer than {self._seconds:g} s") from None
        return bytes(content)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request through."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, status = time.perf_counter(), 0
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given if _SANE.fullmatch(given) else uuid.uuid4().hex.encode()
        scope["state"] |= {"id": request_id.decode(), "held": 0}

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                closing = [(b"connection", b"close")] if self._closing() else []
                message["headers"] = [*message["headers"], (b"x-request-id", request_id), *closing]
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            self._room += scope["state"]["held"]
            seconds = time.perf_counter() - started
            route = getattr(scope.get("endpoint"), "__name__", "none")
            _REQUESTS.labels(route, status).inc()
            _SECONDS.labels(route).observe(seconds)
            path = scope["raw_path"].decode("ascii", "replace")[:200]
            log(f"{request_id.decode()} {scope['method']} {path} {status} {1000 * seconds:.1f} ms")


def log(line: str) -> None:
    """A line on stderr, with the time."""
    sys.stderr.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z {line}\n")
