from __future__ import annotations

import importlib.util
import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from tests.evaluation.helpers import draw, two_class
from tumorscope.evaluation.metrics import LIMITS, confusion_matrix, metric_values, point_values
from tumorscope.evaluation.predictions import Predictions


def by_scikit_learn(table: Predictions) -> dict[str, float]:
    t, p, probs = table.targets, table.predicted, table.probs
    columns = range(len(table.classes)) if table.positive_index is None else [table.positive_index]
    return {
        "accuracy": sk.accuracy_score(t, p),
        "balanced_accuracy": sk.balanced_accuracy_score(t, p),
        "macro_f1": sk.f1_score(t, p, average="macro"),
        "weighted_f1": sk.f1_score(t, p, average="weighted"),
        "mcc": sk.matthews_corrcoef(t, p),
        "auroc": float(np.mean([sk.roc_auc_score(t == c, probs[:, c]) for c in columns])),
        "auprc": float(np.mean([sk.average_precision_score(t == c, probs[:, c]) for c in columns])),
        "brier": float(((probs - np.eye(probs.shape[1])[t]) ** 2).sum(1).mean()),
        "ece": by_hand_ece(table),
    }


def by_hand_ece(table: Predictions) -> float:
    confidence, total = table.probs.max(1), 0.0
    for i in range(15):
        chosen = (confidence > i / 15) & (confidence <= (i + 1) / 15)
        if chosen.any():
            total += chosen.mean() * abs(table.correct[chosen].mean() - confidence[chosen].mean())
    return float(total)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4), st.floats(0, 3))
def test_all_metrics_agree_with_scikit_learn(seed: int, classes: int, shift: float) -> None:
    table = draw(120, classes=classes, shift=shift, seed=seed)
    coarse = np.round(table.probs * 20) / 20
    for one in (
        table,
        Predictions.build(
            table.paths,
            targets=table.targets,
            probs=coarse / coarse.sum(1, keepdims=True),
            classes=table.classes,
            positive=table.positive,
        ),
    ):
        assert point_values(one) == pytest.approx(by_scikit_learn(one), abs=1e-12)


def test_the_binary_brier_score_is_half_the_sum_definition() -> None:
    table = draw(100)
    half = sk.brier_score_loss(table.targets == 0, table.probs[:, 0])
    assert point_values(table)["brier"] == pytest.approx(2 * half)


def medmnist_evaluator(monkeypatch: pytest.MonkeyPatch) -> Any:
    """MedMNIST's evaluator without its package's own imports, which take seconds."""
    found = importlib.util.find_spec("medmnist")
    assert found is not None
    package: Any = ModuleType("medmnist")
    package.__path__ = found.submodule_search_locations
    for name in ("medmnist.info", "medmnist.evaluator"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.setitem(sys.modules, "medmnist", package)
    evaluator = importlib.import_module("medmnist.evaluator")
    for name in ("medmnist.info", "medmnist.evaluator"):
        monkeypatch.delitem(sys.modules, name)
    return evaluator


def test_all_metrics_agree_with_medmnist(monkeypatch: pytest.MonkeyPatch) -> None:
    evaluator = medmnist_evaluator(monkeypatch)
    for classes, task in ((2, "binary-class"), (4, "multi-class")):
        table = draw(156, classes=classes, seed=4)
        ours = point_values(table)
        labels = table.targets[:, None]
        assert evaluator.getACC(labels, table.probs, task) == pytest.approx(ours["accuracy"])
        assert evaluator.getAUC(labels, table.probs, task) == pytest.approx(ours["auroc"])


def test_counts_act_as_repeated_rows() -> None:
    for classes in (2, 4):
        table = draw(60, classes=classes)
        counts = np.random.default_rng(0).integers(0, 4, (5, 60))
        values = metric_values(table, counts.astype(np.float64))
        for i, row in enumerate(counts):
            rows = np.repeat(np.arange(60), row)
            again = Predictions.build(
                [str(j) for j in range(rows.size)],
                targets=table.targets[rows],
                probs=table.probs[rows],
                classes=table.classes,
                positive=table.positive,
            )
            expected = by_scikit_learn(again)
            assert {k: float(v[i]) for k, v in values.items()} == pytest.approx(expected, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.integers(2, 4))
def test_the_order_of_rows_changes_nothing_and_limits_hold(seed: int, classes: int) -> None:
    table = draw(50, classes=classes, seed=seed)
    mixed = table.take(np.random.default_rng(seed).permutation(50))
    values = point_values(table)
    assert point_values(mixed) == pytest.approx(values, abs=1e-12)
    assert all(LIMITS[k][0] <= v <= LIMITS[k][1] for k, v in values.items())


def test_a_constant_predictor_has_no_matthews_correlation() -> None:
    values = point_values(two_class([0, 1, 1], scores=[0.4, 0.4, 0.4]))
    assert np.isnan(values["mcc"])
    assert values["balanced_accuracy"] == 0.5
    assert values["auroc"] == 0.5


def test_one_class_alone_leaves_metrics_undefined_and_not_zero() -> None:
    values = point_values(two_class([1, 1, 1], scores=[0.4, 0.6, 0.2]))
    undefined = {k for k, v in values.items() if np.isnan(v)}
    assert undefined == {"balanced_accuracy", "mcc", "auroc", "auprc"}


def test_an_absent_class_is_left_out_of_averages() -> None:
    table = draw(80, classes=4, seed=2)
    keep = table.take(table.targets != 3)
    expected = np.mean([sk.roc_auc_score(keep.targets == c, keep.probs[:, c]) for c in range(3)])
    assert point_values(keep)["auroc"] == pytest.approx(expected)
    assert point_values(keep)["macro_f1"] == pytest.approx(sk.f1_score(keep.targets, keep.predicted, average="macro"))


def test_confusion_rows_are_labels() -> None:
    matrix = confusion_matrix(np.array([0, 0, 1]), predicted=np.array([1, 0, 1]), classes=3)
    assert matrix.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
