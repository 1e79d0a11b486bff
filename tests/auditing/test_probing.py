from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import balanced_accuracy_score

from tests.auditing.materials import NAMES, Item, material, noise, two_classes
from tumorscope.auditing.check import Answer
from tumorscope.auditing.probing import (
    MARGIN,
    MakeModel,
    Sample,
    balanced_accuracy,
    draw,
    forest_model,
    out_of_fold,
    tree_model,
)


def sample(*, each: int = 40, per_patient: int = 1, most: int | None = None, seed: int = 0) -> Sample:
    items = two_classes(lambda rng, second: noise(rng, side=16), each=each)
    named = [replace(item, patient=f"{item.label}{i // 2 // per_patient}") for i, item in enumerate(items)]
    drawn = draw(material(named, seed=seed), most=most)
    assert not isinstance(drawn, Answer)
    return drawn


def test_no_fold_tears_a_group_and_each_has_both_classes() -> None:
    drawn = sample(per_patient=4)
    assert drawn.groups == 20
    for group in range(drawn.groups):
        assert np.unique(drawn.folds[drawn.codes == group]).size == 1
    for fold in range(5):
        assert set(drawn.targets[drawn.folds == fold].tolist()) == {0, 1}


def test_small_classes_are_kept_whole() -> None:
    rng = np.random.default_rng(0)
    pixels = noise(rng, side=16)
    counts = {"a": 12, "b": 40, "c": 300}
    items = [Item(label, pixels) for label, count in counts.items() for _ in range(count)]
    drawn = draw(material(items), most=120)
    assert not isinstance(drawn, Answer)
    assert np.bincount(drawn.targets).tolist() == [12, 40, 68]
    assert (np.diff(drawn.rows) > 0).all()
    assert "120 of 352 images" in drawn.words
    again = draw(material(items, seed=1), most=120)
    assert not isinstance(again, Answer)
    assert again.rows.tolist() != drawn.rows.tolist()


def test_value_is_the_balanced_accuracy_and_lies_in_its_interval() -> None:
    drawn = sample(per_patient=2)
    rng = np.random.default_rng(3)
    guesses = np.where(rng.random(len(drawn)) < 0.7, drawn.targets, 1 - drawn.targets).astype(np.int64)
    estimate = balanced_accuracy(drawn, guesses, seed=0)
    assert estimate.value == pytest.approx(balanced_accuracy_score(drawn.targets, guesses))
    assert estimate.low is not None
    assert estimate.high is not None
    assert estimate.low < balanced_accuracy_score(drawn.targets, guesses) < estimate.high
    assert balanced_accuracy(drawn, guesses, seed=0) == estimate


def test_groups_that_stand_or_fall_together_widen_the_interval() -> None:
    single, grouped = sample(each=40), sample(each=40, per_patient=4)
    rng = np.random.default_rng(0)
    right = rng.permutation(np.arange(grouped.groups)) % 3 > 0
    widths = []
    for one in (single, grouped):
        guesses = np.where(right[grouped.codes], one.targets, 1 - one.targets).astype(np.int64)
        estimate = balanced_accuracy(one, guesses, seed=0)
        widths.append((estimate.high or 0) - (estimate.low or 0))
    assert widths[1] > 1.5 * widths[0]


@pytest.mark.parametrize("model", [forest_model, tree_model])
def test_noise_does_not_get_clear_of_chance(model: MakeModel) -> None:
    for seed in range(4):
        drawn = sample(each=50, seed=seed)
        features = np.random.default_rng([seed, 9]).normal(size=(100, 10))
        predicted = out_of_fold(drawn, features, make_model=model).argmax(1).astype(np.int64)
        assert (balanced_accuracy(drawn, predicted, seed=seed).low or 0) <= drawn.chance + MARGIN


def test_a_fold_without_a_class_leaves_its_probability_zero() -> None:
    drawn = sample()
    lone = Sample(drawn.rows, drawn.targets, drawn.codes, drawn.targets.copy(), NAMES, 80)
    probs = out_of_fold(lone, np.zeros((80, 2)), make_model=tree_model)
    assert (probs.argmax(1) == 1 - lone.targets).all()
    assert (probs.sum(1) == 1).all()
