"""One browser and one server for each module, and a page that must stay quiet."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, BrowserContext, Request, Route
from playwright.sync_api import Page as Tab

from tests.scans import CLASSES, scan
from tests.serving.page.site import Site, tiny_bundle

TOKEN = "a-token-of-a-test-0123456789"


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_bundle(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="module")
def site(bundle: Path) -> Iterator[Site]:
    with Site(bundle) as running:
        yield running


@pytest.fixture(scope="module")
def closed_site(bundle: Path) -> Iterator[Site]:
    """A server that asks for `TOKEN`."""
    with Site(bundle, token=TOKEN) as running:
        yield running


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """scan-0.png to scan-9.png, a TIFF that browsers do not show, and a file that is no image."""
    folder = tmp_path_factory.mktemp("images")
    rng = np.random.default_rng(1)
    for i in range(10):
        scan(CLASSES[i % 3], rng, 64).save(folder / f"scan-{i}.png")
    Image.open(folder / "scan-0.png").save(folder / "slice.tif")
    (folder / "broken.png").write_text("this is no image", encoding="utf-8")
    return folder


@dataclass
class Visit:
    """A tab with everything that it asked for and said.

    Attributes:
        tab: The tab.
        context: Its context.
        requests: Every request, in order.
        noise: Messages of the console, errors of the page, violated policies.
    """

    tab: Tab
    context: BrowserContext
    requests: list[Request] = field(default_factory=list)
    noise: list[str] = field(default_factory=list)

    def note(self, request: Request) -> None:
        """Keep a request."""
        self.requests.append(request)

    def add(self, *files: Path) -> None:
        """Choose files and wait until all have an answer."""
        self.tab.set_input_files("#files", list(files))
        self.settled()

    def settled(self) -> None:
        """Wait until nothing is on its way."""
        self.tab.wait_for_selector("#answers:not([hidden]) .card")
        self.tab.wait_for_selector("#progress-line", state="hidden")

    def cards(self) -> list[str]:
        """Text of each card."""
        return self.tab.locator(".card").all_inner_texts()

    def said(self) -> str:
        """What a screen reader was told last."""
        return self.tab.inner_text("#live").strip()

    def explain(self, card: int = 0) -> None:
        """Open the heat of a card and wait for it."""
        self.tab.locator(".card").nth(card).get_by_role("button", name="Show what moved the answer").click()
        self.tab.wait_for_selector(".stage:not(.old) .heat")


Open = Callable[..., Visit]


def altered(change: Callable[[dict[str, Any]], object]) -> Callable[[Route], None]:
    """A route that lets the server answer, then changes the JSON."""

    def handle(route: Route) -> None:
        response = route.fetch()
        content = response.json()
        change(content)
        route.fulfill(response=response, json=content)

    return handle


@pytest.fixture
def visit(browser: Browser, site: Site) -> Iterator[Open]:
    """Open the page; at the end it must have been quiet unless the test cleared `noise`."""
    open_visits: list[Visit] = []
    site.recorder.bodies.clear()

    def opened(url: str = site.url, *, wait: bool = True, **options: Any) -> Visit:
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.add_init_script(
            "document.addEventListener('securitypolicyviolation', e => console.error('policy', e.violatedDirective))"
        )
        found = Visit(context.new_page(), context)
        open_visits.append(found)
        found.tab.set_default_timeout(10_000)
        found.tab.on("console", lambda message: found.noise.append(message.text))
        found.tab.on("pageerror", lambda error: found.noise.append(str(error)))
        context.on("request", found.note)
        found.tab.goto(url)
        if wait:
            found.tab.wait_for_selector("#about .results")
        return found

    yield opened
    noise = [text for one in open_visits for text in one.noise]
    for one in open_visits:
        one.context.close()
    assert noise == []
