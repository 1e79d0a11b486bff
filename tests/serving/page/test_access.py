"""Everyone can use the page, and it speaks to nobody but its server."""

from __future__ import annotations

import itertools
import re
from importlib import resources
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.reporting.test_style import DARK, LIGHT, contrast
from tests.serving.page.conftest import Open, Visit, altered
from tests.serving.page.site import Site
from tumorscope.evaluation.cells import escape_cell, quote_cell
from tumorscope.explaining.methods import METHODS
from tumorscope.reporting import words

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
STATIC = resources.files("tumorscope.serving").joinpath("static")
SOURCES = {path.name: path.read_text(encoding="utf-8") for path in STATIC.iterdir()}
CONTROLS = {"button", "link", "textbox", "combobox", "slider", "checkbox", "DisclosureTriangle", "progressbar"}
HOSTILE = "<img src=x onerror=console.error(1)>\u202egpj"


def filled(found: Visit, images: Path) -> Visit:
    """A page with an answer and its heat, a refused image, one without a class, one that is no image."""

    def change(content: dict[str, Any]) -> None:
        content["answers"][0].update(predicted="none", set=["none"], abstained=None)
        content["answers"][1].update(predicted=None, abstained="two classes are too close")
        content["answers"][2].update(predicted=None, probs=None, set=None, error={"code": "refused", "detail": "photo"})

    found.tab.route("**/v1/predict*", altered(change))
    found.tab.route("**/v1/explain", altered(lambda content: content.update(likeness=0.7)))
    found.add(*(images / f"scan-{i}.png" for i in range(3)), images / "broken.png")
    found.explain()
    found.tab.locator("summary").click()
    return found


def test_the_page_asks_only_its_server_and_paints_at_once(visit: Open, images: Path, site: Site) -> None:
    found = filled(visit(), images)
    assert {urlsplit(r.url).netloc for r in found.requests if not r.url.startswith(("data:", "blob:"))} == {
        urlsplit(site.url).netloc
    }
    first = min(
        visit().tab.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime") for _ in range(2)
    )
    assert first < 1000, f"first paint after {first} ms"


def test_another_host_and_inline_script_are_noticed_and_stopped(visit: Open) -> None:
    found = visit()
    found.tab.evaluate(
        """() => {
            const image = document.createElement("img");
            image.src = "http://127.0.0.2:9/x.png";
            const script = document.createElement("script");
            script.textContent = "window.ran = true";
            document.body.append(image, script);
        }"""
    )
    found.tab.wait_for_timeout(100)
    assert found.tab.evaluate("window.ran") is None
    assert sum("policy" in text for text in found.noise) == 2
    found.noise.clear()


