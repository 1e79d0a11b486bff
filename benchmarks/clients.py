"""Clients that cost next to nothing, so that a benchmark on the server's own machine measures the server.

In: requests as bytes, made beforehand. Out: how long each took. One thread and one selector serve all connections;
each sends its next request as soon as the answer to the last one is whole.
"""

from __future__ import annotations

import json
import selectors
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

BOUNDARY = b"a-boundary-that-no-image-holds"


def upload(content: bytes, *, port: int, field: str = "files", path: str = "/v1/predict") -> bytes:
    """A POST request with one file."""
    head = b'Content-Disposition: form-data; name="' + field.encode() + b'"; filename="x"\r\n'
    kind = b"Content-Type: application/octet-stream\r\n\r\n"
    body = b"--" + BOUNDARY + b"\r\n" + head + kind + content + b"\r\n--" + BOUNDARY + b"--\r\n"
    return (
        f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY.decode()}\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def get(path: str, *, port: int) -> bytes:
    """A GET request."""
    return f"GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()


def connect(port: int) -> socket.socket:
    """A connection to this machine."""
    link = socket.create_connection(("127.0.0.1", port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return link


class _Answer:
    """Bytes of one answer so far."""

    def __init__(self) -> None:
        self.data = b""
        self.end = -1

    def add(self, data: bytes) -> bool:
        """True once the answer is whole; raises ConnectionError if it ends before."""
        if not data:
            raise ConnectionError("the server closed the connection")
        self.data += data
        if self.end < 0 and (at := self.data.find(b"\r\n\r\n")) >= 0:
            lines = self.data[:at].lower().split(b"\r\n")
            length = next(int(line.split(b":")[1]) for line in lines if line.startswith(b"content-length:"))
            self.end = at + 4 + length
        return 0 <= self.end <= len(self.data)

    @property
    def status(self) -> int:
        """HTTP status."""
        return int(self.data[9:12])

    @property
    def content(self) -> Any:
        """The JSON in it."""
        return json.loads(self.data.split(b"\r\n\r\n", 1)[1])


def ask(link: socket.socket, request: bytes) -> _Answer:
    """Send one request and wait for its answer."""
    link.sendall(request)
    answer = _Answer()
    while not answer.add(link.recv(1 << 18)):
        pass
    return answer


class _Client:
    """One connection that always has a request under way."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.left = memoryview(b"")
        self.answer = _Answer()
        self.start = 0.0


def load(
    requests: Sequence[bytes], *, port: int, clients: int, total: int, seen: Callable[[int], None] | None = None
) -> tuple[float, list[float]]:
    """Seconds for `total` requests by so many clients at once, and the seconds of each.

    Args:
        requests: Sent in turns.
        port: Of the server.
        clients: Connections.
        total: Requests in all.
        seen: Called with the number of answers so far, after each.

    Raises:
        RuntimeError: For an answer that is not 200.
    """
    taken: list[float] = []
    sent = 0
    with selectors.DefaultSelector() as selector:
        links = [_Client(connect(port)) for _ in range(clients)]
        begin = time.perf_counter()

        def send(client: _Client) -> None:
            nonlocal sent
            client.left, client.answer = memoryview(requests[sent % len(requests)]), _Answer()
            client.start = time.perf_counter()
            sent += 1
            push(client)

        def push(client: _Client) -> None:
            try:
                while client.left:
                    client.left = client.left[client.link.send(client.left) :]
            except BlockingIOError:
                selector.modify(client.link, selectors.EVENT_READ | selectors.EVENT_WRITE, client)

        for client in links:
            client.link.setblocking(False)
            selector.register(client.link, selectors.EVENT_READ, client)
            if sent < total:
                send(client)
        while len(taken) < total:
            for key, events in selector.select():
                client = key.data
                if events & selectors.EVENT_WRITE:
                    selector.modify(client.link, selectors.EVENT_READ, client)
                    push(client)
                if not events & selectors.EVENT_READ or not client.answer.add(client.link.recv(1 << 18)):
                    continue
                taken.append(time.perf_counter() - client.start)
                if client.answer.status != 200:
                    raise RuntimeError(client.answer.data[:300].decode("latin-1"))
                if seen is not None:
                    seen(len(taken))
                if sent < total:
                    send(client)
        seconds = time.perf_counter() - begin
        for client in links:
            client.link.close()
    return seconds, taken
