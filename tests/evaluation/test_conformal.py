"""Prediction sets: their limits by hand, their coverage by simulation, and what they say of too few images."""

from __future__ import annotations

import numpy as np
import pytest

from tumorscope.core.errors import UsageError
from tumorscope.core.types import Probs, Targets
from tumorscope.evaluation.conformal import Conformal, describe_sets, fit_conformal, from_json
from tumorscope.evaluation.predictions import Predictions

CLASSES = ("a", "b", "c")


def _draw(n: int, rng: np.random.Generator) -> tuple[Probs, Targets]:
    """Probabilities that are right more often than not, classes of unequal size and difficulty."""
    targets = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    logits = rng.normal(size=(n, 3))
    logits[np.arange(n), targets] += np.array([2.0, 1.0, 0.5])[targets]
    probs = np.exp(logits)
    return probs / probs.sum(axis=1, keepdims=True), targets


def test_limits_by_hand() -> None:
    probs = np.array([[p, 1 - p] for p in (0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95)] + [[0.2, 0.8]])
    targets = np.array([0] * 9 + [1])
    found = fit_conformal(probs, targets, classes=("x", "y"), coverage=0.9)
    assert found.limits == (0.1, 0.0)  # the lowest of nine; one image rules nothing out
    assert fit_conformal(probs, targets, classes=("x", "y"), coverage=0.7).limits[0] == 0.5
    assert found.sets(np.array([[0.05, 0.95], [0.1, 0.9]])).tolist() == [[False, True], [True, True]]
    assert found.names(np.array([[0.05, 0.95]])) == [("y",)]
    assert found.counts == (9, 1)


@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_each_class_is_covered_as_promised(coverage: float) -> None:
    rng = np.random.default_rng(0)
    shares = []
    for _ in range(300):
        fitted = fit_conformal(*_draw(200, rng), classes=CLASSES, coverage=coverage)
        probs, targets = _draw(400, rng)
        held = fitted.sets(probs)[np.arange(400), targets]
        shares.append([held[targets == c].mean() for c in range(3)])
    means = np.mean(shares, axis=0)
    assert (means >= coverage - 0.01).all()
    assert (means <= coverage + 0.08).all()  # not by taking every class in


def test_a_sure_wrong_model_gets_large_sets() -> None:
    rng = np.random.default_rng(1)
    probs, targets = _draw(400, rng)
    good = fit_conformal(probs, targets, classes=CLASSES)
    bad = fit_conformal(probs, rng.permutation(targets), classes=CLASSES)
    assert bad.sets(probs).sum(axis=1).mean() > 2.4 > good.sets(probs).sum(axis=1).mean()


def test_it_is_kept_and_read_back() -> None:
    fitted = fit_conformal(*_draw(100, np.random.default_rng(2)), classes=CLASSES)
    assert from_json(fitted.to_json(), CLASSES) == fitted
    with pytest.raises(KeyError):
        from_json(fitted.to_json(), ("a", "b", "other"))


def test_the_description_counts() -> None:
    fitted = fit_conformal(*_draw(300, np.random.default_rng(3)), classes=CLASSES)
    probs, targets = _draw(500, np.random.default_rng(4))
    table = Predictions.build(
        [f"{i}.png" for i in range(500)], targets=targets, probs=probs, classes=CLASSES, positive=None, split="test"
    )
    found = describe_sets(fitted, table)
    held = fitted.sets(probs)[np.arange(500), targets]
    assert found["coverage"]["value"] == pytest.approx(held.mean())
    assert found["coverage"]["low"] < held.mean() < found["coverage"]["high"]
    assert sum(part["n"] for part in found["by_class"].values()) == found["n"] == 500
    assert found["mean_size"] == pytest.approx(fitted.sets(probs).sum(axis=1).mean())
    assert found["never_ruled_out"] == []


def test_bad_input() -> None:
    probs, targets = _draw(50, np.random.default_rng(5))
    with pytest.raises(UsageError, match="coverage 1"):
        fit_conformal(probs, targets, classes=CLASSES, coverage=1)


def test_a_class_without_validation_images_is_never_ruled_out() -> None:
    probs, targets = _draw(200, np.random.default_rng(6))
    fitted = fit_conformal(probs[targets != 2], targets[targets != 2], classes=CLASSES)
    assert fitted.counts[2] == 0
    assert fitted.sets(probs)[:, 2].all()
    assert not fitted.sets(probs)[:, 0].all()


def test_no_class_is_named_where_the_set_does_not_support_one() -> None:
    sets = Conformal(CLASSES, 0.9, (0.3, 0.2, 0.6), (20, 20, 20))
    probs = np.array([[0.7, 0.15, 0.15], [0.4, 0.35, 0.25], [0.1, 0.15, 0.75], [0.25, 0.19, 0.56], [0.1, 0.4, 0.5]])
    reasons = sets.abstentions(probs)
    assert reasons[:3] == ["", "", ""]
    assert "no class is as probable" in reasons[3]
    assert reasons[4] == "the most probable class, c, is ruled out"
    assert sets.abstentions(probs, most=1)[1] == "cannot rule out 2 of 3 classes"
    loose = Conformal(CLASSES, 0.9, (0.01, 0.01, 0.01), (20, 20, 20))
    assert loose.abstentions(probs)[1] == "cannot rule out 3 of 3 classes"
    # a class that is in every set for want of images would silence the model for good
    unsure = Conformal(CLASSES, 0.9, (0.01, 0.0, 0.01), (20, 3, 20))
    assert unsure.abstentions(probs) == [""] * 5


def test_abstention_is_counted_beside_the_accuracy_of_what_is_answered() -> None:
    sets = Conformal(("x", "y"), 0.9, (0.4, 0.4), (20, 20))
    probs = np.array([[0.9, 0.1], [0.1, 0.9], [0.55, 0.45], [0.2, 0.8]])
    table = Predictions.build(["1", "2", "3", "4"], targets=np.array([0, 1, 1, 0]), probs=probs, classes=("x", "y"))
    told = describe_sets(sets, table)["abstention"]
    assert told["share"]["value"] == 0.25
    assert (told["n"], told["n_answered"]) == (4, 3)
    assert told["accuracy_answered"]["value"] == pytest.approx(2 / 3)
    assert told["share"]["low"] < 0.25 < told["share"]["high"]
