from __future__ import annotations

import itertools
import json
from decimal import ROUND_HALF_EVEN, ROUND_HALF_UP, Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from tumorscope.core.errors import UsageError
from tumorscope.evaluation.claims import check_claim, images_needed
from tumorscope.evaluation.intervals import wilson
from tumorscope.evaluation.printed import read_figure


def test_9996_on_1311_images_is_impossible() -> None:
    for figure in ("0.9996", "99.96%", "99.96", Decimal("0.9996"), " 99.96 % "):
        found = check_claim(accuracy=figure, n=1311)
        assert found.possible is False
        assert [(one.k, one.errors) for one in found.nearest] == [(1310, 1), (1311, 0)]
        assert found.smallest_n == 2223
        assert found.nearest_n == (2223,)
        assert "impossible" in found.sentences[0]
    assert [one.printed for one in check_claim(accuracy="99.96%", n=1311).nearest] == ["99.92%", "100.00%"]


def test_three_errors_in_7023_give_9996() -> None:
    found = check_claim(accuracy="99.96%", n=7023)
    assert found.possible is True
    assert found.by_rounding["half-up"] == {"fewest_right": 7020, "most_right": 7020}
    assert found.by_rounding["truncation"] is None
    assert "3 errors" in found.sentences[0]
    assert "but only by" in found.sentences[0]


def test_the_interval_is_that_of_the_counts_behind_the_figure() -> None:
    found = check_claim(accuracy="86.5%", n=156)
    assert found.interval.low == pytest.approx(wilson(135, 156)[0])
    assert (found.interval.low, found.interval.high) == pytest.approx((0.803, 0.910), abs=5e-4)
    wide = check_claim(accuracy="0.92", n=25)
    assert (wide.interval.low, wide.interval.high) == pytest.approx((0.75, 0.978), abs=5e-4)
    rough = check_claim(accuracy="0.9", n=1000)
    assert rough.by_rounding["half-up"] == {"fewest_right": 850, "most_right": 949}
    assert rough.interval.low == pytest.approx(wilson(850, 1000)[0])
    assert rough.interval.high == pytest.approx(wilson(949, 1000)[1])


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 400), st.integers(0, 4), st.data())
def test_every_true_figure_is_possible_and_every_impossible_one_is_not(
    n: int, decimals: int, data: st.DataObject
) -> None:
    step = Decimal(1).scaleb(-decimals)
    k = data.draw(st.integers(0, n))
    exact = Decimal(k) / Decimal(n)
    for rounding, name in ((ROUND_HALF_UP, "half-up"), (ROUND_HALF_EVEN, "half-even")):
        text = str(exact.quantize(step, rounding))
        counts = read_figure(text).ranges()[name].multiples(n)
        assert counts is not None
        assert counts[0] <= k <= counts[1]
    printed = Decimal(data.draw(st.integers(0, 10**decimals))) * step
    every = {str((Decimal(j) / n).quantize(step, ROUND_HALF_UP)) for j in range(n + 1)}
    assert (read_figure(str(printed)).ranges()["half-up"].multiples(n) is not None) == (str(printed) in every)


def test_counts_stay_within_the_images() -> None:
    assert check_claim(accuracy="1.00", n=1000).by_rounding["half-up"] == {"fewest_right": 995, "most_right": 1000}
    assert check_claim(accuracy="0.00", n=1000).by_rounding["half-up"] == {"fewest_right": 0, "most_right": 4}


def test_halves_go_up_or_to_even() -> None:
    """1/8 = 0.125 prints as 0.13 with halves up and as 0.12 with halves to even; 3/8 = 0.375 as 0.38."""
    assert check_claim(accuracy="0.13", n=8).by_rounding["half-even"] is None
    assert check_claim(accuracy="0.13", n=8).by_rounding["half-up"] is not None
    twelve = check_claim(accuracy="0.12", n=8)
    assert twelve.by_rounding["half-up"] is None
    assert twelve.by_rounding["half-even"] == twelve.by_rounding["truncation"]
    assert twelve.possible
    assert check_claim(accuracy="0.38", n=8).by_rounding["half-even"] is not None


def test_the_sizes_that_fit_agree_with_trying_each() -> None:
    for text, name in itertools.product(("0.9996", "0.7", "0.333", "1", "0"), ("half-up", "half-even", "truncation")):
        one = read_figure(text).ranges()[name]
        assert one.sizes_that_fit(900) == [n for n in range(1, 901) if one.multiples(n)]
    assert read_figure("0.8653846153846154").ranges()["half-up"].sizes_that_fit(200) == [52, 104, 156]


@pytest.mark.parametrize(
    ("text", "share", "decimals", "percent"),
    [
        ("0.9996", Fraction(9996, 10000), 4, False),
        ("99.96%", Fraction(9996, 10000), 4, True),
        ("92%", Fraction(92, 100), 2, True),
        ("92", Fraction(92, 100), 2, True),
        ("0.90", Fraction(9, 10), 2, False),
        ("100%", Fraction(1), 2, True),
        ("1.0", Fraction(1), 1, False),
        (".5", Fraction(1, 2), 1, False),
        (Decimal("1E-2"), Fraction(1, 100), 2, False),
    ],
)
def test_figures_are_read_as_printed(text: Any, share: Fraction, decimals: int, percent: bool) -> None:
    figure = read_figure(text)
    assert (figure.share, figure.decimals, figure.percent) == (share, decimals, percent)


