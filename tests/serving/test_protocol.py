"""Connections that send no request are closed, and so are too many of them; others go on meanwhile."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn

from tests.serving.asgi import FORM_TYPE, form, part
from tests.serving.conftest import Serve
from tumorscope.serving.protocol import HEAD_BYTES, IN_ADVANCE, protocol
from tumorscope.serving.run import bind
from tumorscope.serving.settings import Settings


@asynccontextmanager
async def _served(app: Any, bounds: Settings, listener: socket.socket) -> AsyncIterator[tuple[str, int]]:
    """A server on `listener`."""
    config = uvicorn.Config(
        app, http=protocol(bounds), ws="none", lifespan="off", log_config=None, access_log=False, timeout_keep_alive=1
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    host, port = listener.getsockname()[:2]
    yield host, port
    server.should_exit = True
    await running


async def _talk(app: Any, bounds: Settings, listener: socket.socket) -> list[bytes]:
    """What a slow head, a slow body, a busy connection and one too many get."""
    async with _served(app, bounds, listener) as (host, port):
        return await _conversations(host, port)


async def _conversations(host: str, port: int) -> list[bytes]:
    request = f"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    slow = await asyncio.open_connection(host, port)
    slow[1].write(request[:20])
    busy = await asyncio.open_connection(host, port)
    many = await asyncio.open_connection(host, port)
    found = [await _read(many[0])]
    for _ in range(6):
        busy[1].write(request)
        answer = await busy[0].readuntil(b"}")
        await asyncio.sleep(0.06)
    found += [answer[:15], await _read(slow[0]), await _read(busy[0])]
    for _, writer in (slow, busy, many):
        writer.close()
    return found


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(3):
            return await reader.read()
    except ConnectionError:
        return b""


@pytest.mark.parametrize("seconds", [0.2])
def test_slow_and_many(serve: Serve, seconds: float) -> None:
    bounds = Settings(head_s=seconds, connections=2)
    app, _ = serve(bounds)
    with bind("127.0.0.1", 0) as listener:
        assert asyncio.run(_talk(app, bounds, listener)) == [b"", b"HTTP/1.1 200 OK", b"", b""]


HEALTHY = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
CHUNKED = (
    b"POST /v1/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    b"Content-Type: " + FORM_TYPE[1].encode() + b"\r\nTransfer-Encoding: chunked\r\n\r\n"
)
LONG = b"x" * (16 * HEAD_BYTES)
PIECE = 16_384
TOO_MUCH: dict[str, bytes] = {
    "one header": HEALTHY[:-2] + b"X: " + LONG + b"\r\n\r\n",
    "many headers": HEALTHY[:-2] + b"X: y\r\n" * HEAD_BYTES + b"\r\n",
    "an address": b"GET /" + LONG + b" HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n",
    "a chunk's extension": CHUNKED + b"1;" + LONG + b"\r\nx\r\n0\r\n\r\n",
    "a trailer": CHUNKED + b"0\r\nX: " + LONG + b"\r\n\r\n",
    "trailers": CHUNKED + b"0\r\n" + b"X: y\r\n" * HEAD_BYTES + b"\r\n",
    "requests in advance": HEALTHY * (IN_ADVANCE + 2),
    "no HTTP": LONG,
}


async def _send(app: Any, listener: socket.socket, data: bytes, pieces: int) -> bytes:
    """Everything that comes back for `data`, sent in pieces of so many bytes."""
    async with _served(app, Settings(), listener) as (host, port):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            for start in range(0, len(data), pieces):
                writer.write(data[start : start + pieces])
                await writer.drain()
                await asyncio.sleep(0)
            return await _read(reader)
        except ConnectionError:
            return await _read(reader)
        finally:
            writer.close()


@pytest.mark.parametrize("what", TOO_MUCH)
@pytest.mark.parametrize("pieces", [PIECE, 1 << 20])
def test_what_no_request_needs_is_not_kept(serve: Serve, what: str, pieces: int) -> None:
    app, _ = serve()
    with bind("127.0.0.1", 0) as listener:
        found = asyncio.run(_send(app, listener, TOO_MUCH[what], pieces))
    assert found == b"" or found.endswith(b"Invalid HTTP request received."), found[:300]


def test_what_a_request_may_need(serve: Serve) -> None:
    app, _ = serve()
    body = form(part(LONG))
    chunks = b"".join(
        b"%x\r\n%s\r\n" % (len(body[i : i + 5000]), body[i : i + 5000]) for i in range(0, len(body), 5000)
    )
    chunked = CHUNKED + chunks + b"0\r\n\r\n"
    last = HEALTHY[:-2] + b"X: " + LONG[: HEAD_BYTES // 2] + b"\r\nConnection: close\r\n\r\n"
    for request, answers in ((chunked, 1), (HEALTHY * IN_ADVANCE + last, IN_ADVANCE + 1)):
        with bind("127.0.0.1", 0) as listener:
            found = asyncio.run(_send(app, listener, request, PIECE))
        assert found.count(b"HTTP/1.1 200 OK") == answers, found[:300]
