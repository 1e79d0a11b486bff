from __future__ import annotations

from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from tests.evaluation.helpers import draw, two_class
from tumorscope.core.types import Probs
from tumorscope.evaluation.auroc import (
    Area,
    area,
    area_difference,
    auroc_estimate,
    macro_area,
    midranks,
    newcombe,
)
from tumorscope.evaluation.estimates import overall_area
from tumorscope.evaluation.metrics import metric_values
from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.resampling import resample_counts


def placements(scores: Probs, positives: NDArray[np.bool_]) -> tuple[Probs, Probs]:
    """V10 and V01 of DeLong by comparing every pair."""
    pairs = np.sign(scores[positives][:, None] - scores[~positives][None, :]) / 2 + 0.5
    return pairs.mean(1), pairs.mean(0)


def found(table: Predictions) -> Area:
    one = overall_area(table)
    assert one is not None
    return one


def test_delong_by_hand() -> None:
    """Positives 0.8 0.6 0.4 against 0.5 0.3 0.2: 8 of 9 pairs; both placements vary by 1/27: 2/81 in all."""
    scores = np.array([0.8, 0.6, 0.4, 0.5, 0.3, 0.2])
    one = area(scores, positives=np.arange(6) < 3, codes=np.arange(6))
    assert one is not None
    assert one.value == pytest.approx(8 / 9)
    assert one.variance(np.arange(6)) == pytest.approx(2 / 81)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 10_000), st.booleans())
def test_delong_agrees_with_all_pairs_and_scikit_learn(seed: int, ties: bool) -> None:
    rng = np.random.default_rng(seed)
    scores = rng.normal(size=40)
    scores = np.round(scores) if ties else scores
    positives = np.r_[True, True, False, False, rng.random(36) < 0.4]
    one = area(scores, positives=positives, codes=np.arange(40))
    assert one is not None
    over, under = placements(scores, positives)
    expected = over.var(ddof=1) / over.size + under.var(ddof=1) / under.size
    assert one.value == pytest.approx(roc_auc_score(positives, scores))
    assert one.variance(np.arange(40)) == pytest.approx(expected, abs=1e-15)


def test_midranks_share_ties() -> None:
    assert midranks(np.array([3.0, 1.0, 3.0, 2.0])).tolist() == [3.5, 1.0, 3.5, 2.0]


def test_the_interval_contains_the_area_and_does_not_depend_on_the_order_of_rows() -> None:
    for seed in range(20):
        table = draw(60, seed=seed, shift=seed / 4)
        one = auroc_estimate(found(table), codes=table.codes)
        assert one.value is not None
        assert one.low is not None
        assert one.high is not None
        assert 0 <= one.low < one.value <= one.high <= 1
        mixed = table.take(np.random.default_rng(seed).permutation(60))
        other = auroc_estimate(found(mixed), codes=mixed.codes)
        assert (other.low, other.high) == pytest.approx((one.low, one.high))


def test_delong_agrees_with_the_bootstrap() -> None:
    for classes in (2, 4):
        table = draw(400, classes=classes, shift=1.0, seed=5)
        samples = [
            metric_values(table, counts)["auroc"]
            for counts in resample_counts(table.codes, targets=table.targets, resamples=600, seed=0)
        ]
        error = float(np.concatenate(samples).std())
        assert np.sqrt(found(table).variance(table.codes)) == pytest.approx(error, rel=0.15)


def test_groups_agree_with_the_grouped_bootstrap_and_are_wider() -> None:
    table = draw(400, cluster=4, shared=0.9, shift=1.0, seed=5)
    samples = [
        metric_values(table, counts)["auroc"]
        for counts in resample_counts(table.codes, targets=table.targets, resamples=600, seed=0)
    ]
    grouped = np.sqrt(found(table).variance(table.codes))
    assert grouped == pytest.approx(float(np.concatenate(samples).std()), rel=0.15)
    alone = np.sqrt(found(table).variance(np.arange(400)))
    assert grouped > 1.3 * alone
    assert auroc_estimate(found(table), codes=table.codes).method == "delong-groups"


