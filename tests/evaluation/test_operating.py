from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import roc_curve

from tests.evaluation.helpers import draw, two_class
from tumorscope.core.errors import UsageError
from tumorscope.evaluation.operating import at_threshold, choose_operating_point
from tumorscope.evaluation.predictions import Predictions


def rates(table: Predictions, threshold: float) -> tuple[float, float]:
    called, positives = table.probs[:, 0] >= threshold, table.targets == 0
    return float(called[positives].mean()), float((~called[~positives]).mean())


@pytest.mark.parametrize("seed", range(5))
def test_youden_is_the_best_of_all_thresholds(seed: int) -> None:
    table = draw(78, split="val", seed=seed)
    point = choose_operating_point(table)
    fpr, tpr, _ = roc_curve(table.targets == 0, table.probs[:, 0])
    sensitivity, specificity = rates(table, point.threshold)
    assert sensitivity + specificity - 1 == pytest.approx((tpr - fpr).max())
    assert (point.rule, point.chosen_on, point.n, point.positive) == ("youden", "val", 78, "malignant")


def test_thresholds_lie_half_way_between_scores() -> None:
    table = replace(two_class([0, 0, 1, 1], scores=[0.9, 0.7, 0.3, 0.1]), split="val")
    assert choose_operating_point(table).threshold == pytest.approx(0.5)
    assert choose_operating_point(table, target_sensitivity=0.4).threshold == pytest.approx(0.8)


def test_a_target_sensitivity_is_reached_with_the_best_specificity() -> None:
    table = draw(78, split="val", seed=3)
    point = choose_operating_point(table, target_sensitivity=0.95)
    sensitivity, specificity = rates(table, point.threshold)
    assert sensitivity >= 0.95
    higher = [t for t in np.unique(table.probs[:, 0]) if t > point.threshold]
    assert all(rates(table, t)[0] < 0.95 or rates(table, t)[1] <= specificity for t in higher)
    assert rates(table, choose_operating_point(table, target_sensitivity=1.0).threshold)[0] == 1.0


def test_rates_at_a_threshold_by_hand() -> None:
    table = two_class([0, 0, 1, 1, 1], scores=[0.9, 0.3, 0.4, 0.2, 0.1])
    values = {name: one.value for name, one in at_threshold(table, 0.3).items()}
    assert values == {"sensitivity": 1.0, "specificity": 2 / 3, "ppv": 2 / 3, "npv": 1.0, "accuracy": 0.8}
    assert at_threshold(table, 1.0)["ppv"].value is None


def test_what_has_no_operating_point_is_refused() -> None:
    with pytest.raises(UsageError, match="test split"):
        choose_operating_point(draw(50))
    with pytest.raises(UsageError, match="4 classes"):
        choose_operating_point(draw(50, classes=4, split="val"))
    with pytest.raises(UsageError, match="target sensitivity"):
        choose_operating_point(draw(50, split="val"), target_sensitivity=95)
    with pytest.raises(UsageError, match="threshold"):
        at_threshold(draw(50), 1.5)
    alone = draw(50, split="val")
    with pytest.raises(UsageError, match="0 positive"):
        choose_operating_point(alone.take(alone.targets == 1))
