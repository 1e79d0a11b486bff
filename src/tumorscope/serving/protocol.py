"""uvicorn's HTTP protocol on llhttp, with limits of its own: connections, size and time of a head, requests in advance.

llhttp itself keeps whatever a client sends: the bytes of a head or of a chunk's extensions are counted here.
"""

from __future__ import annotations

import asyncio
from typing import cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tumorscope.serving.settings import Settings

HEAD_BYTES = 65_536
"""Bytes of a request's head and trailers, and bytes that may come without any of them being of a body."""
IN_ADVANCE = 4
"""Requests of one connection that may come before the one under way is answered."""


def protocol(settings: Settings) -> type[HttpToolsProtocol]:
    """The protocol class for these settings."""

    class BoundedProtocol(HttpToolsProtocol):
        """Closes what sends no request in time, or too much of one: few connections must not keep others out."""

        _head_timer: asyncio.TimerHandle | None = None
        _head_bytes = 0
        _idle_bytes = 0

        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            super().connection_made(cast("asyncio.Transport", transport))
            if len(self.connections) > settings.connections:
                self.transport.abort()
                return
            self._await_head()

        def connection_lost(self, exc: Exception | None) -> None:
            self._stop_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            before = self.cycle
            self._idle_bytes += len(data)
            super().data_received(data)
            if self._idle_bytes > HEAD_BYTES:
                self.transport.abort()
            elif self.cycle is not before:
                self._stop_timer()
            elif (before is None or before.response_complete) and self._head_timer is None:
                self._await_head()

        def on_message_begin(self) -> None:
            self._head_bytes = 0
            super().on_message_begin()

        def on_header(self, name: bytes, value: bytes) -> None:
            self._head_bytes += len(name) + len(value)
            if self._head_bytes > HEAD_BYTES:
                raise ValueError("too many bytes of headers")  # the parser answers 400
            super().on_header(name, value)

        def on_headers_complete(self) -> None:
            self._idle_bytes = 0
            if len(self.pipeline) >= IN_ADVANCE:
                raise ValueError("too many requests in advance")
            super().on_headers_complete()

        def on_body(self, body: bytes) -> None:
            self._idle_bytes = 0
            super().on_body(body)

        def _await_head(self) -> None:
            self._head_timer = self.loop.call_later(settings.head_s, self._give_up)

        def _stop_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

        def _give_up(self) -> None:
            self._head_timer = None
            if self.cycle is None or self.cycle.response_complete:
                self.transport.abort()

    return BoundedProtocol
