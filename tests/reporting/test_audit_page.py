"""The audit page as a file: what it says, what it holds, what it must not hold."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.reporting.audits import (
    EVIL,
    FINDINGS,
    audit_of,
    estimate,
    flat,
    hostile_pairs,
    level,
    mixed_pairs,
    pair,
    result,
)
from tests.reporting.page import Page
from tumorscope.core.types import Pixels
from tumorscope.reporting.audit_page import PAGE_SIZE, quarter_deg, render_audit
from tumorscope.reporting.audit_pictures import ADDRESS, encode, script_json
from tumorscope.reporting.audit_verdict import outcomes, verdict


def poison(value: Any) -> Any:
    """Every string of an audit with markup in it, except words the program knows."""
    known = {"info", "warning", "error", "finding", "fine", "not applicable", "skipped"}
    if isinstance(value, str):
        return value if value in known or re.fullmatch(r"[A-Z]+\d+", value) else value + EVIL
    if isinstance(value, dict):
        return {k: poison(v) for k, v in value.items()}
    return [poison(v) for v in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pairs = mixed_pairs(130)
    return render_audit(audit_of(pairs), pairs, flat, out=tmp_path_factory.mktemp("mixed"))


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    pairs = hostile_pairs()
    return render_audit(poison(audit_of(pairs)), pairs, flat, out=tmp_path_factory.mktemp("hostile"))


def parsed(markup: str) -> Page:
    return Page.of(markup.replace("<wbr>", ""))


def scripts(markup: str) -> list[tuple[str, str]]:
    """(attributes, content) of every script element, as an HTML parser ends them."""
    return re.findall(r"<script([^>]*)>(.*?)</script>", markup, re.S | re.I)


def embedded(markup: str) -> list[str]:
    """Base64 of every picture: those of the first page by number, then those of the chunks."""
    first = dict(re.findall(r'data-picture="(\d+)" src="data:image/webp;base64,([^"]+)"', markup))
    rest = [text for attributes, body in scripts(markup) if "pictures" in attributes for text in json.loads(body)]
    return [first[str(i)] for i in range(len(first))] + rest


def pair_data(markup: str) -> dict[str, Any]:
    (body,) = [body for attributes, body in scripts(markup) if "pair-data" in attributes]
    data: dict[str, Any] = json.loads(body)
    return data


def test_the_page_asks_for_nothing_outside_itself(mixed: Path) -> None:
    text = mixed.read_text(encoding="utf-8")
    page = parsed(text)
    asked = ("src", "srcset", "href", "action", "data", "poster", "formaction")
    addresses = [e.attributes[a] for e in page.elements for a in asked if a in e.attributes]
    assert addresses
    assert [a for a in addresses if not a.startswith(("data:", "#"))] == []
    assert "://" not in text
    assert not re.search(r"url\(|@import|fetch\(|XMLHttpRequest|import\(", text)
    assert not [n for e in page.elements for n in e.attributes if n.startswith("on")]


def test_only_the_own_script_may_run(mixed: Path) -> None:
    text = mixed.read_text(encoding="utf-8")
    running = [body for attributes, body in scripts(text) if "application/json" not in attributes]
    assert len(running) == 1
    (policy,) = [e.attributes["content"] for e in parsed(text).all("meta") if "http-equiv" in e.attributes]
    digest = base64.b64encode(hashlib.sha256(running[0].encode()).digest()).decode()
    assert policy.startswith(
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}';"
    )


@pytest.mark.parametrize("name", ["mixed", "hostile"])
def test_the_markup_is_well_formed_and_can_be_read_aloud(name: str, request: pytest.FixtureRequest) -> None:
    page = parsed(request.getfixturevalue(name).read_text(encoding="utf-8"))
    assert page.faults == []
    assert len(set(page.ids())) == len(page.ids())
    assert {e.attributes["href"][1:] for e in page.all("a")} <= set(page.ids())
    assert {e.attributes["aria-labelledby"] for e in page.all("section")} <= set(page.ids())
    assert all("scope" in e.attributes for e in page.all("th"))
    assert all(e.attributes.get("alt") for e in page.all("img"))


def test_findings_stand_gravest_first_with_their_severity_in_words(mixed: Path) -> None:
    text = parsed(mixed.read_text(encoding="utf-8")).text
    text = text[text.index("Findings Error") :]
    order = ["Error LEAK011", "Error LEAK013", "Warning LEAK003", "Warning CUT001", "Note DATA002"]
    places = [text.index(words) for words in order]
    assert places == sorted(places)
    assert text.index("Checks without a finding") > places[-1]
    assert "LABEL001 Title of LABEL001. Skipped The optional package is missing." in text
    assert "DATA010 Title of DATA010. Not applicable The data has no boxes." in text
    assert "CUT002 Title of CUT002. Fine Detail of CUT002." in text
    assert text.index("LABEL001") < text.index("CUT002") < text.index("DATA010")


def test_examples_are_listed_and_counted(mixed: Path) -> None:
    text = parsed(mixed.read_text(encoding="utf-8")).text
    assert "2 paths a.jpg b.jpg" in text
    assert "1 example c.jpg" in text


def test_a_shortcut_is_drawn_against_chance(mixed: Path) -> None:
    text = mixed.read_text(encoding="utf-8")
    (drawing,) = re.findall(r'<svg class="strip".*?</svg>', text)
    assert 'class="mark chance" x1="25%"' in drawing
    assert 'class="whisker c1" x1="72%" x2="83%"' in drawing
    assert 'class="dot c1" cx="78%"' in drawing
    assert "Balanced accuracy 0.78 0.72 to 0.83" in parsed(text).text


def test_a_shortcut_without_an_estimate_is_not_drawn(tmp_path: Path) -> None:
    undefined = {"balanced_accuracy": {**estimate(0, 0, 0), "value": None}, "chance": 0.5}
    audit = audit_of([], [result("CUT001", "finding", figures=undefined), result("CUT002", "finding")])
    assert 'class="strip"' not in render_audit(audit, [], flat, out=tmp_path).read_text()


def test_counts_and_the_way_to_make_it_again_are_there(mixed: Path) -> None:
    text = parsed(mixed.read_text(encoding="utf-8")).text
    for words in (
        "998 of 1,311 test images have a copy in training or validation.",
        "Checks: 2 errors, 2 warnings, 1 note; 2 fine, 1 not applicable, 1 skipped.",
        "Images 7,019",
        "Distinct pictures 3,489",
        "Likely patients 2,267",
        "Pairs 130",
        "tumorscope audit 'my data'",
        "train 3,000 52.6% 2,708 47.4% 5,708",
        "all 4,000 57.0% 3,019 43.0% 7,019",
    ):
        assert words in text, words


def of(*results: dict[str, Any]) -> dict[str, Any]:
    return audit_of([], results)


@pytest.mark.parametrize(
    ("audit", "severity", "words"),
    [
        (of(*FINDINGS), "error", "998 of 1,311 test images have a copy in training or validation."),
        (
            of(result("LEAK012", "finding", "error", figures={"images": 1, "test_images": 9})),
            "error",
            "1 of 9 test images has a copy in training or validation.",
        ),
        (
            of(
                result("LEAK001", "finding", figures={"images": 50}),
                result("LEAK003", "finding", figures={"images": 6}),
                result("LEAK011", "fine"),
            ),
            "warning",
            "56 of 7,019 images have a copy within the data; no test image has one in training or validation.",
        ),
        (
            of(result("LEAK001", "finding", figures={"images": 2}), result("LEAK011", "not applicable")),
            "warning",
            "2 of 7,019 images have a copy within the data; a random split can put copies in both training and test.",
        ),
        (
            of(result("LEAK001", "finding", figures={"images": 2}), result("DATA004", "finding", "error")),
            "error",
            "Title of DATA004.",
        ),
        (of(result("DATA002", "finding", "info"), result("CUT001", "finding")), "warning", "Title of CUT001."),
        (
            of(result("CUT001", "fine"), result("CUT002", "skipped")),
            None,
            "Nothing was found by 1 check; 1 could not look.",
        ),
        (of(), None, "Nothing was found by 0 checks."),
    ],
)
def test_the_verdict_is_what_matters_most(audit: dict[str, Any], severity: str | None, words: str) -> None:
    said = verdict(audit)
    assert (said.severity, said.text) == (severity, words)


def test_a_tally_without_findings() -> None:
    assert outcomes([result("A1", "fine"), result("A2", "fine")]) == "no finding; 2 fine"
    assert outcomes([]) == "no finding"


def test_nothing_of_a_hostile_name_becomes_markup(hostile: Path, mixed: Path) -> None:
    raw = hostile.read_bytes()
    text = raw.decode("utf-8")
    page, plain = parsed(text), parsed(mixed.read_text(encoding="utf-8"))
    assert {e.tag for e in page.elements} <= {e.tag for e in plain.elements}
    assert {n for e in page.elements for n in e.attributes} <= {n for e in plain.elements for n in e.attributes} | {
        "disabled"
    }
    assert len(scripts(text)) == text.lower().count("<script")
    assert [a for a, _ in scripts(text) if "application/json" not in a] == [""]
    assert text.count("</style>") == 1
    assert b"\x00" not in raw
    assert "<!--" not in text
    assert "alert(1)" in page.text
    assert "\\u202e${{7*7}}{% raw %} \\xe9\\x00" in page.text
    assert pair_data(text)["images"][2][0] == "=1/<script>alert(1)</script>\"' onload=x & </style><!-- " + (
        "\\u202e${{7*7}}{% raw %} \\xe9\\x00\U0001f480,\n.png"
    )


def test_paths_are_spelled_for_the_marks_as_in_the_table_of_pairs(hostile: Path) -> None:
    cells = pair_data(hostile.read_text(encoding="utf-8"))["cells"]
    assert cells["2"].startswith("'=1/<script>")
    assert "\u202e${{7*7}}{% raw %} \\xe9\x00" in cells["2"]


def test_every_picture_is_embedded_once_and_is_the_right_one(tmp_path: Path) -> None:
    pairs = [pair(i // 3, 1000 + i) for i in range(120)]
    text = render_audit(audit_of(pairs), pairs, flat, out=tmp_path).read_text()
    pictures = embedded(text)
    data = pair_data(text)
    assert len(pictures) == len(data["images"]) == 160
    for (a, b, *_), row in zip(data["pairs"], pairs, strict=True):
        for number, expected in ((a, row.row_a), (b, row.row_b)):
            seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(pictures[number]))))
            assert abs(float(seen.mean()) - level(expected)) < 4
    assert len(re.findall('class="pair"', text)) == PAGE_SIZE + 1


def test_the_same_input_gives_the_same_bytes(mixed: Path, tmp_path: Path) -> None:
    pairs = mixed_pairs(130)
    assert render_audit(audit_of(pairs), pairs, flat, out=tmp_path / "x.html").read_bytes() == mixed.read_bytes()


def test_no_pairs(tmp_path: Path) -> None:
    text = render_audit(audit_of([]), [], flat, out=tmp_path).read_text()
    assert "No copies and no images that likely show the same patient were found." in parsed(text).text
    assert scripts(text) == []


def test_pairs_that_are_left_out_are_counted(tmp_path: Path) -> None:
    pairs = mixed_pairs(130)
    asked: list[int] = []

    def pictures(rows: Sequence[int]) -> Iterator[Pixels]:
        asked.extend(rows)
        yield from flat(rows)

    text = render_audit(audit_of(pairs), pairs, pictures, out=tmp_path, most_pairs=60).read_text()
    page = parsed(text)
    assert (
        "The gravest 60 of 130 pairs are shown, and counted below; 70 are left out. pairs.csv holds all." in page.text
    )
    assert asked == list(range(120))
    assert len(pair_data(text)["pairs"]) == 60
    none = render_audit(audit_of(pairs), pairs, pictures, out=tmp_path, most_pairs=0).read_text()
    assert "are shown here; pairs.csv holds all." in parsed(none).text


def test_ten_thousand_pairs_are_written_as_they_are_made(tmp_path: Path) -> None:
    pairs = [pair(i % 4000, 4000 + i % 1000, split_b="test") for i in range(10_000)]
    sizes: list[int] = []
    said: list[tuple[str, int, int]] = []

    def pictures(rows: Sequence[int]) -> Iterator[Pixels]:
        assert len(rows) == 5000
        for done, image in enumerate(flat(rows)):
            yield image
            if done % 1000 == 999:
                sizes.extend(p.stat().st_size for p in tmp_path.glob(".audit.html.*"))

    page = render_audit(
        audit_of(pairs), pairs, pictures, out=tmp_path, progress=lambda stage, done, of: said.append((stage, done, of))
    )
    text = page.read_text()
    assert len(pair_data(text)["pairs"]) == 10_000
    assert len(embedded(text)) == 5000
    steps = np.diff(sizes)
    assert len(sizes) == 5
    assert (steps > 0.1 * page.stat().st_size / 5).all(), "the file does not grow while pictures are made"
    assert said[-1] == ("pictures", 5000, 5000)
    assert [path.name for path in tmp_path.iterdir()] == ["audit.html"]


@pytest.mark.parametrize("given", [3, 5])
def test_a_wrong_number_of_pictures_is_an_error_and_leaves_the_old_page(given: int, tmp_path: Path) -> None:
    (tmp_path / "audit.html").write_text("old")
    pairs = [pair(0, 1), pair(2, 3)]
    with pytest.raises(ValueError, match="argument 2 is"):
        render_audit(audit_of(pairs), pairs, lambda rows: flat(range(given)), out=tmp_path)
    assert {p.name: p.read_text() for p in tmp_path.iterdir()} == {"audit.html": "old"}


@pytest.mark.parametrize(
    ("turn", "quarter"),
    [(0, 0), (44, 0), (46, 90), (90, 90), (-90, 270), (179, 180), (-180, 180), (-44, 0), (-100, 270), (360, 0)],
)
def test_turns_are_undone_in_whole_quarters(turn: float, quarter: int) -> None:
    assert quarter_deg(pair(0, 1, rotation_deg=turn)) == quarter


@pytest.mark.parametrize(
    ("shape", "size"),
    [
        ((512, 256), (64, 128)),
        ((100, 400, 3), (128, 32)),
        ((28, 28), (28, 28)),
        ((2000, 3), (1, 128)),
        ((128, 127, 3), (127, 128)),
    ],
)
def test_pictures_are_made_small_and_never_larger(shape: tuple[int, ...], size: tuple[int, int]) -> None:
    image = Image.open(io.BytesIO(base64.b64decode(encode(np.full(shape, 90, np.uint8)))))
    assert (image.format, image.size) == ("WEBP", size)
    assert np.abs(np.asarray(image).astype(int) - 90).max() <= 3


def test_colours_and_sides_are_kept() -> None:
    pixels = np.zeros((300, 300, 3), np.uint8)
    pixels[:, :150, 0] = 250
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(encode(pixels)))).convert("RGB")).astype(int)
    assert np.abs(seen[64, 20] - [250, 0, 0]).max() < 12
    assert np.abs(seen[64, 110]).max() < 12
    assert ADDRESS.startswith("data:image/webp")


def test_script_json_is_ascii_and_cannot_end_its_element() -> None:
    text = script_json([EVIL, 0.1, None])
    assert text.isascii()
    assert not set("<>&") & set(text)
    assert json.loads(text) == [EVIL, 0.1, None]
    with pytest.raises(ValueError, match="JSON compliant"):
        script_json(float("nan"))
