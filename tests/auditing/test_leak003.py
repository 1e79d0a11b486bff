from __future__ import annotations

from pathlib import Path

import pytest

from tests.auditing.leak_data import changed, clean, look


@pytest.mark.parametrize("change", ["reencoded", "mirrored", "turned", "rotated", "brighter"])
def test_a_changed_copy_is_found(tmp_path: Path, change: str) -> None:
    root = clean(tmp_path)
    changed(root, "Training/glioma/00.png", "Training/glioma/again.jpg", change)
    result = look(root, "LEAK003")
    assert (result.outcome, result.count) == ("finding", 2)
    assert set(result.paths) == {"Training/glioma/00.png", "Training/glioma/again.jpg"}
    assert result.figures["mirrored_pairs"] == int(change == "mirrored")


def test_different_patients_are_fine(tmp_path: Path) -> None:
    assert look(clean(tmp_path), "LEAK003").outcome == "fine"
