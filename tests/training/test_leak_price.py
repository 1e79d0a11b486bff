from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from tests.auditing.leak_data import changed, clean, copy
from tests.training.test_run import recipe
from tumorscope.core.errors import DataError
from tumorscope.core.files import read_json
from tumorscope.data.copies.survey import survey
from tumorscope.data.load import load
from tumorscope.data.manifest import Manifest
from tumorscope.data.splitting import Rules
from tumorscope.reporting.leak_price_page import render_leak_price
from tumorscope.training.leak_arms import make_arms
from tumorscope.training.leak_price import leak_price

QUIET = Console(quiet=True)


@pytest.fixture
def leaky(tmp_path: Path) -> Manifest:
    root = clean(tmp_path / "scans", train=9, test=6)
    copy(root, "Testing/glioma/00.png", "Training/glioma/twin0.png")
    changed(root, "Testing/glioma/01.png", "Training/glioma/twin1.jpg", "mirrored")
    copy(root, "Testing/notumor/00.png", "Training/notumor/twin0.png")
    return load(root)


def test_arms_share_test_and_differ_in_training_only(leaky: Manifest) -> None:
    arms, twins = make_arms(leaky, survey(leaky), seed=0, rules=Rules())
    by_name = {arm.name: arm for arm in arms}
    assert list(by_name) == [
        "official",
        "deduplicated",
        "deduplicated-control",
        "patient-likely",
        "patient-likely-control",
        "grouped",
    ]
    official = by_name["official"].split.assignment
    for name in list(by_name)[1:5]:
        arm = by_name[name]
        tested = {p for p, part in arm.split.assignment.items() if part == "test"}
        assert tested == {p for p, part in official.items() if part == "test"}
        gone = set(official) - set(arm.split.assignment)
        assert len(gone) == sum(arm.removed.values())
        twin = {p for p in gone if "twin" in p}
        assert (twin == gone) if not name.endswith("control") else (not twin)
    assert by_name["deduplicated"].removed == {"glioma": 2, "notumor": 1}
    control = by_name["deduplicated-control"]
    assert {label: control.removed[label] + control.short.get(label, 0) for label in control.removed} == {
        "glioma": 2,
        "notumor": 1,
    }
    assert int(twins.copy.sum()) == 3
    assert np.all(twins.likely >= twins.copy)


def test_a_control_that_cannot_match_says_so(tmp_path: Path) -> None:
    root = clean(tmp_path / "scans", train=4, test=6)
    for i in range(6):
        copy(root, f"Testing/glioma/{i:02}.png", f"Training/glioma/twin{i}.png")
    data = load(root)
    arms, _ = make_arms(data, survey(data), seed=0, rules=Rules())
    control = next(arm for arm in arms if arm.name == "deduplicated-control")
    assert control.short["glioma"] > 0
    assert control.removed["glioma"] + control.short["glioma"] == 6
    left = [p for p, part in control.split.assignment.items() if part != "test" and "/glioma/" in p and "twin" not in p]
    assert left, "a control keeps some images without a twin"


def test_clean_data_has_no_price(tmp_path: Path) -> None:
    data = load(clean(tmp_path / "scans"))
    with pytest.raises(DataError, match="no test image has a copy"):
        make_arms(data, survey(data), seed=0, rules=Rules())
    flat = load(tmp_path / "scans" / "Training")
    with pytest.raises(DataError, match="no test part of its own"):
        make_arms(flat, survey(flat), seed=0, rules=Rules())


def test_price_is_trained_measured_and_shown(leaky: Manifest, tmp_path: Path) -> None:
    out = tmp_path / "price"
    quick = recipe(stage={"all": {"epochs": 1, "lr": 1e-3}})
    found = leak_price(quick, leaky, out=out, command="tumorscope leak-price", seeds=2, console=QUIET)
    assert found == read_json(out / "leak-price.json")
    assert len(list(out.glob("*/seed-*/run.json"))) == 12
    plans = {str(read_json(file)["plan"]) for file in out.glob("*/seed-*/run.json")}
    assert len(plans) == 1, "arms that are compared compute alike"
    official = found["arms"][0]
    assert official["accuracy"]["all test images"]["n"] == 12
    assert official["accuracy"]["with a copy in training"]["n"] == 3
    runs = [read_json(file) for file in sorted((out / "official").glob("seed-*/evaluation.json"))]
    mean = sum(run["metrics"]["accuracy"]["value"] for run in runs) / 2
    assert official["accuracy"]["all test images"]["value"] == pytest.approx(mean)
    gap = next(g for g in found["gaps"] if g["on"] == "all test images" and g["gap"].startswith("copies, and"))
    clean_arm = next(a for a in found["arms"] if a["arm"] == "deduplicated")
    assert gap["value"] == pytest.approx(mean - clean_arm["accuracy"]["all test images"]["value"])
    assert gap["low"] <= gap["value"] <= gap["high"]
    page = render_leak_price(out).read_text(encoding="utf-8")
    assert "3 of 12 test images" in page
    assert "http://" not in page
    assert "https://" not in page
    again = leak_price(quick, leaky, out=out, command="tumorscope leak-price", seeds=2, resume=True, console=QUIET)
    assert again == found
