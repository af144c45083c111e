"""What every connection and request passes before its route: limits, a request id, a log line, metrics. No picture is ever logged."""

import asyncio
import json
import re
import sys
import time
import uuid
from datetime import UTC, datetime

from prometheus_client import Counter, Histogram
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

CONNECTIONS = 2_000  # of one worker, idle ones too
HEAD, HEAD_SECONDS = 2**16, 5.0  # of the lines before a body: bytes, and how long they may take
_SANE = re.compile(rb"[\w.-]{1,64}")  # a request id that may stand in a log
_REQUESTS = Counter("darkroom_requests", "Requests answered", ["route", "status"])
_SECONDS = Histogram("darkroom_request_seconds", "From a request's head to its answer", ["route"])


class Refusal(Exception):
    """An answer that says no: HTTP `status`, one plain line, and headers such as Retry-After."""

    def __init__(self, status: int, reason: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(reason)
        self.status, self.reason, self.headers = status, reason, headers


class Connection(HttpToolsProtocol):
    """uvicorn's connection, with a limit of their number, and of the bytes and seconds of a request's head."""

    _timer, _head = None, 0

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

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless the head has become too long."""
        super().data_received(data)
        if self._timer and not self.transport.is_closing():
            self._head += len(data)
            if self._head > HEAD:
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


class Bodies:
    """Reads the bodies of requests: each within `largest` bytes and `seconds`, all that are held together within `held` bytes."""

    def __init__(self, *, largest: int, seconds: float) -> None:
        self.largest, self.seconds, self.room = largest, seconds, 16 * largest

    async def read(self, request: Request) -> bytes:
        """The whole body. Raises Refusal (408, 413, 503)."""
        content = bytearray()
        too_large = Refusal(413, f"the body is larger than {self.largest / 1e6:g} MB")
        if int(request.headers.get("content-length", 0)) > self.largest:
            raise too_large
        try:
            async with asyncio.timeout(self.seconds):
                async for piece in request.stream():
                    self.room -= len(piece)
                    content += piece
                    if len(content) > self.largest:
                        raise too_large
                    if self.room < 0:
                        raise Refusal(503, "too many large bodies at once", {"Retry-After": "1"})
        except TimeoutError:
            raise Refusal(408, f"the body took longer than {self.seconds:g} s") from None
        finally:
            self.room += len(content)
        return bytes(content)


class Gate:
    """ASGI: gives each request its id, and leaves a line and numbers of it. While `closing()`, connections end with their answer."""

    def __init__(self, app: ASGIApp, closing) -> None:
        self._app, self._closing = app, closing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request through."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        started, status = time.perf_counter(), 0
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        request_id = given if _SANE.fullmatch(given) else uuid.uuid4().hex.encode()
        scope["state"]["id"] = request_id.decode()

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
                if self._closing():
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            await self._app(scope, receive, sent)
        finally:
            seconds = time.perf_counter() - started
            route = getattr(scope.get("endpoint"), "__name__", "none")
            _REQUESTS.labels(route, status).inc()
            _SECONDS.labels(route).observe(seconds)
            path = scope["raw_path"].decode("ascii", "replace")[:200]
            log(f"{request_id.decode()} {scope['method']} {path} {status} {1000 * seconds:.1f} ms")


def log(line: str) -> None:
    """A line on stderr, with the time."""
    sys.stderr.write(f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%f}Z {line}\n")
