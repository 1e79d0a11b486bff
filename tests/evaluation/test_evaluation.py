from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tests.evaluation.helpers import NAMES, draw, two_class
from tumorscope.core.errors import DataError, UsageError
from tumorscope.evaluation.alarms import CODES
from tumorscope.evaluation.evaluation import Evaluation, evaluate
from tumorscope.evaluation.metrics import LIMITS
from tumorscope.evaluation.operating import choose_operating_point
from tumorscope.evaluation.predictions import Predictions, read_csv

COUNTS = {"malignant": 100, "benign": 300}


def run(table: Predictions, **options: Any) -> Evaluation:
    usual: dict[str, Any] = {"train_counts": dict.fromkeys(table.classes, 10), "bootstrap": 100}
    return evaluate(table, **(usual | options))


def codes(found: Evaluation) -> set[str]:
    return {one.code for one in found.warnings}


def good(n: int = 400, classes: int = 2) -> Predictions:
    """Predictions without any alarm: enough images, right, and calibrated because sharpened to be so."""
    table = draw(n, classes=classes, shift=3.0, seed=3)
    sharp = table.probs**3
    return replace(table, probs=sharp / sharp.sum(1, keepdims=True))


def test_the_account_has_every_key_and_is_json() -> None:
    table = draw(120, classes=4)
    histogram = draw(120, classes=4, shift=0.2, seed=9).probs
    account = run(
        table,
        histogram_probs=histogram,
        temperature=1.3,
        subsets={"no exact copy in train": np.arange(120) % 2 == 0},
        provenance={"run": "a1"},
        data_warnings=["216 test files are in train"],
    ).to_json()
    assert json.loads(json.dumps(account)) == account
    assert set(account) == {
        "split", "n", "classes", "positive", "metrics", "per_class", "baselines", "confusion", "calibration",
        "curves", "operating_point", "subsets", "warnings", "provenance",
    }  # fmt: skip
    part = account["subsets"]["no exact copy in train"]
    assert part["n"] == 60 == sum(part["per_class"].values())
    for metrics in (account["metrics"], part["metrics"]):
        assert list(metrics) == list(LIMITS)
        for one in metrics.values():
            assert set(one) == {"value", "low", "high", "method"}
            assert one["low"] <= one["value"] <= one["high"]
    assert set(account["per_class"]) == set(NAMES)
    assert set(account["per_class"]["cyst"]) == {"n", "sensitivity", "specificity", "ppv", "npv", "auroc"}
    assert np.array(account["confusion"]).sum(1).tolist() == np.bincount(table.targets).tolist()
    assert account["operating_point"] is None
    assert account["calibration"]["temperature"] == 1.3
    assert account["provenance"]["run"] == "a1"
    assert account["provenance"]["predictions_sha256"] == table.sha256
    for baseline in account["baselines"].values():
        assert baseline["verdict"] == "better"
        assert baseline["beaten"] is True
        assert baseline["difference"]["low"] > 0
    assert account["baselines"]["majority_class"]["label"] == "malignant"
    assert {"code": "EVAL012", "message": "216 test files are in train"} in account["warnings"]


def test_rows_in_another_order_and_a_second_run_give_the_same_account() -> None:
    table, rng = draw(90, cluster=3, shared=0.5), np.random.default_rng(0)
    histogram, mask, order = draw(90, seed=4).probs, rng.random(90) < 0.5, rng.permutation(90)
    one = run(table, histogram_probs=histogram, subsets={"part": mask})
    other = run(table.take(order), histogram_probs=histogram[order], subsets={"part": mask[order]})
    assert other.to_json() == one.to_json()
    assert run(table, histogram_probs=histogram, subsets={"part": mask}).to_json() == one.to_json()


def test_a_table_read_back_gives_the_same_figures(tmp_path: Any) -> None:
    table = draw(80)
    back = read_csv(table.write_csv(tmp_path / "p.csv"), positive=table.positive)
    one, other = run(table), run(back)
    for name in LIMITS:
        assert other.metrics[name].value == pytest.approx(one.metrics[name].value, abs=1e-8)
        assert other.metrics[name].low == pytest.approx(one.metrics[name].low, abs=1e-7)


def test_a_sound_model_raises_no_alarm() -> None:
    table = good(600)
    found = run(table, histogram_probs=draw(600, shift=0.1, seed=8).probs)
    assert codes(found) == set(), found.warnings
    assert "Warnings" not in str(found)


