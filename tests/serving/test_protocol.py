"""Connections that send no request are closed, and so are too many of them; others go on meanwhile."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

import pytest
import uvicorn

from tests.serving.conftest import Serve
from tumorscope.serving.protocol import protocol
from tumorscope.serving.run import bind
from tumorscope.serving.settings import Settings


async def _talk(app: Any, bounds: Settings, listener: socket.socket) -> list[bytes]:
    """What a slow head, a slow body, a busy connection and one too many get."""
    config = uvicorn.Config(
        app, http=protocol(bounds), ws="none", lifespan="off", log_config=None, access_log=False, timeout_keep_alive=1
    )
    server = uvicorn.Server(config)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    while not server.started:
        await asyncio.sleep(0.01)
    host, port = listener.getsockname()[:2]
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
    server.should_exit = True
    await running
    return found


async def _read(reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(3):
            return await reader.read(1000)
    except ConnectionError:
        return b""


@pytest.mark.parametrize("seconds", [0.2])
def test_slow_and_many(serve: Serve, seconds: float) -> None:
    bounds = Settings(head_s=seconds, connections=2)
    app, _ = serve(bounds)
    with bind("127.0.0.1", 0) as listener:
        assert asyncio.run(_talk(app, bounds, listener)) == [b"", b"HTTP/1.1 200 OK", b"", b""]
