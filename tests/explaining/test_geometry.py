"""Heat and boxes land on the pixels they came from, for every way to fit an image to the square."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tumorscope.core.types import Box, Pixels
from tumorscope.explaining.geometry import (
    CIVIDIS,
    box_mask,
    boxes_in_pixels,
    boxes_to_input,
    boxes_to_source,
    coloured,
    heat_to_source,
    overlay,
    scaled,
    seen,
)
from tumorscope.imaging.preprocess import Fit, Geometry, Preprocessing, preprocess

SIZES = [(90, 60), (60, 90), (48, 48), (301, 200)]
WAYS: list[tuple[Fit, bool]] = [(fit, trim) for fit in ("squash", "pad", "crop") for trim in (False, True)]


def _scan(width: int, height: int) -> tuple[Pixels, tuple[int, int]]:
    """Black margin, gray body off the centre, one bright spot in it; the spot's middle (x, y)."""
    pixels = np.zeros((height, width), dtype=np.uint8)
    pixels[height // 10 : height * 9 // 10, width // 5 : width * 19 // 20] = 60
    # inside the middle square of the body too, so that no crop cuts it away
    x, y = round(width * 0.6), round(height * 0.45)
    pixels[y - 2 : y + 3, x - 2 : x + 3] = 255
    return pixels, (x, y)


@pytest.mark.parametrize(("fit", "trim"), WAYS)
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_bright_spot_goes_there_and_back(fit: Fit, trim: bool, width: int, height: int) -> None:
    pixels, (x, y) = _scan(width, height)
    array, geometry = preprocess(pixels, Preprocessing(64, 1, fit, trim))
    found = heat_to_source(array[0].astype(np.float32), geometry)
    assert found.shape == (height, width)
    assert found.dtype == np.float32
    peak = np.unravel_index(int(found.argmax()), found.shape)
    assert pixels[peak] == 255
    # half an input pixel off would show: the spot's centre of mass is where it was
    weights = np.clip(found - 0.6 * found.max(), 0, None)
    centre = [float((weights.sum(axis=1 - a) * np.arange(found.shape[a])).sum() / weights.sum()) for a in (0, 1)]
    assert abs(centre[1] - x) <= 0.2 * max(1.0, geometry.scale_x), (centre, x)
    assert abs(centre[0] - y) <= 0.2 * max(1.0, geometry.scale_y), (centre, y)


@pytest.mark.parametrize(("fit", "trim"), WAYS)
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_boxes_go_there_and_back(fit: Fit, trim: bool, width: int, height: int) -> None:
    pixels, (x, y) = _scan(width, height)
    array, geometry = preprocess(pixels, Preprocessing(64, 1, fit, trim))
    source = np.array([[x - 2, y - 2, x + 3, y + 3]], dtype=np.float64)
    on_input = boxes_to_input(source, geometry, size_px=64)
    mask = box_mask(on_input, width_px=64, height_px=64)
    assert mask[np.unravel_index(int(array[0].argmax()), (64, 64))]
    assert np.allclose(boxes_to_source(on_input, geometry), source)


def test_what_the_input_did_not_reach_has_no_heat() -> None:
    pixels, _ = _scan(90, 60)
    _, geometry = preprocess(pixels, Preprocessing(32, 1, "crop", False))
    found = heat_to_source(np.ones((32, 32), dtype=np.float32), geometry)
    assert np.array_equal(found > 0, seen(geometry, 32))
    assert found[:, :15].max() == 0
    assert found[:, 15:75].min() == 1
    assert found[:, 75:].max() == 0


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


def test_scaling_makes_an_empty_map_the_uniform_one() -> None:
    maps = np.stack([np.zeros((4, 4)), np.eye(4) * 8]).astype(np.float32)
    found = scaled(maps)
    assert found[0].min() == found[0].max() == 1
    assert np.array_equal(found[1], np.eye(4))


def test_colours_are_cividis_and_rise_in_lightness() -> None:
    ramp = np.linspace(0, 1, 256, dtype=np.float32)[None]
    colours = coloured(ramp)
    assert colours.shape == (1, 256, 4)
    luma = colours[0, :, :3] @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(luma) >= -0.5).all()
    assert colours[0, 0, 3] == 0
    assert colours[0, -1].tolist() == [*CIVIDIS[-1], 255]
    from matplotlib import colormaps

    exact = colormaps["cividis"](ramp[0])[:, :3] * 255
    assert np.abs(exact - colours[0, :, :3]).max() < 9


def test_the_overlay_leaves_cold_places_as_they_were() -> None:
    pixels = np.full((4, 4), 100, dtype=np.uint8)
    heat = np.zeros((4, 4), dtype=np.float32)
    heat[1, 2] = 1
    found = overlay(pixels, heat, opacity=0.5)
    assert found.shape == (4, 4, 3)
    assert found[0, 0].tolist() == [100, 100, 100]
    assert found[1, 2].tolist() == [round((100 + c) / 2) for c in CIVIDIS[-1]]
