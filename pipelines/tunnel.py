"""A way out of a container that has no network, to one server and nowhere else: through a socket in a mounted folder.

On the host `door` passes what comes through the socket on to the server; in the container this module, run as
`python -m pipelines.tunnel SOCKET PORT COMMAND...`, listens on the container's own loopback and runs the command beside it.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

LONGEST = 108  # bytes of a socket's path (unix(7))
Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@contextlib.contextmanager
def door(host: str, port: int) -> Iterator[Path]:
    """Yield a folder to mount, with `socket` in it that leads to host:port. On this machine only its owner reaches it.

    Raises CannotRun.
    """
    from components.shared import scratch
    from components.shared.errors import CannotRun

    with scratch.folder("door") as private:  # 0700; what is mounted out of it may be open
        folder, socket = private / "open", private / "open/socket"
        if len(os.fsencode(socket)) >= LONGEST:
            raise CannotRun(f"{socket}: too long a path for a socket; set TMPDIR to a shorter one, such as /tmp")
        folder.mkdir()
        folder.chmod(0o755)

        async def listen() -> asyncio.Server:
            return await asyncio.start_unix_server(_passing_on(lambda: asyncio.open_connection(host, port)), socket)

        with _in_background(listen):
            socket.chmod(0o666)  # a container connects as another user; nobody else gets past the private folder
            yield folder


def main(socket: str, port: str, *command: str) -> int:
    """In the container: run a command while 127.0.0.1:port leads out through the socket. SIGTERM is passed on to it."""

    async def listen() -> asyncio.Server:
        return await asyncio.start_server(_passing_on(lambda: asyncio.open_unix_connection(socket)), "127.0.0.1", int(port))

    with _in_background(listen):
        process = subprocess.Popen(command)
        # The first process of a container has no default for it: it would be lost.
        signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        code = process.wait()
    return code if code >= 0 else 128 - code  # killed by a signal: as a shell says it


def _passing_on(connect: Callable[[], Awaitable[Streams]]) -> Callable:
    async def passed_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            remote_reader, remote_writer = await connect()
        except OSError:
            writer.close()  # like a server that is down
            return
        await asyncio.gather(_copy(reader, remote_writer), _copy(remote_reader, writer))

    return passed_on


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while piece := await reader.read(1 << 16):
            writer.write(piece)
            await writer.drain()
        if writer.can_write_eof():
            writer.write_eof()
            return
    writer.close()


@contextlib.contextmanager
def _in_background(listen: Callable[[], Awaitable[asyncio.Server]]) -> Iterator[None]:
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        asyncio.run_coroutine_threadsafe(listen(), loop).result(10)
        yield
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()


if __name__ == "__main__":
    os.umask(0)  # whoever owns the mounted folder can delete what is written there by another user
    sys.exit(main(*sys.argv[1:]))
