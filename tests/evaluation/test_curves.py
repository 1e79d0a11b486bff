from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import precision_recall_curve, roc_curve

from tests.evaluation.helpers import draw, two_class
from tumorscope.evaluation.curves import MAX_POINTS, class_curves, corners, thin


def test_short_curves_are_those_of_scikit_learn() -> None:
    table = draw(100, seed=2)
    found = class_curves(table)["malignant"]
    assert found is not None
    fpr, tpr, _ = roc_curve(table.targets == 0, table.probs[:, 0], drop_intermediate=False)
    mine = list(zip(np.round(found["roc"]["fpr"], 9), np.round(found["roc"]["tpr"], 9), strict=True))
    assert set(mine) <= set(zip(fpr.round(9), tpr.round(9), strict=True))
    assert np.trapezoid(found["roc"]["tpr"], found["roc"]["fpr"]) == pytest.approx(np.trapezoid(tpr, fpr))
    turns = [
        (b[0] - a[0]) * (c[1] - b[1]) != (b[1] - a[1]) * (c[0] - b[0])
        for a, b, c in zip(mine, mine[1:], mine[2:], strict=False)
    ]
    assert all(turns)
    precision, recall, _ = precision_recall_curve(table.targets == 0, table.probs[:, 0])
    points = set(zip(recall.round(9), precision.round(9), strict=True))
    kept = set(zip(np.round(found["pr"]["recall"], 9), np.round(found["pr"]["precision"], 9), strict=True))
    assert points <= kept


def test_long_curves_are_thinned_to_their_own_points_with_both_ends() -> None:
    table = draw(3000, shift=0.3, seed=1)
    found = class_curves(table)["malignant"]
    assert found is not None
    full = roc_curve(table.targets == 0, table.probs[:, 0], drop_intermediate=False)
    everything = set(zip(full[0].round(12), full[1].round(12), strict=True))
    x, y = found["roc"]["fpr"], found["roc"]["tpr"]
    assert 150 < len(x) <= MAX_POINTS
    assert set(zip(np.round(x, 12), np.round(y, 12), strict=True)) <= everything
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    assert np.trapezoid(y, x) == pytest.approx(np.trapezoid(full[1], full[0]), abs=2e-3)
    pr = found["pr"]
    assert len(pr["recall"]) <= MAX_POINTS
    assert (pr["recall"][0], pr["precision"][0], pr["recall"][-1]) == (0, 1, 1)


def test_a_perfect_curve_is_three_points() -> None:
    found = class_curves(two_class([0] * 50 + [1] * 50, scores=np.linspace(1, 0, 100).tolist()))["malignant"]
    assert found is not None
    assert found["roc"] == {"fpr": [0, 0, 1], "tpr": [0, 1, 1]}


def test_an_absent_class_has_no_curve() -> None:
    table = draw(60, classes=4)
    found = class_curves(table.take(table.targets != 2))
    assert found["cyst"] is None
    assert found["none"] is not None


def test_corners_and_thinning_keep_the_ends() -> None:
    x = np.linspace(0, 1, 500)
    assert [side.tolist() for side in corners(x, x)] == [[0, 1], [0, 1]]
    few = thin(x, x**2, points=10)
    assert few[0].size <= 10
    assert (few[0][0], few[0][-1]) == (0, 1)
