"""A real server on a thread, with a tiny model that has prediction sets and results, for the page's tests."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.bundle.bundles import COLOUR, save
from tumorscope.bundle.bundle import load_bundle, save_bundle
from tumorscope.predicting.model import open_model
from tumorscope.serving.app import create_app
from tumorscope.serving.refusal import busy
from tumorscope.serving.service import Service
from tumorscope.serving.settings import Settings

LIMIT = 0.3
"""Probability from which a class is in the prediction set: never none of three classes, and seldom all."""
RESULTS = {
    "accuracy": {"value": 0.9916, "low": 0.9828, "high": 0.9959, "method": "wilson"},
    "auroc": {"value": 0.99946, "low": 0.99786, "high": 0.99986, "method": "delong"},
    "ece": {"value": 0.0112, "low": None, "high": None, "method": "none"},
}
WITHOUT_COPIES = {"accuracy": {"value": 0.958, "low": 0.927, "high": 0.977, "method": "wilson"}}


def tiny_bundle(folder: Path) -> Path:
    """A three-class bundle with random weights, results, and prediction sets at 90% coverage."""
    made = load_bundle(save(folder / "plain", COLOUR))
    names = made.card.classes
    sets = {
        "coverage": 0.9,
        "limits": dict.fromkeys(names, LIMIT),
        "validation_images": dict.fromkeys(names, 20),
    }
    metrics = {"n": 1311, "test": RESULTS, "without_copies": {"n": 313, "test": WITHOUT_COPIES}}
    card = replace(made.card, prediction_sets=sets, metrics=metrics, title="A tiny model")
    save_bundle(folder / "bundle", made.model, card, made.probe)
    return folder / "bundle"


class Counting(Service):
    """A service that says that it is full as often as it is told to."""

    full = 0

    def check_room(self) -> None:
        """See `Service`."""
        if self.full:
            self.full -= 1
            raise busy("images of a test", 1)
        super().check_room()


class Recorder:
    """Keeps the bodies of requests on their way to an application; browsers do not tell them where files are in."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.bodies: list[tuple[str, bytes]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        parts: list[bytes] = []

        async def heard() -> Message:
            message = await receive()
            parts.append(message.get("body", b""))
            return message

        await self.app(scope, heard if scope["type"] == "http" else receive, send)
        if scope["type"] == "http" and scope["method"] == "POST":
            self.bodies.append((scope["path"], b"".join(parts)))


class Site:
    """A running server; use as a context.

    Args:
        bundle: Folder of the model.
        token: What clients must present.
    """

    def __init__(self, bundle: Path, *, token: str | None = None) -> None:
        settings = Settings(port=0, token=token, decode_threads=1)
        self.service = Counting(open_model(bundle, backend="torch"), settings=settings)
        self.recorder = Recorder(create_app(self.service, settings))
        config = uvicorn.Config(self.recorder, host="127.0.0.1", port=0, log_config=None, ws="none", lifespan="on")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run)

    def __enter__(self) -> Site:
        self._thread.start()
        until = time.monotonic() + 20
        while not self._server.started:
            if time.monotonic() > until or not self._thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}/"
        return self

    def sent(self, path: str) -> list[bytes]:
        """Bodies that came for "/v1/PATH", in order of their answers."""
        return [body for asked, body in self.recorder.bodies if asked == f"/v1/{path}"]

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(20)
        self.service.close()
