"""Names and paths from the data are shown as text, whatever they hold."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.reporting.page import Page
from tests.reporting.runs import BINARY, write_run
from tumorscope.core.types import DatasetInfo
from tumorscope.reporting.render import render_report

EVIL = "<script>alert(1)</script>\"' onload=x & </style>\n\t\u202e${{7*7}}{% raw %}"
SURROGATE = "caf\udce9 \ud800\x00"


def poison(value: Any) -> Any:
    """Every string of a JSON value with markup and half characters added, except words the program knows."""
    if isinstance(value, str):
        known = {"info", "warning", "error", "test", "train", "val", "permuted-labels"}
        return value if value in known else f"{value}{EVIL}{SURROGATE}"
    if isinstance(value, dict):
        return {k: poison(v) for k, v in value.items()}
    return [poison(v) for v in value] if isinstance(value, list) else value


@pytest.fixture(scope="module")
def poisoned(tmp_path_factory: pytest.TempPathFactory) -> Path:
    kind = replace(
        BINARY,
        title=f"Title {EVIL}",
        classes=(f"ill {EVIL}", f"well {EVIL}"),
        positive=f"ill {EVIL}",
        info=DatasetInfo(name="n", title=f"Data {EVIL}", licence=EVIL, homepage="javascript:alert(1)"),
    )
    folder = write_run(tmp_path_factory.mktemp("poisoned") / "run", kind)
    for name in ("run.json", "data.json", "samples.json"):
        path = folder / name
        path.write_text(json.dumps(poison(json.loads(path.read_text()))))
    (folder / "recipe.resolved.toml").write_bytes(f'title = "{EVIL}"'.encode() + b"\xff\xfe\x00")
    (folder / "ledger.jsonl").write_text(json.dumps({"purpose": EVIL, "split": "test", "n": EVIL}) + "\n")
    rows = (folder / "metrics.csv").read_text().splitlines()
    (folder / "metrics.csv").write_text("\n".join([rows[0], *('"<b>' + r.replace(",", '",', 1) for r in rows[1:])]))
    return folder


def test_nothing_of_it_becomes_markup(poisoned: Path, binary_run: Path) -> None:
    text = render_report(poisoned).read_text(encoding="utf-8")
    page, plain = Page.of(text), Page.of((binary_run / "report.html").read_text())
    assert page.faults == []
    assert {e.tag for e in page.elements} <= {e.tag for e in plain.elements} | {"p"}
    assert not [n for e in page.elements for n in e.attributes if n.startswith("on")]
    assert {n for e in page.elements for n in e.attributes} <= {n for e in plain.elements for n in e.attributes}
    assert "<script" not in text.lower()
    assert text.count("</style>") == 1
    assert "alert(1)" in page.text


def test_all_of_it_can_be_read(poisoned: Path) -> None:
    raw = render_report(poisoned).read_bytes()
    text = Page.of(raw.decode("utf-8")).text
    assert "\\u202e" in text
    assert "caf\\xe9 \\ud800\\x00" in text
    assert b"\x00" not in raw
    assert "${{7*7}}{% raw %}" in text


def test_a_home_page_is_no_link(poisoned: Path) -> None:
    page = Page.of(render_report(poisoned).read_text())
    assert "javascript:alert(1)" in page.text
    assert all(e.attributes["href"].startswith("#") for e in page.all("a"))
