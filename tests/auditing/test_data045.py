from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.auditing.leak_data import clean, look, picture


def test_a_palette_image_is_named(tmp_path: Path) -> None:
    root = clean(tmp_path)
    Image.fromarray(picture(39)).convert("P").save(root / "Training/glioma/palette.png")
    result = look(root, "DATA045")
    assert (result.outcome, result.paths) == ("finding", ("Training/glioma/palette.png",))
    assert "1 P" in result.detail


def test_eight_bit_gray_is_fine(tmp_path: Path) -> None:
    assert look(clean(tmp_path), "DATA045").outcome == "fine"
