from __future__ import annotations

from typing import Any

import pytest

from tumorscope.reporting.answer import headline, verdicts
from tumorscope.reporting.contract import EvaluationFile


def est(value: float | None, half: float = 0.05) -> dict[str, Any]:
    if value is None:
        return {"value": None, "low": None, "high": None, "method": "undefined: no rows"}
    return {"value": value, "low": value - half, "high": value + half, "method": "wilson"}


def evaluation(**changes: Any) -> EvaluationFile:
    base: dict[str, Any] = {
        "split": "test",
        "n": 156,
        "classes": ["ill", "well"],
        "positive": "ill",
        "metrics": {"accuracy": est(0.865), "auroc": est(0.9), "balanced_accuracy": est(0.85)},
        "per_class": {
            "ill": {"n": 42, "sensitivity": est(0.8), "specificity": est(0.9)},
            "well": {"n": 114, "sensitivity": est(0.9), "specificity": est(0.8)},
        },
        "baselines": {
            "majority_class": {
                "label": "well",
                "accuracy": est(0.731),
                "verdict": "better",
                "difference": est(0.134),
            },
            "intensity_histogram": None,
        },
        "subsets": {"no exact copy in training": {"n": 100, "metrics": {"accuracy": est(0.84)}}},
    }
    return EvaluationFile.model_validate({**base, **changes})


def test_rows_in_the_order_of_reading() -> None:
    rows = headline(evaluation())
    assert [(r.name, r.kind, r.n) for r in rows] == [
        ("Accuracy", "model", 156),
        ("accuracy, no exact copy in training", "part", 100),
        ("always answering “well”", "baseline", 156),
        ("AUROC", "model", 156),
        ("Balanced accuracy", "model", 156),
        ("Sensitivity for “ill”", "model", 42),
        ("Specificity for “ill”", "model", 114),
    ]
    assert rows[0].value == "86.5%"
    assert rows[0].range == "81.5 to 91.5%"
    assert rows[0].marks == ((0.731, "majority"),)
    assert rows[3].marks == ((0.5, "chance"),)


def test_more_than_two_classes_have_no_positive_rows() -> None:
    found = headline(evaluation(classes=["a", "b", "c"], positive=None))
    assert [r.name for r in found if r.kind == "model"] == [
        "Accuracy",
        "AUROC, mean of classes",
        "Balanced accuracy",
    ]
    assert found[-1].marks == ((1 / 3, "chance"),)


def test_an_undefined_metric_stays_undefined() -> None:
    found = headline(evaluation(metrics={"auroc": est(None)}))
    row = next(r for r in found if r.key == "auroc")
    assert (row.value, row.range) == ("undefined", "no interval")


def test_only_a_few_parts_stand_at_the_top() -> None:
    parts = {f"part {i}": {"n": 90, "metrics": {"accuracy": est(0.5)}} for i in range(9)}
    assert sum(r.kind == "part" for r in headline(evaluation(subsets=parts))) == 3


def test_a_part_of_a_few_images_does_not_stand_at_the_top() -> None:
    found = headline(evaluation(subsets={"copies": {"n": 1, "metrics": {"accuracy": est(0.0)}}}))
    assert [r.kind for r in found].count("part") == 0


@pytest.mark.parametrize(
    ("verdict", "tone", "start"),
    [
        ("better", "better", "than always answering “well”, which is right in 73.1%: +13.4 points"),
        ("worse", "worse", "than always"),
        ("not distinguishable", "same", "from always"),
        ("", "same", "from always"),
    ],
)
def test_the_verdict_is_that_of_the_evaluation(verdict: str, tone: str, start: str) -> None:
    majority = {"label": "well", "accuracy": est(0.731), "verdict": verdict, "difference": est(0.134)}
    (found,) = verdicts(evaluation(baselines={"majority_class": majority}))
    assert found.tone == tone
    assert found.text.startswith(start)


def test_a_baseline_without_a_difference_is_not_compared() -> None:
    (found,) = verdicts(evaluation(baselines={"other_rule": {"accuracy": est(0.7), "verdict": "better"}}))
    assert found.tone == "unknown"
    assert "other rule" in found.text
