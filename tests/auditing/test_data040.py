from __future__ import annotations

from pathlib import Path

import numpy as np

from tests.auditing.leak_data import clean, look, save


def test_a_blank_image_is_named(tmp_path: Path) -> None:
    root = clean(tmp_path)
    save(root / "Training/glioma/blank.png", np.full((64, 64), 17, np.uint8))
    result = look(root, "DATA040")
    assert (result.outcome, result.paths) == ("finding", ("Training/glioma/blank.png",))


def test_pictures_are_fine(tmp_path: Path) -> None:
    assert look(clean(tmp_path), "DATA040").outcome == "fine"
