"""A planted truth: methods find the spot, maps without the model's knowledge do not, and the score says so."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import numpy as np
import pytest

from tests.explaining.planted import CLASSES, SIZE, cohort_of, spot_subject, spots
from tumorscope.core.errors import DataError, UsageError
from tumorscope.explaining.localisation import energy
from tumorscope.explaining.measuring import Boxed, Thresholds, measure, pooled, thresholds_on
from tumorscope.explaining.score import score
from tumorscope.explaining.sources import References, blinded

METHODS = ("grad-cam", "layer-cam", "hires-cam", "integrated-gradients", "occlusion")
CONTROLS = ("uniform", "centre", "edges", "brightness", "mean-box")


@cache
def _scored() -> dict[str, Any]:
    subject, rows = spot_subject(), spots(24, seed=3)
    return score(
        subject,
        cohort_of(rows, np.arange(24, dtype=np.int64) // 2),
        references=References(
            val=spots(8, seed=4),
            train_boxes=spots(30, seed=5).boxes,
            others={"shuffled": blinded(subject, seed=8, groups=1)},
        ),
    )


def test_the_account_is_json_and_complete() -> None:
    found = _scored()
    assert json.loads(json.dumps(found)) == found
    expected = [*METHODS, *(f"{m}@{o}" for m in METHODS for o in ("random-weights", "shuffled")), *CONTROLS]
    assert sorted(found["sources"]) == sorted(expected)
    assert list(found["not_applicable"]) == ["attention-gradients"]
    assert (found["n"], found["with_boxes"], found["searched"]) == (24, 24, 24)
    assert found["lesion_classes"] == list(CLASSES)
    for row in found["sources"].values():
        assert set(row["overall"]) == set(found["measures"])
        assert [row["per_class"][c]["n"] for c in CLASSES] == [12, 12]
        assert row["thresholds"]["chosen_on"] == 8
        for estimate in row["overall"].values():
            assert estimate["low"] <= estimate["value"] <= estimate["high"]
    for method in METHODS:
        others = {f"{method}@random-weights", f"{method}@shuffled", *CONTROLS}
        assert set(found["gaps"][method]) == others
        assert set(found["gaps"][f"{method}@random-weights"]) == set(CONTROLS)


@pytest.mark.parametrize("method", METHODS)
def test_methods_find_the_spot_and_beat_every_control(method: str) -> None:
    found = _scored()
    row = found["sources"][method]
    assert row["overall"]["pointing"]["value"] == 1
    assert all(row["per_class"][c]["pointing"]["value"] == 1 for c in CLASSES)
    assert row["overall"]["energy"]["value"] > 3 * found["sources"]["centre"]["overall"]["energy"]["value"]
    for control in CONTROLS:
        gap = found["gaps"][method][control]
        assert gap["pointing"]["better"] == (gap["pointing"]["low"] > 0)
        assert gap["pointing"]["better"]
        assert gap["energy"]["better"]
        assert not gap["energy"]["worse"]


def test_maps_that_know_nothing_do_not_find_it() -> None:
    found = _scored()["sources"]
    area = 36 / SIZE**2
    assert found["uniform"]["overall"]["pointing"]["value"] == pytest.approx(area)
    assert found["uniform"]["overall"]["energy"]["value"] == pytest.approx(area)
    assert found["centre"]["overall"]["pointing"]["value"] == 0
    for name in ("edges", *(f"{m}@random-weights" for m in METHODS)):
        # two spots, one of them the class's: no better than a coin
        assert found[name]["overall"]["pointing"]["low"] < 0.5


def test_two_equal_sources_are_not_better() -> None:
    found = _scored()["gaps"]
    same = [gap for per in found.values() for gaps in per.values() for gap in gaps.values() if gap["value"] == 0]
    assert same
    assert not any(gap["better"] or gap["worse"] for gap in same)


def test_a_blind_model_resembles_the_trained_one_less_and_less() -> None:
    for name, steps in _scored()["cascade"].items():
        slow = name in ("integrated-gradients", "occlusion")
        assert [s["groups"] for s in steps] == [1, 2]
        assert all((s["n"], s["draws"]) == ((8, 1) if slow else (24, 3)) for s in steps)
        assert steps[-1]["similarity"]["value"] < 0.9


def test_methods_are_chosen_and_progress_is_told() -> None:
    cohort, subject = cohort_of(spots(6)), spot_subject()
    told: list[tuple[str, int, int]] = []
    found = score(
        subject,
        cohort,
        methods=["grad-cam"],
        batch_size=4,
        progress=lambda what, done, total: told.append((what, done, total)),
    )
    assert [t[1:] for t in told if t[0] == "Grad-CAM"] == [(4, 6), (6, 6)]
    assert [t[1] for t in told if t[0] == "Grad-CAM, random weights, 3 draws"] == [4, 6, 10, 12, 16, 18]
    assert ("Grad-CAM, randomising", 2, 2) in told
    assert "mean-box" not in found["sources"]
    assert found["not_applicable"] == {}
    assert found["sources"]["grad-cam"]["thresholds"] == {"iou": 0.5, "box": 0.5, "chosen_on": 0, "energy": None}
    assert (found["best"], found["best_by"]) == ("grad-cam", "the scored images")
    with pytest.raises(UsageError, match="cannot be used"):
        score(subject, cohort, methods=["attention-gradients"])


def test_images_without_boxes_count_only_where_their_class_never_has_one() -> None:
    rows = spots(8)
    boxes = list(rows.boxes)
    boxes[0] = np.zeros((0, 4))  # class 0, not annotated
    targets = rows.targets.copy()
    targets[7] = 2  # a class without lesions
    boxes[7] = np.zeros((0, 4))
    mixed = Boxed(rows.images, tuple(boxes), targets)
    assert mixed.boxed.tolist() == [1, 2, 3, 4, 5, 6]
    assert mixed.lesion_classes.tolist() == [0, 1]
    assert mixed.searched.tolist() == [1, 2, 3, 4, 5, 6, 7]
    probs = np.full((8, 3), 1 / 3)
    probs[:, 1] += 0.1
    asked: list[int] = []

    def make(images: Any, classes: Any) -> Any:
        asked.extend(classes.tolist())
        return np.ones((len(images), SIZE, SIZE), dtype=np.float32)

    found = measure(mixed, make, probs=probs, thresholds=Thresholds(0.5, 0.5, 0), batch_size=10)
    # the most probable class with boxes for all, and each image's own class where that differs
    assert asked == [1] * 7 + [0] * 3
    assert found.matches["ap50"][0].truths.tolist() == [1] * 6 + [0]
    assert all(len(values) == 6 for values in found.values.values())
    assert found.empty == 0


def test_draws_are_averaged_and_none_is_chosen() -> None:
    rows = spots(6)
    probs = np.full((6, 2), 0.5)

    def at(column: int) -> Any:
        def make(images: Any, _targets: Any) -> Any:
            heat = np.zeros((len(images), SIZE, SIZE), dtype=np.float32)
            heat[:, :, column] = 1
            return heat

        return make

    draws = [
        measure(rows, at(c), probs=probs, thresholds=Thresholds(t, 0.5, 4), batch_size=6)
        for c, t in ((4, 0.2), (26, 0.4))
    ]
    found = pooled(draws)
    for name, values in found.values.items():
        assert np.allclose(values, (draws[0].values[name] + draws[1].values[name]) / 2)
    assert (found.thresholds.iou, found.thresholds.box) == pytest.approx((0.3, 0.5))
    assert [len(m) for m in found.matches.values()] == [2, 2]
    cohort = cohort_of(rows)
    separate = [cohort.precisions(d.matches)["ap30"].value for d in draws]
    assert cohort.precisions(found.matches)["ap30"].value == pytest.approx(np.mean(separate))


def test_a_part_of_a_cohort_keeps_its_groups() -> None:
    cohort = cohort_of(spots(12), np.arange(12, dtype=np.int64) // 3)
    part = cohort.take(np.array([0, 1, 2, 9]))
    assert part.codes.tolist() == [0, 0, 0, 3]
    assert np.array_equal(part.rows.images, cohort.rows.images[[0, 1, 2, 9]])
    assert cohort.drawn(5).tolist() == sorted(set(cohort.drawn(5).tolist()))
    assert cohort.drawn(99).tolist() == list(range(12))
    values = np.arange(12.0) / 12
    assert cohort.share(values[:3], np.arange(3)).value == pytest.approx(1 / 12)
    assert cohort.gap(values, values).value == 0


def test_thresholds_come_from_validation() -> None:
    val = spots(6, seed=9)

    def sharp(images: Any, _targets: Any) -> Any:
        """Full heat on a ring too large, 0.42 of it... the box alone above 0.6."""
        heat = np.zeros((len(images), SIZE, SIZE), dtype=np.float32)
        rows = [int(np.flatnonzero((val.images == image).all(axis=(1, 2, 3)))[0]) for image in images]
        for i, row in enumerate(rows):
            left, top, right, bottom = val.boxes[row][0].astype(int)
            heat[i, max(0, top - 3) : bottom + 3, max(0, left - 3) : right + 3] = 0.6
            heat[i, top:bottom, left:right] = 1
        return heat

    found = thresholds_on(val, sharp, batch_size=4)
    assert (found.iou, found.box, found.chosen_on) == (0.65, 0.65, 6)
    assert found.energy == pytest.approx(float(energy(sharp(val.images, None), val.masks(val.boxed)).mean()))
    assert thresholds_on(None, sharp, batch_size=4) == Thresholds(0.5, 0.5, 0)


def test_nothing_to_score_is_an_error() -> None:
    rows = spots(4)
    bare = Boxed(rows.images, (np.zeros((0, 4)),) * 4, rows.targets)
    with pytest.raises(DataError, match="none of 4 images has a box"):
        score(spot_subject(), cohort_of(bare))
    with pytest.raises(DataError, match="4 images, 3 sets of boxes, 4 targets"):
        Boxed(rows.images, rows.boxes[:3], rows.targets)
