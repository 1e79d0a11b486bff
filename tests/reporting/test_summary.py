from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.reporting.page import Page
from tumorscope.core.errors import DataError
from tumorscope.reporting.summary import render_summary


@pytest.fixture
def several_copy(several_runs: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(several_runs, tmp_path / "several"))


def change(folder: Path, **values: Any) -> None:
    path = folder / "summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def page_of(folder: Path) -> Page:
    return Page.of(render_summary(folder).read_text(encoding="utf-8"))


def links(page: Page) -> list[str]:
    return [e.attributes["href"] for e in page.all("a") if not e.attributes["href"].startswith("#")]


def test_means_runs_and_links(several_copy: Path) -> None:
    stored = json.loads((several_copy / "summary.json").read_text())
    accuracy = stored["test"]["metrics"]["accuracy"]
    own = stored["children"][1]["accuracy"]
    page = page_of(several_copy)
    assert page.faults == []
    assert f"Accuracy from {100 * accuracy['min']:.1f} to {100 * accuracy['max']:.1f}%" in page.text
    assert f"{100 * accuracy['mean']['value']:.1f}%" in page.text
    assert f"{100 * own['low']:.1f} to {100 * own['high']:.1f}%" in page.text
    assert "3 runs of one recipe with different seeds, each evaluated on the same 156 images" in page.text
    assert "The same on the 78 validation images" in page.text
    assert "Matthews correlation" in page.text
    assert links(page) == ["./seed-0/report.html"]


def test_one_ring_a_run(several_copy: Path) -> None:
    page = page_of(several_copy)
    rings = [e for e in page.elements if e.attributes.get("class") == "ring"]
    assert len(rings) == 2 * 6 * 3 + 1


def test_the_same_files_give_the_same_bytes(several_copy: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(several_copy, tmp_path / "other"))
    assert render_summary(other).read_bytes() == render_summary(several_copy).read_bytes()


def test_a_cross_validation(several_copy: Path) -> None:
    stored = json.loads((several_copy / "summary.json").read_text())
    test = {**stored["test"], "kind": "repeats", "runs": 2}
    names = [f"repeat-{r}-fold-{f}" for r in (1, 2) for f in (1, 2, 3)]
    children = [{**stored["children"][0], "name": name} for name in names]
    change(several_copy, folds=3, test=test, validation=None, children=children)
    page = page_of(several_copy)
    assert "3-fold cross-validation, repeated 2 times: every one of 156 images" in page.text
    assert "Mean over 2 repeats" in page.text
    assert "repeat-2-fold-3" in page.text
    assert "Interval over seeds" not in page.text
    assert "validation images" not in page.text
    assert links(page) == []
    assert "No report of a single run was found" in page.text


def test_folders_outside_are_not_linked(several_copy: Path, binary_run: Path) -> None:
    child = json.loads((several_copy / "summary.json").read_text())["children"][0]
    change(
        several_copy,
        children=[{**child, "name": str(binary_run)}, {**child, "name": "../several/seed-0/../.."}],
    )
    assert (binary_run / "report.html").is_file()
    assert links(page_of(several_copy)) == []


def test_names_are_escaped(several_copy: Path) -> None:
    odd = 'a "b" #1 <i>'
    (several_copy / "seed-0").rename(several_copy / odd)
    child = json.loads((several_copy / "summary.json").read_text())["children"][0]
    change(several_copy, children=[{**child, "name": odd}], title="</title><script>", command="<b>\ud800")
    page = page_of(several_copy)
    assert links(page) == ["./a%20%22b%22%20%231%20%3Ci%3E/report.html"]
    assert page.faults == []
    assert not page.all("script")
    assert not page.all("b")


def test_an_undefined_metric(several_copy: Path) -> None:
    test = json.loads((several_copy / "summary.json").read_text())["test"]
    nothing = {"value": None, "low": None, "high": None, "method": "undefined: x"}
    test["metrics"]["auroc"] = {"per_run": [None] * 3, "mean": nothing, "sd": None, "min": None, "max": None}
    change(several_copy, test=test)
    assert "AUROC undefined no interval" in page_of(several_copy).text


def test_a_missing_summary_names_what_writes_it(binary_run: Path) -> None:
    with pytest.raises(DataError, match=r"summary\.json is missing") as raised:
        render_summary(binary_run)
    assert "--seeds" in str(raised.value)


def test_a_damaged_summary(several_copy: Path) -> None:
    change(several_copy, test={"kind": "seeds"})
    with pytest.raises(DataError, match=r"test\.runs"):
        render_summary(several_copy)
