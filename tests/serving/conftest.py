"""One small bundle with prediction sets, opened once, and applications in front of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from fastapi import FastAPI
from PIL import Image

from tests.bundle.bundles import GRAY, save
from tests.scans import CLASSES, scan
from tumorscope.bundle.bundle import load_bundle, save_bundle
from tumorscope.evaluation.conformal import Conformal
from tumorscope.predicting.model import Model, open_model
from tumorscope.serving.app import create_app
from tumorscope.serving.service import Service
from tumorscope.serving.settings import Settings


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle whose prediction sets rule out what is under 0.2, and that has figures."""
    plain = load_bundle(save(tmp_path_factory.mktemp("plain") / "bundle", GRAY))
    sets = Conformal(plain.card.classes, 0.9, (0.2, 0.2), (20, 20))
    metrics = {
        "n": 40,
        "test": {"accuracy": {"value": 0.9, "low": 0.8, "high": 0.95}, "auroc": {"value": None}},
        "without_copies": {"n": 30, "test": {"accuracy": {"value": 0.8, "low": 0.6, "high": 0.9}}},
    }
    card = replace(plain.card, prediction_sets=sets.to_json(), metrics=metrics)
    target = tmp_path_factory.mktemp("served") / "bundle"
    save_bundle(target, plain.model, card, plain.probe)
    return target


@pytest.fixture(scope="session")
def model(folder: Path) -> Model:
    return open_model(folder, backend="torch")


Serve = Callable[..., tuple[FastAPI, Service]]


@pytest.fixture
def serve(model: Model) -> Iterator[Serve]:
    """Make an application, with any settings; it is closed at the end."""
    made: list[Service] = []

    def make(settings: Settings | None = None, *, model_: Model | None = None) -> tuple[FastAPI, Service]:
        settings = settings or Settings()
        service = Service(model_ or model, settings=settings)
        made.append(service)
        return create_app(service, settings), service

    yield make
    for service in made:
        service.close()


@pytest.fixture(scope="session")
def pictures() -> list[bytes]:
    """Scans as PNG files."""
    rng = np.random.default_rng(0)
    return [encoded(scan(CLASSES[i % 3], rng, 48 + i)) for i in range(12)]


def encoded(image: Image.Image, form: str = "PNG") -> bytes:
    """An image as a file."""
    handle = BytesIO()
    image.save(handle, format=form)
    return handle.getvalue()
