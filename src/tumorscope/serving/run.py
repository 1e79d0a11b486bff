"""Start and stop the server: load, bind, say where, serve, finish what was accepted."""

from __future__ import annotations

import asyncio
import gc
import importlib.util
import logging
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING, Literal

from tumorscope.core.errors import ResourceError
from tumorscope.serving.settings import Settings

if TYPE_CHECKING:
    from tumorscope.predicting.model import Model
    from tumorscope.serving.service import Service

INSTALL = "pip install 'tumorscope[serve]'"
LOOP: Literal["asyncio", "uvloop"] = "asyncio" if sys.platform == "win32" else "uvloop"
"""The event loop: uvloop where it exists."""
PACKAGES = ("fastapi", "uvicorn", "httptools", LOOP, "python_multipart", "prometheus_client")
"""What the extra `serve` brings, as it is imported."""


def need_packages() -> None:
    """Check that the extra `serve` is installed; nothing is imported.

    Raises:
        ResourceError: If a package is missing.
    """
    for name in PACKAGES:
        if importlib.util.find_spec(name) is None:
            raise ResourceError(f"the package {name} is not installed", expected="the extra `serve`", fix=INSTALL)


def serve(opened: Callable[[], Model], *, settings: Settings, ready: Callable[[str, str], None]) -> None:
    """Serve a model until the process is told to stop (Ctrl-C, SIGTERM).

    Args:
        opened: Loads the model; called once the address is known to be free, and what it raises passes.
        settings: Where to listen, and limits.
        ready: Called with the address, and with words on what computes and on the gate, once requests are answered.

    Raises:
        ResourceError: If a package is missing, or the address is taken.
    """
    need_packages()
    listener = bind(settings.host, settings.port)
    try:
        model = opened()
        from tumorscope.serving.service import Service

        service = Service(model, settings=settings)
        service.warm()
        words = f"{model.backend}; {model.gate_note}"
        run(service, settings, listener=listener, ready=lambda address: ready(address, words))
    finally:
        listener.close()


def bind(host: str, port: int) -> socket.socket:
    """A bound socket that does not listen yet: clients are refused, not left waiting, while the model loads.

    Raises:
        ResourceError: If the address is taken or not this machine's.
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
        try:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listener.bind(address)
        except OSError:
            listener.close()
            raise
    except OSError as error:
        raise ResourceError(
            f"cannot listen on {host} port {port}: {error.strerror or error}",
            expected="a free port of this machine",
            where="--host, --port",
            fix="--port 0 takes any free port",
        ) from error
    return listener


def address_of(listener: socket.socket) -> str:
    """The URL of a bound socket."""
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def run(service: Service, settings: Settings, *, listener: socket.socket, ready: Callable[[str], None]) -> None:
    """Answer requests on a bound socket until a signal comes; what was accepted is finished.

    Args:
        service: Answers.
        settings: Limits.
        listener: Bound socket.
        ready: Called with the address once it is listened on.
    """
    import uvicorn

    from tumorscope.serving.app import create_app
    from tumorscope.serving.protocol import protocol

    for name in ("uvicorn.error", "uvicorn.access", "uvicorn.asgi"):
        # they name paths and clients, and print exceptions with their messages
        logging.getLogger(name).setLevel(logging.CRITICAL)

    class Server(uvicorn.Server):
        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await super().startup(sockets)
            # the modules of torch are looked through by no later collection: pauses of 100 ms fall away
            gc.collect()
            gc.freeze()
            ready(address_of(listener))

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            service.stop_accepting()
            self.force_exit = self.should_exit and sig == signal.SIGINT
            self.should_exit = True

    config = uvicorn.Config(
        create_app(service, settings),
        http=protocol(settings),
        ws="none",
        loop=LOOP,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=settings.idle_s,
        timeout_graceful_shutdown=settings.stop_s,
    )
    server = Server(config)
    try:
        with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner:
            runner.run(server.serve(sockets=[listener]))
    finally:
        gc.unfreeze()
        service.close()
