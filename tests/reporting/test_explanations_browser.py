"""The page of heatmaps in a real browser: quiet, fits, and one slider moves the heat of all pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser
from playwright.sync_api import Page as Tab

from tests.reporting.explanations import write_explanations
from tests.reporting.test_browser import Scheme, look
from tumorscope.reporting.explanations_page import render_explanations

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_explanations(write_explanations(tmp_path_factory.mktemp("explanations")))


@pytest.fixture
def show(browser: Browser, page: Path) -> Iterator[Callable[..., Tab]]:
    contexts = []

    def shown(**options: Any) -> Tab:
        context = browser.new_context(viewport={"width": 1280, "height": 900}, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.goto(page.as_uri())
        return tab

    yield shown
    for context in contexts:
        context.close()


def opacities(tab: Tab) -> list[float]:
    found: list[float] = tab.eval_on_selector_all(
        "img.heat", "all => all.map(e => Number(getComputedStyle(e).opacity))"
    )
    return found


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
def test_a_quiet_page_that_fits(width: int, scheme: Scheme, browser: Browser, page: Path) -> None:
    paper = "rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 24, 28)"
    found = look(browser, page, width=width, scheme=scheme)
    assert found == {"overflow": 0, "broken": 0, "cut": 0, "paper": paper, "noise": []}


def test_the_slider_moves_all_heat_by_keyboard(show: Callable[..., Tab]) -> None:
    tab = show()
    assert opacities(tab) == [0.6] * 4
    tab.get_by_label("Opacity of the heat").focus()
    tab.keyboard.press("ArrowRight")
    assert opacities(tab) == [0.65] * 4
    assert tab.inner_text("#opacity-shown") == "65%"
    tab.keyboard.press("Home")
    assert opacities(tab) == [0] * 4
    tab.keyboard.press("End")
    assert opacities(tab) == [1] * 4
    assert tab.inner_text("#opacity-shown") == "100%"


def test_without_its_script_the_heat_is_seen_at_a_fixed_opacity(show: Callable[..., Tab]) -> None:
    tab = show(java_script_enabled=False)
    assert not tab.get_by_label("Opacity of the heat").is_visible()
    assert tab.locator("img.heat").count() == 4
    assert tab.locator("#pictures").get_attribute("style") == "--heat: 0.6"


def test_heat_covers_its_picture_and_boxes_lie_above(show: Callable[..., Tab]) -> None:
    tab = show()
    picture = tab.locator("#pictures .picture").first
    places = picture.evaluate(
        "p => ['img:not(.heat)', 'img.heat', 'svg'].map(s => p.querySelector(s).getBoundingClientRect())"
        ".map(r => [r.x, r.y, r.width, r.height])"
    )
    assert places[0] == places[1] == places[2]
    assert picture.evaluate("p => [...p.children].map(e => e.tagName.toLowerCase())") == ["img", "img", "svg"]


def test_printing_leaves_the_slider_out_and_the_heat_in(show: Callable[..., Tab]) -> None:
    tab = show()
    assert tab.locator("#opacity-control").is_visible()
    tab.emulate_media(media="print")
    assert not tab.locator("#opacity-control").is_visible()
    assert tab.locator("img.heat").first.is_visible()
    assert opacities(tab) == [0.6] * 4
