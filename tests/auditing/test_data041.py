from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.auditing.leak_data import clean, look, picture, save


@pytest.mark.parametrize("side", [24, 600])
def test_an_image_of_another_size_is_named(tmp_path: Path, side: int) -> None:
    root = clean(tmp_path)
    small = np.asarray(Image.fromarray(picture(39)).resize((side, side)))
    save(root / "Training/glioma/other.png", small)
    result = look(root, "DATA041")
    assert (result.outcome, result.paths) == ("finding", ("Training/glioma/other.png",))


def test_one_size_is_fine(tmp_path: Path) -> None:
    assert look(clean(tmp_path), "DATA041").outcome == "fine"
