from __future__ import annotations

from pathlib import Path

from tests.auditing.leak_data import clean, copy, look


def test_a_test_file_in_training_is_an_error(tmp_path: Path) -> None:
    root = clean(tmp_path)
    copy(root, "Training/glioma/00.png", "Testing/glioma/leak.png")
    result = look(root, "LEAK011")
    assert (result.outcome, result.severity, result.count) == ("finding", "error", 1)
    assert result.paths == ("Testing/glioma/leak.png",)
    assert "1 of 9 test images" in result.detail


def test_copies_inside_training_do_not_cross(tmp_path: Path) -> None:
    root = clean(tmp_path)
    copy(root, "Training/glioma/00.png", "Training/glioma/again.png")
    assert look(root, "LEAK011").outcome == "fine"


def test_without_parts_there_is_nothing_to_cross(tmp_path: Path) -> None:
    root = clean(tmp_path)
    result = look(root / "Training", "LEAK011")
    assert result.outcome == "not applicable"
    assert "split file" in result.detail
