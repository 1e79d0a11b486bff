from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.auditing.leak_data import clean, look, picture, save


def test_a_colour_image_among_gray_ones_is_named(tmp_path: Path) -> None:
    root = clean(tmp_path)
    colour = np.stack([picture(39), picture(38), picture(37)], axis=-1)
    save(root / "Training/glioma/colour.png", colour)
    result = look(root, "DATA044")
    assert (result.outcome, result.paths) == ("finding", ("Training/glioma/colour.png",))


def test_gray_images_are_fine(tmp_path: Path) -> None:
    assert look(clean(tmp_path), "DATA044").outcome == "fine"
