from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.evaluation.helpers import draw, two_class
from tumorscope.core.types import Estimate
from tumorscope.evaluation.estimates import class_estimates, metric_estimates
from tumorscope.evaluation.intervals import wilson
from tumorscope.evaluation.metrics import LIMITS


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([2, 4]), st.sampled_from([1, 3]), st.floats(0, 8))
def test_every_interval_contains_its_value(seed: int, classes: int, cluster: int, shift: float) -> None:
    table = draw(60, classes=classes, cluster=cluster, shared=0.5, shift=shift, seed=seed)
    found = metric_estimates(table, bootstrap=100)
    assert list(found) == list(LIMITS)
    for name, one in found.items():
        if one.value is None:
            assert one.method.startswith("undefined"), name
            continue
        assert one.low is not None
        assert one.high is not None
        bottom, top = LIMITS[name]
        assert bottom <= one.low <= one.value <= one.high <= top
        assert one.high > one.low


def test_intervals_keep_what_they_promise() -> None:
    """95% intervals of metrics near their limit cover 90% and more; percentiles cover 81% there."""
    accuracy, hits, runs = NormalDist().cdf(3 / 2**0.5), dict.fromkeys(LIMITS, 0), 120
    f1 = _true_macro_f1(accuracy, 0.3)
    truth = {
        "accuracy": accuracy,
        "balanced_accuracy": accuracy,
        "macro_f1": f1,
        "auroc": NormalDist().cdf(3),
    }
    for seed in range(runs):
        table = draw(156, shift=3, prevalence=(0.3, 0.7), seed=seed)
        found = metric_estimates(table, bootstrap=150, seed=seed)
        for name, value in truth.items():
            one = found[name]
            assert one.low is not None
            assert one.high is not None
            hits[name] += one.low <= value <= one.high
    assert all(hits[name] / runs >= 0.90 for name in truth), hits


def _true_macro_f1(rate: float, share: float) -> float:
    """Macro F1 where both classes have the same sensitivity."""
    both = []
    for part in (share, 1 - share):
        right, wrong = part * rate, (1 - part) * (1 - rate)
        both.append(2 * right / (part + right + wrong))
    return float(np.mean(both))


def test_copies_of_images_do_not_narrow_any_interval() -> None:
    once = draw(90, seed=8)
    rows = np.repeat(np.arange(90), 3)
    thrice = two_class(
        once.targets[rows].tolist(),
        scores=once.probs[rows, 0].tolist(),
        groups=[str(i) for i in rows],
    )
    few, many = metric_estimates(once, bootstrap=400), metric_estimates(thrice, bootstrap=400)
    for name in LIMITS:
        assert many[name].value == pytest.approx(few[name].value), name
        assert _width(many[name]) > 0.85 * _width(few[name]), name
    naive = metric_estimates(two_class(once.targets[rows].tolist(), scores=once.probs[rows, 0].tolist()), bootstrap=400)
    assert all(_width(naive[name]) < 0.75 * _width(many[name]) for name in LIMITS)


def test_perfect_answers_leave_every_interval_a_width() -> None:
    table = two_class([0] * 40 + [1] * 60, scores=[1.0] * 40 + [0.0] * 60)
    found = metric_estimates(table, bootstrap=100)
    assert found["accuracy"].low == wilson(100, 100)[0]
    assert all(_width(one) > 0.01 for one in found.values())


def test_class_rates_by_hand() -> None:
    table = two_class([0, 0, 0, 1, 1], scores=[0.9, 0.8, 0.2, 0.7, 0.1])
    one = class_estimates(table)["malignant"]
    assert one["n"] == 3
    values = {k: v.value for k, v in one.items() if isinstance(v, Estimate)}
    expected = {"sensitivity": 2 / 3, "specificity": 1 / 2, "ppv": 2 / 3, "npv": 1 / 2, "auroc": 5 / 6}
    assert values == pytest.approx(expected)
    assert one["sensitivity"] == Estimate(2 / 3, *wilson(2, 3), "wilson")


def test_rates_without_images_are_undefined() -> None:
    never = class_estimates(two_class([0, 1, 1], scores=[0.1, 0.2, 0.3]))["malignant"]
    assert isinstance(never["ppv"], Estimate)
    assert never["ppv"].value is None
    absent = class_estimates(two_class([1, 1], scores=[0.1, 0.9]))["malignant"]
    assert isinstance(absent["sensitivity"], Estimate)
    assert absent["sensitivity"].value is None
    assert isinstance(absent["auroc"], Estimate)
    assert absent["auroc"].value is None


def _width(one: Estimate) -> float:
    assert one.low is not None
    assert one.high is not None
    return one.high - one.low
