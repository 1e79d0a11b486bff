"""Each measure on maps small enough to count by hand."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tumorscope.explaining.localisation import (
    MEASURES,
    THRESHOLDS,
    box_hit,
    ceiling,
    choose_threshold,
    energy,
    overlap,
    pointing,
)


def _heat(*rows: list[float]) -> NDArray[np.float32]:
    return np.array([rows], dtype=np.float32)


MAP = _heat([0, 0, 0, 0], [0, 4, 2, 0], [0, 2, 1, 0], [0, 0, 0, 1])
INSIDE = np.zeros((1, 4, 4), dtype=bool)
INSIDE[0, :2, :2] = True  # holds the peak, 4 of 10


def test_pointing_asks_for_the_peak() -> None:
    assert pointing(MAP, INSIDE).tolist() == [1.0]
    assert pointing(MAP, ~INSIDE).tolist() == [0.0]


def test_equal_peaks_count_by_their_share() -> None:
    two = _heat([3, 0], [0, 3])
    mask = np.array([[[True, False], [False, False]]])
    assert pointing(two, mask).tolist() == [0.5]
    # no heat, and the same heat everywhere: what pointing at random would score
    for flat in (np.zeros((1, 4, 4)), np.full((1, 4, 4), 7.0)):
        assert pointing(flat.astype(np.float32), INSIDE).tolist() == [0.25]
        assert energy(flat.astype(np.float32), INSIDE).tolist() == [0.25]
        assert overlap(flat.astype(np.float32), INSIDE, threshold=0.5).tolist() == [0.25]


def test_energy_is_the_share_of_heat_inside() -> None:
    assert energy(MAP, INSIDE)[0] == pytest.approx(0.4)
    assert energy(MAP * 1000, INSIDE)[0] == pytest.approx(0.4)


def test_a_coarse_map_cannot_show_a_small_box() -> None:
    masks = np.zeros((2, 64, 64), dtype=bool)
    masks[0, 0:32, 0:32] = True  # whole places of any map
    masks[1, 0:8, 12:20] = True  # far from the middle of any of 4 x 4 places
    fine, coarse = (ceiling(masks, side=side) for side in (16, 4))
    assert fine.shape == masks.shape
    assert fine.dtype == np.float32
    assert pointing(fine, masks).tolist() == [1, 1]
    assert pointing(coarse, masks)[0] == 1
    assert pointing(coarse, masks)[1] < 0.5
    assert (energy(fine, masks) > energy(coarse, masks)).all()


def test_overlap_counts_pixels_at_or_above_the_threshold() -> None:
    # at half of the maximum: (1,1), (1,2), (2,1); one of them inside the four of the box
    assert overlap(MAP, INSIDE, threshold=0.5)[0] == pytest.approx(1 / 6)
    assert overlap(MAP, INSIDE, threshold=0.51)[0] == pytest.approx(1 / 4)


def test_box_hit_takes_the_part_with_most_heat() -> None:
    heat = np.zeros((1, 8, 8), dtype=np.float32)
    heat[0, 0, 0] = 1  # the peak, one pixel
    heat[0, 3:7, 3:7] = 0.6  # more heat in all
    there = [np.array([[0.0, 0, 2, 2], [3, 3, 7, 7]])]
    elsewhere = [np.array([[0.0, 0, 1, 1]])]
    assert box_hit(heat, there, threshold=0.5).tolist() == [1.0]
    assert box_hit(heat, elsewhere, threshold=0.5).tolist() == [0.0]
    assert box_hit(heat, elsewhere, threshold=0.7).tolist() == [1.0]
    shifted = [np.array([[3.0, 3, 7, 5]])]  # half of the part: an overlap of exactly one half
    assert box_hit(heat, shifted, threshold=0.5).tolist() == [1.0]
    assert box_hit(heat, shifted, threshold=0.5, iou=0.51).tolist() == [0.0]


def test_the_threshold_is_the_best_on_the_rows_given() -> None:
    values = np.zeros((len(THRESHOLDS), 3))
    values[4] = [0.2, 0.9, 0.4]
    values[7] = [0.2, 0.9, 0.4]
    values[9] = [1.0, 0.0, 0.0]
    assert choose_threshold(values) == THRESHOLDS[4]
    assert choose_threshold(np.zeros((2, 5)), thresholds=(0.3, 0.6)) == 0.3


def test_every_measure_is_described() -> None:
    assert set(MEASURES) == {"pointing", "energy", "iou", "box_hit"}