def test_the_constant_predictor_is_called_one() -> None:
    flat = two_class([0] * 42 + [1] * 114, scores=[0.3] * 156)
    found = run(flat, train_counts=COUNTS)
    assert {"EVAL001", "EVAL005", "EVAL008"} <= codes(found)
    assert found.metrics["mcc"].value is None
    assert found.metrics["accuracy"].value == 114 / 156
    leaning = two_class([0] * 42 + [1] * 114, scores=np.linspace(0.1, 0.4, 156).tolist())
    assert "EVAL001" in codes(run(leaning))
    flat_but_varied = two_class([0, 1] * 50, scores=[0.5001, 0.4999] * 50)
    assert "EVAL001" in codes(run(flat_but_varied))


def test_small_and_absent_classes_are_said() -> None:
    table = draw(100, classes=4)
    found = run(table.take(table.targets != 3))
    assert "EVAL002" in codes(found)
    assert any("'none'" in one.message for one in found.warnings if one.code == "EVAL002")
    assert "EVAL003" in codes(found)
    assert found.curves["none"] is None


def test_baselines_not_beaten_or_not_computed_are_said() -> None:
    coin = draw(200, shift=0.0)
    assert "EVAL005" in codes(run(coin, histogram_probs=draw(200, shift=0, seed=6).probs))
    assert "EVAL004" in codes(run(coin, histogram_probs=np.eye(2)[coin.targets]))
    absent = run(coin, train_counts=None)
    messages = [one.message for one in absent.warnings if one.code == "EVAL009"]
    assert len(messages) == 2
    assert absent.to_json()["baselines"] == {"majority_class": None, "intensity_histogram": None}


def test_wide_intervals_and_other_splits_and_groups_are_said() -> None:
    assert "EVAL006" in codes(run(draw(40)))
    assert "EVAL013" in codes(run(draw(40, split="val")))
    grouped = run(draw(120, cluster=4))
    assert "120 images form 30 groups" in next(o.message for o in grouped.warnings if o.code == "EVAL010")
    assert grouped.metrics["accuracy"].method == "wilson-design-effect"


def test_wild_miscalibration_is_said_with_its_direction() -> None:
    table = draw(300, shift=0.5)
    sharp = replace(table, probs=np.eye(2)[table.predicted] * 0.98 + 0.01)
    assert any("too sure" in one.message for one in run(sharp).warnings if one.code == "EVAL007")
    shy = replace(good(300), probs=good(300).probs * 0.02 + 0.49)
    assert any("not sure enough" in one.message for one in run(shy).warnings if one.code == "EVAL007")


def test_every_alarm_has_a_title() -> None:
    found = run(draw(30, classes=4, split="val"), data_warnings=["x"], subsets={"none": np.zeros(30, dtype=bool)})
    assert codes(found) <= set(CODES)
    assert "EVAL011" in codes(found)
    assert found.subsets["none"].metrics["accuracy"].value is None
    text = str(found)
    assert all(one.code in text for one in found.warnings)


def test_the_operating_point_comes_from_validation_and_is_reported_on_test() -> None:
    point = choose_operating_point(draw(78, split="val", seed=5), target_sensitivity=0.95)
    account = run(draw(156), threshold=point).to_json()["operating_point"]
    assert account["threshold"] == point.threshold
    assert (account["rule"], account["chosen_on"], account["n"]) == ("sensitivity>=0.95", "val", 78)
    assert set(account["sensitivity"]) == {"value", "low", "high", "method"}
    plain = run(draw(156)).to_json()
    assert plain["operating_point"]["threshold"] == 0.5
    assert plain["operating_point"]["sensitivity"] == plain["per_class"]["malignant"]["sensitivity"]
    assert run(draw(156), threshold=0.2).to_json()["operating_point"]["rule"] == "given"


def test_inputs_that_do_not_fit_are_refused() -> None:
    table = draw(50)
    with pytest.raises(DataError, match="rows for 'part'"):
        run(table, subsets={"part": np.ones(49, dtype=bool)})
    with pytest.raises(DataError, match="histogram_probs"):
        run(table, histogram_probs=np.full((49, 2), 0.5))
    with pytest.raises(DataError, match="training counts"):
        run(table, train_counts={"other": 3})
    with pytest.raises(UsageError, match="4 classes"):
        run(draw(50, classes=4), threshold=0.5)
    with pytest.raises(DataError, match="operating point for 'malignant'"):
        run(replace(table, positive="benign"), threshold=choose_operating_point(draw(50, split="val")))


def test_two_classes_without_a_positive_one_are_averaged() -> None:
    table = draw(100)
    named, unnamed = run(table), run(replace(table, positive=None))
    assert unnamed.metrics["auroc"].value == pytest.approx(named.metrics["auroc"].value)
    assert unnamed.operating_point is None


def test_importing_the_room_loads_no_heavy_library() -> None:
    import subprocess
    import sys

    program = (
        "import sys, tumorscope.evaluation.evaluation, tumorscope.evaluation.claims, "
        "tumorscope.evaluation.repeated; "
        "print(sorted({'torch', 'scipy', 'sklearn', 'matplotlib', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
