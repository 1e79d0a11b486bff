from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import t as student

from tests.evaluation.helpers import draw, two_class
from tumorscope.core.errors import DataError
from tumorscope.evaluation.metrics import LIMITS, point_values
from tumorscope.evaluation.predictions import Predictions
from tumorscope.evaluation.repeated import aggregate_repeats, aggregate_seeds, compare_repeated, pool_folds


def seeds(count: int, *, shift: float = 1.5, first: int = 0, n: int = 120) -> list[Predictions]:
    return [draw(n, shift=shift, seed=first + i, label_seed=42) for i in range(count)]


def test_seeds_give_mean_spread_and_t_interval() -> None:
    runs = seeds(5)
    found = aggregate_seeds(runs, bootstrap=150)
    assert (found.kind, found.runs, found.n) == ("seeds", 5, 120)
    for name in LIMITS:
        values = [point_values(run)[name] for run in runs]
        one = found.metrics[name]
        assert one.per_run == pytest.approx(values)
        assert one.mean.value == pytest.approx(np.mean(values))
        assert one.sd == pytest.approx(np.std(values, ddof=1))
        assert (one.low, one.high) == pytest.approx((min(values), max(values)))
        half = student.ppf(0.975, 4) * np.std(values, ddof=1) / np.sqrt(5)
        assert one.over_seeds.high == pytest.approx(min(np.mean(values) + half, LIMITS[name][1]))
        assert (one.mean.low or 0) <= np.mean(values) <= (one.mean.high or 0)
    account = found.to_json()
    assert json.loads(json.dumps(account)) == account


def test_more_seeds_do_not_narrow_the_interval_over_images_to_nothing() -> None:
    """The same model ten times is one model: the interval over images stays as it is."""
    run = draw(120)
    once, ten = (aggregate_seeds([run] * k, bootstrap=200).metrics["mcc"] for k in (1, 10))
    assert ten.mean == once.mean
    assert ten.over_seeds.value is None
    assert once.sd is None


def test_the_order_of_rows_in_a_run_changes_nothing() -> None:
    runs = seeds(3)
    mixed = [run.take(np.random.default_rng(i).permutation(120)) for i, run in enumerate(runs)]
    one, other = (aggregate_seeds(part, bootstrap=100).to_json() for part in (runs, mixed))
    assert other == one


def test_folds_are_pooled_to_one_answer_for_each_image() -> None:
    table = draw(100)
    folds = [table.take(np.arange(i, 100, 5)) for i in range(5)]
    pooled = pool_folds(folds)
    assert pooled.split == "out-of-fold"
    assert sorted(pooled.paths) == sorted(table.paths)
    assert point_values(pooled) == pytest.approx(point_values(table))
    found = aggregate_repeats([pooled, pooled], bootstrap=100)
    assert found.metrics["accuracy"].over_seeds.method == (
        "undefined: repeats of a cross-validation are not independent"
    )
    assert any("Bengio and Grandvalet 2004" in note for note in found.notes)


def test_folds_that_leak_are_refused() -> None:
    table = draw(100, cluster=4)
    with pytest.raises(DataError, match="held out in fold 0 and in fold 1"):
        pool_folds([table.take(np.arange(50)), table.take(np.arange(49, 100))])
    with pytest.raises(DataError, match="group 'patient:p12'"):
        pool_folds([table.take(np.arange(50)), table.take(np.arange(50, 100))])
    with pytest.raises(DataError, match="different classes"):
        pool_folds([draw(10), draw(10, classes=4)])
    with pytest.raises(DataError, match="no folds"):
        pool_folds([])


def test_runs_on_other_images_are_refused() -> None:
    runs = seeds(2)
    with pytest.raises(DataError, match="run 2 has 100 images, run 1 120"):
        aggregate_seeds([runs[0], runs[1].take(np.arange(100))])
    with pytest.raises(DataError, match="same images and groups"):
        aggregate_seeds([runs[0], replace(runs[1], groups=("g",) * 120)])
    with pytest.raises(DataError, match="no runs"):
        aggregate_seeds([])
    with pytest.raises(DataError, match="no runs"):
        compare_repeated(runs, [])


def test_repeated_runs_are_compared_on_the_same_images() -> None:
    good, poor, again = seeds(4, shift=3.0), seeds(4, shift=0.8, first=50), seeds(4, shift=3.0, first=90)
    found = compare_repeated(good, poor, bootstrap=200)
    for name in LIMITS:
        wanted = "worse" if name in ("brier", "ece") else "better"
        if name == "brier":
            assert (found[name].difference.value or 0) < 0, wanted
        elif name != "ece":
            assert found[name].verdict == wanted
    same = compare_repeated(good, again, bootstrap=200)
    assert same["accuracy"].verdict == "not distinguishable"
    back = compare_repeated(poor, good, bootstrap=200)
    assert back["mcc"].difference.value == pytest.approx(-(found["mcc"].difference.value or 0))


def test_groups_widen_the_interval_of_the_mean() -> None:
    tables = [draw(160, cluster=4, shared=0.95, seed=s, label_seed=1) for s in range(3)]
    grouped = aggregate_seeds([tables[0]] * 2, bootstrap=300).metrics["accuracy"].mean
    alone = [replace(table, groups=table.paths) for table in tables]
    narrow = aggregate_seeds([alone[0]] * 2, bootstrap=300).metrics["accuracy"].mean
    assert grouped.method == "bootstrap-groups-of-mean-logit"
    assert (grouped.high or 0) - (grouped.low or 0) > 1.3 * ((narrow.high or 0) - (narrow.low or 0))


def test_a_metric_that_one_run_lacks_is_averaged_over_the_rest() -> None:
    varied = two_class([0, 1, 0, 1, 1], scores=[0.9, 0.2, 0.4, 0.1, 0.7])
    constant = two_class([0, 1, 0, 1, 1], scores=[0.1] * 5)
    one = aggregate_seeds([varied, constant], bootstrap=100).metrics["mcc"]
    assert one.per_run[1] is None
    assert one.mean.value == one.per_run[0]
    none = aggregate_seeds([constant], bootstrap=100).metrics["mcc"]
    assert (none.mean.value, none.low) == (None, None)
