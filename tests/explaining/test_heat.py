"""Heat lands on the pixels it came from, for every way to fit an image to the square."""

from __future__ import annotations

import numpy as np
import pytest

from tests.scans import spotted
from tumorscope.explaining.heat import CIVIDIS, coloured, heat_to_source, overlay, scaled, seen
from tumorscope.imaging.preprocess import Fit, Preprocessing, preprocess

SIZES = [(90, 60), (60, 90), (48, 48), (301, 200)]
WAYS: list[tuple[Fit, bool]] = [(fit, trim) for fit in ("squash", "pad", "crop") for trim in (False, True)]


@pytest.mark.parametrize(("fit", "trim"), WAYS)
@pytest.mark.parametrize(("width", "height"), SIZES)
def test_a_bright_spot_goes_there_and_back(fit: Fit, trim: bool, width: int, height: int) -> None:
    pixels, (x, y) = spotted(width, height)
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


def test_what_the_input_did_not_reach_has_no_heat() -> None:
    pixels, _ = spotted(90, 60)
    _, geometry = preprocess(pixels, Preprocessing(32, 1, "crop", False))
    found = heat_to_source(np.ones((32, 32), dtype=np.float32), geometry)
    assert np.array_equal(found > 0, seen(geometry, 32))
    assert found[:, :15].max() == 0
    assert found[:, 15:75].min() == 1
    assert found[:, 75:].max() == 0


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
