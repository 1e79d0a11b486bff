from __future__ import annotations

import numpy as np
import pytest

from tests.evaluation.helpers import draw
from tumorscope.core.errors import DataError, UsageError
from tumorscope.evaluation.calibration import (
    TEMPERATURE_BOUNDS,
    apply_temperature,
    describe_temperature,
    ece_if_calibrated,
    fit_temperature,
    negative_log_likelihood,
    reliability_bins,
    softmax,
)
from tumorscope.evaluation.metrics import point_values


@pytest.mark.parametrize("sharpness", [0.4, 1.0, 3.0])
def test_the_temperature_undoes_a_known_sharpening(sharpness: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 3)) * 2
    targets = np.array([rng.choice(3, p=row) for row in softmax(logits)])
    found = fit_temperature(logits * sharpness, targets)
    assert found == pytest.approx(sharpness, rel=0.06)
    account = describe_temperature(logits * sharpness, targets=targets, temperature=found)
    assert account.nll_after <= account.nll_before
    assert not account.at_bound


def test_the_temperature_is_the_best_of_many() -> None:
    rng = np.random.default_rng(3)
    logits, targets = rng.normal(size=(78, 2)) * 4, rng.integers(0, 2, 78)
    best = negative_log_likelihood(logits, targets=targets, temperature=fit_temperature(logits, targets))
    tried = [negative_log_likelihood(logits, targets=targets, temperature=t) for t in np.geomspace(0.1, 10, 400)]
    assert best <= min(tried) + 1e-9


def test_without_errors_the_search_ends_at_the_bound_and_says_so() -> None:
    logits = np.array([[3.0, 0.0], [0.0, 3.0]])
    targets = np.array([0, 1])
    low, high = TEMPERATURE_BOUNDS
    assert fit_temperature(logits, targets) == low
    assert fit_temperature(logits, targets[::-1]) == high
    assert describe_temperature(logits, targets=targets, temperature=low).at_bound


def test_softmax_is_stable_and_keeps_the_order() -> None:
    probs = softmax(np.array([[1000.0, 0.0], [-1000.0, 0.0]]))
    assert probs.tolist() == [[1.0, 0.0], [0.0, 1.0]]
    logits = np.random.default_rng(0).normal(size=(50, 4))
    assert np.array_equal(apply_temperature(logits, 7.0).argmax(1), logits.argmax(1))
    assert apply_temperature(logits, 2.0) == pytest.approx(softmax(logits / 2))


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(DataError, match="not finite"):
        softmax(np.array([[np.nan, 0.0]]))
    for targets in (np.array([0]), np.array([0, 2]), np.array([-1, 0])):
        with pytest.raises(DataError, match="rows of logits"):
            fit_temperature(np.zeros((2, 2)), targets)
    for temperature in (0.0, -1.0, float("nan")):
        with pytest.raises(UsageError, match="temperature"):
            apply_temperature(np.zeros((1, 2)), temperature)


def test_bins_add_up_to_the_calibration_error() -> None:
    table = draw(300, classes=4)
    bins = reliability_bins(table)
    assert len(bins) == 15
    assert sum(one.n for one in bins) == 300
    gaps = [one.n / 300 * abs((one.accuracy.value or 0) - one.confidence) for one in bins if one.confidence]
    assert sum(gaps) == pytest.approx(point_values(table)["ece"])
    empty = [one for one in bins if one.n == 0]
    assert empty
    assert all(one.accuracy.value is None and one.confidence is None for one in empty)


def test_a_calibrated_model_shows_an_error_that_falls_with_size() -> None:
    rng = np.random.default_rng(0)
    small, large = (ece_if_calibrated(rng.uniform(0.5, 1, n), seed=0, simulations=300) for n in (156, 2500))
    assert small.value is not None
    assert large.value is not None
    assert 0.045 < small.value < 0.09
    assert large.value < small.value / 3
    assert ece_if_calibrated(np.full(20, 0.8), seed=1) == ece_if_calibrated(np.full(20, 0.8), seed=1)
