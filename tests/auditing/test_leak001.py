from __future__ import annotations

from pathlib import Path

from tests.auditing.leak_data import clean, copy, look


def test_a_byte_copy_is_found(tmp_path: Path) -> None:
    root = clean(tmp_path)
    copy(root, "Training/glioma/00.png", "Training/glioma/again.png")
    result = look(root, "LEAK001")
    assert (result.outcome, result.severity, result.count) == ("finding", "warning", 2)
    assert result.paths == ("Training/glioma/00.png", "Training/glioma/again.png")
    assert result.figures["pairs"] == 1


def test_different_patients_are_fine(tmp_path: Path) -> None:
    result = look(clean(tmp_path), "LEAK001")
    assert (result.outcome, result.count, result.paths) == ("fine", 0, ())
