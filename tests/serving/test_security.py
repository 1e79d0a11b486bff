"""Who is let in, what every answer carries, and how much of a body is read."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence

import pytest
from starlette.types import Message

from tests.serving.asgi import FORM_TYPE, HOST, Reply, ask, call, form, part, post
from tests.serving.conftest import Serve
from tumorscope.serving.security import CONTENT_POLICY
from tumorscope.serving.settings import Settings

TOKEN = "a-token-of-many-characters"
EVERYWHERE = ("/", "/static/app.js", "/healthz", "/metrics", "/openapi.json", "/v1/model", "/v1/predict", "/nowhere")


@pytest.mark.parametrize("path", EVERYWHERE)
def test_every_answer_carries_the_headers(serve: Serve, path: str) -> None:
    app, _ = serve()
    for headers in ((HOST,), (("host", "evil.example"),)):
        reply = ask(app, path, headers=headers)
        assert reply.headers["content-security-policy"] == CONTENT_POLICY
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["referrer-policy"] == "no-referrer"
        assert reply.headers["cross-origin-resource-policy"] == "same-origin"
        cached = path in ("/", "/static/app.js") and reply.status == 200
        assert reply.headers["cache-control"] == ("no-cache" if cached else "no-store")
        assert not any(name.startswith("access-control") for name in reply.headers)


@pytest.mark.parametrize(
    "host",
    ["evil.example", "localhost.evil.example", "192.168.1.7", "", "localhost:80:80", "localhost@evil", "[::1", "a b"],
)
def test_other_names_are_refused(serve: Serve, host: str) -> None:
    app, _ = serve()
    assert ask(app, "/healthz", headers=[("host", host)]).code == "host"


@pytest.mark.parametrize("host", ["localhost", "LocalHost:8000", "127.0.0.1:1", "[::1]:8000"])
def test_own_names_are_not(serve: Serve, host: str) -> None:
    app, _ = serve()
    assert ask(app, "/healthz", headers=[("host", host)]).json == {"status": "ok"}
    assert ask(app, "/healthz", headers=[("host", host), ("origin", f"http://{host}")]).status == 200


def test_a_request_without_a_host_or_with_two(serve: Serve) -> None:
    app, _ = serve()
    assert ask(app, "/healthz", headers=[]).code == "host"
    assert ask(app, "/healthz", headers=[HOST, ("host", "evil.example")]).code == "bad-header"


FOREIGN: list[list[tuple[str, str]]] = [
    [("origin", "http://evil.example")],
    [("origin", "null")],
    [("origin", "http://127.0.0.1:3000")],
    [("origin", "http://127.0.0.1")],
    [("sec-fetch-site", "cross-site")],
    [("sec-fetch-site", "same-site"), ("sec-fetch-mode", "navigate")],
]


@pytest.mark.parametrize("headers", FOREIGN)
def test_pages_of_other_sites_are_refused(
    serve: Serve, headers: Sequence[tuple[str, str]], pictures: list[bytes]
) -> None:
    app, _ = serve()
    assert post(app, "/v1/predict", part(pictures[0]), headers=[HOST, *headers]).code == "origin"


def test_a_link_from_another_site_opens_the_page(serve: Serve) -> None:
    app, _ = serve()
    link = [HOST, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate")]
    assert ask(app, "/", headers=link).status == 200
    embedded = [HOST, ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")]
    assert ask(app, "/v1/model", headers=embedded).code == "origin"


def test_the_token_stands_before_everything_but_the_page(serve: Serve) -> None:
    app, _ = serve(Settings(token=TOKEN))
    for path in EVERYWHERE:
        opened = path in ("/", "/static/app.js", "/healthz")
        assert (ask(app, path).status == 401) is not opened, path
    refused = ask(app, "/v1/model")
    assert refused.headers["www-authenticate"] == "Bearer"
    for value in ("", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", TOKEN, "Bearer ümlaut"):
        assert ask(app, "/v1/model", headers=[HOST, ("authorization", value)]).status == 401, value
    for value in (f"Bearer {TOKEN}", f"bearer {TOKEN}"):
        assert ask(app, "/v1/model", headers=[HOST, ("authorization", value)]).status == 200
    assert ask(app, "/static/../v1/model").status == 404


def test_a_long_body_is_refused_by_its_length_and_by_its_bytes(serve: Serve) -> None:
    settings = Settings(body_bytes=10_000)
    app, _ = serve(settings)
    said = [HOST, FORM_TYPE, ("content-length", "10001")]
    assert ask(app, "/v1/predict", method="POST", headers=said, chunks=[b""]).code == "body-too-large"
    body = form(part(b"x" * 20_000))
    chunks = [body[i : i + 1000] for i in range(0, len(body), 1000)]
    for headers in ([HOST, FORM_TYPE], [HOST, FORM_TYPE, ("content-length", "5")]):
        reply = ask(app, "/v1/predict", method="POST", headers=headers, chunks=chunks)
        assert (reply.status, reply.code) == (413, "body-too-large")
        assert reply.headers["connection"] == "close"
    whole = form(part(b"x" * (10_000 - len(form(part(b""))))))
    assert len(whole) == 10_000
    assert ask(app, "/v1/predict", method="POST", headers=[HOST, FORM_TYPE], chunks=[whole]).status == 200


def test_bodies_together_are_bounded_and_given_back(serve: Serve) -> None:
    app, _ = serve(Settings(body_bytes=10_000, held_bytes=15_000))
    half = form(part(b"x" * 9000))

    async def send(*chunks: bytes) -> Reply:
        headers = [HOST, FORM_TYPE]
        return await call(app, "/v1/predict", method="POST", headers=headers, chunks=chunks, pause_s=0.1)

    async def together() -> list[int]:
        slow = asyncio.create_task(send(half[:8000], half[8000:]))
        await asyncio.sleep(0.02)
        fast = await send(half)
        assert fast.headers["retry-after"] == "1"
        return [fast.status, (await slow).status, (await send(half)).status]

    assert asyncio.run(together()) == [429, 200, 200]


def test_a_body_that_comes_too_slowly(serve: Serve) -> None:
    app, _ = serve(Settings(body_s=0.05))
    body = form(part(b"x" * 100))
    reply = ask(
        app, "/v1/predict", method="POST", headers=[HOST, FORM_TYPE], chunks=[body[:50], body[50:]], pause_s=0.5
    )
    assert (reply.status, reply.code) == (400, "too-slow")


def test_nothing_of_an_exception_leaves_or_is_logged(
    serve: Serve, pictures: list[bytes], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    app, service = serve()

    def fails(*_: object, **__: object) -> None:
        raise RuntimeError("the patient is called Smith")

    monkeypatch.setattr(service, "predict", fails)
    with caplog.at_level(logging.DEBUG):
        reply = post(app, "/v1/predict", part(pictures[0], filename="smith.png"))
    assert (reply.status, reply.code) == (500, "internal")
    assert "RuntimeError" in caplog.text
    assert "mith" not in reply.body.decode() + caplog.text


def test_a_stopping_server_takes_nothing_new(serve: Serve, pictures: list[bytes]) -> None:
    app, service = serve()
    service.stop_accepting()
    assert post(app, "/v1/predict", part(pictures[0])).code == "stopping"
    health = ask(app, "/healthz")
    assert (health.status, health.json) == (503, {"status": "stopping"})


def test_a_websocket_is_closed(serve: Serve) -> None:
    app, _ = serve()
    sent: list[Message] = []

    async def talk() -> None:
        async def receive() -> Message:
            return {"type": "websocket.connect"}

        async def send(message: Message) -> None:
            sent.append(message)

        scope = {"type": "websocket", "path": "/v1/predict", "headers": [], "query_string": b""}
        await app(scope, receive, send)

    asyncio.run(talk())
    assert sent == [{"type": "websocket.close", "code": 1008}]
