"""Colours of the page: contrast of text on every ground it stands on, in light and in dark."""

from __future__ import annotations

import re
from importlib import resources

import pytest

STYLE = resources.files("tumorscope.reporting").joinpath("templates/style.css").read_text(encoding="utf-8")
LIGHT, DARK = (
    dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", block)) for block in re.findall(r":root \{(.*?)\}", STYLE, re.S)[:2]
)
Rgb = tuple[float, float, float]


def rgb(colour: str) -> Rgb:
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return red, green, blue


def luminance(colour: Rgb) -> float:
    """Relative luminance (WCAG 2.2)."""
    parts = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def contrast(a: Rgb, b: Rgb) -> float:
    high, low = sorted((luminance(a), luminance(b)), reverse=True)
    return (high + 0.05) / (low + 0.05)


def mixed(a: str, b: str, share: float) -> Rgb:
    red, green, blue = (share * x + (1 - share) * y for x, y in zip(rgb(a), rgb(b), strict=True))
    return red, green, blue


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_text_has_contrast_on_its_ground(theme: dict[str, str]) -> None:
    pairs = [
        *((ink, ground) for ink in ("ink", "muted", "c1", "bad", "care") for ground in ("paper", "raised")),
        ("muted", "soft"),
        *((tone, f"{tone}-wash") for tone in ("good", "care", "bad")),
    ]
    found = {pair: contrast(rgb(theme[pair[0]]), rgb(theme[pair[1]])) for pair in pairs}
    assert {pair: round(c, 2) for pair, c in found.items() if c < 4.5} == {}


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_lines_are_seen_on_the_paper(theme: dict[str, str]) -> None:
    assert {k for k in theme if re.fullmatch(r"c\d", k) and contrast(rgb(theme[k]), rgb(theme["paper"])) < 3} == set()


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_counts_are_read_in_the_darkest_cell_of_the_confusion_matrix(theme: dict[str, str]) -> None:
    (strength,) = set(re.findall(r"var\(--share\) \* (\d+)%", STYLE))
    for colour in ("c1", "c2"):
        assert contrast(rgb(theme["ink"]), mixed(theme[colour], theme["raised"], int(strength) / 100)) >= 4.5


def test_both_themes_name_the_same_colours() -> None:
    assert set(LIGHT) == set(DARK)
    assert {f"c{i}" for i in range(9)} <= set(LIGHT)


def test_every_look_that_is_drawn_has_a_style() -> None:
    for look in (
        "grid",
        "axis",
        "line",
        "whisker",
        "border",
        "best",
        "dashed",
        "dotted",
        "ring",
        "track",
        "mark",
    ):
        assert re.search(rf"\.{look}\b", STYLE), look


def test_the_style_asks_for_nothing_from_outside() -> None:
    assert not re.search(r"url\(|@import|@font-face|https?:", STYLE)
