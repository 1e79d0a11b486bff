from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from tumorscope.imaging.preprocess import Fit, Preprocessing, foreground, preprocess


def spot(width: int, height: int, x: int, y: int) -> NDArray[np.uint8]:
    """A dark image with a bright 6x6 spot centred at (x, y)."""
    image = np.full((height, width), 40, np.uint8)
    image[y - 3 : y + 3, x - 3 : x + 3] = 255
    return image


@pytest.mark.parametrize("fit", ["squash", "pad", "crop"])
@pytest.mark.parametrize(("width", "height"), [(300, 200), (160, 240), (64, 64)])
def test_geometry_finds_the_spot(fit: Fit, width: int, height: int) -> None:
    x, y = width // 2 + 9, height // 2 - 7
    out, geometry = preprocess(spot(width, height, x, y), Preprocessing(96, 1, fit))
    assert out.shape == (1, 96, 96)
    assert out.dtype == np.uint8
    rows, columns = np.nonzero(out[0] > 120)
    found = geometry.to_source(float(columns.mean()) + 0.5, float(rows.mean()) + 0.5)
    assert found == pytest.approx((x, y), abs=1.0)
    assert geometry.to_input(*geometry.to_source(10.0, 20.0)) == pytest.approx((10.0, 20.0))


def test_trim_cuts_the_border_and_its_geometry_knows() -> None:
    image = np.zeros((200, 300), np.uint8)
    image[50:150, 100:260] = 100
    image[96:104, 176:184] = 255
    assert foreground(image) == (100, 50, 260, 150)
    out, geometry = preprocess(image, Preprocessing(64, 1, trim=True))
    assert out.min() > 50
    row, column = np.unravel_index(np.argmax(out[0]), (64, 64))
    assert geometry.to_source(column + 0.5, row + 0.5) == pytest.approx((180, 100), abs=4)


def test_trim_of_a_blank_image_keeps_it() -> None:
    out, geometry = preprocess(np.zeros((30, 40), np.uint8), Preprocessing(32, 1, trim=True))
    assert out.max() == 0
    assert geometry.to_source(32, 32) == pytest.approx((40, 30))


def test_channels() -> None:
    color = np.zeros((20, 20, 3), np.uint8)
    color[..., 0] = 200
    assert preprocess(color, Preprocessing(16, 1))[0][0, 0, 0] == 60  # 0.299 * 200
    assert preprocess(color, Preprocessing(16, 3))[0].shape == (3, 16, 16)
    gray = np.full((20, 20), 7, np.uint8)
    assert (preprocess(gray, Preprocessing(16, 3))[0] == 7).all()


def test_hash_depends_on_every_value() -> None:
    variants = [
        Preprocessing(32, 1),
        Preprocessing(64, 1),
        Preprocessing(32, 3),
        Preprocessing(32, 1, "pad"),
        Preprocessing(32, 1, trim=True),
    ]
    assert len({v.sha256 for v in variants}) == len(variants)
