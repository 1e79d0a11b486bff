"""The browser of this machine, for tests that look at a page."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
"""Commands of browsers that can show a page."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """A running browser; CI must have one."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    if path is None:
        if os.environ.get("CI") == "true":
            pytest.fail(f"no browser found ({', '.join(NAMES)}): CI must have one")
        pytest.skip(f"no browser found ({', '.join(NAMES)})")
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield running
        running.close()