def test_the_sources_hold_no_inline_code_no_other_address_and_no_markup_from_data() -> None:
    html = SOURCES["index.html"]
    assert re.findall(r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=", html) == []
    for name, text in SOURCES.items():
        assert re.findall(r"https?://|//cdn|@import", text) == [], name
        assert re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|localStorage", text) == []
    assert not re.search(r"\b(transition|animation)\b", SOURCES["app.css"]), "nothing moves"
    modules = set(re.findall(r'modulepreload" href="static/([\w.]+)"', html)) | {"app.js"}
    assert modules == {name for name in SOURCES if name.endswith(".js")}, "all modules are fetched at once"


def test_data_is_shown_as_text(visit: Open, images: Path, tmp_path: Path) -> None:
    card = f"# Card\n\n{HOSTILE}\n\n[a link](javascript:alert(1))\n\n| a | b |\n|---|---|\n| {HOSTILE} | 1 |\n"
    found = visit(wait=False)
    found.tab.route("**/v1/model", altered(lambda content: content.update(title=HOSTILE, card=card)))
    found.tab.reload()
    found.tab.wait_for_selector("#about .results")
    named = tmp_path / "<b>evil\u202egpj.png"
    named.write_bytes((images / "scan-1.png").read_bytes())
    found.add(named)
    assert found.cards()[0].startswith("<b>evil\\u202egpj.png")
    assert found.tab.inner_text("h1") == HOSTILE.replace("\u202e", "\\u202e")
    found.tab.locator("summary").click()
    assert found.tab.inner_text(".card-text").count("<img src=x onerror=console.error(1)>\\u202egpj") == 2
    assert "a link (javascript:alert(1" in found.tab.inner_text(".card-text")
    assert found.tab.locator(".card-text a, .card-text img, #title *").count() == 0


def test_the_model_is_told(visit: Open) -> None:
    found = visit()
    assert found.tab.title() == "A tiny model – tumorscope"
    rows = [re.sub(r"\s+", " ", row) for row in found.tab.locator("#about .results tbody tr").all_inner_texts()]
    assert rows == [
        "Accuracy 99.2% 98.3 to 99.6%",
        "AUROC 0.999 0.998 to 0.9999",
        "Expected calibration error lower is better 0.011 no interval",
    ]
    about = found.tab.inner_text("#about")
    assert "about 90% of each class get a set that holds their class" in about
    assert "answers for any picture, also for one that is no scan" in about
    assert "998 of the 1,311 test images have a copy" in about
    assert "On the 313 others: accuracy 95.8% (92.7 to 97.7%)." in about
    found.tab.locator("summary").click()
    assert found.tab.locator(".card-text h4").inner_text() == "A tiny model"
    assert found.tab.locator(".card-text ol li").all_inner_texts() == ["left", "none", "right"]
    assert found.tab.locator(".card-text table tbody tr").count() == 4


def test_keyboard_alone(visit: Open, images: Path) -> None:
    found = visit()
    tab = found.tab
    tab.on("filechooser", lambda chooser: chooser.set_files(images / "scan-1.png"))
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to the images"
    tab.keyboard.press("Enter")
    tab.keyboard.press("Tab")
    expect(tab.locator("#files")).to_be_focused()
    assert tab.evaluate("getComputedStyle(document.querySelector('label[for=files]')).outlineStyle") == "solid"
    tab.keyboard.press("Enter")
    found.settled()
    reached = []
    for _ in range(20):
        tab.keyboard.press("Tab")
        reached.append(tab.evaluate("(document.activeElement.labels?.[0] ?? document.activeElement).textContent"))
        outline = tab.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", f"no focus is seen on {reached[-1]!r}"
        if reached[-1] == "Show what moved the answer":
            tab.keyboard.press("Space")
            tab.wait_for_selector(".stage:not(.old) .heat")
        if reached[-1] == "Opacity of the heat":
            tab.keyboard.press("End")
        if reached[-1] == "Model card":
            tab.keyboard.press("Enter")
            break
    assert reached == [
        *("Save CSV", "Save JSON", "Clear all", "Remove", "Show what moved the answer"),
        *("Class explained", "Method", "Opacity of the heat", "Model card"),
    ]
    assert tab.locator("output").inner_text() == "100%"
    assert tab.locator(".card-text").is_visible()
    # the focus is never lost: removing the last image leads back to the start
    tab.get_by_role("button", name="Remove").focus()
    tab.keyboard.press("Enter")
    expect(tab.locator("#files")).to_be_focused()


def test_every_control_and_picture_has_a_name(visit: Open, images: Path) -> None:
    found = filled(visit(), images)
    cdp = found.context.new_cdp_session(found.tab)
    nodes = cdp.send("Accessibility.getFullAXTree")["nodes"]
    seen = [
        (node["role"]["value"], node.get("name", {}).get("value", ""))
        for node in nodes
        if not node["ignored"] and "role" in node
    ]
    controls = [(role, name) for role, name in seen if role in CONTROLS or role in {"image", "table", "article"}]
    assert [role for role, name in controls if not name.strip()] == []
    assert {"button", "combobox", "slider", "table", "article", "image"} <= {role for role, _ in controls}
    landmarks = [role for role, _ in seen if role in {"banner", "main", "complementary", "contentinfo"}]
    assert sorted(landmarks) == ["banner", "complementary", "contentinfo", "main"]
    levels = found.tab.evaluate("[...document.querySelectorAll('h1,h2,h3,h4,h5,h6')].map(h => Number(h.tagName[1]))")
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in itertools.pairwise(levels))
    names: list[str] = found.tab.evaluate("[...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(names) == len(set(names))


TEXTS = """() => {
    const found = [];
    const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const ground = (e) => {
        for (; e; e = e.parentElement) {
            const colour = getComputedStyle(e).backgroundColor;
            if (colour !== "rgba(0, 0, 0, 0)") return colour;
        }
        return getComputedStyle(document.body).backgroundColor;
    };
    while (walk.nextNode()) {
        const holder = walk.currentNode.parentElement;
        const text = walk.currentNode.textContent.trim();
        if (!text || !holder.checkVisibility() || holder.closest(".sr, .skip, caption, option")) continue;
        found.push([text, getComputedStyle(holder).color, ground(holder)]);
    }
    return found;
}"""


def rgb(colour: str) -> tuple[float, float, float]:
    red, green, blue = (int(part) / 255 for part in re.findall(r"\d+", colour)[:3])
    return red, green, blue


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_texts_have_contrast(scheme: Literal["light", "dark"], visit: Open, images: Path) -> None:
    found = filled(visit(color_scheme=scheme), images)
    texts: list[tuple[str, str, str]] = found.tab.evaluate(TEXTS)
    assert len(texts) > 80
    assert {text: (ink, paper) for text, ink, paper in texts if contrast(rgb(ink), rgb(paper)) < 4.5} == {}
    paper = "rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 24, 28)"
    assert found.tab.evaluate("getComputedStyle(document.body).backgroundColor") == paper


@pytest.mark.parametrize("width", [320, 700, 1280])
def test_the_page_fits_with_long_names(width: int, visit: Open, images: Path) -> None:
    long = "a_class_name_without_any_blank_" * 3

    def model(content: dict[str, Any]) -> None:
        content["classes"] = [long, *content["classes"][1:]]

    def answers(content: dict[str, Any]) -> None:
        for answer in filter(lambda a: a["probs"], content["answers"]):
            answer["probs"] = {long: 0.99999, "none": 0.00001, "right": 0.0}
            answer.update(predicted=long, set=[long, "none"], abstained=None)

    found = visit(wait=False, viewport={"width": width, "height": 700})
    found.tab.route("**/v1/model", altered(model))
    found.tab.route("**/v1/predict*", altered(answers))
    found.tab.route("**/v1/explain", lambda route: route.abort())
    found.tab.reload()
    found.tab.wait_for_selector("#about .results")
    found.add(images / "scan-1.png", images / "broken.png")
    found.tab.get_by_role("button", name="Show what moved the answer").click()
    found.tab.get_by_role("button", name="Try again").wait_for()
    found.tab.locator("summary").click()
    wide = """() => [...document.querySelectorAll("body *:not(.sr):not(.skip):not(.scroll *):not(pre *)")]
        .filter(e => e.checkVisibility() && e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML)"""
    assert found.tab.evaluate(wide) == []
    assert found.tab.locator(".named .num").inner_text() == "> 99.9%"
    cut = "[...document.querySelectorAll('.num')].filter(e => e.scrollWidth > e.clientWidth).map(e => e.textContent)"
    assert found.tab.evaluate(cut) == []
    assert found.tab.evaluate("document.documentElement.scrollWidth - innerWidth") == 0
    found.noise.clear()


def test_printing_keeps_answers_and_leaves_controls_out(visit: Open, images: Path) -> None:
    found = filled(visit(), images)
    found.tab.emulate_media(media="print")
    assert found.tab.locator(".class").first.is_visible()
    assert found.tab.locator(".stage .heat").is_visible()
    assert found.tab.get_by_text("not for clinical decisions").first.is_visible()
    assert [b for b in found.tab.locator("button, input, select, .button").all() if b.is_visible()] == []


# --- one house with the reports


def test_colours_are_those_of_the_reports() -> None:
    blocks = re.findall(r":root \{(.*?)\}", SOURCES["app.css"], re.S)[:2]
    for block, theirs in zip(blocks, (LIGHT, DARK), strict=True):
        own = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block))
        own.pop("edge")  # outlines of controls, which reports do not have
        assert own == {name: theirs[name] for name in own}
        assert len(own) > 10


