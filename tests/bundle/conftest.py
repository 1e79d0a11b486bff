from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from tests.bundle.bundles import COLOUR, GRAY, save
from tumorscope.bundle.bundle import Bundle, load_bundle
from tumorscope.bundle.export import ExportFormat, export_bundle

KINDS: tuple[ExportFormat, ...] = ("onnx", "openvino")


@pytest.fixture(scope="session")
def gray(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(save(tmp_path_factory.mktemp("gray") / "bundle", GRAY))


@pytest.fixture(scope="session")
def colour(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return load_bundle(save(tmp_path_factory.mktemp("colour") / "bundle", COLOUR))


@pytest.fixture(params=["gray", "colour"])
def bundle(request: pytest.FixtureRequest) -> Bundle:
    found: Bundle = request.getfixturevalue(request.param)
    return found


@pytest.fixture(scope="session")
def exports(gray: Bundle, colour: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    """Folders by bundle and kind; a test that changes one copies it."""
    root = tmp_path_factory.mktemp("exports")
    return {
        (name, kind): export_bundle(bundle.folder, root / f"{name}-{kind}", kind=kind)
        for name, bundle in (("gray", gray), ("colour", colour))
        for kind in KINDS
    }


@pytest.fixture
def one_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder for one test, where files may be damaged."""
    monkeypatch.setenv("TUMORSCOPE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
