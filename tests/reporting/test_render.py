from __future__ import annotations

import json
import re
import shutil
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from tests.reporting.page import Page
from tumorscope.core.errors import DataError
from tumorscope.reporting.render import render_report, rule_name, trained_part

MISSING = {
    "metrics.csv": "No learning curves: metrics.csv is not in this run folder.",
    "predictions.csv": "No list of wrong answers: predictions.csv is not in this run folder.",
    "samples.npz": "No pictures: samples.npz is not in this run folder.",
    "ledger.jsonl": "ledger.jsonl is not in this run folder.",
    "recipe.resolved.toml": "No recipe: recipe.resolved.toml is not in this run folder.",
}


def markup(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def again(folder: Path) -> Page:
    return Page.of(render_report(folder).read_text(encoding="utf-8"))


def change(path: Path, **values: Any) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def fixed_parts(page: Page) -> list[str]:
    """Addresses that the page could make a browser ask for."""
    asked = ("src", "srcset", "href", "xlink:href", "action", "data", "poster", "background", "formaction")
    return [e.attributes[a] for e in page.elements for a in asked if a in e.attributes]


@pytest.mark.parametrize("run", ["binary_run", "four_run"])
def test_the_page_asks_for_nothing_outside_itself(run: str, request: pytest.FixtureRequest) -> None:
    text = markup(request.getfixturevalue(run))
    page = Page.of(text)
    addresses = fixed_parts(page)
    assert addresses
    assert [a for a in addresses if not a.startswith(("data:", "#"))] == []
    assert not page.all("script")
    assert not page.all("iframe")
    assert not [n for e in page.elements for n in e.attributes if n.startswith("on")]
    assert "url(" not in text
    assert "@import" not in text
    (policy,) = [e.attributes["content"] for e in page.all("meta") if "http-equiv" in e.attributes]
    assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")


@pytest.mark.parametrize("run", ["binary_run", "four_run"])
def test_the_markup_is_well_formed_and_can_be_read_aloud(run: str, request: pytest.FixtureRequest) -> None:
    page = Page.of(markup(request.getfixturevalue(run)))
    assert page.faults == []
    assert len(set(page.ids())) == len(page.ids())
    links = [e.attributes["href"][1:] for e in page.all("a")]
    assert set(links) <= set(page.ids())
    labels = [e.attributes["aria-labelledby"] for e in page.elements if "aria-labelledby" in e.attributes]
    assert set(labels) <= set(page.ids())
    levels = [int(e.tag[1]) for e in page.elements if re.fullmatch(r"h[1-6]", e.tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(b <= a + 1 for a, b in pairwise(levels))
    assert all("scope" in e.attributes for e in page.all("th"))
    assert all(e.attributes.get("alt") for e in page.all("img"))
    assert all("aria-label" in e.attributes or e.attributes.get("aria-hidden") == "true" for e in page.all("svg"))
    assert page.elements[0].attributes == {"lang": "en"}


@pytest.mark.parametrize("run", ["binary_run", "four_run"])
def test_every_section_and_figure_is_there(run: str, request: pytest.FixtureRequest) -> None:
    page = Page.of(markup(request.getfixturevalue(run)))
    sections = [e.attributes["id"] for e in page.all("section")]
    assert sections == [
        *("result", "caution", "subsets", "classes", "curves", "calibration"),
        *("examples", "training", "data", "provenance"),
    ]
    names = [
        e.attributes["aria-label"].partition(".")[0] for e in page.all("svg") if e.attributes.get("class") == "chart"
    ]
    assert names == [
        *("Receiver operating characteristic", "Precision and recall"),
        *("Reliability diagram", "Images in each bin", "Loss by epoch", "Accuracy by epoch"),
    ]
    assert "Research use only; not for clinical decisions." in page.text
    assert "is not in this run folder" not in page.text


def test_a_typical_page_is_small(four_run: Path) -> None:
    assert len(markup(four_run).encode()) < 1_000_000


def test_figures_of_a_two_class_run(binary_run: Path) -> None:
    evaluation = json.loads((binary_run / "evaluation.json").read_text())
    text = Page.of(markup(binary_run)).text
    assert "Result on 156 test images" in text
    assert f"{100 * evaluation['metrics']['accuracy']['value']:.1f}%" in text
    assert f"{evaluation['metrics']['auroc']['value']:.3f}" in text
    assert "Sensitivity for “malignant” n = 42" in text
    assert "than always answering “normal, benign”, which is right in 73.1%" in text
    assert "An image is called malignant when its probability reaches" in text
    assert "chosen on 78 validation images" in text
    assert "546 images to learn from, 78 to choose with, 156 to report on" in text
    assert "Every input was used." in text
    assert "No part of the test images was evaluated by itself." in text


def test_prediction_sets_are_told_with_their_coverage(binary_run: Path, binary_copy: Path) -> None:
    sets = json.loads((binary_run / "evaluation.json").read_text())["prediction_sets"]
    text = Page.of(markup(binary_run)).text
    assert "Sets of classes that an answer cannot rule out" in text
    assert f"{sets['coverage']['value'] * 100:.1f}%" in text
    low = {"value": 0.5, "low": 0.4, "high": 0.6, "method": "wilson"}
    change(binary_copy / "evaluation.json", prediction_sets={**sets, "coverage": low, "never_ruled_out": ["a class"]})
    text = again(binary_copy).text
    assert "clearly less than was asked for" in text
    assert "Never ruled out, for want of validation images: a class." in text
    change(binary_copy / "evaluation.json", prediction_sets=None)
    assert "Sets of classes" not in again(binary_copy).text


def test_leaks_are_seen_at_the_top(four_run: Path) -> None:
    text = Page.of(markup(four_run)).text
    top = text[: text.index("All figures and how")]
    assert "leaks accepted: 216 test images have a copy in train" in top
    assert "accuracy, no exact copy in training n = 1,095" in top
    assert "… and 196 more" in text
    assert text.count("Test images have exact copies in train") == 1
    assert "3 inputs of 7,022 excluded" in text


def test_boxes_are_drawn_where_they_are(four_run: Path) -> None:
    samples = json.loads((four_run / "samples.json").read_text())
    wrong = next(s for s in samples if not s["correct"])
    box = wrong["boxes"][0]
    assert f'class="own" x="{box["cx"] - box["w"] / 2:.4f}" y="{box["cy"] - box["h"] / 2:.4f}"' in markup(four_run)


def test_the_same_files_give_the_same_bytes(binary_run: Path, tmp_path: Path) -> None:
    elsewhere = Path(shutil.copytree(binary_run, tmp_path / "some other place"))
    (elsewhere / "report.html").unlink()
    assert render_report(elsewhere).read_bytes() == (binary_run / "report.html").read_bytes()


def test_no_time_and_no_folder_of_this_machine_is_printed(binary_run: Path) -> None:
    text = markup(binary_run)
    assert "2031-02-03" in (binary_run / "ledger.jsonl").read_text()
    assert "2031" not in text
    assert "/home/someone" not in text
    assert str(binary_run) not in text


def test_other_figures_give_another_page(binary_copy: Path) -> None:
    before = markup(binary_copy)
    change(binary_copy / "evaluation.json", n=155)
    assert render_report(binary_copy).read_text() != before


@pytest.mark.parametrize(("name", "sentence"), MISSING.items())
def test_a_missing_optional_file_is_said(binary_copy: Path, name: str, sentence: str) -> None:
    (binary_copy / name).unlink()
    page = again(binary_copy)
    assert sentence in page.text
    assert page.faults == []


def test_a_missing_required_file_leaves_the_old_report(binary_copy: Path) -> None:
    (binary_copy / "evaluation.json").unlink()
    before = markup(binary_copy)
    with pytest.raises(DataError, match=r"evaluation\.json is missing"):
        render_report(binary_copy)
    assert markup(binary_copy) == before


def test_the_least_that_a_run_folder_holds(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(json.dumps({"recipe": "r", "model": {"name": "m"}}))
    (tmp_path / "data.json").write_text(json.dumps({"classes": ["a", "b"], "split": {}}))
    least = {"split": "test", "n": 3, "classes": ["a", "b"], "metrics": {}}
    (tmp_path / "evaluation.json").write_text(json.dumps(least))
    page = again(tmp_path)
    assert page.faults == []
    for sentence in (
        "No baseline was evaluated",
        "No confusion matrix is recorded",
        "No ROC or precision-recall curve is recorded",
        "No calibration is recorded",
        "No learning curves",
    ):
        assert sentence in page.text
    assert "None" not in page.text.replace("None among", "")


def test_undefined_figures_are_called_undefined(binary_copy: Path) -> None:
    metrics = json.loads((binary_copy / "evaluation.json").read_text())["metrics"]
    nothing = {"value": None, "low": None, "high": None, "method": "undefined: one class present"}
    change(binary_copy / "evaluation.json", metrics={**metrics, "auroc": nothing})
    text = again(binary_copy).text
    assert "AUROC n = 156 undefined no interval" in text
    assert "undefined: one class present" in text


def test_how_often_the_test_images_were_opened(binary_copy: Path) -> None:
    ledger = binary_copy / "ledger.jsonl"
    line = ledger.read_text()
    ledger.write_text(line * 3 + line.replace('"test"', '"val"'))
    text = again(binary_copy).text
    assert "opened 3 times : choices made after the first look" in text


def test_openings_of_other_data_do_not_count(binary_copy: Path) -> None:
    entry = json.loads((binary_copy / "ledger.jsonl").read_text())
    with (binary_copy / "ledger.jsonl").open("a") as handle:
        handle.write(json.dumps({**entry, "data_sha256": "0" * 64}) + "\n")
    assert "opened 1 time ." in again(binary_copy).text


def test_evaluations_on_other_data_are_listed(binary_copy: Path, four_run: Path) -> None:
    other = binary_copy / "evaluations" / "abroad"
    other.mkdir(parents=True)
    for name in ("evaluation.json", "data.json"):
        shutil.copy(four_run / name, other / name)
    text = again(binary_copy).text
    assert "The same model on other data" in text
    assert "Brain Tumor MRI Dataset (Nickparvar) abroad 1,311" in text
    assert "no exact copy in training 1,095" in text


def test_a_control_run_cannot_be_mistaken(binary_copy: Path) -> None:
    change(binary_copy / "run.json", control="permuted-labels", stamps=["resumed"])
    text = again(binary_copy).text
    assert "Control run: permuted labels . Training labels were shuffled on purpose" in text
    assert text.index("resumed") < text.index("Result on")


def test_worse_than_a_baseline_is_said(binary_copy: Path) -> None:
    stored = json.loads((binary_copy / "evaluation.json").read_text())["baselines"]
    stored["majority_class"]["verdict"] = "worse"
    stored["intensity_histogram"] = None
    change(binary_copy / "evaluation.json", baselines=stored)
    page = again(binary_copy)
    assert "Worse than always answering" in page.text
    assert "gray-level histogram" not in page.text


def test_the_audit_is_shown_with_what_was_fine(binary_copy: Path) -> None:
    stored = json.loads((binary_copy / "audit.json").read_text())
    stored["findings"][0] |= {"title": "Pictures are upside down.", "count": 77}
    (binary_copy / "audit.json").write_text(json.dumps(stored))
    text = again(binary_copy).text
    assert "Pictures are upside down." in text
    assert "2 paths of 77" in text
    assert "2 checks of the data without a finding" in text
    assert "The data names no patients." in text


def test_long_lists_are_cut(binary_copy: Path) -> None:
    stored = json.loads((binary_copy / "data.json").read_text())
    stored["findings"][0]["paths"] = [f"folder/image-{i}.png" for i in range(30_000)]
    stored["excluded"] = [{"path": f"x/{i}.png", "reason": "truncated", "detail": "d"} for i in range(30_000)]
    (binary_copy / "data.json").write_text(json.dumps({**stored, "inputs": 30_780}))
    (binary_copy / "audit.json").unlink()
    page = again(binary_copy)
    assert "… and 29,980 more" in page.text
    assert "… and 29,900 more" in page.text
    assert len(markup(binary_copy)) < 500_000


def test_many_classes(binary_copy: Path) -> None:
    names = [f"kind {i}" for i in range(30)]
    change(
        binary_copy / "evaluation.json",
        classes=names,
        confusion=[[i + j for j in range(30)] for i in range(30)],
    )
    change(binary_copy / "data.json", classes=names)
    page = again(binary_copy)
    assert "trained to tell apart 30 classes on" in page.text
    assert page.faults == []


def test_words_for_recipe_values() -> None:
    assert [trained_part(v) for v in ("all", "head", "last:2", 5, None)] == [
        *("all layers", "head only", "last 2 blocks", "", "")
    ]
    assert rule_name("youden") == "largest sensitivity + specificity"
    assert rule_name("sensitivity>=0.95") == "sensitivity of at least 0.95"
    assert rule_name("mine") == "mine"