def test_numbers_and_names_are_written_as_in_the_reports(visit: Open) -> None:
    values = [0, 1, 0.5, 0.9995, 0.99949, 0.0005, 0.00049, 0.9996, 0.00001, 0.98765, 0.1]
    texts = ["plain.png", "a\u202eb", "tab\there\n", "é漢字", "\u200b", "\U000e0001", "zero\x00"]
    cells = ["=1", "'=1", "''x", "-2", "+", "@a", "plain", 'a "b"', "a,b", "\tx", " x", "'", "a\nb"]
    methods = list(METHODS)
    found = visit().tab.evaluate(
        """async ({values, texts, cells, names, methods}) => {
            const words = await import("./static/words.js");
            const {cell} = await import("./static/download.js");
            return [
                values.map(words.probability), values.map((v) => words.percent(v)), values.map(words.decimal),
                texts.map(words.shown), cells.map(cell), names.map(words.metricName),
                names.map((name) => words.metricRange(name, 0.12345, 0.9996)), methods.map(words.methodName),
            ];
        }""",
        {"values": values, "texts": texts, "cells": cells, "names": list(NAMES), "methods": methods},
    )
    assert found == [
        [words.probability(v) for v in values],
        [words.percent(v) for v in values],
        [words.decimal(v) for v in values],
        [words.shown(t).replace("\n", "\\x0a").replace("\t", "\\x09") for t in texts],
        [quote_cell(escape_cell(c)) for c in cells],
        [words.metric_name(name) for name in NAMES],
        [words.metric_range(name, 0.12345, 0.9996) for name in NAMES],
        [METHODS[name].title for name in methods],
    ]


NAMES = (
    *("accuracy", "balanced_accuracy", "macro_f1", "weighted_f1", "mcc", "auroc", "auprc", "brier", "ece"),
    *("sensitivity", "specificity", "ppv", "npv", "f1", "something_else"),
)
