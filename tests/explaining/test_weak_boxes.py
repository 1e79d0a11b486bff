"""Boxes from heat, and average precision worked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tumorscope.explaining.weak_boxes import Matches, Precision, average_precision, box_iou, boxes_of, match
from tumorscope.imaging.boxes import Boxes

NONE = np.zeros((0, 4))


def _box(left: float, top: float, right: float, bottom: float) -> Boxes:
    return np.array([[left, top, right, bottom]], dtype=np.float64)


def _sure(*values: float) -> NDArray[np.float64]:
    return np.array(values, dtype=np.float64)


def test_boxes_enclose_connected_parts_most_heat_first() -> None:
    heat = np.zeros((10, 10), dtype=np.float32)
    heat[1:3, 1:4] = 5  # 30
    heat[3, 4] = 5  # touches by a corner: 35 in all
    heat[7:9, 6:8] = 10  # 40
    heat[9, 0] = 2  # below half of the maximum
    boxes, shares = boxes_of(heat, threshold=0.5)
    assert boxes.tolist() == [[6, 7, 8, 9], [1, 1, 5, 4]]
    assert shares == pytest.approx([40 / 77, 35 / 77])
    assert boxes_of(heat, threshold=0.5, most=1)[0].tolist() == [[6, 7, 8, 9]]
    assert len(boxes_of(heat, threshold=0.2)[0]) == 3
    assert boxes_of(np.zeros((4, 4), dtype=np.float32), threshold=0.5)[0].tolist() == [[0, 0, 4, 4]]


def test_box_iou() -> None:
    first = np.array([[0.0, 0, 2, 2], [0, 0, 4, 4]])
    second = np.array([[1.0, 1, 3, 3], [5, 5, 6, 6], [0, 0, 2, 2]])
    assert np.allclose(box_iou(first, second), [[1 / 7, 0, 1], [4 / 16, 0, 4 / 16]])
    assert box_iou(NONE, second).shape == (0, 3)


def _example() -> tuple[list[Boxes], list[NDArray[np.float64]], list[Boxes]]:
    """Three images; annotated: one box, two boxes, none."""
    truths = [_box(0, 0, 10, 10), np.concatenate([_box(0, 0, 10, 10), _box(20, 20, 30, 30)]), NONE]
    found = [
        np.concatenate([_box(0, 0, 10, 9), _box(0, 0, 10, 10)]),  # right, then the same one again
        np.concatenate([_box(20, 20, 30, 26), _box(50, 50, 60, 60)]),  # 0.6, then nothing there
        _box(0, 0, 5, 5),  # nothing there
    ]
    return found, [_sure(0.9, 0.6), _sure(0.7, 0.2), _sure(0.8)], truths


def test_matching_is_greedy_and_takes_each_annotated_box_once() -> None:
    matches = match(*_example(), iou=0.5)
    # by confidence: .9 right, .8 wrong, .7 right, .6 taken already, .2 wrong
    assert matches.hits.tolist() == [1, 0, 1, 0, 0]
    assert matches.images.tolist() == [0, 2, 1, 0, 1]
    assert matches.truths.tolist() == [1, 2, 0]
    stricter = match(*_example(), iou=0.7)
    assert stricter.hits.tolist() == [1, 0, 0, 0, 0]


def test_average_precision_by_hand() -> None:
    # recall 1/3 at precision 1, recall 2/3 at precision 2/3
    assert average_precision(match(*_example(), iou=0.5))[0] == pytest.approx(1 / 3 * 1 + 1 / 3 * 2 / 3)
    assert average_precision(match(*_example(), iou=0.7))[0] == pytest.approx(1 / 3)


def test_precision_is_made_falling() -> None:
    # wrong, right, right of two: precisions 0, 1/2, 2/3; the envelope is 2/3 all along
    matches = Matches(_sure(0, 1, 1), np.array([0, 1, 2]), _sure(0, 1, 1))
    assert average_precision(matches)[0] == pytest.approx(2 / 3)


def test_average_precision_at_its_ends() -> None:
    truth = [_box(0, 0, 4, 4)]
    assert average_precision(match(truth, [_sure(0.5)], truth, iou=0.5))[0] == 1
    assert average_precision(match([NONE], [_sure()], truth, iou=0.5))[0] == 0
    assert np.isnan(average_precision(match(truth, [_sure(0.5)], [NONE], iou=0.5))[0])


def test_resamples_weigh_images() -> None:
    matches = match(*_example(), iou=0.5)
    counts = np.array([[1.0, 1, 1], [1, 1, 0], [0, 2, 0], [1, 0, 2]])
    # without image 2: right, right at 1/3 and 2/3 of recall
    # image 1 twice: two right boxes first, of four annotated
    # image 0 once, 2 twice: right first, one annotated
    assert average_precision(matches, counts) == pytest.approx([5 / 9, 2 / 3, 1 / 2, 1])


def test_the_interval_holds_the_value_and_keeps_groups_whole() -> None:
    found, sure, truths = _example()
    matches = match(found * 20, sure * 20, truths * 20, iou=0.5)
    targets = np.tile([0, 0, 1], 20)
    alone = {"codes": np.arange(60), "targets": targets}
    grouped = {"codes": np.arange(60) // 15, "targets": targets}
    narrow = Precision.of(matches, seed=1, **alone)
    wide = Precision.of(matches, seed=1, **grouped)
    first, second = narrow.estimate(**alone), wide.estimate(**grouped)
    for estimate in (first, second):
        assert estimate.value is not None
        assert estimate.low is not None
        assert estimate.high is not None
        assert estimate.low <= estimate.value <= estimate.high
    assert narrow.value == pytest.approx(average_precision(matches)[0])
    nothing = Precision.of(match([NONE] * 60, [_sure()] * 60, truths * 20, iou=0.5), seed=1, **alone)
    gap = narrow.minus(nothing, **alone)
    assert gap.low is not None
    assert gap.low > 0
    empty = Precision.of(match(found, sure, [NONE] * 3, iou=0.5), codes=np.arange(3), targets=targets[:3], seed=1)
    assert empty.estimate(codes=np.arange(3), targets=targets[:3]).value is None
