"""One request to an application without a network: every chunk of the body and every header are the test's own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from starlette.types import ASGIApp, Message

HOST = ("host", "127.0.0.1:8000")
BOUNDARY = "b0undary"


@dataclass(frozen=True)
class Reply:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        """The body as JSON."""
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """Code of a refusal."""
        return str(self.json["error"]["code"])


def part(content: bytes, *, name: str = "files", filename: str | None = "x.png") -> bytes:
    """One part of a form."""
    named = "" if filename is None else f'; filename="{filename}"'
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{named}\r\n\r\n'
    return head.encode("utf-8", "surrogateescape") + content + b"\r\n"


def form(*parts: bytes) -> bytes:
    """A whole body."""
    return b"".join(parts) + f"--{BOUNDARY}--\r\n".encode()


FORM_TYPE = ("content-type", f"multipart/form-data; boundary={BOUNDARY}")


async def call(
    app: ASGIApp,
    path: str,
    *,
    method: str = "GET",
    headers: Sequence[tuple[str, str]] = (HOST,),
    chunks: Sequence[bytes] = (b"",),
    pause_s: float = 0.0,
    query: str = "",
) -> Reply:
    """Send a request in chunks, with a pause before each but the first."""
    scope = {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers],
        "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 8000),
    }
    waiting = list(chunks)
    sent: list[Message] = []

    async def receive() -> Message:
        if not waiting:
            await asyncio.sleep(3600)
        if pause_s and len(waiting) < len(chunks):
            await asyncio.sleep(pause_s)
        chunk = waiting.pop(0)
        return {"type": "http.request", "body": chunk, "more_body": bool(waiting)}

    async def send(message: Message) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, *bodies = sent
    found = {name.decode(): value.decode("latin-1") for name, value in start["headers"]}
    return Reply(start["status"], found, b"".join(one.get("body", b"") for one in bodies))


def ask(app: ASGIApp, path: str, **arguments: Any) -> Reply:
    """`call` from a plain function."""
    return asyncio.run(call(app, path, **arguments))


def post(app: ASGIApp, path: str, *parts: bytes, **arguments: Any) -> Reply:
    """Upload a form."""
    headers = arguments.pop("headers", (HOST,))
    return ask(app, path, method="POST", headers=[*headers, FORM_TYPE], chunks=[form(*parts)], **arguments)
