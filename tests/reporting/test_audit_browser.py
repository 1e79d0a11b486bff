"""The audit page in a real browser: quiet, complete without its script, and its tools do what they say."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import Browser, Dialog, Locator
from playwright.sync_api import Page as Tab

from tests.reporting.audits import EVIL, audit_of, flat, hostile_pairs, level, mixed_pairs, pair
from tumorscope.auditing.pairs import PairRow, write_pairs
from tumorscope.core.types import Pixels
from tumorscope.evaluation.intervals import wilson
from tumorscope.reporting.audit_page import KIND_NAMES, render_audit
from tumorscope.reporting.words import percent

pytestmark = [pytest.mark.browser, pytest.mark.xdist_group("browser")]
Scheme = Literal["light", "dark"]
Open = Callable[..., Tab]
PAIRS = mixed_pairs(110)


@pytest.fixture
def show(browser: Browser) -> Iterator[Open]:
    """Opens a page in a tab; afterwards there must have been no error and no request beside the file."""
    noise: list[str] = []
    contexts = []

    def shown(page: Path, *, width: int = 1280, **options: Any) -> Tab:
        context = browser.new_context(viewport={"width": width, "height": 900}, **options)
        contexts.append(context)
        tab = context.new_page()
        tab.on("console", lambda message: noise.append(message.text))
        tab.on("pageerror", lambda error: noise.append(str(error)))
        own = page.as_uri()
        tab.on(
            "request", lambda r: None if r.url == own or r.url.startswith(("data:", "blob:")) else noise.append(r.url)
        )
        tab.goto(own)
        return tab

    yield shown
    for context in contexts:
        context.close()
    assert noise == []


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return render_audit(audit_of(PAIRS), PAIRS, flat, out=tmp_path_factory.mktemp("mixed"))


def listed(tab: Tab) -> list[int]:
    """Positions of the pairs on the page."""
    found: list[int] = tab.eval_on_selector_all("#gallery .pair", "all => all.map(e => Number(e.dataset.index))")
    return found


def all_pages(tab: Tab) -> list[int]:
    """Positions of the pairs on this and all following pages."""
    following = tab.locator(".pager [data-step='1']").first
    found = listed(tab)
    while following.is_visible() and following.is_enabled():
        following.click()
        found += listed(tab)
    return found


def chosen(wanted: Callable[[PairRow], bool]) -> list[int]:
    return [i for i, p in enumerate(PAIRS) if wanted(p)]


def levels(tab: Tab) -> list[list[int]]:
    """Gray level in the middle of both pictures of every card."""
    found: list[list[int]] = tab.evaluate(
        """async () => {
            const read = async (img) => {
                await img.decode();
                const canvas = Object.assign(document.createElement('canvas'), {width: 16, height: 16});
                const pen = canvas.getContext('2d');
                pen.drawImage(img, 0, 0);
                return pen.getImageData(8, 8, 1, 1).data[0];
            };
            const cards = [...document.querySelectorAll('#gallery .pair')];
            return Promise.all(cards.map(c => Promise.all([...c.querySelectorAll('img')].map(read))));
        }"""
    )
    return found


@pytest.mark.parametrize(("width", "scheme"), [(360, "dark"), (1280, "light")])
@pytest.mark.parametrize("names", ["plain", "hostile"])
def test_a_quiet_page_that_fits(
    names: str, width: int, scheme: Scheme, show: Open, mixed: Path, tmp_path: Path
) -> None:
    page = mixed
    if names == "hostile":
        page = render_audit(audit_of(hostile_pairs()), hostile_pairs(), flat, out=tmp_path)
    tab = show(page, width=width, color_scheme=scheme)
    found = tab.evaluate(
        """() => ({
            overflow: document.documentElement.scrollWidth - window.innerWidth,
            broken: [...document.images].filter(i => !i.complete || !i.naturalWidth).length,
            cut: [...document.querySelectorAll('main p, main h2, .pair, .frame, button, select, label')]
                .filter(e => e.checkVisibility() && !e.closest('.scroll'))
                .filter(e => e.getBoundingClientRect().right > window.innerWidth + 1).length,
            paper: getComputedStyle(document.body).backgroundColor,
        })"""
    )
    paper = "rgb(255, 255, 255)" if scheme == "light" else "rgb(21, 24, 28)"
    assert found == {"overflow": 0, "broken": 0, "cut": 0, "paper": paper}
    assert len(listed(tab)) == 50


def test_another_script_is_not_run(browser: Browser, mixed: Path, tmp_path: Path) -> None:
    text = mixed.read_text(encoding="utf-8")
    changed = tmp_path / "changed.html"
    changed.write_text(text.replace("<script>", "<script>document.title = 'ran';", 1), encoding="utf-8")
    tab = browser.new_page()
    tab.goto(changed.as_uri())
    assert tab.title() == "scans – data audit"
    tab.close()


@pytest.mark.parametrize("names", ["plain", "hostile"])
def test_without_script_the_first_page_says_the_same(names: str, show: Open, mixed: Path, tmp_path: Path) -> None:
    page = mixed
    if names == "hostile":
        page = render_audit(audit_of(hostile_pairs()), hostile_pairs(), flat, out=tmp_path)
    cards = "all => all.map(e => e.innerText.replace(/CopyDifferentUnsure|Copy\\s*Different\\s*Unsure/, '').trim())"
    looks = "all => all.map(e => [e.className, e.querySelector('img').src, e.querySelector('.undone')?.textContent])"
    still, alive = show(page, java_script_enabled=False), show(page)
    for selector, script in (("#gallery .pair", cards), ("#gallery .frame", looks)):
        seen = [tab.locator(selector).evaluate_all(script) for tab in (still, alive)]
        assert seen[0] == seen[1]
        assert len(seen[0]) >= 50
    assert still.locator("#count").inner_text() == alive.locator("#count").inner_text()
    assert still.get_by_text("Filters and further pages need JavaScript.").is_visible()
    assert not still.locator("#filters").is_visible()
    assert still.get_by_text("Test images").count() or still.get_by_text("Title of LEAK011.").is_visible()


def test_filters_leave_the_pairs_they_name(show: Open, mixed: Path) -> None:
    tab = show(mixed)
    assert all_pages(tab) == list(range(110))
    for value, wanted in (
        ("parts", lambda p: p.crosses),
        ("classes", lambda p: p.conflicts),
        ("mirrored", lambda p: p.mirrored),
    ):
        tab.check(f"[name=only][value={value}]")
        assert all_pages(tab) == chosen(wanted), value
        tab.uncheck(f"[name=only][value={value}]")
    for kind in KIND_NAMES:
        tab.uncheck(f"[name=kind][value={kind}]")
        assert all_pages(tab) == chosen(lambda p, kind=kind: p.kind != kind)  # type: ignore[misc]  # kind is bound early
        tab.check(f"[name=kind][value={kind}]")
    tab.check("[name=only][value=parts]")
    tab.check("[name=only][value=classes]")
    tab.uncheck("[name=kind][value=near]")
    expected = chosen(lambda p: p.crosses and p.conflicts and p.kind != "near")
    assert listed(tab) == expected
    assert tab.inner_text("#count") == f"Pairs 1 to {len(expected)} of {len(expected)}, gravest first."
    assert not tab.locator(".pager").first.is_visible()


def test_no_pair_left_is_said(show: Open, mixed: Path) -> None:
    tab = show(mixed)
    for kind in KIND_NAMES:
        tab.uncheck(f"[name=kind][value={kind}]")
    assert tab.inner_text("#count") == "No pair is left by these filters."
    assert listed(tab) == []


def test_orders_and_the_pictures_they_bring(show: Open, mixed: Path) -> None:
    tab = show(mixed)
    for order, expected in (
        ("high", sorted(range(110), key=lambda i: (-PAIRS[i].score, i))),
        ("low", sorted(range(110), key=lambda i: (PAIRS[i].score, i))),
    ):
        tab.select_option("[name=order]", order)
        assert listed(tab) == expected[:50]
        for seen, i in zip(levels(tab), expected[:50], strict=True):
            wanted = [level(PAIRS[i].row_a), level(PAIRS[i].row_b)]
            assert np.abs(np.subtract(seen, wanted)).max() < 4
        assert all_pages(tab) == expected
    tab.select_option("[name=order]", "sample")
    sample = all_pages(tab)
    assert sorted(sample) == list(range(110)) != sample
    tab.reload()
    tab.select_option("[name=order]", "sample")
    assert all_pages(tab) == sample


def test_pages_turn_by_button_and_arrow(show: Open, mixed: Path) -> None:
    tab = show(mixed)
    assert tab.locator(".pager [data-step='-1']").first.is_disabled()
    tab.keyboard.press("ArrowRight")
    assert listed(tab) == list(range(50, 100))
    tab.locator(".pager [data-step='1']").last.click()
    assert listed(tab) == list(range(100, 110))
    assert tab.inner_text("#count") == "Pairs 101 to 110 of 110, gravest first."
    assert tab.locator(".position").first.inner_text() == "Page 3 of 3"
    tab.keyboard.press("ArrowRight")
    assert listed(tab) == list(range(100, 110))
    tab.keyboard.press("ArrowLeft")
    assert listed(tab) == list(range(50, 100))
    tab.locator("[name=order]").focus()
    tab.keyboard.press("ArrowRight")
    assert listed(tab)[0] not in (100, 0), "an arrow inside the list of orders turns no page"


def scene(rows: Sequence[int]) -> Iterator[Pixels]:
    """Row 0: a picture without symmetry; row i: what `TURNS[i - 1]` makes of it."""
    base = np.full((96, 96), 40, np.uint8)
    base[8:40, 8:24], base[60:88, 50:90], base[20:30, 60:90] = 250, 160, 90
    for row in rows:
        mirrored, turn = TURNS[row - 1] if row else (False, 0)
        image = np.fliplr(base) if mirrored else base
        yield np.ascontiguousarray(np.rot90(image, turn // 90))


TURNS = [(m, t) for m in (False, True) for t in (0, 90, 180, -90)]


def picture(frame: Locator) -> Pixels:
    """What is seen of a frame, without its lower corner."""
    seen = np.asarray(Image.open(io.BytesIO(frame.screenshot())).convert("L"))[:150, :200]
    return seen.astype(np.uint8)


def test_the_second_picture_is_shown_undone(show: Open, tmp_path: Path) -> None:
    pairs = [pair(0, i, mirrored=m, rotation_deg=float(t)) for i, (m, t) in enumerate(TURNS, start=1)]
    tab = show(render_audit(audit_of(pairs), pairs, scene, out=tmp_path))
    tab.locator("#gallery img").last.evaluate("i => i.decode()")
    for i, (mirrored, turn) in enumerate(TURNS):
        card = tab.locator("#gallery .pair").nth(i)
        frames = card.locator(".frame")
        first, second = picture(frames.nth(0)).astype(int), picture(frames.nth(1)).astype(int)
        assert np.abs(first - second).mean() < 3, (mirrored, turn)
        words = " ".join(
            filter(None, ["mirrored" * mirrored + "," * bool(mirrored and turn), "turned" * bool(turn), "back"])
        )
        undone = card.locator(".undone")
        if not (mirrored or turn):
            assert card.locator(".stored").count() == 0
            assert not undone.is_visible()
            continue
        assert undone.inner_text() == words
        card.locator(".stored").check()
        assert np.abs(first - picture(frames.nth(1)).astype(int)).mean() > 20, (mirrored, turn)
        assert not undone.is_visible()


def test_blink_lays_one_picture_over_the_other(show: Open, mixed: Path) -> None:
    tab = show(mixed)
    card = tab.locator("#gallery .pair").nth(1)
    first, second = card.locator(".frame").nth(0), card.locator(".frame").nth(1)
    assert first.bounding_box() != second.bounding_box()
    size = "e => [e.offsetTop, e.offsetHeight]"
    before = card.evaluate(size)
    card.focus()
    tab.keyboard.press("b")
    assert first.bounding_box() == second.bounding_box()
    assert card.evaluate(size) == before, "the page must not jump"
    moving = "e => e.getAnimations().map(a => [a.animationName, a.effect.getTiming().duration >= 1000])"
    assert second.evaluate(moving) == [["blink", True]]
    tab.emulate_media(reduced_motion="reduce")
    assert second.evaluate(moving) == []
    tab.keyboard.press("b")
    assert first.bounding_box() != second.bounding_box()


def downloaded(tab: Tab) -> list[dict[str, str]]:
    with tab.expect_download() as waiting:
        tab.click("#download")
    assert waiting.value.suggested_filename == "audit-marks.csv"
    return list(csv.DictReader(io.StringIO(waiting.value.path().read_bytes().decode("utf-8"), newline="")))


def test_marks_are_kept_told_and_downloaded(show: Open, mixed: Path) -> None:
    tab = show(mixed)
    tab.keyboard.press("c")
    assert not tab.locator("#marked").is_visible(), "a key without a pair marks nothing"
    tab.locator("#gallery .pair").first.click()
    for key in "cccdu":
        tab.keyboard.press(key)
    low, high = wilson(3, 4)
    share = f"{percent(0.75)} ({percent(low, unit=False)} to {percent(high)})"
    assert tab.inner_text("#marked p") == f"5 marked: 3 copy, 1 different, 1 unsure. True copies {share}."
    assert tab.evaluate("document.activeElement.dataset.index") == "5"
    tab.keyboard.press("k")
    assert tab.evaluate("document.activeElement.dataset.index") == "4"
    tab.locator("#gallery .pair").nth(2).get_by_role("button", name="Copy").click()
    tab.keyboard.press("ArrowRight")
    tab.locator("#gallery .pair").last.focus()
    tab.keyboard.press("d")
    assert tab.evaluate("document.activeElement.dataset.index") == "100", "the next page follows"
    tab.keyboard.press("ArrowLeft")
    tab.keyboard.press("ArrowLeft")
    pressed = "all => all.map(b => b.closest('.pair').dataset.index + b.dataset.mark)"
    assert tab.eval_on_selector_all("[aria-pressed=true]", pressed) == ["0copy", "1copy", "3different", "4unsure"]
    rows = downloaded(tab)
    assert list(rows[0]) == ["image_a", "image_b", "kind", "score", "mark"]
    assert [(r["image_a"], r["kind"], float(r["score"]), r["mark"]) for r in rows] == [
        (PAIRS[i].image_a, PAIRS[i].kind, PAIRS[i].score, mark)
        for i, mark in ((0, "copy"), (1, "copy"), (3, "different"), (4, "unsure"), (99, "different"))
    ]
    tab.click("#marked summary")
    table = tab.inner_text("#marked-kinds")
    assert re.search(r"Same file\s+1\s+0\s+1\s+100%|Same file\s+1\s+0\s+1\s+100.0%", table)
    assert re.search(r"Likely same patient\s+0\s+2\s+0\s+0.0%", table)


def test_leaving_with_marks_asks_first(show: Open, mixed: Path) -> None:
    tab = show(mixed)
    asked: list[str] = []

    def answer(dialog: Dialog) -> None:
        asked.append(dialog.type)
        dialog.accept()

    tab.on("dialog", answer)
    tab.reload()
    assert asked == []
    tab.locator("#gallery .pair").first.click()
    tab.keyboard.press("u")
    tab.reload()
    assert asked == ["beforeunload"]
    tab.locator("#gallery .pair").first.click()
    tab.keyboard.press("u")
    downloaded(tab)
    tab.reload()
    assert asked == ["beforeunload"]


def test_marks_of_hostile_names_can_be_joined_to_the_table_of_pairs(show: Open, tmp_path: Path) -> None:
    pairs = [replace(p, label_a=EVIL.replace("\udce9", ""), label_b="b", split_b="test") for p in hostile_pairs()]
    tab = show(render_audit(audit_of(pairs), pairs, flat, out=tmp_path))
    tab.locator("#gallery .pair").first.focus()
    for _ in pairs:
        tab.keyboard.press("c")
    with write_pairs(tmp_path / "pairs.csv", pairs).open(encoding="utf-8", newline="") as handle:
        table = list(csv.DictReader(handle))
    keys = ("image_a", "image_b", "kind", "score")
    assert [{k: row[k] for k in keys} | {"mark": "copy"} for row in table] == downloaded(tab)


def test_printing_leaves_the_tools_out(show: Open, mixed: Path) -> None:
    tab = show(mixed)
    tools = ("#filters", "#judging", ".pager", ".tools")
    assert all(tab.locator(name).first.is_visible() for name in tools)
    tab.emulate_media(media="print")
    assert not any(tab.locator(name).first.is_visible() for name in tools)
    assert tab.locator("#gallery img").first.is_visible()


def test_ten_thousand_pairs_show_one_page(show: Open, tmp_path: Path) -> None:
    pairs = [pair(i % 1000, 1000 + i % 1000, score=i / 10_000) for i in range(10_000)]
    tab = show(render_audit(audit_of(pairs), pairs, flat, out=tmp_path))
    tab.select_option("[name=order]", "high")
    tab.locator(".pager [data-step='1']").first.click()
    assert tab.inner_text("#count") == "Pairs 51 to 100 of 10,000, highest score first."
    assert listed(tab) == list(range(9949, 9899, -1))
    assert tab.evaluate("document.querySelectorAll('*').length") < 3000
    assert np.abs(np.subtract(levels(tab)[0], [level(949), level(1949)])).max() < 4
