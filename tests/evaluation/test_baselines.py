from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binomtest

from tests.evaluation.helpers import draw
from tumorscope.core.errors import DataError
from tumorscope.core.types import Estimate
from tumorscope.evaluation.baselines import beats, histogram_baseline, majority_class
from tumorscope.evaluation.evaluation import evaluate
from tumorscope.evaluation.paired import compare_correct, decide, holm, mcnemar_exact
from tumorscope.evaluation.predictions import Predictions


def test_the_majority_class_comes_from_the_training_counts() -> None:
    assert majority_class({"a": 1, "b": 3}, classes=("a", "b", "c")) == "b"
    assert majority_class({"b": 3, "a": 3}, classes=("a", "b")) == "a"
    for counts in ({"d": 4}, {}, {"a": 0}, {"a": -1, "b": 5}):
        with pytest.raises(DataError, match="training counts"):
            majority_class(counts, classes=("a", "b"))


@pytest.mark.real
def test_the_majority_class_of_breastmnist_is_right_114_times_in_156(real_data: Path) -> None:
    arrays = np.load(real_data / "breastmnist" / "breastmnist.npz")
    train, test = (arrays[f"{split}_labels"].ravel().astype(np.int64) for split in ("train", "test"))
    table = Predictions.build(
        [str(i) for i in range(test.size)],
        targets=test,
        probs=np.tile([0.4, 0.6], (test.size, 1)),
        classes=("malignant", "normal or benign"),
        positive="malignant",
    )
    counts = {name: int((train == c).sum()) for c, name in enumerate(table.classes)}
    found = evaluate(table, train_counts=counts, bootstrap=100)
    baseline = found.baselines["majority_class"]
    assert baseline is not None
    assert baseline.label == "normal or benign"
    assert baseline.accuracy.value == 114 / 156
    assert baseline.paired.verdict == "not distinguishable"
    assert {"EVAL001", "EVAL005"} <= {one.code for one in found.warnings}


def test_the_histogram_baseline_learns_brightness_and_nothing_from_noise() -> None:
    rng = np.random.default_rng(0)
    targets = rng.integers(0, 3, 300)
    bright = rng.poisson(5, (300, 16)) + 10 * np.eye(16)[targets * 5]
    probs = histogram_baseline(
        bright[:200], train_targets=targets[:200], test_hist=bright[200:], classes=("a", "b", "c", "d")
    )
    assert probs.shape == (100, 4)
    assert probs.sum(1) == pytest.approx(np.ones(100))
    assert (probs[:, 3] == 0).all()
    assert (probs.argmax(1) == targets[200:]).mean() > 0.85
    noise = rng.poisson(5, (300, 16)).astype(np.float64)
    guess = histogram_baseline(noise[:200], train_targets=targets[:200], test_hist=noise[200:], classes=("a", "b", "c"))
    assert (guess.argmax(1) == targets[200:]).mean() < 0.55


def test_histograms_that_do_not_fit_are_refused() -> None:
    good, targets = np.zeros((4, 8)), np.array([0, 1, 0, 1])
    wrong = [
        (good, targets, np.zeros((2, 7))),
        (good, targets[:3], good),
        (np.full((4, 8), np.nan), targets, good),
        (good, np.zeros(4, dtype=np.int64), good),
        (good, targets + 1, good),
        (good, targets, np.full((4, 8), np.inf)),
    ]
    for train, labels, test in wrong:
        with pytest.raises(DataError):
            histogram_baseline(train, train_targets=labels, test_hist=test, classes=("a", "b"))


def test_a_good_model_beats_and_a_reversed_one_loses() -> None:
    table = draw(200, shift=2.5)
    coin = np.random.default_rng(5).integers(0, 2, 200)
    won = beats(table, baseline=coin, bootstrap=200)
    assert won.verdict == "better"
    assert (won.difference.low or 0) > 0.2
    wrong = table.take(np.arange(200))
    lost = beats(wrong, baseline=table.targets, bootstrap=200)
    assert lost.verdict == "worse"
    assert lost.only_first == 0
    same = beats(table, baseline=table.predicted, bootstrap=200)
    assert (same.verdict, same.p_value, same.difference.method) == (
        "not distinguishable",
        1.0,
        "unseen-outcome",
    )
    with pytest.raises(DataError, match="baseline answers"):
        beats(table, baseline=coin[:10])


@pytest.mark.parametrize(("first", "second"), [(0, 0), (1, 0), (5, 0), (6, 0), (12, 5), (40, 40), (900, 1000)])
def test_mcnemar_agrees_with_the_binomial_test(first: int, second: int) -> None:
    expected = binomtest(first, first + second).pvalue if first + second else 1.0
    assert mcnemar_exact(first, second) == pytest.approx(expected)


def test_copies_of_one_image_are_no_evidence() -> None:
    """Twelve copies of a single disagreement: McNemar alone would call it, whole groups do not."""
    first = np.ones(72, dtype=bool)
    second = np.r_[np.zeros(12, dtype=bool), np.ones(60, dtype=bool)]
    alone = compare_correct(first, second=second, codes=np.arange(72), bootstrap=500, seed=0)
    assert alone.verdict == "better"
    codes = np.r_[np.zeros(12, dtype=np.int64), np.arange(1, 61)]
    grouped = compare_correct(first, second=second, codes=codes, bootstrap=500, seed=0)
    assert grouped.p_value < 0.001
    assert grouped.verdict == "not distinguishable"


def test_a_verdict_needs_interval_and_p() -> None:
    assert decide(Estimate(0.1, 0.02, 0.2, "x"), p_value=0.01) == "better"
    assert decide(Estimate(-0.1, -0.2, -0.02, "x"), p_value=None) == "worse"
    assert decide(Estimate(0.1, 0.02, 0.2, "x"), p_value=0.06) == "not distinguishable"
    assert decide(Estimate(0.1, -0.02, 0.2, "x"), p_value=0.01) == "not distinguishable"
    assert decide(Estimate(None, None, None, "x"), p_value=None) == "not distinguishable"


def test_holm_by_hand() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx((0.03, 0.06, 0.06))
    assert holm([0.9, 0.8]) == (1.0, 1.0)
    assert holm([]) == ()