def test_coverage() -> None:
    truth = NormalDist().cdf(1.5)
    covered = 0
    for seed in range(250):
        table = draw(156, shift=1.5, prevalence=(0.27, 0.73), seed=seed)
        one = auroc_estimate(found(table), codes=table.codes)
        covered += (one.low or 0) <= truth <= (one.high or 0)
    assert 0.92 < covered / 250 < 0.985


def test_a_perfect_area_has_an_honest_lower_bound() -> None:
    table = two_class([0] * 30 + [1] * 30, scores=[0.9] * 30 + [0.1] * 30)
    one = auroc_estimate(found(table), codes=table.codes)
    assert (one.value, one.high, one.method) == (1.0, 1.0, "newcombe")
    assert 0.9 < (one.low or 0) < 0.97
    few = auroc_estimate(found(two_class([0, 0, 1], scores=[0.9, 0.8, 0.1])), codes=np.arange(3))
    assert (few.low or 0) < 0.6


def test_a_constant_score_is_one_half_with_width() -> None:
    table = two_class([0] * 20 + [1] * 20, scores=[0.5] * 40)
    one = auroc_estimate(found(table), codes=table.codes)
    assert one.value == 0.5
    assert one.low is not None
    assert one.low < 0.4
    assert one.method == "newcombe"


@pytest.mark.parametrize("value", [0.0, 0.2, 0.5, 0.9, 1.0])
def test_newcombe_contains_its_value_and_narrows_with_size(value: float) -> None:
    small, large = newcombe(value, m=20, n=30), newcombe(value, m=200, n=300)
    assert small[0] <= large[0] <= value <= large[1] <= small[1]
    assert small[1] - small[0] > large[1] - large[0] > 0


def test_the_macro_average_leaves_out_absent_classes() -> None:
    table = draw(100, classes=4)
    targets = np.where(table.targets == 3, 0, table.targets)
    one = macro_area(table.probs, targets=targets, codes=table.codes)
    assert one is not None
    expected = np.mean([roc_auc_score(targets == c, table.probs[:, c]) for c in range(3)])
    assert one.value == pytest.approx(expected)
    assert macro_area(table.probs, targets=np.zeros(100, dtype=np.int64), codes=table.codes) is None


def test_the_paired_test_agrees_with_the_covariances_of_all_pairs() -> None:
    a, b = draw(80, seed=1, label_seed=7), draw(80, seed=2, label_seed=7, shift=0.7)
    positives = a.targets == 0
    (a10, a01), (b10, b01) = (placements(t.probs[:, 0], positives) for t in (a, b))
    expected = (a10 - b10).var(ddof=1) / a10.size + (a01 - b01).var(ddof=1) / a01.size
    gap = area_difference(found(a), b=found(b), codes=a.codes)
    half = ((gap.difference.high or 0) - (gap.difference.low or 0)) / 2
    assert half == pytest.approx(1.959964 * np.sqrt(expected), rel=1e-4)
    back = area_difference(found(b), b=found(a), codes=a.codes)
    assert back.p_value == gap.p_value
    assert back.difference.value == -(gap.difference.value or 0)


def test_the_paired_test_finds_nothing_too_often_and_something_where_it_is() -> None:
    false = sum(
        (area_difference(found(a), b=found(b), codes=a.codes).p_value or 0) < 0.05
        for a, b in ((draw(100, seed=s, label_seed=s), draw(100, seed=s + 9000, label_seed=s)) for s in range(200))
    )
    assert false / 200 < 0.09
    good, poor = draw(200, shift=3, label_seed=0), draw(200, shift=0.5, seed=1, label_seed=0)
    p_value = area_difference(found(good), b=found(poor), codes=good.codes).p_value
    assert p_value is not None
    assert 0 < p_value < 1e-4


def test_two_perfect_models_differ_by_nothing_with_width() -> None:
    table = two_class([0] * 10 + [1] * 10, scores=[0.9] * 10 + [0.1] * 10)
    gap = area_difference(found(table), b=found(table), codes=table.codes)
    assert gap.p_value == 1.0
    assert gap.difference.value == 0
    assert (gap.difference.low or 0) < -0.05
    flat = two_class([0] * 10 + [1] * 10, scores=[0.5] * 20)
    assert area_difference(found(table), b=found(flat), codes=table.codes).p_value is None