@pytest.mark.parametrize("text", ["over 92%", "", "92,5%", "-0.5", "101%", "1e-3", "nan", Decimal("NaN"), 0.92, None])
def test_figures_that_are_none_are_refused(text: Any) -> None:
    with pytest.raises(UsageError, match="cannot be checked"):
        read_figure(text)


def test_a_percentage_without_its_sign_is_said() -> None:
    assert any("was read as 99.96%" in line for line in check_claim(accuracy="99.96", n=1311).sentences)
    assert not any("was read" in line for line in check_claim(accuracy="99.96%", n=1311).sentences)


def test_the_majority_class_is_checked_exactly() -> None:
    found = check_claim(accuracy="0.86", n=156, majority_share=114 / 156)
    assert found.majority is not None
    least = min(one["fewest_right"] for one in found.by_rounding.values() if one)
    assert found.majority.p_value == pytest.approx(binomtest(least, 156, 114 / 156, "greater").pvalue)
    assert found.majority.verdict == "above"
    low = check_claim(accuracy="0.75", n=156, majority_share=114 / 156)
    assert low.majority is not None
    assert low.majority.verdict == "not distinguishable"


@pytest.mark.parametrize(("share", "half_width"), [(0.5, 0.05), (0.865, 0.02), (0.9996, 0.01), (1.0, 0.05)])
def test_the_images_needed_are_just_enough(share: float, half_width: float) -> None:
    n = images_needed(share, half_width=half_width)
    low, high = wilson(share * n, n)
    assert (high - low) / 2 <= half_width
    low, high = wilson(share * (n - 1), n - 1)
    assert (high - low) / 2 > half_width
    assert check_claim(accuracy="0.5", n=10, half_width=0.03).needed == {"0.03": 1064}


def test_f1_is_possible_exactly_where_some_confusion_gives_it() -> None:
    n, positives = 14, 5
    pairs = list(itertools.product(range(positives + 1), range(n - positives + 1)))
    every = {Fraction(2 * tp, positives + tp + fp) for tp, fp in pairs}
    printed = {str((Decimal(f.numerator) / f.denominator).quantize(Decimal("0.01"), ROUND_HALF_UP)) for f in every}
    for i in range(101):
        text = str(Decimal(i).scaleb(-2))
        found = check_claim(accuracy=text, n=n, positives=positives, metric="f1").by_rounding["half-up"]
        assert (found is not None) == (text in printed), text
        if found:
            assert found["tp"] + found["fn"] == positives
            f1 = Decimal(2 * found["tp"]) / (2 * found["tp"] + found["fp"] + found["fn"])
            assert f1.quantize(Decimal("0.01"), ROUND_HALF_UP) == Decimal(text)


def test_f1_without_the_number_of_positives() -> None:
    assert check_claim(accuracy="0.9996", n=1000, metric="f1").possible is False
    assert check_claim(accuracy="0.9996", n=1311, metric="f1").possible is True
    assert check_claim(accuracy="0.9996", n=1311, metric="f1", positives=300).possible is False


def test_the_gap_below_a_perfect_weighted_f1_holds_for_every_confusion_of_few_images() -> None:
    n = 5
    for labels in itertools.combinations_with_replacement(range(3), n):
        if len(set(labels)) < 2:
            continue
        for answers in itertools.product(sorted(set(labels)), repeat=n):
            if answers != labels:
                assert _weighted_f1(labels, answers) < 1 - Fraction(5, 6 * n)


def _weighted_f1(labels: tuple[int, ...], answers: tuple[int, ...]) -> Fraction:
    total = Fraction(0)
    for c in set(labels):
        both = sum(a == b == c for a, b in zip(labels, answers, strict=True))
        total += labels.count(c) * Fraction(2 * both, labels.count(c) + answers.count(c))
    return total / len(labels)


def test_averaged_f1_is_decided_only_where_it_can_be() -> None:
    weighted = check_claim(accuracy="99.96%", n=1311, metric="weighted_f1")
    assert weighted.possible is False
    assert "0.99936" in weighted.sentences[0]
    assert weighted.interval.value is None
    assert check_claim(accuracy="0.9996", n=7023, metric="weighted_f1").possible is None
    assert check_claim(accuracy="0.9996", n=1311, metric="macro_f1").possible is None
    assert check_claim(accuracy="1.00", n=1311, metric="macro_f1").possible is True


def test_other_shares_use_the_same_arithmetic() -> None:
    assert check_claim(accuracy="0.95", n=10, metric="sensitivity").possible is False
    assert check_claim(accuracy="0.95", n=20, metric="specificity").possible is True


@pytest.mark.parametrize(
    "wrong",
    [
        {"n": 0},
        {"n": 2_000_000},
        {"metric": "auc"},
        {"majority_share": 73.1},
        {"half_width": 5.0},
        {"positives": 200, "metric": "f1"},
        {"half_width": 1e-5},
    ],
)
def test_numbers_out_of_range_are_refused(wrong: dict[str, Any]) -> None:
    right: dict[str, Any] = {"accuracy": "0.9", "n": 100}
    with pytest.raises(UsageError):
        check_claim(**(right | wrong))


def test_a_report_is_json() -> None:
    for metric in ("accuracy", "f1", "macro_f1"):
        found = check_claim(accuracy="0.91", n=156, metric=metric, majority_share=0.73)
        account = found.to_json()
        assert json.loads(json.dumps(account)) == account
        assert account["interval"]["value"] == found.interval.value
        assert np.isfinite(account["share"])
