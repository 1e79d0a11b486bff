from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.evaluation.helpers import draw, two_class
from tumorscope.core.errors import DataError, UsageError
from tumorscope.evaluation.comparison import compare, compare_many, match
from tumorscope.evaluation.predictions import Predictions


def pair(classes: int = 2) -> tuple[Predictions, Predictions]:
    good = draw(200, classes=classes, shift=3.0, seed=1, label_seed=7)
    poor = draw(200, classes=classes, shift=0.7, seed=2, label_seed=7)
    return good, poor


@pytest.mark.parametrize("classes", [2, 4])
def test_a_better_model_is_called_better_and_the_reverse_worse(classes: int) -> None:
    good, poor = pair(classes)
    one = compare(good, poor, names=("resnet", "tiny"), bootstrap=300)
    assert (one.verdict, one.area_verdict, one.n, one.notes) == ("better", "better", 200, ())
    assert one.sentence().startswith("resnet is better than tiny in accuracy on 200 images")
    back = compare(poor, good, bootstrap=300)
    assert (back.verdict, back.area_verdict) == ("worse", "worse")
    assert back.paired.difference.value == -(one.paired.difference.value or 0)
    account = one.to_json()
    assert json.loads(json.dumps(account)) == account


def test_two_equal_models_are_not_distinguishable() -> None:
    a, b = draw(150, seed=1, label_seed=3), draw(150, seed=2, label_seed=3)
    one = compare(a, b, bootstrap=300)
    assert one.verdict == one.area_verdict == "not distinguishable"
    assert "not distinguishable" in one.sentence()
    assert compare(a, a, bootstrap=100).paired.p_value == 1.0


def test_images_are_matched_by_path_whatever_their_order() -> None:
    a, b = pair()
    mixed = b.take(np.random.default_rng(0).permutation(200))
    assert compare(a, mixed, bootstrap=100).to_json() == compare(a, b, bootstrap=100).to_json()


def test_only_shared_images_count_and_the_rest_is_said() -> None:
    a, b = pair()
    one = compare(a.take(np.arange(150)), b.take(np.arange(50, 200)), names=("x", "y"), bootstrap=100)
    assert one.n == 100
    assert one.notes == (
        "50 of 150 images of x are not among the 100 shared",
        "50 of 150 images of y are not among the 100 shared",
    )


def test_classes_in_another_order_are_put_right() -> None:
    a, b = pair(4)
    order = [1, 2, 3, 0]
    turned = replace(
        b,
        classes=tuple(b.classes[i] for i in order),
        probs=b.probs[:, order],
        targets=(b.targets - 1) % 4,
    )
    assert compare(a, turned, bootstrap=100).to_json() == compare(a, b, bootstrap=100).to_json()


def test_what_cannot_be_compared_is_refused() -> None:
    a, b = pair()
    with pytest.raises(DataError, match="no image in common"):
        compare(a, replace(b, paths=tuple(f"x{p}" for p in b.paths)))
    with pytest.raises(DataError, match="classes"):
        compare(a, replace(b, classes=("malignant", "other")))
    with pytest.raises(DataError, match="positive"):
        compare(a, replace(b, positive="benign"))
    flipped = b.targets.copy()
    flipped[5] = 1 - flipped[5]
    with pytest.raises(DataError, match="1 of 200 shared images have another label"):
        compare(a, replace(b, targets=flipped))


def test_groups_of_the_better_informed_table_are_used() -> None:
    a, b = pair()
    known = replace(b, groups=tuple(str(i // 4) for i in range(200)))
    first, second, notes = match(a, known, names=("a", "b"))
    assert first.groups == second.groups == known.groups
    assert any("different groups" in note for note in notes)
    assert compare(a, known, bootstrap=100).paired.difference.method == "bootstrap-groups-percentile"


def test_another_split_than_test_is_said() -> None:
    a, b = pair()
    assert any("val" in note for note in compare(a, replace(b, split="val"), bootstrap=100).notes)


def test_one_class_alone_leaves_the_area_undefined() -> None:
    one = two_class([1, 1, 1], scores=[0.2, 0.6, 0.1])
    found = compare(one, one, bootstrap=100)
    assert found.area.difference.value is None
    assert found.area_verdict == "not distinguishable"


def test_several_runs_are_corrected_for_their_number() -> None:
    runs = {f"r{i}": draw(300, shift=1.5 + 0.35 * i, seed=i, label_seed=9) for i in range(3)}
    found = compare_many(runs, bootstrap=200)
    assert [one.names for one in found] == [("r0", "r1"), ("r0", "r2"), ("r1", "r2")]
    for one in found:
        assert one.adjusted is not None
        assert one.adjusted[0] >= one.paired.p_value
        if one.adjusted[0] >= 0.05:
            assert one.verdict == "not distinguishable"
        assert "Holm-adjusted" in one.sentence()
    against = compare_many(runs, reference="r0", bootstrap=200)
    assert [one.names for one in against] == [("r1", "r0"), ("r2", "r0")]
    with pytest.raises(UsageError, match="reference"):
        compare_many(runs, reference="none")
    with pytest.raises(UsageError):
        compare_many({"one": runs["r0"]})


def test_correction_takes_back_a_verdict() -> None:
    """p = 0.03 for one pair is a finding; among ten pairs of equal models it is what chance gives."""
    base = draw(100, shift=8, seed=1, label_seed=2)
    wrong = base.probs.copy()
    wrong[:6] = wrong[:6, ::-1]
    worse = replace(base, probs=wrong)
    assert compare(base, worse, bootstrap=300).verdict == "better"
    many = compare_many({"a": base, "b": worse, **{f"c{i}": base for i in range(3)}}, bootstrap=300)
    assert {one.verdict for one in many} == {"not distinguishable"}
