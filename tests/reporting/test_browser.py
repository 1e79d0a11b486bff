"""The page in a real browser: no request, no error, no sideways scrolling, everything printed."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser

from tumorscope.reporting.summary import render_summary

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
Scheme = Literal["light", "dark"]


def look(browser: Browser, page: Path, *, width: int, scheme: Scheme) -> dict[str, object]:
    """What a browser notes about a page at one width."""
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    tab = context.new_page()
    noise: list[str] = []
    tab.on("console", lambda message: noise.append(message.text))
    tab.on("pageerror", lambda error: noise.append(str(error)))
    asked: list[str] = []
    tab.on("request", lambda request: asked.append(request.url))
    tab.goto(page.as_uri())
    found = tab.evaluate(
        """() => ({
            overflow: document.documentElement.scrollWidth - window.innerWidth,
            broken: [...document.images].filter(i => !i.complete || !i.naturalWidth).length,
            cut: [...document.querySelectorAll('main p, main h2, main h3, main svg.chart, main dl')]
                .filter(e => !e.closest('.scroll'))
                .filter(e => e.getBoundingClientRect().right > window.innerWidth + 1).length,
            paper: getComputedStyle(document.body).backgroundColor,
        })"""
    )
    context.close()
    outside = [url for url in asked if not url.startswith(("file:", "data:"))]
    return {**found, "noise": noise + outside}


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
@pytest.mark.parametrize("run", ["binary_run", "four_run", "several_runs"])
def test_a_quiet_page_that_fits(
    run: str, width: int, scheme: Scheme, browser: Browser, request: pytest.FixtureRequest
) -> None:
    folder: Path = request.getfixturevalue(run)
    page = render_summary(folder) if run == "several_runs" else folder / "report.html"
    paper = "rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 24, 28)"
    found = look(browser, page, width=width, scheme=scheme)
    assert found == {"overflow": 0, "broken": 0, "cut": 0, "paper": paper, "noise": []}


def test_a_page_that_loads_from_outside_would_be_noticed(browser: Browser, tmp_path: Path) -> None:
    page = tmp_path / "bad.html"
    page.write_text('<img src="http://127.0.0.1:9/x.png"><div style="width: 2000px">wide</div>')
    found = look(browser, page, width=360, scheme="light")
    assert found["noise"]
    assert found["overflow"] != 0


def test_printing_opens_what_is_folded(binary_run: Path, browser: Browser) -> None:
    tab = browser.new_page()
    tab.goto((binary_run / "report.html").as_uri())
    count = "[...document.querySelectorAll('details > :not(summary)')].filter(e => e.checkVisibility()).length"
    assert tab.evaluate(count) == 0
    tab.emulate_media(media="print")
    folded = tab.evaluate("[...document.querySelectorAll('details > :not(summary)')].length")
    assert tab.evaluate(count) == folded > 0
    tab.close()


def test_a_section_is_reached_by_keyboard(binary_run: Path, browser: Browser) -> None:
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    tab.goto((binary_run / "report.html").as_uri())
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the content"
    tab.keyboard.press("Enter")
    tab.wait_for_url(lambda url: url.endswith("#main"))
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.closest('main') !== null")
    tab.close()
