from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tests.evaluation.helpers import draw
from tumorscope.core.errors import UsageError
from tumorscope.core.types import Estimate
from tumorscope.evaluation.intervals import (
    Evidence,
    effective_size,
    evidence,
    mean_of_shares,
    proportion,
    resampled,
    resampled_difference,
    undefined,
    wilson,
)
from tumorscope.evaluation.resampling import group_labels, resample_counts


@pytest.mark.parametrize(
    ("k", "n", "low", "high"),
    [(135, 156, 0.803, 0.910), (23, 25, 0.750, 0.978), (0, 10, 0.0, 0.278), (10, 10, 0.722, 1.0)],
)
def test_wilson_known_values(k: int, n: int, low: float, high: float) -> None:
    assert wilson(k, n) == pytest.approx((low, high), abs=5e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 3000), st.data())
def test_wilson_agrees_with_scipy_and_contains_the_share(n: int, data: st.DataObject) -> None:
    k = data.draw(st.integers(0, n))
    expected = binomtest(k, n).proportion_ci(method="wilson")
    low, high = wilson(k, n)
    assert (low, high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert low <= k / n <= high
    assert low < high


def test_wilson_covers_what_it_says() -> None:
    for p, n in ((0.865, 156), (0.97, 60)):
        chance = [math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)]
        covered = sum(c for k, c in enumerate(chance) if wilson(k, n)[0] <= p <= wilson(k, n)[1])
        assert 0.93 < covered < 0.98


def test_impossible_counts_are_refused() -> None:
    for k, n in ((-1, 5), (6, 5), (0, 0)):
        with pytest.raises(UsageError):
            wilson(k, n)
    with pytest.raises(UsageError, match="level"):
        wilson(1, 2, 0.0)


def test_groups_widen_the_interval_of_a_share() -> None:
    table = draw(200, cluster=4, shared=0.9, seed=3)
    alone = proportion(table.correct, codes=np.arange(200))
    grouped = proportion(table.correct, codes=table.codes)
    assert (alone.method, grouped.method) == ("wilson", "wilson-design-effect")
    assert alone.value == grouped.value
    assert _width(grouped) > 1.3 * _width(alone)


def test_effective_size_of_pure_copies_is_the_number_of_groups() -> None:
    codes = np.repeat(np.arange(400), 3)
    hits = np.repeat(np.arange(400) % 5 > 0, 3)
    assert effective_size(hits, codes=codes) == pytest.approx(400, rel=0.02)
    assert effective_size(np.ones(1200, dtype=bool), codes=codes) == pytest.approx(400)
    assert effective_size(hits, codes=np.zeros(1200, dtype=np.int64)) == 1
    assert effective_size(hits, codes=np.arange(1200)) == 1200


def test_coverage_with_groups_needs_the_design_effect() -> None:
    truth = NormalDist().cdf(1.2 / math.sqrt(2))
    covered = {"groups": 0, "alone": 0}
    for seed in range(200):
        table = draw(240, cluster=4, shared=0.95, shift=1.2, seed=seed)
        for name, codes in (("groups", table.codes), ("alone", np.arange(240))):
            one = proportion(table.correct, codes=codes)
            covered[name] += (one.low or 0) <= truth <= (one.high or 0)
    assert covered["groups"] / 200 > 0.92
    assert covered["alone"] / 200 < 0.85


def test_a_share_of_nothing_is_undefined_and_not_zero() -> None:
    empty = proportion(np.zeros(0, dtype=bool), codes=np.zeros(0, dtype=np.int64))
    assert empty == undefined("no rows")
    assert empty.value is None


def test_mean_of_shares_keeps_width_where_nothing_is_wrong() -> None:
    perfect = Estimate(1.0, *wilson(30, 30), "wilson")
    both = mean_of_shares([perfect, perfect])
    assert both.value == both.high == 1.0
    assert both.low == pytest.approx(1 - (1 - wilson(30, 30)[0]) / math.sqrt(2))


def test_resamples_draw_whole_groups_within_classes() -> None:
    codes = np.array([0, 0, 1, 2, 3, 3, 4])
    targets = np.array([0, 0, 0, 1, 1, 1, 1])
    blocks = list(resample_counts(codes, targets=targets, resamples=150, seed=1))
    counts = np.concatenate(blocks)
    assert counts.shape == (150, 7)
    assert (counts[:, 0] == counts[:, 1]).all()
    assert (counts[:, 4] == counts[:, 5]).all()
    assert (counts[:, [0, 2]].sum(1) == 2).all()
    assert (counts[:, [3, 4, 6]].sum(1) == 3).all()
    assert group_labels(codes, targets=targets).tolist() == [0, 0, 1, 1, 1]
    again = np.concatenate(list(resample_counts(codes, targets=targets, resamples=150, seed=1)))
    assert np.array_equal(counts, again)
    free = np.concatenate(list(resample_counts(codes, targets=None, resamples=500, seed=1)))
    assert (free.sum(1) != 7).any()
    with pytest.raises(UsageError, match="resamples"):
        next(resample_counts(codes, targets=None, resamples=10, seed=1))


@settings(max_examples=50, deadline=None)
@given(st.floats(0.0, 1.0), st.integers(0, 100), st.floats(1e-9, 0.3))
def test_a_resampled_interval_contains_its_value_and_stays_within_limits(
    value: float, seed: int, spread: float
) -> None:
    samples = np.random.default_rng(seed).normal(value, spread, 200).clip(0, 1)
    one = resampled(value, samples=samples, limits=(0, 1), known=Evidence(40, 0.08), method="bootstrap")
    assert one.low is not None
    assert one.high is not None
    assert 0 <= one.low <= value <= one.high <= 1
    assert one.high > one.low


def test_no_spread_in_the_resamples_is_no_certainty() -> None:
    known = evidence(np.arange(50), targets=np.arange(50) % 2, per_class=False)
    one = resampled(1.0, samples=np.ones(200), limits=(-1, 1), known=known, method="bootstrap")
    assert one.method == "unseen-outcome"
    assert one.low == pytest.approx(1 - 2 * wilson(0, 50)[1])
    gap = resampled_difference(0.0, samples=np.zeros(200), limits=(-1, 1), known=known, method="bootstrap")
    assert gap.low == -wilson(0, 50)[1] == -(gap.high or 0)


def test_evidence_of_a_mean_over_classes_is_that_of_its_smallest() -> None:
    targets = np.array([0] * 5 + [1] * 100)
    codes = np.array([0, 0, 1, 2, 3, *range(4, 104)])
    assert evidence(codes, targets=targets, per_class=True).groups == 4
    assert evidence(codes, targets=targets, per_class=False).groups == 104


def _width(one: Estimate) -> float:
    assert one.low is not None
    assert one.high is not None
    return one.high - one.low
