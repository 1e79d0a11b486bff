"""What stands before every request: who may ask, from where, and how much; and what every answer carries.

A pure ASGI middleware. Host and Origin keep other sites' pages away from a server on loopback, the token keeps other
people away from one beyond it, bodies are counted as they arrive, and no exception leaves with anything in it that
came from a request.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import re
import time
import traceback
from collections.abc import Callable
from http import HTTPStatus

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tumorscope.serving.metrics import Metrics
from tumorscope.serving.refusal import Headers, Refusal, busy, stopping
from tumorscope.serving.settings import Settings

CONTENT_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
ANSWER_HEADERS: Headers = [
    (b"content-security-policy", CONTENT_POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
]
NO_STORE = (b"cache-control", b"no-store")
CLOSE = {"Connection": "close"}

_HOST = re.compile(r"(?P<name>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::[0-9]{1,5})?")
_logger = logging.getLogger("tumorscope.serving")


class Held:
    """Bytes of all bodies that are in memory, under one limit."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.bytes = 0

    def take(self, count: int) -> None:
        """Count further bytes.

        Raises:
            Refusal: 429 if they are too many.
        """
        if self.bytes + count > self.limit:
            raise busy("as many bytes as fit", 1)
        self.bytes += count


class _Body:
    """A request's body, counted and timed as it arrives, whatever its head says."""

    def __init__(self, receive: Receive, settings: Settings, held: Held) -> None:
        self._receive = receive
        self._settings = settings
        self._held = held
        self._deadline = asyncio.get_running_loop().time() + settings.body_s
        self._whole = False
        self.bytes = 0

    async def receive(self) -> Message:
        """See ASGI; raises Refusal for a body that is too long or too slow."""
        if self._whole:
            return await self._receive()
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError as error:
            raise Refusal(
                HTTPStatus.BAD_REQUEST,
                "too-slow",
                "the body did not arrive in time",
                expected=f"all of it within {self._settings.body_s:g} s",
                headers=CLOSE,
            ) from error
        if message["type"] == "http.request":
            count = len(message.get("body", b""))
            if self.bytes + count > self._settings.body_bytes:
                raise too_large(self._settings)
            self._held.take(count)
            self.bytes += count
            self._whole = not message.get("more_body", False)
        return message

    def release(self) -> None:
        """Give the bytes back."""
        self._held.bytes -= self.bytes
        self.bytes = 0


def too_large(settings: Settings) -> Refusal:
    """413 for a body over the limit."""
    return Refusal(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        "body-too-large",
        "the request is too large",
        expected=f"at most {settings.body_bytes // 1_000_000} MB",
        fix="send fewer or smaller files",
        headers=CLOSE,
    )


class _Answer:
    """The answer on its way out, with the headers that all answers carry."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0

    async def send(self, message: Message) -> None:
        """See ASGI."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = list(message.get("headers", []))
            if not any(name == NO_STORE[0] for name, _ in headers):
                headers.append(NO_STORE)
            message = {**message, "headers": [*headers, *ANSWER_HEADERS]}
        await self._send(message)

    async def refuse(self, refusal: Refusal) -> None:
        """Say why the request is not served."""
        body = refusal.body
        await self.send({"type": "http.response.start", "status": refusal.status, "headers": refusal.raw_headers})
        await self.send({"type": "http.response.body", "body": body})


class Guard:
    """The middleware.

    Args:
        app: What it stands before.
        settings: Names, token and limits.
        metrics: Where requests are counted.
        accepting: False from the moment on when the server stops.
    """

    def __init__(self, app: ASGIApp, *, settings: Settings, metrics: Metrics, accepting: Callable[[], bool]) -> None:
        self.app = app
        self.settings = settings
        self.metrics = metrics
        self.accepting = accepting
        self.held = Held(settings.held_bytes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": 1008})
            else:
                await self.app(scope, receive, send)
            return
        start = time.perf_counter()
        body, answer = _Body(receive, self.settings, self.held), _Answer(send)
        try:
            self.check(scope)
            await self.app(scope, body.receive, answer.send)
        except Refusal as refusal:
            self.metrics.refused(refusal.code)
            await answer.refuse(refusal)
        except Exception as error:
            # the message of an exception may quote an image or a name: only its kind and place are kept
            place = traceback.extract_tb(error.__traceback__)[-1]
            _logger.error("internal error: %s at %s:%s", type(error).__name__, place.filename, place.lineno)
            if answer.status:
                raise
            await answer.refuse(
                Refusal(HTTPStatus.INTERNAL_SERVER_ERROR, "internal", "the server failed", headers=CLOSE)
            )
        finally:
            body.release()
            self.metrics.answered(scope["path"], answer.status, time.perf_counter() - start)

    def check(self, scope: Scope) -> None:
        """Refuse what may not be asked at all, before a byte of the body is read.

        Raises:
            Refusal: 400, 401, 403, 413 or 503.
        """
        headers: dict[bytes, bytes] = {}
        for name, value in scope["headers"]:
            if name in headers and name in (b"host", b"origin", b"authorization"):
                raise Refusal(HTTPStatus.BAD_REQUEST, "bad-header", "a header is there twice", headers=CLOSE)
            headers[name] = value
        self._check_sender(scope, headers)
        path = scope["path"]
        if self.settings.token is not None and not is_open(path) and not self._has_token(headers):
            raise Refusal(
                HTTPStatus.UNAUTHORIZED,
                "token",
                "the token is missing or another one",
                expected="Authorization: Bearer TOKEN",
                fix="ask whoever runs the server for it",
                headers={"WWW-Authenticate": "Bearer"},
            )
        if not self.accepting() and path != "/healthz":
            raise stopping()
        declared = headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > self.settings.body_bytes:
            raise too_large(self.settings)

    def _check_sender(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        host = headers.get(b"host", b"").decode("latin-1").lower()
        found = _HOST.fullmatch(host)
        if found is None or not self.settings.knows_host(found["name"]):
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                "host",
                "the server is not asked for under this name",
                expected="the address that it printed when it started",
                fix="start it with --allow-host NAME if that name is right",
            )
        origin = headers.get(b"origin")
        own = origin is None or origin.decode("latin-1").lower() in (f"http://{host}", f"https://{host}")
        site = headers.get(b"sec-fetch-site", b"none")
        opened = scope["method"] in ("GET", "HEAD") and headers.get(b"sec-fetch-mode") == b"navigate"
        if not own or (site not in (b"none", b"same-origin") and not opened):
            raise Refusal(
                HTTPStatus.FORBIDDEN,
                "origin",
                "the request comes from another site's page",
                expected="the server's own page, or a program that sends no Origin",
            )

    def _has_token(self, headers: dict[bytes, bytes]) -> bool:
        kind, _, given = headers.get(b"authorization", b"").partition(b" ")
        expected = (self.settings.token or "").encode()
        return kind.lower() == b"bearer" and hmac.compare_digest(given.strip(), expected)


def is_open(path: str) -> bool:
    """True if `path` needs no token: the page, which asks for it, and the sign of life."""
    return path in ("/", "/healthz") or path.startswith("/static/")
