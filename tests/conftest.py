"""Shared fixtures: where the real data lies, and a cache folder of its own for every test session."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
pytest_plugins = ["tests.browser"]


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keep the user's cache folder out of the tests."""
    folder = tmp_path_factory.mktemp("cache")
    os.environ["TUMORSCOPE_CACHE"] = str(folder)
    return folder


@pytest.fixture(scope="session", autouse=True)
def interruptible() -> None:
    """Let Ctrl-C reach the processes that tests start: a shell's background job ignores it, and so would they."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def _shared(variable: str, folder: str, what: str) -> Path:
    path = Path(os.environ.get(variable, ROOT.parent / "shared" / folder))
    if path.is_dir():
        return path
    if os.environ.get("CI") == "true":
        pytest.fail(f"{what} not found at {path}: CI must have it (${variable})")
    pytest.skip(f"{what} not found (set ${variable})")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Folder with the four public data sets."""
    return _shared("TUMORSCOPE_DATA", "data", "real data")


@pytest.fixture(scope="session")
def local_weights() -> Path:
    """Folder with the two ImageNet weight files."""
    return _shared("TUMORSCOPE_WEIGHTS", "weights", "local weights")
