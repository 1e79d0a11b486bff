from __future__ import annotations

from pathlib import Path

from PIL import Image

from tests.auditing.leak_data import clean, copy, look


def test_the_same_pixels_in_another_format_are_found(tmp_path: Path) -> None:
    root = clean(tmp_path)
    Image.open(root / "Training/glioma/00.png").save(root / "Training/glioma/again.bmp")
    result = look(root, "LEAK002")
    assert (result.outcome, result.count) == ("finding", 2)
    assert look(root, "LEAK001").outcome == "fine"


def test_a_byte_copy_is_not_counted_twice(tmp_path: Path) -> None:
    root = clean(tmp_path)
    copy(root, "Training/glioma/00.png", "Training/glioma/again.png")
    assert look(root, "LEAK002").outcome == "fine"
