"""Boxes land on the pixels they came from, for every way to fit an image to the square."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.scans import spotted
from tumorscope.core.types import Box
from tumorscope.imaging.boxes import box_mask, boxes_in_pixels, boxes_to_input, boxes_to_source
from tumorscope.imaging.preprocess import Fit, Geometry, Preprocessing, preprocess

SIZES = [(90, 60), (60, 90), (48, 48), (301, 200)]
WAYS: list[tuple[Fit, bool]] = [(fit, trim) for fit in ("squash", "pad", "crop") for trim in (False, True)]


@pytest.mark.parametrize(("fit", "trim"), WAYS)
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_boxes_go_there_and_back(fit: Fit, trim: bool, width: int, height: int) -> None:
    pixels, (x, y) = spotted(width, height)
    array, geometry = preprocess(pixels, Preprocessing(64, 1, fit, trim))
    source = np.array([[x - 2, y - 2, x + 3, y + 3]], dtype=np.float64)
    on_input = boxes_to_input(source, geometry, size_px=64)
    mask = box_mask(on_input, width_px=64, height_px=64)
    assert mask[np.unravel_index(int(array[0].argmax()), (64, 64))]
    assert np.allclose(boxes_to_source(on_input, geometry), source)


def test_boxes_of_an_annotation_are_clipped_and_empty_ones_left_out() -> None:
    boxes = [Box("a", 0.5, 0.5, 0.2, 0.4), Box("a", 0.95, 0.5, 0.2, 0.2), Box("a", 1.2, 0.5, 0.1, 0.1)]
    found = boxes_in_pixels(boxes, width_px=100, height_px=50)
    assert np.allclose(found, [[40, 15, 60, 35], [85, 20, 100, 30]])
    assert boxes_in_pixels([], width_px=10, height_px=10).shape == (0, 4)
    cut_away = Geometry(1.0, 1.0, 40.0, 0.0, 100, 50)
    assert boxes_to_input(np.array([[0.0, 0, 30, 30]]), cut_away, size_px=32).shape == (0, 4)


def test_a_mask_covers_pixel_centres_and_never_nothing() -> None:
    mask = box_mask(np.array([[1.0, 2.0, 3.0, 4.0]]), width_px=5, height_px=6)
    assert mask.shape == (6, 5)
    assert np.argwhere(mask).tolist() == [[2, 1], [2, 2], [3, 1], [3, 2]]
    tiny = box_mask(np.array([[1.6, 1.6, 1.9, 1.9]]), width_px=4, height_px=4)
    assert np.argwhere(tiny).tolist() == [[1, 1]]


@given(st.floats(0, 30), st.floats(0, 30), st.floats(0.01, 20), st.floats(0.01, 20))
def test_the_mask_has_the_boxs_area(left: float, top: float, width: float, height: float) -> None:
    box = np.array([[left, top, left + width, top + height]])
    area = int(box_mask(box, width_px=60, height_px=60).sum())
    assert area >= 1
    assert abs(area - width * height) <= width + height + 1
