"""A request that is not served, in one shape: a code, the words, what would be right, what to do."""

from __future__ import annotations

import json
from http import HTTPStatus

Headers = list[tuple[bytes, bytes]]


class Refusal(Exception):
    """Why a request is not served.

    Args:
        status: HTTP status.
        code: Stable word for programs; from the server's own list, never from the request.
        detail: What was found, without anything that came from an image or its name.
        expected: What would have been right.
        fix: What the client can do.
        headers: Further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        expected: str | None = None,
        fix: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        self.status = status
        self.code = code
        self.detail = detail
        self.expected = expected
        self.fix = fix
        self.headers = dict(headers or {})
        super().__init__(f"{status} {code}")

    @property
    def body(self) -> bytes:
        """The answer's JSON."""
        error = {"code": self.code, "detail": self.detail, "expected": self.expected, "fix": self.fix}
        return json.dumps({"error": error}).encode()

    @property
    def raw_headers(self) -> Headers:
        """Headers of the answer as ASGI wants them."""
        own = {"content-type": "application/json", "content-length": str(len(self.body)), **self.headers}
        return [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in own.items()]


def busy(what: str, seconds: int) -> Refusal:
    """429: too much is waiting already."""
    return Refusal(
        HTTPStatus.TOO_MANY_REQUESTS,
        "queue-full",
        f"{what} wait already",
        expected="fewer at a time",
        fix=f"ask again in {seconds} s",
        headers={"Retry-After": str(seconds)},
    )


def stopping() -> Refusal:
    """503: the server finishes what it accepted and takes nothing new."""
    return Refusal(HTTPStatus.SERVICE_UNAVAILABLE, "stopping", "the server is shutting down", fix="ask again later")
